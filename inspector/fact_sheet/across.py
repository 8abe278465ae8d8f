"""Whose keys a block looks at: its own stream's, another's, or both."""

from __future__ import annotations

__all__ = ["crosses", "kept_of_another", "products", "reads_another"]

from collections.abc import Iterator

from inspector.fact_sheet.scene import Kind, Scene
from inspector.records import Op
from inspector.roles.flow import FUSED_ATTENTION
from inspector.stage_graph import Stage


def products(scene: Scene, kind: Kind) -> Iterator[tuple[int, int, Op]]:
    """(queries, keys, the op that multiplies them), for each such op of a block."""
    for op in scene.ops(scene.stages(kind, "attention.scores", "attention.fused")):
        if op.name == FUSED_ATTENTION:
            yield op.inputs[0], op.inputs[1], op
        elif scene.flow.is_product(op):
            query, key = [value for value in scene.flow.factors(op) if scene.flow.on_act(value)][:2]
            yield query, key, op


def crosses(scene: Scene, kind: Kind) -> bool:
    """Whether a block looks at another sequence, beside its own or instead of it."""
    return "cross_attention" in scene.sections(kind) or reads_another(scene, kind) or reads_both(scene, kind)


def reads_both(scene: Scene, kind: Kind) -> bool:
    """Whether one attention looks at its own sequence and at another (T5Gemma 2): its keys are joined of both.

    What they are projected from beside the queries' own is made in other blocks then, or outside of them.
    """
    product = next(products(scene, kind), None)
    sides = [_sources(scene, value) for value in product[:2]] if product else []
    if not sides or not sides[0] & sides[1]:
        return False
    at_home = {_layer_of(scene, value) for value in sides[0]} | set(kind.layers[:1])
    return any(_layer_of(scene, value) not in at_home for value in sides[1] - sides[0])


def kept_of_another(scene: Scene, kind: Kind) -> tuple[int, tuple[int, ...]] | None:
    """The window that another stack's keys were cut to before one's own are joined to them, and the ops that show it.

    What is kept for a window of n is what a next token sees beside itself: n - 1.
    """
    for op in scene.ops(scene.stages(kind, "attention.split_heads")) if reads_both(scene, kind) else ():
        for value in op.inputs if op.name == "cat" else ():
            cut = scene.flow.maker(scene.flow.through(value))
            if cut is None or cut.name != "getitem" or _layer_of(scene, cut.inputs[0]) in kind.layers:
                continue
            left, whole = scene.shape(value)[-2], scene.shape(cut.inputs[0])[-2]
            if left < whole:
                return left + 1, (cut.id, op.id)
    return None


def _sources(scene: Scene, value: int) -> set[int]:
    """What the nearest projections behind a value read, without the room that is made at its ends."""
    ops = [scene.trace.ops[op] for op in scene.weighed_behind(value)]
    return {_unpadded(scene, read) for op in ops for read in scene.flow.act_inputs(op)}


def _unpadded(scene: Scene, value: int) -> int:
    value = scene.flow.through(value)
    maker = scene.flow.maker(value)
    return _unpadded(scene, maker.inputs[0]) if maker is not None and maker.name == "pad" else value


def _layer_of(scene: Scene, value: int) -> int | None:
    maker = scene.flow.maker(value)
    return None if maker is None else scene.naming.parts[maker.id].layer


def reads_another(scene: Scene, kind: Kind) -> bool:
    """Whether queries and keys of what goes by the name of attention are projected from different streams."""
    sides = [_read(scene, scene.stages(kind, f"attention.{tag}_proj")) for tag in "qk"]
    latent = scene.has(kind, "attention.q_down", "attention.kv_down", "attention.kv_proj", "attention.latent_norm")
    if not all(sides) or sides[0] & sides[1] or latent:
        return False
    return not _entering(scene, kind, sides[0]) & _entering(scene, kind, sides[1])


def _read(scene: Scene, stages: list[Stage]) -> set[int]:
    """The activations that some stages read, without plumbing."""
    return {scene.flow.through(value) for stage in stages for value in stage.inputs if scene.flow.on_act(value)}


def _entering(scene: Scene, kind: Kind, values: set[int]) -> set[int]:
    """What `values` are made of inside the block (norms, reads of several streams), as it enters the block."""
    inside = {op for stage in kind.stages for op in stage.ops}
    found, seen, todo = set[int](), set(values), list(values)
    while todo:
        value = todo.pop()
        maker = scene.flow.maker(value)
        if maker is None or maker.id not in inside:
            found.add(scene.flow.through(value))
            continue
        new = [item for item in scene.flow.act_inputs(maker) if item not in seen]
        seen.update(new)
        todo.extend(new)
    return found
