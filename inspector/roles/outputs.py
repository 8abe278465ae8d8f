"""From the weighted sum of an attention forward to its output projection."""

from __future__ import annotations

__all__ = ["name_output"]

from inspector.records import Op
from inspector.roles.context import Context


def name_output(context: Context, value: int) -> None:
    """Name what joins the heads, gates or normalises them, and projects them back to the model width."""
    flow, parts = context.flow, context.parts
    for _ in range(24):
        op = _next(context, value)
        if op is None or value in context.trunk:
            return
        if flow.weighted[op.id] and not parts.taken(op.id):
            parts.claim(flow.unit(op)[0], "attention.o_proj", rule="first weighted contraction after the weighted sum")
            return
        role = _role(context, op)
        if role is None:
            return
        norm = context.norm_of.get(op.id)
        ops = list(norm.ops) if norm is not None else _with_pack(context, op)
        parts.claim(ops, f"attention.{role}", rule="between weighted sum and output projection")
        value = norm.result if norm is not None else op.outputs[0]


def _next(context: Context, value: int) -> Op | None:
    """The op that takes the heads onwards: a projection if there is one, else the first that moves or gates them."""
    flow = context.flow
    following = flow.consumers(value)
    packed = [op for op in following if flow.weighted[op.id]]
    return packed[0] if packed else following[0] if following else None


def _with_pack(context: Context, op: Op) -> list[int]:
    """A view that only folds leading axes for a 2-D projection is the projection's own: leave it to `Flow.unit`."""
    flow = context.flow
    if flow.keeps_last(op):
        after = flow.only_consumer(op.outputs[0])
        if after is not None and flow.weighted[after.id]:
            return []
    return [op.id]


def _role(context: Context, op: Op) -> str | None:
    flow = context.flow
    if op.id in context.norm_of:
        return "sub_norm"
    kind = flow.kind[op.id]
    if kind in ("view", "plumb", "select", "join"):
        return "merge_heads"
    if op.name == "mul":
        return "gate" if len(flow.act_inputs(op)) > 1 else "scale"
    return "lambda" if op.name in ("sub", "add") else None
