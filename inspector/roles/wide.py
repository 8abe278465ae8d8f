"""Streams with one axis more than a sublayer takes in: what reads them, and what is a mixture of them."""

from __future__ import annotations

__all__ = ["mixed_source", "reads_of", "recast"]

from inspector.roles.flow import Flow


def mixed_source(flow: Flow, value: int) -> int | None:
    """The streams that `value` is a square mixture of, where a sum over them is read elsewhere."""
    op = flow.maker(flow.through(value, ("plumb",)))
    if op is None or not flow.is_product(op) or flow.rank(value) < 4:
        return None
    for factor in map(flow.through, flow.factors(op)):
        if flow.values[factor].shape == flow.values[value].shape and any(True for _ in reads_of(flow, factor)):
            return factor
    return None


def reads_of(flow: Flow, source: int) -> list[int]:
    """Sums over an inner axis of `source` times something: the values that a sublayer takes in."""
    found = []
    for alias in recast(flow, source):
        for op in flow.consumers(alias):
            total = flow.only_consumer(op.outputs[0]) if op.name == "mul" and len(flow.act_inputs(op)) == 2 else None
            if total is None or total.name != "sum":
                continue
            result, before = flow.values[total.outputs[0]].shape, flow.values[source].shape
            if len(result) == len(before) - 1 and result[-1] == before[-1]:
                found.append(total.outputs[0])
    return found


def recast(flow: Flow, value: int) -> list[int]:
    """`value` and what it is after casts."""
    found = [value]
    for item in found:
        found.extend(op.outputs[0] for op in flow.consumers(item) if flow.kind[op.id] == "plumb")
    return found
