"""From the products of an attention back to the projections of queries, keys and values."""

from __future__ import annotations

__all__ = ["name_operands", "turns_last"]

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import Flow

_MOST_STEPS = 96


class _Walk:
    """Everything between one operand of a product and the projections it comes from."""

    def __init__(self, context: Context, tag: str) -> None:
        self.context, self.tag = context, tag
        self.ops: list[int] = []
        self.projections: list[Op] = []
        self.beyond: set[int] = set()  # what the projections read

    def back(self, start: int) -> None:
        flow, trunk = self.context.flow, self.context.trunk
        seen, stack = {start}, [start]
        while stack and len(self.ops) < _MOST_STEPS:
            value = stack.pop()
            op = flow.maker(value)
            if op is None or value in trunk:
                continue
            if flow.weighted[op.id] and not flow.is_depthwise(op):
                self.projections.append(op)
                continue
            if op.id not in self.ops:
                self.ops.append(op.id)
            for item in flow.act_inputs(op):
                if item not in seen and not flow.values[item].dtype.startswith(
                    "int"
                ):  # an index chooses, it is no data
                    seen.add(item)
                    stack.append(item)
        self.ops.sort()


def name_operands(context: Context, starts: dict[str, int]) -> None:
    """Name the projections and all that happens to queries, keys and values before they meet.

    starts: "q", "k", "v" -> the operand of a product, for those that there are.
    """
    walks = []
    for tag, start in starts.items():
        walk = _Walk(context, tag)
        walk.back(start)
        walks.append(walk)
    _name_projections(context, walks)
    tags: dict[int, str] = {}
    for walk in walks:
        for op in walk.ops:
            tags[op] = tags.get(op, "") + walk.tag
    for walk in walks:
        _name_cache_and_repeat(context, walk, tags)
    for op, tag in sorted(tags.items()):
        _name_op(context, op, tag if len(tag) == 1 else "", starts)


def _name_projections(context: Context, walks: list[_Walk]) -> None:
    """Each projection by the operands that come from it; a projection behind a projection is the low-rank half."""
    feeds: dict[int, str] = {}
    for walk in walks:
        for op in walk.projections:
            feeds[op.id] = feeds.get(op.id, "") + walk.tag
    downs: dict[int, str] = {}
    for index, tags in feeds.items():
        down = _low_rank(context, context.flow.ops[index])
        if down is not None:
            downs[down.id] = "".join(sorted(set(downs.get(down.id, "") + tags)))
            _claim_projection(context, context.flow.ops[index], "q_up" if tags == "q" else "kv_up")
    for index, tags in downs.items():
        _claim_projection(context, context.flow.ops[index], "q_down" if tags == "q" else "kv_down")
    for index, tags in feeds.items():
        name = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "kv": "kv_proj"}.get(tags, "qkv_proj")
        if set(tags) == {"k", "v"}:
            name = "kv_proj"
        _claim_projection(context, context.flow.ops[index], name)


def _claim_projection(context: Context, op: Op, name: str) -> None:
    operand = name[0] if name in ("q_proj", "k_proj", "v_proj") else ""
    ops, _, result = context.flow.unit(op)
    context.parts.claim(ops, f"attention.{name}", operand, rule="weighted contraction that feeds a product")
    bias = context.flow.adds_weight(result)
    if bias is not None:
        context.parts.claim([bias.id], f"attention.{name}", operand, rule="bias of the projection")


def _low_rank(context: Context, op: Op) -> Op | None:
    """The projection that this one expands, when only a norm, a cut or plumbing lies between."""
    flow = context.flow
    value = flow.unit(op)[1]
    between: list[int] = []
    for _ in range(8):
        if value in context.trunk:
            return None
        norm = context.norm_into.get(value)
        maker = flow.maker(value)
        if norm is not None:
            between.extend(norm.ops)
            value = norm.source
        elif maker is not None and flow.kind[maker.id] in ("plumb", "view", "select"):
            if _makes_tokens(flow, maker):
                return None
            value = maker.inputs[0]
        elif maker is not None and len(flow.act_inputs(maker)) == 1 and _updates_cache(context, maker):
            context.parts.claim([maker.id], "attention.cache_update", rule="what is kept is the latent")
            value = flow.act_inputs(maker)[0]
        elif maker is not None and _beside_normed(context, maker) is not None:
            between.append(maker.id)
            between.extend(index for item in maker.inputs for index in _norm_ops(context, item))
            value = _beside_normed(context, maker) or value
        elif maker is not None and maker.name == "mul" and len(flow.act_inputs(maker)) == 1:
            between.append(maker.id)
            value = flow.act_inputs(maker)[0]
        elif maker is not None and flow.weighted[maker.id]:
            context.parts.claim(between, "attention.latent_norm", rule="norm between two projections")
            return maker
        else:
            return None
    return None


def _makes_tokens(flow: Flow, op: Op) -> bool:
    """Whether a view makes several tokens of one: those are read as a stream is, and are no latent."""
    before, after = flow.values[op.inputs[0]].shape, flow.values[op.outputs[0]].shape
    same = len(before) == len(after) == 3 and before[0] == after[0]
    return same and flow.kind[op.id] == "view" and after[1] > before[1] and after[-1] < before[-1]


def _beside_normed(context: Context, op: Op) -> int | None:
    """The latent, where `op` joins it with itself after a norm."""
    if op.name != "cat" or len(op.inputs) < 2:
        return None
    sources = {norm.source if (norm := context.norm_into.get(value)) else value for value in op.inputs}
    return sources.pop() if len(sources) == 1 else None


def _norm_ops(context: Context, value: int) -> tuple[int, ...]:
    norm = context.norm_into.get(value)
    return norm.ops if norm is not None else ()


def _name_cache_and_repeat(context: Context, walk: _Walk, tags: dict[int, str]) -> None:
    flow = context.flow
    for index in walk.ops:
        op = flow.ops[index]
        tag = walk.tag if len(tags[index]) == 1 else ""
        if _updates_cache(context, op):
            context.parts.claim([index], "attention.cache_update", tag, rule="joins with what is kept between forwards")
        elif _repeats(context, op):
            ops = _around(context, op)
            context.parts.claim(ops, "attention.repeat_kv", tag, rule="the same head for several queries")


def _updates_cache(context: Context, op: Op) -> bool:
    """A join with an input, with something empty, or whose result is handed out."""
    flow = context.flow
    if flow.kind[op.id] != "join":
        return False
    for value in op.inputs:
        kept = flow.producer[value] is None and flow.values[value].kind in ("input", "buffer", "constant")
        if kept or (
            flow.size(value) == 0 and not flow.on_act(value)
        ):  # an empty slice of the vector itself is no cache
            return True
    return bool(set(op.outputs) & flow.leaving)


def _repeats(context: Context, op: Op) -> bool:
    flow = context.flow
    if op.name not in ("expand", "repeat", "repeat_interleave", "expand_as", "broadcast_to") or not op.outputs:
        return False
    return flow.size(op.outputs[0]) > flow.size(op.inputs[0])


def _around(context: Context, op: Op) -> list[int]:
    """The views that open an axis for the repetition and close it again."""
    flow = context.flow
    ops = [op.id]
    before = flow.maker(op.inputs[0])
    if before is not None and flow.kind[before.id] == "view" and _opens_axis(context, before):
        ops.append(before.id)
    after = flow.only_consumer(op.outputs[0])
    while after is not None and (flow.kind[after.id] in ("view", "plumb")):
        if after.name not in ("reshape", "view", "flatten", "contiguous", "clone"):
            break
        ops.append(after.id)
        if flow.rank(after.outputs[0]) < flow.rank(after.inputs[0]):
            break
        after = flow.only_consumer(after.outputs[0])
    return ops


def _opens_axis(context: Context, op: Op) -> bool:
    flow = context.flow
    before, after = op.inputs[0], op.outputs[0]
    return flow.size(before) == flow.size(after) and flow.rank(after) == flow.rank(before) + 1


def _name_op(context: Context, index: int, tag: str, starts: dict[str, int]) -> None:
    """One op between projection and product, by what it does."""
    parts = context.parts
    if parts.taken(index):
        return
    norm, rope = context.norm_of.get(index), context.rope_of.get(index)
    if norm is not None:
        parts.claim(norm.ops, f"attention.{tag or 'q'}_norm", tag, rule="norm between projection and product")
    elif rope is not None:
        parts.claim(rope.ops, "attention.rope", tag, rule="two products with tables of positions, turned and added")
    else:
        role, rule = _plain_role(context, context.flow.ops[index], tag, starts)
        if role:
            shared = role in ("scores", "weighted_sum", "fused")  # preparing a product is part of the product
            parts.claim([index], f"attention.{role}", "" if shared else tag, rule=rule)


def _plain_role(context: Context, op: Op, tag: str, starts: dict[str, int]) -> tuple[str, str]:
    flow = context.flow
    kind = flow.kind[op.id]
    if kind == "select":
        return "split_qkv", "cuts a projection apart"
    if kind in ("view", "plumb"):
        return _view_role(context, op, tag, starts)
    if op.name in ("mul", "div"):
        if any(
            maker is not None and maker.name == "softmax" for maker in map(flow.maker, map(flow.through, op.inputs))
        ):
            return "compress", "weighs the tokens of a block"
        single = len(op.inputs) == 1 or any(flow.size(value) == 1 for value in op.inputs if not flow.on_act(value))
        return ("scale", "scales before the product") if single else ("temperature", "scales by position")
    if op.name in ("clamp", "clip"):
        return "clip", "clamps the projection"
    if op.name.startswith("conv"):
        return "conv", "short convolution on an operand"
    if op.name == "pad":
        convolves = any(user.name.startswith("conv") for user in flow.consumers(op.outputs[0]))
        return (
            ("conv", "room for a convolution's first steps")
            if convolves
            else ("split_heads", "fills the last block up")
        )
    if op.name in ("softmax", "sum", "mean"):
        return "compress", "weighs and sums the tokens of a block"
    if kind == "join":
        return "split_heads", "joins the parts of a head"
    return "", ""


def _view_role(context: Context, op: Op, tag: str, starts: dict[str, int]) -> tuple[str, str]:
    """A view belongs to the product when it follows a named step or turns the last two axes; else it cuts heads."""
    flow, parts = context.flow, context.parts
    target = "weighted_sum" if tag == "v" else "scores"
    feeds_product = tag in starts and _leads_to(context, op, starts[tag])
    if feeds_product and (turns_last(flow, op) or _follows_named(context, op)):
        fused = next((use for use in flow.consumers(starts[tag]) if parts[use.id].path == "attention.fused"), None)
        return ("fused" if fused is not None else target), "prepares the product"
    return "split_heads", "cuts the width into heads"


def _leads_to(context: Context, op: Op, start: int) -> bool:
    """Whether only views and plumbing lie between `op` and the product."""
    flow = context.flow
    value = op.outputs[0]
    for _ in range(6):
        if value == start:
            return True
        after = flow.only_consumer(value)
        if after is None or flow.kind[after.id] not in ("view", "plumb"):
            return False
        value = after.outputs[0]
    return False


def turns_last(flow: Flow, op: Op) -> bool:
    """`transpose(-1, -2)` and its spellings: keys turned so that queries can be multiplied with them."""
    before, after = flow.values[op.inputs[0]].shape, flow.values[op.outputs[0]].shape
    rank = len(before)
    if op.name in ("mT", "adjoint") or op.name == "t":
        return True
    if op.name == "transpose":
        axes = {_axis(op.attribute("dim0"), rank), _axis(op.attribute("dim1"), rank)}
        return axes == {rank - 1, rank - 2}
    if op.name == "permute":
        order = op.attribute("dim", op.attribute("dims"))
        if isinstance(order, tuple) and len(order) == rank:
            return _axis(order[-1], rank) != rank - 1 and before[-1] == after[-2]
    return False


def _axis(value: object, rank: int) -> int:
    return value % rank if isinstance(value, int) else -1


def _follows_named(context: Context, op: Op) -> bool:
    """Whether the step before is a rotation, a cache update, a repetition or a norm."""
    flow, parts = context.flow, context.parts
    value = op.inputs[0]
    for _ in range(4):
        maker = flow.maker(value)
        if maker is None:
            return False
        if maker.id in context.rope_of or parts[maker.id].role in ("cache_update", "repeat_kv", "rope"):
            return True
        if flow.kind[maker.id] not in ("view", "plumb"):
            return False
        value = maker.inputs[0]
    return False
