"""From the weighted sum of an attention forward to its output projection.

Everything between the two: what joins the heads again, gates, scales or normalises them, subtracts one map from
another. The walk ends at weighted contractions, at the stream, and at what has a part already.
"""

from __future__ import annotations

__all__ = ["name_output"]

from inspector.records import Op
from inspector.roles.context import Context

_MOST_OPS = 64


def name_output(context: Context, start: int) -> None:
    """Name what joins the heads, gates or normalises them, and projects them back to the model width."""
    flow, parts = context.flow, context.parts
    between, projections = _forward(context, start)
    for op in projections:
        _claim_projection(context, op)
    removed = _removed(context, between)
    for index in between:
        norm = context.norm_of.get(index)
        ops = list(norm.ops) if norm is not None else [index]
        rope = context.rope_of.get(index)
        if rope is not None:
            parts.claim(rope.ops, "attention.rope", rule="turns the heads' output back")
        role = "project_out" if index in removed else _role(context, flow.ops[index])
        if role:
            parts.claim(ops, f"attention.{role}", rule="between weighted sum and output projection")


def _forward(context: Context, start: int) -> tuple[list[int], list[Op]]:
    """(ops between, weighted contractions that end the walk)."""
    flow, parts = context.flow, context.parts
    ends = {residual.op for residual in context.residuals if not residual.nested}
    between: set[int] = set()
    projections: dict[int, Op] = {}
    stack = [start]
    while stack and len(between) < _MOST_OPS:
        value = stack.pop()
        if value in context.trunk:
            continue
        for op in flow.consumers(value):
            if op.id in ends or op.id in between or parts.taken(op.id):
                continue
            if flow.weighted[op.id]:
                projections[op.id] = op
                continue
            norm = context.norm_of.get(op.id)
            between.update(norm.ops if norm is not None else (op.id,))
            stack.extend((norm.result,) if norm is not None else op.outputs)
    return sorted(between), [projections[index] for index in sorted(projections)]


def _claim_projection(context: Context, op: Op) -> None:
    ops, _, result = context.flow.unit(op)
    bias = context.flow.adds_weight(result)
    if bias is not None:
        ops, result = [*ops, bias.id], bias.outputs[0]
    context.parts.claim(ops, "attention.o_proj", rule="first weighted contraction after the weighted sum")
    after = _second_half(context, op, result)
    context.parts.claim(after, "attention.o_proj", rule="joins what groups of heads were projected to")


def _second_half(context: Context, op: Op, value: int) -> list[int]:
    """The projection right behind one whose groups of heads have matrices of their own, and the views between."""
    flow = context.flow
    if op.name not in ("bmm", "einsum") or value in context.trunk:
        return []
    between: list[int] = []
    after = flow.only_consumer(value)
    while after is not None and flow.kind[after.id] in ("view", "plumb"):
        between.append(after.id)
        after = flow.only_consumer(after.outputs[0])
    return [*between, after.id] if after is not None and flow.weighted[after.id] else []


def _removed(context: Context, between: list[int]) -> set[int]:
    """What takes a direction out of the heads: `x - v * sum(x * v)`, from the first product to the difference."""
    flow = context.flow
    total = next((index for index in between if flow.ops[index].name == "sum"), None)
    if total is None:
        return set()
    found = {total}
    made = flow.maker(flow.ops[total].inputs[0])
    if made is not None and made.name == "mul":
        found.add(made.id)
    for index in between:
        op = flow.ops[index]
        if index > total and op.name in ("mul", "sub") and any(flow.producer[value] in found for value in op.inputs):
            found.add(index)
            if op.name == "sub":
                return found
    return set()


def _role(context: Context, op: Op) -> str | None:
    flow = context.flow
    if op.id in context.norm_of:
        return "sub_norm"
    if flow.kind[op.id] in ("view", "plumb", "select", "join"):
        return "merge_heads"
    acts = flow.act_inputs(op)
    if op.name in ("mul", "div"):
        return "gate" if len(acts) > 1 else "lambda" if _is_computed(context, op, acts) else "scale"
    return "lambda" if op.name in ("sub", "add") else None


def _is_computed(context: Context, op: Op, acts: list[int]) -> bool:
    """Whether the factor is a number that the model computes from parameters: the weight of a second map."""
    others = [value for value in op.inputs if value not in acts]
    return any(context.flow.maker(value) is not None for value in others)
