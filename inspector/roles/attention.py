"""Attention, found by its anchor (a softmax between two products, or one fused kernel) and walked both ways.

Backwards from the scores to the projections of queries, keys and values; forwards from the weighted sum to the output
projection. No walk crosses the trunk.
"""

from __future__ import annotations

__all__ = ["find_attentions", "name_attention"]

from inspector.records import Op
from inspector.roles.context import Attention, Context
from inspector.roles.flow import FUSED_ATTENTION, Flow
from inspector.roles.operands import name_operands
from inspector.roles.outputs import name_output
from inspector.roles.scores import walk_scores
from inspector.roles.streams import name_read_by_attention

_PASSING = frozenset({"plumb", "view", "select", "join"})
_PASSING_NAMES = frozenset({"mul", "masked_fill", "sub", "pad", "where", "nan_to_num", "div"})

_MOST_STEPS = 24


def find_attentions(context: Context) -> list[Attention]:
    """Every attention in the trace, in order, with the ops between scores and weighted sum named."""
    found = []
    for op in context.flow.ops:
        if op.name == FUSED_ATTENTION:
            if not name_read_by_attention(context, op):
                found.append(_fused(context, op))
        elif op.outputs and context.flow.on_act(op.outputs[0]) and _is_softmax(context.flow, op):
            attention = _by_softmax(context, op)
            if attention is not None:
                found.append(attention)
    return found


def _is_softmax(flow: Flow, op: Op) -> bool:
    """A softmax, or an exponential that its own sum is taken out of, before (`x - logsumexp(x)`) or after it."""
    if op.name == "softmax":
        return True
    if op.name != "exp":
        return False
    before = flow.maker(op.inputs[0])
    if before is not None and before.name == "sub" and len(flow.act_inputs(before)) == 2:
        taken = flow.maker(before.inputs[1])
        if taken is not None and taken.name == "logsumexp" and taken.inputs[0] == before.inputs[0]:
            return True
    users = flow.consumers(op.outputs[0])
    sums = [user for user in users if user.name == "sum"]
    return bool(sums) and any(user.name == "div" and sums[0].outputs[0] in user.inputs for user in users)


def _fused(context: Context, op: Op) -> Attention:
    named = dict(op.operands)
    also = ["attention.scores", "attention.scale", "attention.softmax", "attention.weighted_sum"]
    if "attn_mask" in named or op.attribute("is_causal"):
        also.insert(2, "attention.mask")
    context.parts.claim([op.id], "attention.fused", also=tuple(also), rule="one kernel from scores to weighted sum")
    values = list(op.inputs)
    query, key, value = (named.get(name, values[index]) for index, name in enumerate(("query", "key", "value")))
    return Attention(op.id, query, key, value, op.outputs[0], op.id)


def _by_softmax(context: Context, softmax: Op) -> Attention | None:
    flow, parts = context.flow, context.parts
    between, product, probabilities = _to_weighted_sum(context, softmax.outputs[0])
    if product is None:
        return None
    walk = walk_scores(context, softmax)
    if walk is None:
        return None
    values = [value for value in flow.factors(product) if value != probabilities]
    parts.claim([softmax.id], "attention.softmax", rule="softmax between two products of activations")
    for op in between:
        role = _between_role(flow, op, walk.sinks)
        parts.claim([op.id], f"attention.{role}", rule="between softmax and weighted sum")
    parts.claim([product.id], "attention.weighted_sum", rule="probabilities times values")
    return Attention(softmax.id, walk.query, walk.key, values[0], product.outputs[0], walk.product.id, walk.key_axis)


def _between_role(flow: Flow, op: Op, sinks: bool) -> str:
    kind = flow.kind[op.id]
    if kind == "plumb" or op.name == "div":
        return "softmax"
    if op.name in ("masked_fill", "where"):
        return "mask"
    if kind == "select" and sinks:
        return "sink"  # what went to nowhere is dropped
    return "weighted_sum" if kind != "other" or op.name == "pad" else "dropout"


def _to_weighted_sum(context: Context, value: int) -> tuple[list[Op], Op | None, int]:
    """Forward from the probabilities to the product with the values: (ops between, that product, its operand)."""
    flow = context.flow
    between: list[Op] = []
    for _ in range(_MOST_STEPS):
        following = flow.consumers(value)
        product = next((op for op in following if flow.is_product(op)), None)
        if product is not None:
            return between, product, value
        step = next((op for op in following if flow.kind[op.id] in _PASSING or op.name in _PASSING_NAMES), None)
        if step is None or not step.outputs:
            break
        between.append(step)
        value = step.outputs[0]
    return between, None, value


def name_attention(context: Context, attention: Attention) -> None:
    """Name everything from the projections to the output projection."""
    name_operands(context, {"q": attention.query, "k": attention.key, "v": attention.value})
    name_output(context, attention.result)
