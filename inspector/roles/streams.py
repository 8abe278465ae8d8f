"""Several residual streams side by side (hyper-connections): each sublayer reads a mixture of them and writes to all.

The stream has one axis more than a sublayer takes in. A read is a sum over that axis of the streams times coefficients
that the streams make themselves; a write is the sublayer's output times coefficients, and what the streams give each
other. From the read on, the rules see one stream again.
"""

from __future__ import annotations

__all__ = ["name_alternating", "name_read_by_attention", "name_streams"]

from collections.abc import Container

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import Flow
from inspector.roles.wide import reads_of, recast


def name_streams(context: Context) -> None:
    """Name what reads from and writes to several streams; what was read joins the trunk."""
    flow = context.flow
    wide = sorted(value for value in context.trunk if flow.rank(value) > 3)
    if not wide:
        return
    reads = {value: source for source in wide for value in reads_of(flow, source)}
    read = set(reads.values())
    for value, source in reads.items():
        _claim(context, _between(context, value, {source}), "stream_read", "mixes the streams for a sublayer")
        context.trunk.update(recast(flow, value))
    for residual in context.residuals:
        if residual.nested or residual.skip not in read:
            continue
        inner = _after_read(flow, reads, residual.region)
        weighing = [op for op in residual.region if op not in inner and flow.weight(flow.ops[op].outputs[0]) is None]
        _claim(context, weighing, "stream_write", "weighs what is written")
        _claim(context, _products(context, inner, residual.region), "stream_write", "writes to every stream")
        for value in flow.ops[residual.op].inputs:
            if value != residual.branch:
                ops = _between(context, value, {residual.skip})
                _claim(context, ops, "stream_write", "what the streams give each other")


def name_alternating(context: Context) -> None:
    """Streams stacked before the batch, of which one goes through the sublayers and corrects the others (AltUp)."""
    flow, parts = context.flow, context.parts
    for residual in context.residuals:
        if residual.nested or flow.rank(residual.result) != 4:
            continue
        picks = [op for value in (residual.skip, residual.result) for op in _picks(flow, value)]
        if not picks:
            continue
        _claim(context, [*residual.region, residual.op], "stream_write", "what the streams give each other")
        for op in picks:
            parts.claim([op.id], "block.stream_read", rule="one of several streams")
            context.trunk.update(recast(flow, op.outputs[0]))


def _picks(flow: Flow, value: int) -> list[Op]:
    """The ops that take one stream out of those stacked along the first axis."""
    users = [op for alias in recast(flow, value) for op in flow.consumers(alias)]
    return [op for op in users if op.name == "getitem" and type(op.attribute("key")) is int]


def name_read_by_attention(context: Context, op: Op) -> bool:
    """A sublayer that takes in what a learned query picks from the states of several depths: attention over layers.

    The states are stacked beside one another, and are keys and values alike; no token meets another.
    """
    flow = context.flow
    query, key, value = flow.factors(op)[:3]
    if flow.on_act(query) or key != value:
        return False
    result = op.outputs[0]
    after = flow.only_consumer(result)
    while after is not None and flow.kind[after.id] in ("plumb", "view", "select"):
        result = after.outputs[0]
        after = flow.only_consumer(result)
    _claim(context, _between(context, result, set()), "stream_read", "a learned query over states of several depths")
    context.trunk.update(recast(flow, result))
    return True


def _between(context: Context, start: int, ends: set[int]) -> list[int]:
    """Ops on the activation plane that make `start`, back to `ends` or the trunk."""
    flow = context.flow
    ops: set[int] = set()
    stack = [start]
    while stack:
        value = stack.pop()
        op = flow.maker(value)
        if op is None or op.id in ops or value in ends or value in context.trunk or context.parts.taken(op.id):
            continue
        ops.add(op.id)
        stack.extend(flow.act_inputs(op))
    return sorted(ops)


def _after_read(flow: Flow, reads: Container[int], region: list[int]) -> set[int]:
    """The ops of a region that work on what was read, and not on the streams alone."""
    made: set[int] = set()
    found = set()
    for index in region:
        op = flow.ops[index]
        if any(value in reads or value in made for value in op.inputs):
            found.add(index)
            made.update(op.outputs)
    return found


def _products(context: Context, inner: set[int], region: list[int]) -> list[int]:
    """The products of the sublayer's output with coefficients that the streams alone make."""
    flow = context.flow
    outer = set(region) - inner
    found = []
    for index in sorted(inner):
        op = flow.ops[index]
        coefficients = [value for value in op.inputs if value not in context.trunk and _behind(flow, value) in outer]
        if op.name == "mul" and coefficients:
            found.append(index)
    return found


def _behind(flow: Flow, value: int) -> int | None:
    return flow.producer[flow.through(value, ("plumb", "view"))]


def _claim(context: Context, ops: list[int], role: str, rule: str) -> None:
    for index in ops:
        norm = context.norm_of.get(index)
        context.parts.claim(norm.ops if norm is not None else [index], f"block.{role}", rule=rule)
