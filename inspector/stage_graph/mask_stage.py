"""The pattern of the mask that an op or a stage applies."""

from __future__ import annotations

__all__ = ["mask_at", "mask_kind", "seen_at"]

from inspector.records import Concrete, Op
from inspector.roles.flow import FUSED_ATTENTION
from inspector.stage_graph.behind import behind
from inspector.stage_graph.masks import HIDDEN, MaskKind, Span, describe, spans
from inspector.stage_graph.stages import Stage, StageGraph


def mask_kind(graph: StageGraph, stage: Stage) -> MaskKind | None:
    """What the first mask that `stage` reads lets through; None where there is none, or its contents are not known."""
    found = (mask_at(graph, op) for op in graph.ops(stage))
    return next((kind for kind in found if kind is not None), None)


def mask_at(graph: StageGraph, op: Op) -> MaskKind | None:
    """The pattern of the mask that enters this op, directly or inside a sum of biases, or that it makes itself."""
    if op.name == FUSED_ATTENTION and op.attribute("is_causal"):
        return MaskKind("causal")
    found = _contents(graph, op)
    return describe(*found) if found else None


def seen_at(graph: StageGraph, op: Op) -> tuple[Span, ...] | None:
    """For each query the first and last key that this op's mask lets it see; None where there are no contents."""
    found = _contents(graph, op)
    return tuple(spans(*found)) if found else None


def _contents(graph: StageGraph, op: Op) -> tuple[Concrete, bool] | None:
    """The mask behind an op, and whether it hides where it is true."""
    for value in behind(graph, op.inputs, most=24):
        known = graph.trace.concrete.get(value)
        if known is not None and _is_mask(known, graph.trace.scenario.seq):
            return known, _hides_where_true(graph, op, value)
    return None


def _is_mask(known: Concrete, queries: int) -> bool:
    """One row per query, and something hidden or nothing at all: numbers that only lower a score are a bias."""
    if not known.kept or len(known.shape) < 2 or known.shape[-2] != queries or known.shape[-1] < max(queries, 2):
        return False
    return known.dtype == "bool" or any(number <= HIDDEN for number in known.values) or not any(known.values)


def _hides_where_true(graph: StageGraph, op: Op, value: int) -> bool:
    """`masked_fill(mask, -inf)` fills where the mask is true; everywhere else true means seen."""
    return op.name.startswith("masked_fill") and value in op.inputs and graph.trace.values[value].dtype == "bool"
