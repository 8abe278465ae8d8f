"""What a forward pass costs: FLOPs, parameters, bytes. One formula per op, on plain records, without torch.

A formula takes shapes and answers a `Cost`. To price a new op, add it to the table of `contractions.py` (it multiplies
matrices) or of `pointwise.py` (anything else).
"""

from __future__ import annotations

__all__ = [
    "FORMULAS",
    "Cost",
    "activation_bytes",
    "cache_bytes_per_token",
    "flops",
    "itemsize",
    "parameters",
    "total_flops",
    "value_bytes",
]

from collections.abc import Iterable

from inspector.costs.contractions import CONTRACTIONS
from inspector.costs.cost import FREE, UNPRICED, Cost, Formula
from inspector.costs.memory import activation_bytes, cache_bytes_per_token, itemsize, parameters, value_bytes
from inspector.costs.pointwise import POINTWISE
from inspector.records import Op, Trace

FORMULAS: dict[str, Formula] = POINTWISE | CONTRACTIONS
"""Canonical op name -> its formula."""


def flops(op: Op, trace: Trace) -> Cost:
    """What one op costs.

    >>> from inspector.records import ModelInfo, Scenario, Value
    >>> shapes = (2, 16, 768), (3072, 768), (2, 16, 3072)
    >>> values = tuple(Value(i, "op", None, shape, "float32", "cpu", None) for i, shape in enumerate(shapes))
    >>> up = Op(0, "linear", "", "", "", (("input", 0), ("weight", 1)), (), (), (2,), "")
    >>> flops(up, Trace(ModelInfo("mlp", None, "MLP", 0, 0), Scenario(), (up,), values, (), ()))
    Cost(contraction=150994944, other=0, unpriced=0)

    Views and no-ops are free whatever they are called, and so is what only tells Python a value.
    """
    if op.effect in ("view", "noop") or not op.outputs:
        return FREE
    formula = FORMULAS.get(op.name)
    if formula is None:
        return UNPRICED
    values = trace.values
    inputs = [values[value].shape for _, value in op.operands]
    outputs = [values[value].shape for value in op.outputs]
    cost = formula(op, inputs, outputs)
    return UNPRICED if cost is None else cost


def total_flops(ops: Iterable[Op], trace: Trace) -> Cost:
    """What several ops cost together."""
    return Cost.sum([flops(op, trace) for op in ops])
