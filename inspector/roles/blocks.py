"""One residual region after another: which sublayer it is, its norms, its residual add, and the layer it belongs to."""

from __future__ import annotations

__all__ = ["AFFINE", "name_bottlenecks", "name_first_norms", "name_regions", "number_layers"]

from collections.abc import Collection, Iterable

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.experts import name_experts
from inspector.roles.feedforward import name_feedforward
from inspector.roles.layers import layers_of, opening
from inspector.roles.mixers import name_mixer, name_short_convolutions, name_state_writes, name_token_shifts
from inspector.roles.norms import Norm
from inspector.roles.trunk import Residual


def name_regions(context: Context) -> None:
    """Name every outer region that no attention has taken whole, then the adds and norms around it."""
    name_short_convolutions(context)
    name_token_shifts(context)
    name_state_writes(context)
    flow, parts = context.flow, context.parts
    for residual in context.residuals:
        parts.claim(residual.shortcut, "block.projection", rule="brings the stream to the width of what is added")
    for residual in sorted(context.residuals, key=lambda one: one.nested):
        if _fits_streams(context, residual):
            ops = [index for index in residual.region if flow.weighted[index]]
            parts.claim(ops, "block.projection", rule="from a block's own stream to the stream around it")
        elif not (name_experts(context, residual.region) or name_mixer(context, residual.region)):
            name_feedforward(context, residual.region)
    for residual in context.residuals:
        _name_norms(context, residual)
        _name_add(context, residual)


def _fits_streams(context: Context, residual: Residual) -> bool:
    """Whether a branch is one projection of another stream's end, and nothing else: a block has a stream of its own."""
    flow = context.flow
    weighted = [flow.ops[index] for index in residual.region if flow.weighted[index]]
    if len(weighted) != 1 or flow.strip(residual.branch) != flow.unit(weighted[0])[2]:
        return False
    source = flow.strip(flow.unit(weighted[0])[1])
    return any(source == other.result for other in context.residuals if other is not residual.parent)


def section_of(context: Context, residual: Residual) -> str:
    """The sublayer that a region is: what its ops were named, attention before feed-forward."""
    sections = _sections(context, residual)
    return next((name for name in _SUBLAYERS if name in sections), "block")


def _sections(context: Context, residual: Residual) -> set[str]:
    """The sections of what works in a region: a norm that sublayers share is named for the first of them."""
    parts = [context.parts[index] for index in residual.region]
    return {part.section for part in parts if part.role not in _NORMS} or {part.section for part in parts}


_NORMS = frozenset({"norm", "post_norm", "sub_norm"})


def _name_add(context: Context, residual: Residual) -> None:
    """The residual add, the adds of parallel sublayers inside it, and the scalings of branch and skip."""
    flow, parts = context.flow, context.parts
    section = section_of(context, residual)
    also: tuple[str, ...] = ()
    if section == "attention" and "mlp" in _sections(context, residual):  # one add for both: the block ends here
        section, also = "mlp", ("attention.residual",)
    ops = [residual.op, *_unpacking(context, residual.result), *_rows(context, residual)]
    parts.claim(ops, f"{section}.residual", also=also, rule="adds an ancestor back after a contraction")
    parts.claim(_scalings(context, residual), "block.scale", rule="scales what the stream brings, or the stream")
    for index in residual.region:
        op = flow.ops[index]
        if parts.taken(index) or not flow.live[index]:
            continue
        if op.name == "add" and len(flow.act_inputs(op)) == 2:
            parts.claim([index], f"{section}.residual", also=also, rule="sums parallel sublayers")
        elif op.name in ("mul", "div") and len(flow.act_inputs(op)) == 1:
            parts.claim([index], "block.scale", rule="scales the branch")


def _scalings(context: Context, residual: Residual) -> list[int]:
    """The arithmetic between the stream and the add, and between the sum and the stream it goes on as."""
    flow = context.flow
    found = []
    for start in flow.ops[residual.op].inputs:
        value = start
        while value not in (residual.skip, residual.branch) and (op := flow.maker(value)) is not None:
            acts = flow.act_inputs(op)
            if len(acts) != 1 or context.parts.taken(op.id) or op.id in context.norm_of:
                break
            if flow.kind[op.id] != "plumb":  # a cast joins what it prepares for
                found.append(op.id)
            value = acts[0]
    if residual.parent is not None:
        found.extend(_on_stream(context, residual.skip, residual.parent.result))
    found.extend(_scaled_after(context, residual))
    return [*found, *(bound for op in found for bound in _bounds(context, op))]


def _bounds(context: Context, index: int) -> list[int]:
    """What makes the bounds of an op that keeps a stream finite: they may hang on what is in the stream."""
    flow, op = context.flow, context.flow.ops[index]
    if len(op.inputs) < 2 or flow.bounding(op.inputs[0]) is not op:
        return []
    found, stack = set[int](), list(op.inputs[1:])
    while stack:
        maker = flow.maker(value := stack.pop())
        if maker is not None and value != op.inputs[0] and maker.id not in found:
            found.add(maker.id)
            stack += [item for item in maker.inputs if item != op.inputs[0]]
    return sorted(found)


def _scaled_after(context: Context, residual: Residual) -> list[int]:
    """What scales and shifts the sum, or its norm, before it is the stream; so does what leaves the last block."""
    flow = context.flow
    normed = _norm_after(context, residual)
    ops, value = list[int](), residual.result if normed is None else context.norm_of[normed[-1]].result
    bounded = flow.bounding(value)
    if bounded is not None and bounded.outputs[0] in context.trunk:
        return [bounded.id]
    while (op := flow.only_consumer(value)) is not None and op.name in AFFINE and len(flow.act_inputs(op)) == 1:
        ops.append(op.id)
        value = op.outputs[0]
        if value in context.trunk:
            return ops
    return []


AFFINE = frozenset({"mul", "div", "add", "sub"})


def _on_stream(context: Context, skip: int, before: int) -> list[int]:
    """The arithmetic between one sum, or its norm, and the next: scales and offsets of the stream, blanked padding."""
    flow = context.flow
    found = []
    for value in flow.stripping(skip):
        op = flow.maker(value)
        if op is None or value == before or value in context.norm_into:
            break
        if flow.kind[op.id] == "other":
            found.append(op.id)
    return found


def _unpacking(context: Context, value: int) -> list[int]:
    """Views that give the sum its axes back, where a block folded batch and sequence into one."""
    flow = context.flow
    return [
        op.id
        for op in flow.consumers(value)
        if flow.keeps_last(op) and flow.rank(op.outputs[0]) > flow.rank(op.inputs[0])
    ]


def _name_norms(context: Context, residual: Residual) -> None:
    """Norms of a region: at its start the sublayer's norm, at its end a post norm; after the add, a post norm too."""
    flow, parts = context.flow, context.parts
    section = section_of(context, residual)
    for index in residual.region:
        norm = context.norm_of.get(index)
        if norm is None or parts.taken(norm.ops[0]):
            continue
        ends = flow.strip(residual.branch) == norm.result or residual.branch == norm.result
        owner = section if ends else _reader(context, norm.result) or section
        inner = owner in ("ssm", "moe") and not ends and norm.source not in context.trunk
        role = "post_norm" if ends else "sub_norm" if inner else "norm"
        parts.claim(norm.ops, f"{owner}.{role}", rule="norm of a residual branch")
    after = _norm_after(context, residual)
    if after is not None:
        parts.claim(after, f"{section}.post_norm", rule="norm of the sum, which is the stream from here on")


def _norm_after(context: Context, residual: Residual) -> tuple[int, ...] | None:
    """The norm, or norms in a row, whose result carries the stream on: the next residual add brings it back."""
    value = residual.result
    ops: tuple[int, ...] = ()
    while (after := _norm_of(context, value)) is not None:
        value, ops = after.result, (*ops, *after.ops)
        if value in context.trunk:
            return ops
    return None


def _rows(context: Context, residual: Residual) -> list[int]:
    """Where only some tokens are summed: the ops that take them out of the stream and put them back."""
    flow = context.flow
    write = flow.maker(residual.result)
    if write is None or write.id == residual.op:
        return []
    cuts = [flow.maker(value) for value in flow.ops[residual.op].inputs if value != residual.branch]
    return [write.id, *(cut.id for cut in cuts if cut is not None and flow.kind[cut.id] == "select")]


def _norm_of(context: Context, value: int) -> Norm | None:
    """The norm that reads `value`, or its view that gives it its axes back."""
    flow = context.flow
    for source in (value, *(flow.ops[index].outputs[0] for index in _unpacking(context, value))):
        found = (context.norm_of.get(op.id) for op in flow.consumers(source))
        norm = next((norm for norm in found if norm is not None and norm.source == source), None)
        if norm is not None:
            return norm
    return None


def _reader(context: Context, value: int) -> str | None:
    """The section that reads `value`: of several side by side, the one that mixes tokens."""
    flow, parts = context.flow, context.parts
    stack: list[Op] = flow.consumers(value)
    found = set()
    for op in stack[:_MOST_READERS]:
        if parts.taken(op.id):
            found.add(parts[op.id].section)
        if flow.kind[op.id] in ("view", "plumb", "select"):
            stack.extend(user for out in op.outputs for user in flow.consumers(out))
    return next((section for section in _SUBLAYERS if section in found), None)


_MOST_READERS = 32
_SUBLAYERS = ("cross_attention", "attention", "moe", "ssm", "mlp")


def name_first_norms(context: Context) -> None:
    """Norms of a first block that brings nothing back."""
    parts = context.parts
    for norm in context.norms:
        owner = None if parts.taken(norm.ops[-1]) else _reader(context, norm.result)
        if owner is not None:
            parts.claim(norm.ops, f"{owner}.norm", rule="norm of what a sublayer reads")


def name_bottlenecks(context: Context) -> None:
    """What fits the stream to a block: projections between it and those of an attention."""
    flow, parts = context.flow, context.parts
    for index in list(parts.log):
        if not flow.weighted[index] or parts[index].section not in ("attention", "cross_attention"):
            continue
        ops: list[int] = []
        value = flow.unit(flow.ops[index])[1]
        before = context.norm_into.get(value)
        if before is not None and value not in context.trunk:
            value = before.source
        while (op := flow.maker(value)) is not None and not parts.taken(op.id) and value not in context.trunk:
            acts = flow.act_inputs(op)
            if len(acts) != 1 or op.id in context.norm_of:
                break
            ops.append(op.id)
            value = acts[0]
        if any(flow.weighted[op] for op in ops):
            parts.claim(ops, "block.projection", rule="between the stream and the projections of an attention")


def number_layers(context: Context) -> None:
    """Write the block's number on every op of its regions, and on what scales the stream behind them."""
    parts = context.parts
    outer = [residual for residual in context.residuals if not residual.nested]
    sections = [section_of(context, residual) for residual in outer]
    beside = set[int]()
    for residual, layer in zip(outer, layers_of(context, outer, sections), strict=True):
        scaled = _scaled_after(context, residual)
        bounds = (bound for op in scaled for bound in _bounds(context, op))
        after = (*(_norm_after(context, residual) or ()), *scaled, *bounds)
        ops = (*opening(context, residual), *residual.shortcut, *residual.region, residual.op, *after)
        beside.update(ops if layer is None else ())
        for index in ops:
            if parts.taken(index):
                parts.change(index, layer=layer)
    _spread(context, beside)


def _spread(context: Context, beside: Collection[int]) -> None:
    """Idle calls and control ops used by one block alone belong to that block; what lies beside the blocks to none."""
    _spread_back(context, beside, reversed(context.flow.ops))
    kept = _spread_to_states(context, beside)
    makers = [maker for index in kept for maker in _makers(context, context.flow.ops[index])]
    _spread_back(context, beside, sorted(makers, key=lambda op: -op.id))


def _spread_back(context: Context, beside: Collection[int], ops: Iterable[Op]) -> None:
    flow, parts = context.flow, context.parts
    for op in ops:
        if parts[op.id].layer is not None or not op.outputs or op.id in beside:
            continue
        if not flow.live[op.id]:
            maker = flow.maker(op.outputs[0])
            layers = {parts[maker.id].layer} if maker is not None else set()
        else:
            users = [user for value in op.outputs for user in flow.consumers(value)]
            makers = _makers(context, op)
            near = {parts[other.id].layer for other in (*makers, *users) if parts[other.id].path == parts[op.id].path}
            read = {parts[other.id].layer for other in users or makers}
            layers = near - {None} or (read if len(read) == 1 else read - {None})
            shared = parts[op.id].section in ("embedding", "head", "mask", "positions", "control")
            behind = parts[op.id].section == "layout" and not users  # what leaves the model is no block's
            if behind or (shared and not _serves_stage(context, op)):
                continue
        if len(layers) == 1 and None not in layers:
            parts.change(op.id, layer=layers.pop())


def _spread_to_states(context: Context, beside: Collection[int]) -> list[int]:
    """What nothing reads before the next run, a state, is kept by the block that made it. The ops that got a block."""
    flow, parts = context.flow, context.parts
    states, found = set[int](), list[int]()
    for op in reversed(flow.ops):
        users = [user.id for value in op.outputs for user in flow.consumers(value)]
        written = op.name == "copy" or parts[op.id].role in ("cache_update", "state_update")
        if states.issuperset(users) and (users or written):
            states.add(op.id)
    for index in sorted(states - set(beside)):
        if parts[index].layer is None and parts[index].section in _WITH_STATES:
            layers = {parts[maker.id].layer for maker in _makers(context, flow.ops[index])} - {None}
            if len(layers) == 1:
                parts.change(index, layer=layers.pop())
                found.append(index)
    return found


_WITH_STATES = frozenset({"attention", "cross_attention", "ssm", "mlp", "moe", "block"})


def _makers(context: Context, op: Op) -> list[Op]:
    """What a dead end continues: a window's trimmed cache belongs to the block that filled it."""
    found = (context.flow.maker(value) for value in op.inputs)
    return [maker for maker in found if maker is not None]


def _serves_stage(context: Context, op: Op) -> bool:
    """Whether a control op is named like the stage it feeds, in one block."""
    flow, parts = context.flow, context.parts
    users = [user for value in op.outputs for user in flow.consumers(value)]
    return bool(users) and all(parts[user.id].path == parts[op.id].path for user in users)
