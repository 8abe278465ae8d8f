"""Several residual streams side by side (hyper-connections): each sublayer reads a mixture of them and writes to all.

The stream has one axis more than a sublayer takes in. A read is a sum over that axis of the streams times coefficients
that the streams make themselves; a write is the sublayer's output times coefficients, and what the streams give each
other. From the read on, the rules see one stream again.
"""

from __future__ import annotations

__all__ = ["name_alternating", "name_copies", "name_ends", "name_read_by_attention", "name_streams"]

from collections.abc import Container

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.embeddings import name_stem
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


def name_ends(context: Context) -> None:
    """Where several streams become one again: their mean after the last block."""
    flow, parts = context.flow, context.parts
    for value in sorted(value for value in context.trunk if flow.rank(value) > 3):
        for op in flow.consumers(value):
            if op.name in ("mean", "sum") and flow.rank(op.outputs[0]) == flow.rank(value) - 1:
                parts.claim([op.id], "block.stream_read", rule="makes one stream of several")


def name_copies(context: Context) -> None:
    """Where one stream becomes several: copies before the first block, side by side or along the width."""
    flow, parts = context.flow, context.parts
    for value in sorted(context.trunk):
        op = flow.maker(flow.through(value, ("plumb",)))
        if op is None or op.name not in _COPYING or flow.weight(op.inputs[0]) is not None:
            continue
        if flow.on_act(op.inputs[0]) and flow.size(value) > flow.size(op.inputs[0]):
            parts.claim([op.id], "block.stream_write", rule="copies one stream to several")


_COPYING = frozenset({"repeat", "expand", "repeat_interleave"})


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
        _name_merging(context, residual.result)


def _name_merging(context: Context, last: int) -> None:
    """After the last correction the streams are averaged; what is still added to them before that is no head."""
    flow = context.flow
    before, shape = flow.producer[last], flow.values[last].shape
    sums = {residual.op for residual in context.residuals}
    made, ops = {last}, []
    for op in flow.ops[0 if before is None else before + 1 :]:
        if made.isdisjoint(op.inputs):
            continue
        made.update(op.outputs)
        ops.append(op)
        if op.id in sums:
            return
        if op.name in ("mean", "sum") and flow.values[op.outputs[0]].shape == shape[1:]:
            _claim_merging(context, ops, shape)
            return


def _claim_merging(context: Context, ops: list[Op], shape: tuple[int, ...]) -> None:
    """Up to the last time the streams stand together, before they are stacked for the mean: beside the blocks."""
    flow, mean = context.flow, ops[-1]
    stacked = [op.id for op in ops if flow.values[op.outputs[0]].shape == shape and op.outputs[0] not in mean.inputs]
    together = max(stacked, default=-1)
    _claim(context, [op.id for op in ops if op.id <= together], "adapter", "beside the block's sublayers")
    _claim(context, [op.id for op in ops if op.id > together], "stream_read", "makes one stream of several")


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
    ops = _between(context, result, _stem_of(context, value))
    _claim(context, ops, "stream_read", "a learned query over states of several depths")
    context.trunk.update(recast(flow, result))
    return True


def _stem_of(context: Context, value: int) -> set[int]:
    """The state among those stacked in `value` that is made of lookups, before any attention: it is named as a stem."""
    flow = context.flow
    found, stack = set(), [value]
    while stack:
        item = stack.pop()
        norm = context.norm_into.get(item)
        op = flow.maker(item)
        if norm is not None and item == value:
            stack.append(norm.source)
            continue
        if op is not None and flow.kind[op.id] in ("plumb", "view", "join"):
            stack.extend(flow.act_inputs(op))
            continue
        ops = [flow.ops[index] for index in _between(context, item, set())]
        makers = [flow.maker(value) for op in ops for value in op.inputs]
        if ops and not any(maker is not None and context.parts.taken(maker.id) for maker in makers):
            name_stem(context, item)
            found.add(item)
    return found


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
