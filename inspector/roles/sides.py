"""What an attention reads besides queries, keys and values: gates, biases made from tokens, the choice of keys, sinks.

The walks between projections, scores and output follow one operand. The other operand of a product with the output is a
gate, of a sum with the scores a bias that the tokens make themselves; where a choice of the best lies behind it, it
hides the keys that were not chosen.
"""

from __future__ import annotations

__all__ = ["name_sides"]

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.decided import is_decided
from inspector.roles.indexer import CHOICES, name_indexer
from inspector.roles.operands import name_operands
from inspector.roles.scores import name_product

_MOST_OPS = 4096
_MOVING = frozenset({"split_heads", "split_qkv", "cache_update", "repeat_kv", "merge_heads"})
_SCORES = frozenset({"scores", "scale", "softcap", "position_bias", "mask"})


def name_sides(context: Context) -> None:
    """Name the side operands of every attention that is named so far."""
    flow, parts = context.flow, context.parts
    for index in parts.log:  # it grows while sides are named, and those have sides too
        consumer = flow.ops[index]
        if flow.weighted[index] or index in context.norm_of or parts[index].section != "attention":
            continue
        for value in flow.act_inputs(consumer):
            ops = _behind(context, value)
            chosen = parts[index].role in _MOVING and any(op.name in CHOICES for op in ops)
            indexes = chosen or flow.values[value].dtype.startswith("int")
            if ops and (not indexes or any(map(flow.is_product, ops))):
                _name_side(context, consumer, ops)


def _behind(context: Context, start: int) -> list[Op]:
    """Ops without a part that make `start`, back to the trunk, its norms, and what the projections read."""
    flow, parts = context.flow, context.parts
    ops: set[int] = set()
    seen, stack = {start}, [start]
    while stack and len(ops) < _MOST_OPS:
        value = stack.pop()
        op = flow.maker(value)
        if op is None or value in context.trunk or parts.taken(op.id) or _is_read(context, value):
            continue
        norm = context.norm_of.get(op.id)
        if norm is not None and norm.source in context.trunk:
            continue
        ops.add(op.id)
        for item in flow.act_inputs(op):
            if item not in seen:
                seen.add(item)
                stack.append(item)
    return [flow.ops[index] for index in sorted(ops)]


def _is_read(context: Context, value: int) -> bool:
    """Whether a projection of an attention reads `value`."""
    flow, parts = context.flow, context.parts
    users = (op for op in flow.consumers(value) if flow.weighted[op.id])
    return any(parts.taken(op.id) and parts[op.id].section == "attention" for op in users)


def _name_side(context: Context, consumer: Op, ops: list[Op]) -> None:
    parts = context.parts
    role = parts[consumer.id].role
    if _name_products(context, ops, role in _SCORES):
        if role == "lambda":  # the sum of the parts is no second map's weight
            parts.change(consumer.id, path="attention.weighted_sum")
        return
    if role in ("mask", "position_bias", "fused") and any(op.name in CHOICES for op in ops):
        name_indexer(context, ops)
        if role == "position_bias":
            parts.change(consumer.id, path="attention.mask")
    elif role == "mask" and any(is_decided(context.flow, value) for op in ops for value in op.outputs):
        made = [op.id for op in ops if not context.flow.weighted[op.id]]
        parts.claim(made, "mask.build", rule="decides from the tokens who may look at whom")
    elif role in ("position_bias", "fused"):
        _claim(context, ops, "position_bias", "a bias of the scores that the tokens make")
    elif role == "gate" and _reads_scores(context, ops):
        _claim(context, ops, "sink", "what the scores leave to nowhere")
        parts.change(consumer.id, path="attention.sink")
    elif role == "lambda" and any(op.name.startswith("conv") for op in ops):
        _claim(context, ops, "conv", "a convolution of the values, added to the heads' output")
        parts.change(consumer.id, path="attention.conv")
    elif role != "merge_heads":
        _claim(context, ops, role, f"makes the other operand of the {role}")


def _name_products(context: Context, ops: list[Op], scoring: bool) -> bool:
    """More scores, or more sums of values: attention in parts (bands, blocks, global tokens) that are put together.

    scoring: whether scores read the side; a product without probabilities is another mixer's otherwise.

    Returns whether there was a product of the attention's own among `ops`.
    """
    flow, parts = context.flow, context.parts
    products = [op for op in ops if flow.is_product(op) and not parts.taken(op.id)]
    if not products or any(op.name in CHOICES for op in ops):
        return False
    found = []
    for product in products:
        makers = [
            flow.maker(flow.through(value, ("plumb", "view", "select", "join"))) for value in flow.factors(product)
        ]
        summed = [maker is not None and parts[maker.id].role in _PROBABILITIES for maker in makers]
        if any(summed):
            parts.claim([product.id], "attention.weighted_sum", rule="probabilities times values, of one part")
            name_operands(context, {"v": flow.factors(product)[summed.index(False)]})
        elif scoring:
            walk = name_product(context, product)
            name_operands(context, {"q": walk.query, "k": walk.key})
        else:
            continue
        found.append(product)
    if found:
        after = [op for op in ops if op.id > found[0].id]
        _claim(context, after, parts[found[-1].id].role, "between the parts of one attention")
    return bool(found)


_PROBABILITIES = frozenset({"softmax", "dropout", "weighted_sum"})


def _claim(context: Context, ops: list[Op], role: str, rule: str) -> None:
    for op in ops:
        unit = context.flow.unit(op)[0] if context.flow.weighted[op.id] else [op.id]
        context.parts.claim(unit, f"attention.{role}", rule=rule)


def _reads_scores(context: Context, ops: list[Op]) -> bool:
    """Whether the ops begin at scores that a softmax takes too."""
    flow, parts = context.flow, context.parts
    makers = [flow.maker(value) for op in ops for value in flow.act_inputs(op)]
    return any(maker is not None and parts[maker.id].role in _SCORES for maker in makers)
