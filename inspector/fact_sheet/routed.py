"""By what the answers of the routed experts are multiplied, besides the weights that the router gives them."""

from __future__ import annotations

__all__ = ["FACTS"]

import math
from collections.abc import Iterator

from inspector.fact_sheet.scene import Kind, Scene, Seen
from inspector.records import Op
from inspector.roles.trunk import Residual

_SQUASHING = frozenset({"softmax", "sigmoid", "softplus"})


def scale(scene: Scene) -> Iterator[Seen]:
    """The product of all numbers on the chosen weights and on the routed answers: it does not matter where they stand.

    What the shared experts' answers are multiplied by too scales the whole sublayer, and is no part of it.
    """
    for kind in scene.where("moe"):
        if not scene.has(kind, "moe.router"):
            continue
        ops = _one_way(scene, [*_on_weights(scene, kind), *_on_answers(scene, kind)])
        shown = tuple(op.id for op in ops) or scene.ids(scene.stages(kind, "moe.combine"))[-1:]
        yield Seen("moe.scale", math.prod((_number(scene, op) or 1.0 for op in ops), start=1.0), shown, kind)


def _one_way(scene: Scene, ops: list[Op]) -> list[Op]:
    """Of products side by side (one for each expert in turn) those on the way through the last one."""
    if not ops:
        return []
    last, first = max(op.id for op in ops), min(op.id for op in ops)
    behind, todo = {last}, [last]
    while todo:
        makers = [scene.flow.maker(value) for value in scene.flow.act_inputs(scene.trace.ops[todo.pop()])]
        new = {maker.id for maker in makers if maker is not None and maker.id >= first} - behind
        behind |= new
        todo.extend(new)
    return [op for op in ops if op.id in behind]


def _on_weights(scene: Scene, kind: Kind) -> Iterator[Op]:
    """On the weights behind what makes them weights: the last function of the scores, and their sum where they are
    shares of it. What scales the scores before, or the weights before they become shares, is not left in them.
    """
    ops = scene.ops(scene.stages(kind, "moe.router_score", "moe.top_k", "moe.dispatch"))
    made = [op.id for op in ops if op.name in _SQUASHING or (op.name == "div" and len(scene.flow.act_inputs(op)) == 2)]
    for op in ops:
        if op.id > max(made, default=-1) and _number(scene, op) is not None:
            yield op


def _on_answers(scene: Scene, kind: Kind) -> Iterator[Op]:
    """On the sum of the answers, but for what every sublayer of the block is multiplied by at its end."""
    outer = [residual for residual in scene.naming.residuals if not residual.nested]
    inside = [residual for residual in outer if scene.naming.parts[residual.op].layer in kind.layers[:1]]
    ends = {residual.op: _last_scaling(scene, residual) for residual in inside}
    of_block = set(ends.values()) if len(ends) > 1 and None not in ends.values() else set[int | None]()
    for op in scene.ops(scene.stages(kind, "moe.combine")):
        if _number(scene, op) is not None and op.id not in of_block:
            yield op


def _last_scaling(scene: Scene, residual: Residual) -> int | None:
    """The op that multiplies a branch by a number before it is added."""
    op = scene.flow.maker(scene.flow.through(residual.branch, ("plumb", "view")))
    return op.id if op is not None and _number(scene, op) is not None else None


def _number(scene: Scene, op: Op) -> float | None:
    """By which number an op multiplies an activation; None where it does not."""
    if op.name not in ("mul", "div") or len(scene.flow.act_inputs(op)) != 1:
        return None
    if not scene.trace.values[op.outputs[0]].dtype.startswith(("float", "bfloat")):
        return None
    given = op.attribute("other")
    if not isinstance(given, (int, float)):
        given = next((scene.number(value) for value in op.inputs if not scene.flow.on_act(value)), None)
    return None if not given else float(given) if op.name == "mul" else 1 / float(given)


FACTS = (scale,)
