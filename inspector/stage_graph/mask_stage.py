"""The pattern of the mask that an op or a stage applies."""

from __future__ import annotations

__all__ = ["mask_at", "mask_kind", "seen_at"]

from inspector.records import Concrete, Op
from inspector.roles.flow import FUSED_ATTENTION
from inspector.stage_graph.behind import behind
from inspector.stage_graph.masks import HIDDEN, MaskKind, Span, describe, first_keys, spans
from inspector.stage_graph.stages import Stage, StageGraph


def mask_kind(graph: StageGraph, stage: Stage) -> MaskKind | None:
    """What the first mask that `stage` reads lets through; None where there is none, or its contents are not known."""
    found = (mask_at(graph, op) for op in graph.ops(stage))
    return next((kind for kind in found if kind is not None), None)


def mask_at(graph: StageGraph, op: Op) -> MaskKind | None:
    """The pattern of the mask that enters this op, directly or inside a sum of biases, or that it makes itself.

    Of a mask joined of two, one for the keys of each sequence that is looked at, the pattern of the first.
    """
    if op.name == FUSED_ATTENTION and op.attribute("is_causal"):
        return MaskKind("causal")
    value = _behind(graph, op)
    if value is None:
        return None
    hides = _hides_where_true(graph, op, value)
    kind = describe(graph.trace.concrete[value], hides)
    first = _first_part(graph, value) if kind.kind == "other" else None
    return describe(first, hides) if first is not None else kind


def seen_at(graph: StageGraph, op: Op) -> tuple[Span, ...] | None:
    """For each query the first and last key that this op's mask lets it see; None where there are no contents."""
    found = _contents(graph, op)
    return tuple(spans(*found)) if found else None


def _contents(graph: StageGraph, op: Op) -> tuple[Concrete, bool] | None:
    """The mask behind an op, and whether it hides where it is true."""
    value = _behind(graph, op)
    return None if value is None else (graph.trace.concrete[value], _hides_where_true(graph, op, value))


def _behind(graph: StageGraph, op: Op) -> int | None:
    for value in behind(graph, op.inputs, most=24):
        known = graph.trace.concrete.get(value)
        if known is not None and _is_mask(known, graph.trace.scenario.seq):
            return value
    return None


def _first_part(graph: StageGraph, value: int) -> Concrete | None:
    """The mask of the first keys, where one for others was joined to it."""
    flow = graph.naming.flow
    maker = flow.maker(flow.through(value))
    if maker is None or maker.name != "cat" or len(maker.inputs) != 2:
        return None
    width, whole = graph.trace.values[maker.inputs[0]].shape[-1], graph.trace.values[value].shape[-1]
    return first_keys(graph.trace.concrete[value], width) if width < whole else None


def _is_mask(known: Concrete, queries: int) -> bool:
    """One row per query, and something hidden or nothing at all: numbers that only lower a score are a bias."""
    if not known.kept or len(known.shape) < 2 or known.shape[-2] != queries or known.shape[-1] < max(queries, 2):
        return False
    return known.dtype == "bool" or any(number <= HIDDEN for number in known.values) or not any(known.values)


def _hides_where_true(graph: StageGraph, op: Op, value: int) -> bool:
    """`masked_fill(mask, -inf)` fills where the mask is true; everywhere else true means seen."""
    return op.name.startswith("masked_fill") and value in op.inputs and graph.trace.values[value].dtype == "bool"
