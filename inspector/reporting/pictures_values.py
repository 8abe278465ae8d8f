"""What only the numbers of a run show, as pictures need it: which keys a query sees, how fast positions turn."""

from __future__ import annotations

__all__ = ["values"]

from collections.abc import Iterator

from inspector.fact_sheet.scene import Kind, Scene
from inspector.reporting.report_material import Values
from inspector.stage_graph.frequencies import frequencies
from inspector.stage_graph.lanes import turned
from inspector.stage_graph.mask_stage import seen_at
from inspector.stage_graph.spans import span

_CARRIERS = ("attention.mask", "attention.position_bias", "attention.scores", "attention.fused", "attention.softmax")


def values(scene: Scene) -> Values:
    """The masks and rotations of every kind of block that has attention."""
    return Values(tuple(_masks(scene)), tuple(_turns(scene)))


def _masks(scene: Scene) -> Iterator[tuple[str, tuple[tuple[int, int], ...]]]:
    for kind in scene.where("attention"):
        found = (seen_at(scene.graph, op) for op in scene.ops(scene.stages(kind, *_CARRIERS)))
        seen = next((spans for spans in found if spans is not None), None)
        if seen:
            yield span(kind.layers), seen


def _turns(scene: Scene) -> Iterator[tuple[str, tuple[float, ...]]]:
    for kind in scene.where("attention"):
        if radians := _radians(scene, kind):
            yield span(kind.layers), radians


def _radians(scene: Scene, kind: Kind) -> tuple[float, ...]:
    ropes = scene.ropes(scene.stages(kind, "attention.rope"))
    what = turned(scene.flow, ropes[0]) if ropes else None
    found = frequencies(scene.graph, ropes[0], what.size) if what else None
    return found.radians if found else ()
