"""The feed-forward part of a region: up, gate, activation, product, down."""

from __future__ import annotations

__all__ = ["name_feedforward"]

from dataclasses import dataclass, field

from inspector.records import Op
from inspector.roles.context import Context


def name_feedforward(context: Context, region: list[int]) -> bool:
    """Name the ops of `region` that no attention has taken. Returns whether there was a feed-forward."""
    flow, parts = context.flow, context.parts
    left = [index for index in region if not parts.taken(index)]
    weighted = [flow.ops[index] for index in left if context.projects(index)]
    if not weighted:
        return False
    if _is_low_rank(context, weighted):
        for op in weighted:
            _claim_unit(context, op, "block.adapter", "two projections with nothing between")
        return True
    sums = _updates(context, weighted)
    weighted = [op for op in weighted if not parts.taken(op.id)]
    later = _feeds(context, weighted, set(left))
    extra = _extra(context, weighted)
    downs = [op for op in weighted if not later[op.id] or op.id in extra.values()]
    downs = [op for op in downs if op.id not in extra]
    ups = [op for op in weighted if later[op.id] and op not in downs]
    downs, gates = _gated_answers(context, downs, left)
    for index in extra:
        _claim_unit(context, flow.ops[index], "block.projection", "a projection right behind the down projection")
    for op in downs:
        _claim_unit(context, op, "mlp.down_proj", "last weighted contraction of the region")
    if ups:
        _name_middle(context, ups, left, sums)
    for index, role in gates.items():
        op = flow.ops[index]
        if flow.weighted[index]:
            _claim_unit(context, op, f"mlp.{role}", "gates the answer of the down projection")
        else:
            context.parts.claim([index], f"mlp.{role}", rule="gates the answer of the down projection")
    return True


def _gated_answers(context: Context, downs: list[Op], left: list[int]) -> tuple[list[Op], dict[int, str]]:
    """Where another projection gates the answer, through a sigmoid: (down projections, roles of the rest)."""
    flow = context.flow
    results = {flow.unit(op)[2]: op for op in downs}
    for index in left:
        op = flow.ops[index]
        if op.name != "mul" or len(flow.act_inputs(op)) != 2:
            continue
        for one, two in (flow.act_inputs(op), flow.act_inputs(op)[::-1]):
            squash = flow.maker(flow.through(one))
            gate = (
                results.get(flow.through(squash.inputs[0])) if squash is not None and squash.name == "sigmoid" else None
            )
            answer = results.get(flow.through(two))
            if squash is not None and gate is not None and answer is not None and gate is not answer:
                rest = {gate.id: "gate_proj", squash.id: "activation", index: "multiply"}
                return [down for down in downs if down is not gate], rest
    return downs, {}


def _extra(context: Context, weighted: list[Op]) -> dict[int, int]:
    """Projections right behind a down projection, each with it: what fits a shared block's output to its layer."""
    flow = context.flow
    made = {flow.unit(op)[2]: op.id for op in weighted}
    found = {}
    for op in weighted:
        down = made.get(flow.through(flow.unit(op)[1], ("plumb", "view")))
        if down is None:
            continue
        maker = flow.maker(flow.through(flow.unit(flow.ops[down])[1], ("plumb", "view")))
        if maker is not None and maker.name == "mul" and not flow.weighted[maker.id]:
            found[op.id] = down
    return found


def _is_low_rank(context: Context, weighted: list[Op]) -> bool:
    """Whether a region is two projections with nothing between, of which the first makes fewer features: something
    beside a sublayer, and no feed-forward. One that lost its activation makes more.
    """
    if len(weighted) != 2:
        return False
    flow = context.flow
    first, second = (flow.unit(op) for op in weighted)
    narrow, wide = (flow.values[value].shape[-1] for value in (first[2], first[1]))
    return narrow < wide and flow.through(second[1], ("plumb", "view")) == first[2]


def _updates(context: Context, weighted: list[Op]) -> dict[int, int]:
    """Name what adds to a projection two others of the same input, one behind the other (LoRA).

    Returns what a projection gives -> that with its update.
    """
    flow = context.flow
    made = {flow.unit(op)[2]: op for op in weighted}
    sums: dict[int, int] = {}
    for op in weighted:
        unit, source, result = flow.unit(op)
        narrow, total = made.get(flow.through(source, ("plumb", "view"))), flow.only_consumer(result)
        if narrow is None or total is None or total.name != "add":
            continue
        main = next((made[value] for value in total.inputs if value != result and value in made), None)
        if main is not None and flow.unit(main)[1] == flow.unit(narrow)[1]:
            ops = [*flow.unit(narrow)[0], *unit, total.id]
            context.parts.claim(ops, "block.adapter", rule="a low-rank update beside a projection")
            sums[flow.unit(main)[2]] = total.outputs[0]
    return sums


def _claim_unit(context: Context, op: Op, path: str, rule: str) -> int:
    """Claim a weighted op with its packing and its bias; returns the value it makes."""
    ops, result = _unit(context, op)
    context.parts.claim(ops, path, rule=rule)
    return result


def _unit(context: Context, op: Op) -> tuple[list[int], int]:
    """A weighted op with its packing and its bias, which may be an op of its own: (ops, the value they make)."""
    ops, _, result = context.flow.unit(op)
    bias = context.flow.adds_weight(result)
    return (ops, result) if bias is None else ([*ops, bias.id], bias.outputs[0])


def _feeds(context: Context, weighted: list[Op], inside: set[int]) -> dict[int, bool]:
    """Whether a later weighted op of the region depends on each."""
    flow = context.flow
    reached: dict[int, set[int]] = {}
    feeds = {op.id: False for op in weighted}
    for index in sorted(inside):
        op = flow.ops[index]
        sources = set().union(*(reached.get(value, set()) for value in op.inputs))
        if context.projects(index):
            for source in sources:
                feeds[source] = True
            sources = {index}
        for value in op.outputs:
            reached[value] = sources
    return feeds


@dataclass(slots=True)
class _Middle:
    """What is known of the values between up and down.

    origin: value -> the results of the up projections (or parts of one) that it comes from. gates, activated, split:
    those results that are multiplied after an activation, that went through one, that are cut apart.
    """

    origin: dict[int, frozenset[int]]
    gates: set[int] = field(default_factory=set)
    activated: set[int] = field(default_factory=set)
    split: set[int] = field(default_factory=set)


def _name_middle(context: Context, ups: list[Op], left: list[int], sums: dict[int, int]) -> None:
    """What lies between up and down, and with it which of the ups is the gate. sums: see `_updates`."""
    flow, parts = context.flow, context.parts
    units = {op.id: _unit(context, op) for op in ups}
    packed = {index for ops, _ in units.values() for index in ops}
    middle = _Middle({sums.get(flow.unit(op)[2], units[op.id][1]): frozenset({units[op.id][1]}) for op in ups})
    for index in left:
        if not parts.taken(index) and index not in packed and flow.live[index]:
            _name_one(context, flow.ops[index], middle)
    for op in ups:
        _, result = units[op.id]
        name = "up_gate_proj" if result in middle.split else "gate_proj" if result in middle.gates else "up_proj"
        _claim_unit(context, op, f"mlp.{name}", "weighted contraction that a later one depends on")


def _name_one(context: Context, op: Op, middle: _Middle) -> None:
    flow, parts = context.flow, context.parts
    sources = [middle.origin[value] for value in op.inputs if value in middle.origin]
    if not sources:
        return
    merged = frozenset().union(*sources)
    if flow.kind[op.id] == "select":
        middle.origin.update({value: frozenset({value}) for value in op.outputs})  # each part is a source of its own
        middle.split.update(merged)
        parts.claim([op.id], "mlp.split_up_gate", rule="cuts a fused projection apart")
        return
    middle.origin.update(dict.fromkeys(op.outputs, merged))
    norm = context.norm_of.get(op.id)
    if norm is not None:
        parts.claim(norm.ops, "mlp.sub_norm", rule="norm inside the feed-forward")
    elif op.name == "mul" and len(sources) == 2 and sources[0] != sources[1]:
        middle.gates.update(*(source for source in sources if source & middle.activated))
        parts.claim([op.id], "mlp.multiply", rule="product of two projections")
    elif flow.kind[op.id] == "view":
        parts.claim([op.id], "mlp.down_proj", rule="prepares the down projection")
    else:
        if flow.kind[op.id] != "plumb" and op.name != "clamp":  # what only bounds the numbers tells no gate
            middle.activated.update(merged)
        parts.claim([op.id], "mlp.activation", rule="element by element after the up projection")
