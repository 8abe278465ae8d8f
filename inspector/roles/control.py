"""The control plane: masks, positions, tables and what else depends on no weight times activation.

Each op takes the role of what it finally feeds.
"""

from __future__ import annotations

__all__ = ["name_control"]

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import CONTRACT, PAR
from inspector.vocabulary import UNKNOWN

_FEEDS = {
    "attention.mask": "mask.build",
    "attention.fused": "mask.build",
    "attention.rope": "positions.rope_table",
    "indexer.mask": "mask.build",
    "indexer.scores": "mask.build",
    "indexer.rope": "positions.rope_table",
    "attention.temperature": "positions.ids",
    "attention.scale": "control.scalar",
    "attention.cache_update": "attention.cache_update",
    "embedding.position": "positions.ids",
    "embedding.token": "embedding.token",
    "embedding.segment": "embedding.segment",
    "embedding.scale": "control.scalar",
    "block.scale": "control.scalar",
}
"""Role of an activation-plane op -> role of the control ops that feed it."""

_MASKS = frozenset({"mask.build"})
_POSITIONS = frozenset({"positions.ids", "positions.rope_table", "positions.sinusoid", "positions.alibi"})


def name_control(context: Context) -> None:
    """Name every op off the activation plane, consumers first."""
    flow, parts = context.flow, context.parts
    sinks: dict[int, frozenset[str]] = {}
    for op in reversed(flow.ops):
        if parts.taken(op.id) or any(map(flow.on_act, op.outputs)) or any(map(flow.on_act, op.inputs)):
            continue
        if not op.outputs:
            sinks[op.id] = frozenset({"control.branch"})
        elif flow.live[op.id]:
            sinks[op.id] = _sinks(context, op, sinks)
        else:
            continue
        path = _also_projected(context, op) or _decide(context, op, sinks[op.id])
        if path == UNKNOWN:
            continue  # what it feeds may get its part yet
        parts.claim([op.id], path, _operand(context, op, path), rule="off the activation plane: named by what it feeds")


def _also_projected(context: Context, op: Op) -> str:
    """The part of the projection that uses the same weight on tokens, where here it meets what was kept before them."""
    flow = context.flow
    if op.name not in CONTRACT or not any(flow.taint[value] & PAR for value in op.inputs):
        return ""
    weights = [weight for value in op.inputs if (weight := flow.weight(value)) is not None]
    found = {
        context.parts[user.id].path
        for weight in weights
        for user in (flow.ops[index] for index in flow.users[weight])
        if user.id != op.id and flow.weighted[user.id] and context.parts.taken(user.id)
    }
    return found.pop() if len(found) == 1 else ""


def _sinks(context: Context, op: Op, sinks: dict[int, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    for value in op.outputs:
        for user in context.flow.consumers(value):
            if user.id in sinks:
                found |= _through(context, user, value, sinks[user.id])
            else:
                found.add(_feeds(context, user, value))
    return frozenset(found)


def _through(context: Context, user: Op, value: int, found: frozenset[str]) -> frozenset[str]:
    """What a value feeds by way of `user`: a learned bias that a mask is laid over is no mask itself."""
    flow = context.flow
    others = [other for other in user.inputs if not flow.taint[other] & PAR]
    if "mask.build" in found and flow.taint[value] & PAR and user.name in _LAID_OVER and others:
        return found - {"mask.build"} | {"positions.relative_bias"}
    return found


_LOOKUPS = frozenset({"embedding", "index_select", "getitem", "gather", "take_along_dim"})
_ADDED = frozenset({"add", "sub"})
"""How a bias that no score is made of comes to the scores."""

_LAID_OVER = frozenset({"where", "masked_fill", "add"})


def _feeds(context: Context, user: Op, value: int) -> str:
    """What it means to feed `value` into `user`."""
    flow, part = context.flow, context.parts[user.id]
    if part.role == "cache_update":
        return part.path
    part = part._replace(path=part.path.removeprefix("cross_"))  # what feeds either kind of attention is the same thing
    if flow.weight(value) is not None:
        return part.path  # `1 + w` is part of the norm, `w.T` of the projection
    if part.path == "attention.position_bias" and flow.values[value].dtype.startswith("int") and user.name in _LOOKUPS:
        return "positions.ids"  # which row of the bias, by how far two tokens are apart
    if part.path == "attention.position_bias" or (
        part.path == "attention.scores" and "attention.position_bias" in part.also
    ):
        learned = flow.taint[value] & PAR or user.name in _LOOKUPS  # what chooses the rows of a table
        added = user.name in _ADDED or part.path == "attention.scores"
        return "positions.relative_bias" if learned else "positions.alibi" if added else part.path
    if part.path == "attention.scores":
        return "mask.build"
    if part.path == "attention.mask" and flow.taint[value] & PAR:
        return "positions.relative_bias"  # it is added with the mask, and learned
    if part.path == "block.scale" and flow.taint[value] & PAR:
        return "control.weight_prep"
    return _FEEDS.get(part.path, part.path)


def _decide(context: Context, op: Op, found: frozenset[str]) -> str:
    """One role for what feeds several: what a mask and a table share are the positions."""
    wanted = found - {"control.branch", "unknown"} or found
    if not wanted:
        return "control.unused"
    if len(wanted) > 1 and any(context.flow.weight(value) is not None for value in op.outputs):
        return "control.weight_prep"
    if len(wanted) > 1 and wanted <= _POSITIONS | _MASKS:
        return "positions.ids"
    if "mask.build" in wanted and len(wanted - {"control.scalar"}) == 1:
        return "mask.build"  # scores may be multiplied by what hides them, though they should not be
    if _counts(context, op) and ("positions.ids" in wanted or wanted <= _POSITIONS):
        return "positions.ids"
    return min(wanted)


def _operand(context: Context, op: Op, path: str) -> str:
    """The operand of the stage it belongs to, where it is named like that stage."""
    parts = context.parts
    users = [user.id for value in op.outputs for user in context.flow.consumers(value)]
    found = {parts[user].operand for user in users if parts[user].path == path}
    return found.pop() if len(found) == 1 else ""


def _counts(context: Context, op: Op) -> bool:
    """Whole numbers, or the choices they are counted from, that only say where a token stands."""
    return all(context.flow.values[value].dtype.startswith(("int", "bool")) for value in op.outputs)
