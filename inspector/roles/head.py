"""What happens after the last block: final norm, pooler, transform, output projection, scaling of the logits."""

from __future__ import annotations

__all__ = ["ends_stream", "name_head", "name_last_norm", "name_side_heads"]

from collections.abc import Collection

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.decided import is_decided


def name_head(context: Context, last: int) -> None:
    """Name the ops that depend on `last`, the value that leaves the last block."""
    flow = context.flow
    ops = _descendants(context, last)
    _name_all(context, ops, [op for op in ops if flow.weighted[op.id]])


def _name_all(context: Context, ops: list[Op], weighted: list[Op]) -> None:
    """Name `ops` by the projections among them."""
    flow, parts = context.flow, context.parts
    inside = {op.id for op in ops}
    roles = {op.id: _projection_role(context, op, inside) for op in weighted}
    for op in ops:
        if op.id in roles:
            parts.claim(flow.unit(op)[0], f"head.{roles[op.id]}", rule="weighted contraction after the last block")
    behind = _nearest_projection(ops, roles)
    for op in ops:
        _name_one(context, op, behind.get(op.id), roles)


def name_side_heads(context: Context) -> None:
    """Name a pooler that reads the middle of a model, and leaves it beside the stream that goes on."""
    flow, parts = context.flow, context.parts
    for value in sorted(flow.leaving):
        ops: list[Op] = []
        item = value
        while (op := flow.maker(item)) is not None and not parts.taken(op.id) and item not in context.trunk:
            ops.insert(0, op)
            acts = flow.act_inputs(op)
            if len(acts) != 1:
                break
            item = acts[0]
        weighted = [op for op in ops if flow.weighted[op.id]]
        inside = {op.id for op in ops}
        if any(_projection_role(context, op, inside) == "pooler" for op in weighted):
            _name_all(context, ops, weighted)


def ends_stream(context: Context, last: int) -> bool:
    """Whether no sublayer's sum depends on `last`. What is counted or decided from it is a mask, and no stream."""
    flow = context.flow
    sums = {residual.op for residual in context.residuals}
    seen, stack = {last}, [last]
    while stack:
        for op in flow.consumers(stack.pop()):
            if op.id in sums:
                return False
            fresh = [value for value in op.outputs if value not in seen and not is_decided(flow, value)]
            seen.update(fresh)
            stack.extend(fresh)
    return True


def name_last_norm(context: Context, last: int, opened: Collection[int]) -> None:
    """Name the norm of what leaves the last block of a stream that another stream goes on from.

    opened: ops of sublayers that a stream begins with. A norm among them is theirs.
    """
    bounded = context.flow.bounding(last)
    sources = {last} if bounded is None else {last, bounded.outputs[0]}
    for norm in context.norms:
        if norm.source in sources and norm.ops[0] not in opened:
            context.parts.claim(norm.ops, "head.norm", rule="norm after the last block of its stream")


def _descendants(context: Context, last: int) -> list[Op]:
    """Ops without a part that depend on `last`, in order."""
    flow = context.flow
    found: set[int] = set()
    stack = [last]
    while stack:
        for op in flow.consumers(stack.pop()):
            if op.id not in found:
                found.add(op.id)
                stack.extend(op.outputs)
    return [flow.ops[index] for index in sorted(found) if not context.parts.taken(index)]


def _projection_role(context: Context, op: Op, inside: set[int]) -> str:
    """Pooler: one position of each sequence goes in. Transform: another projection follows. Else: the output's."""
    flow = context.flow
    _, source, result = flow.unit(op)
    value = source
    while (maker := flow.maker(value)) is not None and flow.kind[maker.id] in ("plumb", "view", "select"):
        drops = len(flow.values[maker.outputs[0]].shape) < len(flow.values[maker.inputs[0]].shape)
        if flow.kind[maker.id] == "select" and drops and flow.rank(maker.outputs[0]) == 2:
            return "pooler"
        value = maker.inputs[0]
    return "transform" if _another_follows(context, result, inside) else "lm_head"


def _another_follows(context: Context, value: int, inside: set[int]) -> bool:
    flow = context.flow
    stack, seen = [value], {value}
    while stack:
        for op in flow.consumers(stack.pop()):
            if flow.weighted[op.id] and op.id in inside:
                return True
            for out in op.outputs:
                if out not in seen:
                    seen.add(out)
                    stack.append(out)
    return False


def _nearest_projection(ops: list[Op], roles: dict[int, str]) -> dict[int, int]:
    """For each op the last projection before it, for those that have one."""
    made_by: dict[int, int] = {}
    nearest: dict[int, int] = {}
    for op in ops:
        before = [made_by[value] for value in op.inputs if value in made_by]
        if before:
            nearest[op.id] = max(before)
        source = op.id if op.id in roles else max(before, default=None)
        if source is not None:
            made_by.update(dict.fromkeys(op.outputs, source))
    return nearest


def _name_one(context: Context, op: Op, projection: int | None, roles: dict[int, str]) -> None:
    flow, parts = context.flow, context.parts
    if not parts.taken(op.id) and _pools(context, op):
        parts.claim([op.id], "head.pooler", rule="one vector for each sequence")
    if parts.taken(op.id) or flow.kind[op.id] in ("plumb", "view", "select"):
        return
    norm = context.norm_of.get(op.id)
    role = roles.get(projection) if projection is not None else None
    if role in ("pooler", "transform"):
        parts.claim(norm.ops if norm else [op.id], f"head.{role}", rule="between the projections of the head")
    elif norm is not None:
        parts.claim(norm.ops, "head.norm", rule="norm after the last block")
    elif op.name in ("mul", "div") and len(flow.act_inputs(op)) == 1:
        parts.claim(
            [op.id], "head.softcap" if _beside_tanh(context, op) else "head.scale", rule="scaling of the logits"
        )
    elif op.name == "tanh":
        parts.claim([op.id], "head.softcap", rule="squashes the logits")
    elif op.name == "add" and role == "lm_head" and len(flow.act_inputs(op)) == 1:
        parts.claim([op.id], "head.lm_head", rule="bias of the output projection")


def _pools(context: Context, op: Op) -> bool:
    """Whether `op` takes or makes one row of each sequence: by an index that is computed, or by a sum."""
    flow = context.flow
    if len(op.outputs) != 1 or flow.rank(op.outputs[0]) != 2 or op.id in context.norm_of:
        return False
    return (flow.kind[op.id] == "select" and len(op.inputs) > 1) or op.name in ("sum", "mean", "amax", "max")


def _beside_tanh(context: Context, op: Op) -> bool:
    flow = context.flow
    maker = flow.maker(flow.act_inputs(op)[0])
    return (maker is not None and maker.name == "tanh") or any(
        after.name == "tanh" for value in op.outputs for after in flow.consumers(value)
    )
