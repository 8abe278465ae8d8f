"""The feed-forward part of a region: up, gate, activation, product, down."""

from __future__ import annotations

__all__ = ["name_feedforward"]

from inspector.records import Op
from inspector.roles.context import Context


def name_feedforward(context: Context, region: list[int]) -> bool:
    """Name the ops of `region` that no attention has taken. Returns whether there was a feed-forward."""
    flow, parts = context.flow, context.parts
    left = [index for index in region if not parts.taken(index)]
    weighted = [flow.ops[index] for index in left if flow.weighted[index]]
    if not weighted:
        return False
    later = _feeds(context, weighted, set(left))
    downs = [op for op in weighted if not later[op.id]]
    ups = [op for op in weighted if later[op.id]]
    for op in downs:
        _claim_unit(context, op, "mlp.down_proj", "last weighted contraction of the region")
    if ups:
        _name_middle(context, ups, left)
    return True


def _claim_unit(context: Context, op: Op, path: str, rule: str) -> int:
    """Claim a weighted op with its packing and its bias; returns the value it makes."""
    flow = context.flow
    ops, _, result = flow.unit(op)
    bias = flow.only_consumer(result)
    if bias is not None and bias.name == "add" and any(flow.weight(value) is not None for value in bias.inputs):
        ops, result = [*ops, bias.id], bias.outputs[0]
    context.parts.claim(ops, path, rule=rule)
    return result


def _feeds(context: Context, weighted: list[Op], inside: set[int]) -> dict[int, bool]:
    """Whether a later weighted op of the region depends on each."""
    flow = context.flow
    reached: dict[int, set[int]] = {}
    feeds = {op.id: False for op in weighted}
    for index in sorted(inside):
        op = flow.ops[index]
        sources = set().union(*(reached.get(value, set()) for value in op.inputs))
        if flow.weighted[index]:
            for source in sources:
                feeds[source] = True
            sources = {index}
        for value in op.outputs:
            reached[value] = sources
    return feeds


def _name_middle(context: Context, ups: list[Op], left: list[int]) -> None:
    """What lies between up and down: each value carries the set of ups (or of their parts) it comes from."""
    flow, parts = context.flow, context.parts
    units = {op.id: flow.unit(op) for op in ups}
    origin: dict[int, frozenset[int]] = {}
    for op in ups:
        origin[units[op.id][2]] = frozenset({units[op.id][2]})
    packed = {index for ops, _, _ in units.values() for index in ops}
    gates: set[int] = set()
    activated: set[int] = set()
    split: set[int] = set()
    for index in left:
        op = flow.ops[index]
        if parts.taken(index) or index in packed or not flow.live[index]:
            continue
        sources = [origin[value] for value in op.inputs if value in origin]
        if not sources:
            continue
        _name_one(context, op, sources, origin, gates, activated, split)
    for op in ups:
        result = units[op.id][2]
        name = "up_gate_proj" if result in split else "gate_proj" if result in gates else "up_proj"
        _claim_unit(context, op, f"mlp.{name}", "weighted contraction that a later one depends on")


def _name_one(
    context: Context,
    op: Op,
    sources: list[frozenset[int]],
    origin: dict[int, frozenset[int]],
    gates: set[int],
    activated: set[int],
    split: set[int],
) -> None:
    flow, parts = context.flow, context.parts
    kind = flow.kind[op.id]
    merged = frozenset().union(*sources)
    if kind == "select":
        for value in op.outputs:  # each part of a fused projection is a source of its own
            origin[value] = frozenset({value})
        split.update(merged)
        parts.claim([op.id], "mlp.split_up_gate", rule="cuts a fused projection apart")
        return
    norm = context.norm_of.get(op.id)
    if norm is not None:
        parts.claim(norm.ops, "mlp.sub_norm", rule="norm inside the feed-forward")
    elif op.name == "mul" and len(sources) == 2 and sources[0] != sources[1]:
        gates.update(*(source for source in sources if source & activated))
        parts.claim([op.id], "mlp.multiply", rule="product of two projections")
    elif kind == "view":
        parts.claim([op.id], "mlp.down_proj", rule="prepares the down projection")
    else:
        if kind != "plumb":
            activated.update(merged)
        parts.claim([op.id], "mlp.activation", rule="element by element after the up projection")
    for value in op.outputs:
        origin[value] = merged
