"""The pattern of the mask that a stage applies."""

from __future__ import annotations

__all__ = ["mask_kind"]

from inspector.records import Op
from inspector.stage_graph.masks import MaskKind, describe
from inspector.stage_graph.stages import Stage, StageGraph


def mask_kind(graph: StageGraph, stage: Stage) -> MaskKind | None:
    """What the first mask that `stage` reads lets through; None where its contents are not known."""
    for op in graph.ops(stage):
        for value in op.inputs:
            contents = graph.trace.concrete.get(value)
            if contents is not None and len(contents.shape) > 1 and contents.shape[-1] > 1:
                return describe(contents, hides=_hides_where_true(op, contents.dtype))
    return None


def _hides_where_true(op: Op, dtype: str) -> bool:
    """`masked_fill(mask, -inf)` fills where the mask is true; everywhere else true means seen."""
    return op.name == "masked_fill" and dtype == "bool"
