"""Rotary position embedding, in all its spellings.

A rotation is a sum (or difference) of two products, each of one activation with one table, where both activations are
parts of one vector. From the sum, or from the join that puts the rotated parts together, everything leads back to that
one vector over slices, negations and joins alone.
"""

from __future__ import annotations

__all__ = ["Rope", "find_ropes"]

from typing import NamedTuple

from inspector.records import Op
from inspector.roles.flow import Flow

_ALLOWED = frozenset({"select", "view", "plumb", "join", "mul", "neg", "add", "sub", "rsub"})
_COMPLEX = frozenset({"view", "plumb", "mul"})


class Rope(NamedTuple):
    """One rotation: its ops, the vector it rotates and the rotated one, and the values of its tables."""

    ops: tuple[int, ...]
    source: int
    result: int
    tables: tuple[int, ...]


def find_ropes(flow: Flow) -> list[Rope]:
    """Every rotation on the activation plane, in order; overlapping finds are joined."""
    found: list[Rope] = []
    for op in flow.ops:
        rope = _rotation(flow, op) or _complex_rotation(flow, op)
        if rope is None or (found and set(rope.ops) <= set(found[-1].ops)):
            continue
        if found and set(found[-1].ops) & set(rope.ops):
            found.pop()
        found.append(rope)
    return found


def _rotation(flow: Flow, op: Op) -> Rope | None:
    if op.name not in ("add", "sub") or len(op.inputs) != 2:
        return None
    products = [flow.maker(flow.through(value)) for value in op.inputs]
    parts = [_table_product(flow, product) for product in products]
    if any(part is None for part in parts):
        return None
    swept = flow.sweep([op.outputs[0]], _ALLOWED)
    if swept is None:
        return None
    return _widen(flow, op.outputs[0], swept)


def _table_product(flow: Flow, op: Op | None) -> tuple[int, int] | None:
    """(activation, table) of a product of the two, or None."""
    if op is None or op.name != "mul" or len(op.inputs) != 2:
        return None
    acts = [value for value in op.inputs if flow.on_act(value)]
    tables = [value for value in op.inputs if not flow.on_act(value) and flow.rank(value) >= 2]
    return (acts[0], tables[0]) if len(acts) == 1 and len(tables) == 1 else None


def _widen(flow: Flow, result: int, swept: tuple[list[int], int]) -> Rope | None:
    """Take in the join with the rotated or unrotated rest, as long as all still comes from one vector."""
    ops, source = swept
    while (join := flow.only_consumer(result)) is not None and flow.kind[join.id] in ("join", "view", "plumb"):
        if flow.kind[join.id] != "join":
            if not _restores(flow, join, source):
                break
            ops, result = [*ops, join.id], join.outputs[0]
            continue
        wider = flow.sweep([join.outputs[0]], _ALLOWED) if len(flow.act_inputs(join)) > 1 else None
        if wider is None or join.name == "sync":
            break
        (ops, source), result = wider, join.outputs[0]
    if not any(flow.kind[index] in ("join", "select") or flow.ops[index].name == "neg" for index in ops):
        return None  # two products added, but nothing is turned
    tables = _tables(flow, ops)
    return Rope(tuple(sorted(ops)), source, result, tables)


def _restores(flow: Flow, op: Op, source: int) -> bool:
    """A view or cast after the rotation that gives the shape of what went in: `stack(...).flatten(-2)`."""
    before, after = flow.values[op.inputs[0]], flow.values[op.outputs[0]]
    if before.shape == flow.values[source].shape:
        return before.shape == after.shape and flow.kind[op.id] == "plumb" and before.dtype != flow.values[source].dtype
    return after.shape == flow.values[source].shape or len(after.shape) == len(before.shape) - 1


def _complex_rotation(flow: Flow, op: Op) -> Rope | None:
    """Pairs seen as complex numbers, times a unit complex table."""
    product = _table_product(flow, op)
    if product is None or not flow.values[op.outputs[0]].dtype.startswith("complex"):
        return None
    ops = [op.id]
    source, result = product[0], op.outputs[0]
    while (before := flow.maker(source)) is not None and flow.kind[before.id] in ("view", "plumb"):
        ops.append(before.id)
        source = before.inputs[0]
        if before.name == "reshape":
            break
    while (after := flow.only_consumer(result)) is not None and flow.kind[after.id] in ("view", "plumb"):
        ops.append(after.id)
        result = after.outputs[0]
        if (
            flow.values[result].shape == flow.values[source].shape
            and flow.values[result].dtype == flow.values[source].dtype
        ):
            break
    return Rope(tuple(sorted(ops)), source, result, (product[1],))


def _tables(flow: Flow, ops: list[int]) -> tuple[int, ...]:
    found = [part[1] for index in ops if (part := _table_product(flow, flow.ops[index])) is not None]
    return tuple(dict.fromkeys(found))
