"""From the softmax back to query times key: scale, mask, position bias, softcap, sinks."""

from __future__ import annotations

__all__ = ["ScoreWalk", "name_product", "walk_scores"]

from typing import NamedTuple

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.decided import is_decided
from inspector.roles.flow import Flow
from inspector.roles.operands import turns_last

_CHOICES = frozenset(
    "le lt ge gt eq ne where masked_fill tril triu logical_and logical_not logical_or bitwise_and bitwise_not".split()
)
_HIDDEN = -1e4
"""A float mask hides with numbers far below any score, or knows only zero and one number below it."""


_MOST_STEPS = 48


class ScoreWalk(NamedTuple):
    """Operands of the product that the scores come from. key_axis: the axis of the keys, counted from the right.

    sinks: whether a column was joined to the scores that no key made.
    """

    query: int
    key: int
    product: Op
    key_axis: int
    sinks: bool


def walk_scores(context: Context, softmax: Op) -> ScoreWalk | None:
    """Name what lies between a softmax and the product it came from; None when it came from none."""
    flow, parts = context.flow, context.parts
    steps: list[tuple[Op, str]] = []
    value = softmax.inputs[0]
    for _ in range(_MOST_STEPS):
        op = flow.maker(value)
        if op is None:
            return None
        if flow.is_product(op):
            for step, role in steps:
                parts.claim([step.id], f"attention.{role}", rule="between query times key and softmax")
            axis = _key_axis(context, softmax, [step for step, _ in steps])
            return name_product(context, op, axis, sinks=any(role == "sink" for _, role in steps))
        value = _back(context, op, steps)
        if value < 0:
            return None
    return None


def _back(context: Context, op: Op, steps: list[tuple[Op, str]]) -> int:
    """One step towards the product: the activation operand of `op`, which is noted with its role. -1: a dead end."""
    flow = context.flow
    acts = flow.act_inputs(op)
    if not acts or flow.weighted[op.id]:
        return -1
    role = _role(context, op, acts)
    if role is None:
        return -1
    if role == "softcap":
        _take_cap(steps)
    if op.name == "tanh":
        cap = flow.maker(acts[0])
        if cap is not None and cap.name in ("div", "mul") and len(flow.act_inputs(cap)) == 1:
            steps.append((op, role))
            steps.append((cap, "softcap"))
            return flow.act_inputs(cap)[0]
    steps.append((op, role))
    return _main_operand(context, acts)


def _main_operand(context: Context, acts: list[int]) -> int:
    """Of several activations the one that leads to a product of queries and keys."""
    flow = context.flow
    for value in acts:
        probe = value
        for _ in range(6):
            op = flow.maker(probe)
            if op is None:
                break
            if flow.is_product(op):
                return value
            below = flow.act_inputs(op)
            if not below:
                break
            probe = below[0]
    return acts[0]


def _take_cap(steps: list[tuple[Op, str]]) -> None:
    """The multiplication after tanh belongs to the softcap."""
    if steps and steps[-1][1] == "scale":
        steps[-1] = (steps[-1][0], "softcap")


def _role(context: Context, op: Op, acts: list[int]) -> str | None:
    flow = context.flow
    kind = flow.kind[op.id]
    others = [value for value in op.inputs if not flow.on_act(value)]
    if op.name == "tanh":
        return "softcap"
    if kind == "plumb":
        return "softmax"
    if kind == "join" and (op.name != "cat" or len(acts) > 1):
        return "scores"  # scores of several parts, put together: bands, blocks, global tokens
    if kind in ("view", "select") or op.name == "pad":
        return "scores"
    if op.name in ("mul", "div"):
        return "scale"
    if op.name in ("masked_fill", "where", "masked_fill_"):
        return "mask"
    if op.name == "sub" and len(acts) == 2:
        _claim_maximum(context, acts)
        return "softmax"
    if op.name in ("add", "sub", "rsub"):
        if others or len(acts) < 2:
            return additive_role(context, others[0]) if others else "scale"
        aside = next((value for value in acts if value != _main_operand(context, acts)), acts[0])
        return "mask" if is_decided(flow, aside) else "position_bias"
    if op.name == "cat":
        return "sink"
    if op.name in ("clamp", "nan_to_num", "max", "maximum"):
        return "mask"
    return None


def _claim_maximum(context: Context, acts: list[int]) -> None:
    """The row's maximum that is taken off before the exponential."""
    for value in acts:
        op = context.flow.maker(value)
        if op is not None and op.name in ("max", "logsumexp"):
            context.parts.claim([op.id], "attention.softmax", rule="the row's maximum, taken off before the softmax")


def additive_role(context: Context, value: int) -> str:
    """Whether what is added to the scores hides tokens or prefers places."""
    flow = context.flow
    known = context.concrete(value) or context.concrete(flow.through(value, ("plumb", "view")))
    if known is not None:
        numbers = set(known.values)
        hides = any(number <= _HIDDEN for number in numbers) or (len(numbers) == 2 and max(numbers) == 0)
        return "mask" if hides or numbers == {0} else "position_bias"
    return "mask" if _comes_from_choice(flow, value) else "position_bias"


def _comes_from_choice(flow: Flow, value: int) -> bool:
    """Whether a comparison or a selection lies behind `value`: what hides is decided, what prefers is computed."""
    seen, stack = {value}, [value]
    while stack:
        op = flow.maker(stack.pop())
        if op is None:
            continue
        if op.name in _CHOICES:
            return True
        for item in op.inputs:
            if item not in seen and not flow.on_act(item):
                seen.add(item)
                stack.append(item)
    return False


def _key_axis(context: Context, softmax: Op, steps: list[Op]) -> int:
    """The axis along which a query's probabilities sum to one: that is where the keys are."""
    rank = context.flow.rank(softmax.inputs[0])
    dim = softmax.attribute("dim", -1)
    axis = dim % rank - rank if isinstance(dim, int) and rank else -1
    turns = sum(context.flow.kind[op.id] == "view" and turns_last(context.flow, op) for op in steps)
    return {-1: -2, -2: -1}.get(axis, axis) if turns % 2 else axis


def _left_holds(op: Op, axis: int) -> bool:
    """Whether the first factor of a product carries axis `axis` (from the right) of its result."""
    equation = op.attribute("args")
    text = equation[0] if isinstance(equation, tuple) and equation else op.attribute("equation")
    if op.name == "einsum" and isinstance(text, str) and "->" in text and "." not in text:
        terms, result = text.replace(" ", "").split("->")
        left, right = terms.split(",")[:2]
        return result[axis] in left and result[axis] not in right
    return axis == -2 if op.name != "einsum" else False


def name_product(context: Context, op: Op, key_axis: int = -1, *, sinks: bool = False) -> ScoreWalk:
    """Name a product of queries and keys, and tell the one from the other."""
    flow = context.flow
    factors = [value for value in flow.factors(op) if flow.on_act(value)]
    query, key = factors[:2]
    if _left_holds(op, key_axis):
        query, key = key, query
    also = []
    if op.name == "baddbmm":
        added = dict(op.operands).get("input")  # not there where it is added times zero
        if added is not None and not flow.on_act(added):
            also.append(f"attention.{additive_role(context, added)}")
        if op.attribute("alpha", 1) != 1:
            also.append("attention.scale")
    context.parts.claim(
        [op.id], "attention.scores", also=tuple(also), rule="product of two activations under a softmax"
    )
    return ScoreWalk(query, key, op, key_axis, sinks)
