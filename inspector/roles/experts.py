"""A mixture of experts in a region: router, choice, dispatch, the experts themselves, and the sum of their answers.

Anchored on the choice: a top-k (or arg-max) over scores that one weighted contraction made. What depends on the choice
is dispatch until the first expert weight, combination after the last; what does not is the shared expert.
"""

from __future__ import annotations

__all__ = ["name_experts"]

from dataclasses import dataclass, field

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import Flow

_CHOICES = frozenset({"topk", "argmax", "max"})
_WEIGHING = frozenset("softmax sigmoid sum div mul add sub to pow clamp rsub exp abs maximum masked_fill".split())
"""What turns chosen scores into weights. Whatever else follows the choice moves tokens."""

_BLANKING = frozenset({"masked_fill"})
"""Rows that belong to no expert are blanked: a grouped product leaves in them whatever memory held."""

_COPYING = frozenset({"repeat_interleave", "repeat", "expand"})


@dataclass(slots=True)
class _Mixture:
    """What depends on what in one region.

    scored: values after the router; routed: after the choice; expert: after an expert weight; answered: after the last
    weight of an expert; shared: after a weight that no choice leads to.
    """

    router: Op
    choice: Op
    weights: list[Op]
    scored: set[int] = field(default_factory=set)
    routed: set[int] = field(default_factory=set)
    expert: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    shared: set[int] = field(default_factory=set)


def name_experts(context: Context, region: list[int]) -> bool:
    """Name the ops of `region` when experts are chosen in it. Returns whether they are."""
    flow = context.flow
    ops = [flow.ops[index] for index in region if not context.parts.taken(index)]
    mixture = _find(context, ops)
    if mixture is None:
        return False
    context.parts.claim(_way_to_router(context, mixture, region), "moe.router", rule="its result decides who works")
    context.parts.claim([mixture.choice.id], "moe.top_k", rule="chooses among the scores of one projection")
    downs = {op.id for op in mixture.weights if not _feeds_another(flow, op, mixture.weights)}
    for op in mixture.weights:
        if op.id in downs:
            down = [*flow.unit(op)[0], *_blanked(flow, op.outputs[0])]
            context.parts.claim(down, "moe.expert_down", rule="last weight of the experts")
        else:
            _name_up(context, op)
    _follow_answers(mixture, ops, downs)
    for op in ops:
        _name_one(context, mixture, op, downs)
    return True


def _way_to_router(context: Context, mixture: _Mixture, region: list[int]) -> list[int]:
    """The router, and the layers before it that nothing else reads."""
    flow = context.flow
    unit, source, _ = flow.unit(mixture.router)
    found = set(unit)
    inside = set(region)
    stack = [source]
    while stack:
        value = stack.pop()
        op = flow.maker(value)
        if op is None or op.id not in inside or context.parts.taken(op.id):
            continue
        others = [user for user in flow.consumers(value) if user.id not in found]
        if not all(_carries(flow, user, inside) for user in others):
            continue
        norm = context.norm_of.get(op.id)
        found.update(norm.ops if norm is not None else (op.id,))
        stack.extend((norm.source,) if norm is not None else flow.act_inputs(op))
    return sorted(found)


def _carries(flow: Flow, op: Op, inside: set[int]) -> bool:
    """Whether `op` only moves a value out of the region: a router's state, which the next router adds to its own."""
    while flow.kind[op.id] in ("plumb", "view", "select"):
        after = [user for value in op.outputs for user in flow.consumers(value)]
        if all(user.id not in inside for user in after):
            return True
        if len(after) != 1:
            return False
        op = after[0]
    return False


def _follow_answers(mixture: _Mixture, ops: list[Op], downs: set[int]) -> None:
    for op in ops:
        if op.id in downs or mixture.answered & set(op.inputs):
            mixture.answered.update(op.outputs)


def _find(context: Context, ops: list[Op]) -> _Mixture | None:
    flow = context.flow
    inside = {op.id for op in ops}
    for choice in ops:
        router = _router(flow, choice, inside) if _chooses(flow, choice) else None
        if router is not None:
            mixture = _Mixture(router, choice, [])
            _follow(context, mixture, ops)
            return mixture
    return None


def _chooses(flow: Flow, op: Op) -> bool:
    """Whether the indices of the best are asked for: a maximum alone chooses nothing."""
    if op.name == "gather" and len(op.inputs) == 2:  # a table says which experts a token visits
        index = op.inputs[1]
        return not flow.on_act(index) and flow.values[index].dtype.startswith("int")
    if op.name not in _CHOICES:
        return False
    return op.name != "max" or (len(op.outputs) == 2 and bool(flow.consumers(op.outputs[1])))


def _chosen_by_table(flow: Flow, choice: Op) -> set[int]:
    """Where a table chooses, all that is counted from the choice: it lies off the activation plane."""
    if choice.name != "gather":
        return set()
    root = flow.through(choice.inputs[1], ("plumb", "view"))
    found, stack = {root}, [root]
    while stack:
        for op in flow.consumers(stack.pop()):
            fresh = [value for value in op.outputs if value not in found and not flow.on_act(value)]
            found.update(fresh)
            stack.extend(fresh)
    return found


def _router(flow: Flow, choice: Op, inside: set[int]) -> Op | None:
    """The one weighted op that the chosen scores come from, over element-by-element steps."""
    value = choice.inputs[0]
    for _ in range(32):
        op = flow.maker(value)
        if op is None or op.id not in inside:
            return None
        if flow.weighted[op.id]:
            return op
        if flow.is_product(op) or not flow.act_inputs(op):
            return None
        value = flow.act_inputs(op)[0]
    return None


def _follow(context: Context, mixture: _Mixture, ops: list[Op]) -> None:
    """Forward through the region: what depends on the choice, and what on an expert."""
    flow = context.flow
    mixture.routed.update(mixture.choice.outputs)
    mixture.routed.update(_chosen_by_table(flow, mixture.choice))
    mixture.scored.update(mixture.router.outputs)
    for op in ops:
        if mixture.scored & set(op.inputs):
            mixture.scored.update(op.outputs)
        if op.id == mixture.choice.id or not mixture.routed & set(op.inputs):
            if op.id != mixture.router.id and (context.projects(op.id) or mixture.shared & set(op.inputs)):
                mixture.shared.update(op.outputs)
            continue
        if op.name == "mul" and _weighs_shared(flow, mixture, op):
            mixture.shared.update(op.outputs)
            continue
        mixture.routed.update(op.outputs)
        if context.projects(op.id) and _is_experts(flow, mixture, op):
            mixture.weights.append(op)
        if context.projects(op.id) or mixture.expert & set(op.inputs):
            mixture.expert.update(op.outputs)


def _weighs_shared(flow: Flow, mixture: _Mixture, op: Op) -> bool:
    """Whether one number for each token, from the router too, weighs what every token's expert says."""
    others = [value for value in op.inputs if value not in mixture.routed]
    numbers = [value for value in op.inputs if value in mixture.routed]
    one_each = all(flow.values[value].shape[-1:] == (1,) for value in numbers)
    return one_each and bool(others) and all(value in mixture.shared for value in others)


def _is_experts(flow: Flow, mixture: _Mixture, op: Op) -> bool:
    """Whether the weight is the experts'. Behind weights of all experts in one, a plain one is for every token."""
    ranks = [max(flow.rank(value) for value in other.inputs) for other in (*mixture.weights, op)]
    plain = flow.ops[op.id].name in ("linear", "addmm") and ranks[-1] < 3
    return not (plain and mixture.weights and mixture.weights[0].name not in ("linear", "addmm"))


def _feeds_another(flow: Flow, op: Op, weights: list[Op]) -> bool:
    """Whether a later expert weight takes in what this one makes."""
    later = {other.id for other in weights if other.id > op.id}
    seen, stack = set(op.outputs), list(op.outputs)
    while stack:
        for user in flow.consumers(stack.pop()):
            if user.id in later:
                return True
            if user.id < max(later, default=0):
                fresh = [value for value in user.outputs if value not in seen]
                seen.update(fresh)
                stack.extend(fresh)
    return False


def _behind_views(flow: Flow, value: int) -> int:
    """Forward from `value` over views and blanked rows that nothing else reads beside."""
    while (after := flow.only_consumer(value)) is not None and (
        flow.kind[after.id] in ("view", "plumb") or after.name in _BLANKING
    ):
        value = after.outputs[0]
    return value


def _blanked(flow: Flow, value: int) -> list[int]:
    """The ops that blank rows of what an expert weight made."""
    found = []
    while (after := flow.only_consumer(value)) is not None and (
        flow.kind[after.id] in ("view", "plumb") or after.name in _BLANKING
    ):
        found.extend([after.id] if after.name in _BLANKING else [])
        value = after.outputs[0]
    return found


def _name_up(context: Context, op: Op) -> None:
    """The first weight of the experts; where its result is cut apart, gate and up are in one."""
    flow = context.flow
    ops, _, result = flow.unit(op)
    users = flow.consumers(_behind_views(flow, result))
    cut = [user for user in users if user.name in ("chunk", "split", "getitem")]
    also = ("moe.expert_gate",) if cut else ()
    context.parts.claim([*ops, *_blanked(flow, result)], "moe.expert_up", also=also, rule="first weight of the experts")
    context.parts.claim([user.id for user in cut], "moe.expert_up", also=also, rule="cuts gate and up apart")


def _name_one(context: Context, mixture: _Mixture, op: Op, downs: set[int]) -> None:
    flow, parts = context.flow, context.parts
    if parts.taken(op.id) or not flow.live[op.id] or op.id in context.norm_of:
        return
    inputs = set(op.inputs)
    if _chooses(flow, op) and inputs & mixture.scored:
        parts.claim([op.id], "moe.top_k", rule="a further choice among the same scores")
    elif not inputs & mixture.routed or set(op.outputs) & mixture.shared:
        _name_unrouted(context, mixture, op)
    elif not inputs & mixture.expert:
        if flow.weight(op.outputs[0]) is not None:
            return  # the rows of the chosen experts' parameters: part of the product that they go into
        weighs = op.name in _WEIGHING and _is_weight(flow, mixture, op)
        parts.claim([op.id], f"moe.{'router_score' if weighs else 'dispatch'}", rule="follows the choice")
    elif inputs & mixture.answered:
        _name_after(context, mixture, op, downs)
    else:
        _name_inside(context, mixture, op)


def _name_unrouted(context: Context, mixture: _Mixture, op: Op) -> None:
    """What depends on no choice: the way to it, copies of the tokens, and the expert that every token visits."""
    flow, parts = context.flow, context.parts
    if op.id < mixture.choice.id and _between(flow, mixture, op):
        parts.claim([op.id], "moe.router_score", rule="between router and choice")
    elif op.name in _COPYING:
        parts.claim([op.id], "moe.dispatch", rule="a copy of each token for each of its experts")
    elif flow.kind[op.id] in ("view", "plumb"):
        return  # those prepare something: they join it later
    elif set(op.inputs) & mixture.scored and not set(op.outputs) & mixture.shared:
        parts.claim([op.id], "moe.router_score", rule="works on the scores")
    else:
        parts.claim(flow.unit(op)[0] if flow.weighted[op.id] else [op.id], "moe.shared_expert", rule="not routed")


def _between(flow: Flow, mixture: _Mixture, op: Op) -> bool:
    """Whether `op` lies on the way from the router's scores to the choice."""
    return (
        op.id > mixture.router.id and flow.values[op.outputs[0]].shape == flow.values[mixture.router.outputs[0]].shape
    )


def _is_weight(flow: Flow, mixture: _Mixture, op: Op) -> bool:
    """Numbers beside the choice, one for each chosen expert or their sum; not indices."""
    chosen = flow.values[mixture.choice.outputs[0]].shape
    out = flow.values[op.outputs[0]]
    return out.dtype.startswith(("float", "bfloat")) and out.shape[:-1] == chosen[:-1]


def _is_bias(flow: Flow, op: Op) -> bool:
    """Adds the chosen rows of a parameter."""
    if op.name != "add":
        return False
    makers = [flow.maker(value) for value in op.inputs]
    return any(m is not None and m.name == "getitem" and flow.weight(m.inputs[0]) is not None for m in makers)


def _name_after(context: Context, mixture: _Mixture, op: Op, downs: set[int]) -> None:
    flow = context.flow
    if flow.kind[op.id] in ("view", "plumb") or op.id in context.norm_of:
        return
    ends = {_behind_views(flow, value) for weight in mixture.weights if weight.id in downs for value in weight.outputs}
    bias = _is_bias(flow, op) and not ends.isdisjoint(op.inputs)
    role = "expert_down" if bias else "combine"
    context.parts.claim([op.id], f"moe.{role}", rule="after the last weight of the experts")


def _name_inside(context: Context, mixture: _Mixture, op: Op) -> None:
    """Between the experts' weights."""
    flow = context.flow
    if flow.kind[op.id] in ("view", "plumb"):
        return  # it joins what it prepares for
    both = op.name == "mul" and len(set(op.inputs) & mixture.expert) == 2
    parts = [flow.maker(value) for value in op.inputs]
    gated = both and not any(part is not None and part.name == "sigmoid" for part in parts)
    ups = {_behind_views(flow, value) for weight in mixture.weights for value in weight.outputs}
    if _is_bias(flow, op) and set(op.inputs) & ups:
        also = tuple(context.parts[mixture.weights[0].id].also)
        cuts = [user.id for value in op.outputs for user in flow.consumers(value) if user.name in ("chunk", "getitem")]
        also = ("moe.expert_gate",) if cuts else also
        context.parts.claim([op.id, *cuts], "moe.expert_up", also=also, rule="bias of the experts' first weight")
        return
    role = "expert_multiply" if gated else "expert_activation"
    context.parts.claim([op.id], f"moe.{role}", rule="between the experts' weights")
