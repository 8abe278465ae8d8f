"""Ops that move or reshape and play no part of their own: they join the stage they prepare for, or the one they end."""

from __future__ import annotations

__all__ = ["name_idle", "name_leftovers"]

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import PAR

_MOVING = ("plumb", "view", "select", "join")
_LAYOUT = {"plumb": "layout.cast", "view": "layout.reshape", "select": "layout.reshape", "join": "layout.reshape"}


def name_leftovers(context: Context) -> None:
    """First by what follows (last ops first), then by what comes before, then as layout. Dead ends are said to be."""
    flow, parts = context.flow, context.parts
    _name_kept(context)
    _name_dead_ends(context)
    _name_on_stream(context)
    for index in reversed(parts.open()):
        op = flow.ops[index]
        users = [user for value in op.outputs for user in flow.consumers(value)]
        norms = {context.norm_of[user.id].result for user in users if user.id in context.norm_of}
        if flow.live[index] and flow.kind[index] in _MOVING and len(norms) < 2:  # it begins no one stage else
            _join(context, op, users)
    _name_behind_streams(context)
    for index in parts.open():
        op = flow.ops[index]
        if flow.live[index] and flow.kind[index] in _MOVING:
            makers = [flow.maker(value) for value in op.inputs if flow.on_act(value)]
            _join(context, op, [maker for maker in makers if maker is not None])
    for index in parts.open():
        if flow.live[index] and flow.kind[index] in _MOVING:
            name = "layout.contiguous" if flow.ops[index].name == "contiguous" else _LAYOUT[flow.kind[index]]
            parts.claim([index], name, rule="moves data between different parts")


def _name_behind_streams(context: Context) -> None:
    """What is cut or turned behind the last block is no part of it: it would be of another kind than the others."""
    flow, parts = context.flow, context.parts
    outer = [residual for residual in context.residuals if not residual.nested]
    parents = {id(residual.parent) for residual in outer}
    ends = {residual.result for residual in outer if id(residual) not in parents}
    ends |= {norm.result for norm in context.norms if norm.source in ends and norm.result in context.trunk}
    for index in parts.open():
        op = flow.ops[index]
        if not flow.live[index] or flow.kind[index] not in ("view", "select") or op.inputs[0] not in ends:
            continue
        pools = flow.kind[index] == "select" and flow.rank(op.outputs[0]) < flow.rank(op.inputs[0])
        parts.claim([index], "head.pooler" if pools else "layout.reshape", rule="reads the end of a stream")


def _name_dead_ends(context: Context) -> None:
    """What nothing reads any more (indices clamped in place for a bias that this model has not), or Python alone."""
    flow, parts = context.flow, context.parts
    for index in reversed(parts.open()):
        op = flow.ops[index]
        users = {parts[user.id].path for value in op.outputs for user in flow.consumers(value)}
        if not flow.live[index] or set(op.outputs) & flow.leaving or not users <= _ENDS:
            continue
        if not op.outputs or "control.branch" in users:
            parts.claim([index], "control.branch", rule="Python reads its result")
        else:
            parts.claim([index], "control.unused", rule="nothing reads its result")


def _name_on_stream(context: Context) -> None:
    """What is done to the stream between sublayers: learned scales and shifts, and another number of tokens.

    At the end of something that no rule knows they are part of that, and as unknown.
    """
    flow, parts = context.flow, context.parts
    for index in parts.open():
        op = flow.ops[index]
        acts = flow.act_inputs(op)
        if not flow.live[index] or len(acts) != 1 or not flow.values[op.outputs[0]].dtype.startswith(_NUMBERS):
            continue
        maker = flow.maker(flow.through(acts[0], ("plumb", "view")))
        if maker is not None and flow.kind[maker.id] not in _MOVING and not parts.taken(maker.id):
            continue
        learned = [value for value in op.inputs if value not in acts and flow.taint[value] & PAR]
        if op.name in _ARITHMETIC and learned:
            parts.claim([index], "block.scale", rule="scales or shifts by what was learned")
        elif op.name in _RESAMPLING:
            parts.claim([index], "block.resample", rule="makes another number of tokens")


_NUMBERS = ("float", "bfloat")
_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
_RESAMPLING = frozenset("avg_pool1d avg_pool2d max_pool1d max_pool2d repeat_interleave interpolate pad".split())


def _name_kept(context: Context) -> None:
    """What is handed out and comes back to no stream: states of the next step, kept beside keys and values."""
    flow, parts = context.flow, context.parts
    for value in sorted(flow.leaving):
        ops: list[int] = []
        frontier: set[int] = set()
        stack = [value]
        while stack and len(ops) < _MOST_KEPT:
            item = stack.pop()
            op = flow.maker(item)
            if op is None or parts.taken(op.id) or item in context.trunk:
                frontier.add(item)
            elif flow.on_act(item):
                ops.append(op.id)
                stack.extend(flow.act_inputs(op))
        if all(flow.kind[index] in _MOVING for index in ops):
            continue  # a window cut from keys or values is part of keeping them: it joins what it was cut from
        readers = {parts[op.id].section for item in frontier for op in flow.consumers(item) if parts.taken(op.id)}
        if ops and "attention" in readers:
            parts.claim(ops, "attention.cache_update", rule="handed out for the next step")
        elif ops and "ssm" in readers:
            parts.claim(ops, "ssm.state_update", rule="handed out for the next step")


_MOST_KEPT = 32
_ENDS = frozenset({"control.unused", "control.branch"})


def _join(context: Context, op: Op, neighbours: list[Op]) -> None:
    """Take the part of the neighbours when they agree on it."""
    parts = context.parts
    found = {(parts[other.id].path, parts[other.id].operand) for other in neighbours if parts.taken(other.id)}
    if len(found) == 1:
        path, operand = found.pop()
        parts.claim([op.id], path, operand, rule="moves data for its neighbour")


def name_idle(context: Context) -> None:
    """Calls that returned their operand as it was: dropout in eval mode, `contiguous` of what is contiguous."""
    flow, parts = context.flow, context.parts
    for index in parts.open():
        op = flow.ops[index]
        if flow.live[index] or not op.outputs:
            continue
        path, operand = _origin(context, op.outputs[0])
        if "dropout" in op.name:
            section = path.partition(".")[0]
            path, operand = (
                (f"{section}.dropout" if section in ("embedding", "attention", "cross_attention") else path),
                "",
            )
            path = "mlp.dropout" if section in ("mlp", "moe") else path
        parts.claim([index], path, operand, rule="returned its operand as it was")


def _origin(context: Context, value: int) -> tuple[str, str]:
    """The part of what made `value`, or else of what uses it."""
    flow, parts = context.flow, context.parts
    maker = flow.maker(value)
    if maker is not None and parts.taken(maker.id):
        return parts[maker.id].path, parts[maker.id].operand
    for op in flow.consumers(value):
        if parts.taken(op.id):
            return parts[op.id].path, parts[op.id].operand
    return "layout.contiguous", ""
