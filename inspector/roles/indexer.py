"""The choice of keys in sparse attention: small queries and keys score each other, and the best are kept.

It looks like an attention up to its scores, but a top-k stands where the softmax would: what it keeps becomes a mask,
or says which keys are fetched. Where keys are chosen by a score of their own, there is no product, only weights.
"""

from __future__ import annotations

__all__ = ["CHOICES", "name_indexer"]

from inspector.records import Op
from inspector.roles.context import Context

CHOICES = frozenset({"topk", "argmax", "argsort", "sort"})
_FETCHING = frozenset({"gather", "index_select", "take_along_dim", "embedding"})


def name_indexer(context: Context, ops: list[Op]) -> None:
    """Name `ops`, which end in a mask or in fetched keys and hold a choice."""
    flow, parts = context.flow, context.parts
    product = next((op for op in ops if flow.is_product(op)), None)
    sides = _projections(context, ops, product)
    chosen: set[int] = set()
    scored: set[int] = set()
    for op in ops:
        if op is product or scored & set(op.inputs):
            scored.update(op.outputs)
        if op.name in CHOICES and not chosen & set(op.inputs):
            chosen.update(op.outputs)  # each token's keys may be chosen by a call of its own
            role = "top_k"
        elif chosen & set(op.inputs):
            chosen.update(op.outputs)
            role = "gather" if op.name in _FETCHING else "mask"
        else:
            role = _before(context, op, sides, scores=not scored.isdisjoint(op.outputs))
        if role:
            unit = flow.unit(op)[0] if flow.weighted[op.id] else [op.id]
            parts.claim(unit, f"indexer.{role}", rule="chooses the keys that the attention sees")


def _before(context: Context, op: Op, sides: dict[int, str], *, scores: bool) -> str:
    """The role of an op before the choice."""
    flow = context.flow
    if flow.weighted[op.id]:
        return sides.get(op.id, "weights")
    if op.id in context.norm_of:
        return "norm"
    if op.id in context.rope_of:
        return "rope"
    if flow.kind[op.id] == "join" and any(flow.size(value) == 0 for value in op.inputs):
        return "cache_update"
    if flow.kind[op.id] in ("view", "plumb", "select"):
        return ""  # it joins what it prepares for
    return "scores" if scores else "weights"


def _projections(context: Context, ops: list[Op], product: Op | None) -> dict[int, str]:
    """Weighted op -> the factor of the first product that it makes."""
    flow = context.flow
    if product is None:
        return {}
    inside = {op.id for op in ops}
    found: dict[int, str] = {}
    for role, start in zip(("q_proj", "k_proj"), flow.factors(product), strict=False):
        stack = [start]
        while stack:
            maker = flow.maker(stack.pop())
            if maker is None or maker.id not in inside or maker.id in found:
                continue
            if flow.weighted[maker.id]:
                found[maker.id] = role
            else:
                stack.extend(flow.act_inputs(maker))
    return found
