"""Sequence mixers that are no attention: state-space models, linear attention, convolutions, recurrences, Fourier.

A feed-forward treats each token by itself. A region in which tokens meet without a softmax is a mixer. Its inside,
from the first op that brings tokens together to the last, is one declared `ssm.scan`; what goes in (projections,
convolution, step sizes and decays) and what comes out (gate, output projection, the state that is kept) is named.
"""

from __future__ import annotations

__all__ = ["name_mixer", "name_short_convolutions", "name_state_writes", "name_token_shifts"]

from dataclasses import dataclass, field

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import Flow

_MIXING = frozenset("cumsum cumprod scan associative_scan logcumsumexp".split())
_MOVING = ("view", "plumb", "select", "join")
_MOST_OPS = 400
_FEWEST_STEPS = 3


@dataclass(slots=True)
class _Mixer:
    """Ops of one mixer by what they depend on. core: on a meeting of tokens, and a meeting on them."""

    ops: list[Op]
    core: set[int] = field(default_factory=set)
    behind: set[int] = field(default_factory=set)  # depend on a meeting
    ahead: set[int] = field(default_factory=set)  # a meeting depends on them
    convolved: set[int] = field(default_factory=set)  # depend on the convolution
    leads: set[int] = field(default_factory=set)  # the convolution depends on them


def name_short_convolutions(context: Context) -> None:
    """A convolution that is added to what it convolves: part of the branch it stands in, whatever sublayer that is."""
    flow, parts = context.flow, context.parts
    for op in flow.ops:
        if not flow.is_depthwise(op) or parts.taken(op.id):
            continue
        ops, value = [op.id], op.outputs[0]
        while (after := flow.only_consumer(value)) is not None and flow.kind[after.id] in ("plumb", "view", "select"):
            ops.append(after.id)
            value = after.outputs[0]
        if after is not None and after.name == "add":
            before = _back_to(flow, flow.act_inputs(op)[0], set(after.inputs) - {value})
            if before is not None:
                parts.claim([*before, *ops, after.id], "block.conv", rule="a convolution added to what it convolves")


def name_token_shifts(context: Context) -> None:
    """Each token mixed with the one before it: the sequence padded by one and cut by one, and weights for the two."""
    flow, parts = context.flow, context.parts
    for op in flow.ops:
        pad = op.attribute("pad")
        if op.name != "pad" or not isinstance(pad, tuple) or sum(item for item in pad if type(item) is int) != 0:
            continue
        if parts.taken(op.id) or not any(pad) or not flow.on_act(op.outputs[0]):
            continue
        stack = [op]
        while stack:
            current = stack.pop()
            if flow.weighted[current.id] or parts.taken(current.id) or current.id in context.norm_of:
                continue
            parts.claim([current.id], "block.shift", rule="mixes each token with the one before")
            if current.name == "add":
                makers = [flow.maker(value) for value in current.inputs]
                stack.extend(maker for maker in makers if maker is not None and maker.name == "mul")
            else:
                stack.extend(user for value in current.outputs for user in flow.consumers(value))


def name_state_writes(context: Context) -> None:
    """What is copied into fresh memory that nothing reads again: a state for the next step."""
    flow, parts = context.flow, context.parts
    for op in flow.ops:
        if op.name not in ("copy", "setitem") or not flow.live[op.id] or parts.taken(op.id):
            continue
        target = flow.maker(op.inputs[0])
        dead = not any(flow.consumers(value) or value in flow.leaving for value in op.outputs)
        if dead and target is not None and not target.operands and flow.on_act(op.outputs[0]):
            ops, value = [op.id, target.id], flow.act_inputs(op)[0]
            while (before := flow.maker(value)) is not None and flow.only_consumer(value) is not None:
                if flow.kind[before.id] not in _MOVING or parts.taken(before.id):
                    break
                ops.append(before.id)
                value = before.inputs[0]
            parts.claim(ops, "ssm.state_update", rule="copied where nothing reads it in this step")


def _back_to(flow: Flow, value: int, ends: set[int]) -> list[int] | None:
    """The turns and masks back from `value` to one of `ends`."""
    ops: list[int] = []
    while value not in ends:
        before = flow.maker(value)
        if before is None or len(flow.act_inputs(before)) != 1 or flow.weighted[before.id] or len(ops) > 8:
            return None
        ops.append(before.id)
        value = flow.act_inputs(before)[0]
    return ops


def name_mixer(context: Context, region: list[int]) -> bool:
    """Name the ops of `region` when tokens meet in it. Returns whether they do."""
    flow, parts = context.flow, context.parts
    ops = [flow.ops[index] for index in region if not parts.taken(index) and flow.live[index]]
    if not (any(_mixes(flow, op) or flow.is_depthwise(op) for op in ops) or _steps(ops)):
        return False
    mixer = _trace(flow, ops)
    weighted = [op for op in ops if context.projects(op.id) and not flow.is_depthwise(op)]
    for op in weighted:
        role = _projection(mixer, op, weighted)
        ops_of, _, result = flow.unit(op)
        bias = flow.adds_weight(result)
        unit = ops_of if bias is None else [*ops_of, bias.id]
        parts.claim(unit, f"ssm.{role}", rule="projection of a region in which tokens meet")
    for op in ops:
        if op.id not in context.norm_of and not parts.taken(op.id):
            parts.claim([op.id], f"ssm.{_role(flow, mixer, op)}", rule="inside a region in which tokens meet")
    _name_state(context, region)
    return True


def _mixes(flow: Flow, op: Op) -> bool:
    return op.name in _MIXING or op.name.startswith("fft") or flow.is_product(op)


def _steps(ops: list[Op]) -> set[int]:
    """Ops that take one step out of a sequence, where several steps are taken: a recurrence in a loop."""
    taken: dict[int, set[int]] = {}
    for op in ops:
        key = op.attribute("key")
        if op.name == "getitem" and isinstance(key, tuple) and any(type(item) is int for item in key[1:]):
            taken.setdefault(op.inputs[0], set()).add(op.id)
    return {index for steps in taken.values() if len(steps) >= _FEWEST_STEPS for index in steps}


def _trace(flow: Flow, ops: list[Op]) -> _Mixer:
    """Which ops lie before, between and after the meetings of tokens."""
    mixer = _Mixer(ops)
    meetings = {op.id for op in ops if _mixes(flow, op)} | _steps(ops)
    convolutions = {op.id for op in ops if flow.is_depthwise(op)}
    mixer.behind, mixer.convolved = _after(ops, meetings), _after(ops, convolutions)
    mixer.ahead, mixer.leads = _before(ops, meetings), _before(ops, convolutions)
    mixer.core = meetings | (mixer.behind & mixer.ahead)
    return mixer


def _after(ops: list[Op], start: set[int]) -> set[int]:
    made: set[int] = set()
    found = set()
    for op in ops:
        reached = not made.isdisjoint(op.inputs)
        if reached:
            found.add(op.id)
        if reached or op.id in start:
            made.update(op.outputs)
    return found


def _before(ops: list[Op], start: set[int]) -> set[int]:
    wanted: set[int] = set()
    found = set()
    for op in reversed(ops):
        reached = not wanted.isdisjoint(op.outputs)
        if reached:
            found.add(op.id)
        if reached or op.id in start:
            wanted.update(op.inputs)
    return found


def _projection(mixer: _Mixer, op: Op, weighted: list[Op]) -> str:
    """In: nothing has met yet. Out: nothing else is projected after it. Between: step sizes, decays and the like."""
    if op.id not in mixer.behind | mixer.convolved:
        return "in_proj"
    return "parameters" if op.id in mixer.ahead or any(other.id > op.id for other in weighted) else "out_proj"


def _role(flow: Flow, mixer: _Mixer, op: Op) -> str:
    if op.name.startswith("fft") or op.name in ("real", "imag"):
        return "transform"
    if flow.is_depthwise(op):
        return "conv"
    if op.id in mixer.core:
        return "scan"
    if op.id in mixer.behind:
        return _after_core(flow, mixer, op)
    if _follows_convolution(flow, op):
        return "activation" if flow.kind[op.id] == "other" else "conv"
    if op.id in mixer.convolved:
        return "scan" if mixer.core else "gate"
    return _before_core(flow, mixer, op)


def _after_core(flow: Flow, mixer: _Mixer, op: Op) -> str:
    """Behind the last meeting: a product with what did not meet gates the output."""
    acts = flow.act_inputs(op)
    if op.name == "mul" and len(acts) == 2:
        makers = [flow.maker(value) for value in acts]
        fresh = [maker is None or maker.id not in mixer.behind | mixer.core for maker in makers]
        return "gate" if any(fresh) else "scan"
    return "scan"


def _before_core(flow: Flow, mixer: _Mixer, op: Op) -> str:
    """Ahead of any meeting: cuts and turns of what was projected, step sizes and decays, the gate's own way."""
    moves = flow.kind[op.id] in _MOVING
    if op.id in mixer.leads:
        return "split" if moves else "mask" if len(flow.act_inputs(op)) == 1 and op.name == "mul" else "gate"
    if op.id in mixer.ahead:
        return "split" if moves else "parameters"
    return "gate" if mixer.core or mixer.leads else "parameters"


def _follows_convolution(flow: Flow, op: Op) -> bool:
    """The cut to the sequence's length, the turn and the non-linearity right after the convolution."""
    if not op.inputs or len(flow.act_inputs(op)) != 1:
        return False
    moves = flow.kind[op.id] in ("plumb", "select", "view")
    if not (moves or op.name in ("silu", "gelu", "relu", "sigmoid", "tanh")):
        return False
    maker = flow.maker(flow.through(flow.act_inputs(op)[0], ("plumb", "view", "select")))
    return maker is not None and flow.is_depthwise(maker)


def _name_state(context: Context, region: list[int]) -> None:
    """What is computed from the region and comes back to no stream: it is kept for the next step."""
    flow, parts = context.flow, context.parts
    inside = {index for residual in context.residuals for index in (*residual.region, residual.op)} | set(region)
    stack = [value for index in region for value in flow.ops[index].outputs]
    seen: set[int] = set()
    while stack and len(seen) < _MOST_OPS:
        for op in flow.consumers(stack.pop()):
            if op.id in inside or op.id in seen or parts.taken(op.id) or op.id in context.norm_of:
                continue
            if any(value in context.trunk for value in (*op.outputs, *op.inputs)):
                continue
            seen.add(op.id)
            stack.extend(op.outputs)
    parts.claim(sorted(seen), "ssm.state_update", rule="computed from the mixer, and back to no stream")
