"""What a block may see, from the contents of its mask."""

from __future__ import annotations

__all__ = ["Visible", "visible"]

from typing import NamedTuple

from inspector.fact_sheet.scene import Kind, Scene
from inspector.stage_graph.mask_stage import mask_at
from inspector.stage_graph.masks import MaskKind

_CARRIERS = ("attention.mask", "attention.position_bias", "attention.scores", "attention.fused", "attention.softmax")


class Visible(NamedTuple):
    """direction: "" where the pattern has no name. window: how many tokens back, itself among them; None for all.

    hidden_window: why a window could not have been seen, or "".
    """

    direction: str
    window: int | None
    ops: tuple[int, ...]
    hidden_window: str = ""


_DIRECTIONS = {
    "full": "bidirectional",
    "bidirectional-sliding": "bidirectional",
    "causal": "causal",
    "sliding": "causal",
    "chunked": "causal",
}


def visible(scene: Scene, kind: Kind) -> Visible | str:
    """What the blocks of this kind see, or the reason why that cannot be told."""
    ops = scene.ops(scene.stages(kind, *_CARRIERS))
    if scene.trace.scenario.seq == 1:
        return "one query shows no direction: it looks back in any case"
    found = [(mask, op.id) for op in ops if (mask := mask_at(scene.graph, op)) is not None]
    hiding = next(((mask, op) for mask, op in found if mask.kind != "full"), None)
    masks = scene.stages(kind, "attention.mask")
    inside = {op for stage in masks for op in stage.ops}
    if hiding is not None:  # another one may hide nothing: zeros that a product is added to
        return _named(scene, hiding[0], (hiding[1],))
    if masks and inside.isdisjoint(op for _, op in found):
        return "the contents of the mask are not known"
    if found:
        return _named(scene, found[0][0], (found[0][1],))
    return _named(scene, MaskKind("full"), tuple(op.id for op in ops if scene.flow.is_product(op))[:1])


def _named(scene: Scene, found: MaskKind, ops: tuple[int, ...]) -> Visible:
    # Looking as far to both sides, a token sees `size` on each: the field counts both together.
    window = found.size if found.kind != "bidirectional-sliding" or found.size is None else 2 * found.size
    claimed, seq = scene.trace.claims.get("attention.window"), scene.trace.scenario.seq
    short = isinstance(claimed, int) and seq <= claimed and window is None
    hidden = f"a window of {claimed:,} tokens would not show in a run of {seq:,}" if short else ""
    return Visible(_DIRECTIONS.get(found.kind, ""), window, ops, hidden)
