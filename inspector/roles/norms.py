"""Norms, however they are spelled: one kernel, or cast, square, mean, add, rsqrt and multiply.

Anchored on the inverse root; walked back to the squared mean and forward to the affine part.
"""

from __future__ import annotations

__all__ = ["Norm", "find_norms"]

from typing import NamedTuple

from inspector.records import Op
from inspector.roles.flow import Flow

_KERNELS = {"layer_norm": "layer", "rms_norm": "rms", "group_norm": "group", "batch_norm": "batch", "normalize": "l2"}
_ROOTS = frozenset({"rsqrt", "sqrt", "pow"})


class Norm(NamedTuple):
    """One norm: its ops, the value it normalises and the value it makes.

    kind: layer, rms, l2, group or batch. eps: what is added under the root, None where nothing is.
    offset: whether the weight enters as 1 + w.
    """

    ops: tuple[int, ...]
    source: int
    result: int
    kind: str
    eps: float | None
    weight: int | None
    bias: int | None
    offset: bool


def find_norms(flow: Flow) -> list[Norm]:
    """Every norm on the activation plane, in order."""
    found = []
    for op in flow.ops:
        if not op.outputs or not flow.on_act(op.outputs[0]):
            continue
        norm = _kernel(flow, op) if op.name in _KERNELS else _composite(flow, op) if _is_root(op) else None
        if norm is not None:
            found.append(norm)
    return found


def _is_root(op: Op) -> bool:
    return op.name in _ROOTS and (op.name != "pow" or op.attribute("exponent") in (0.5, -0.5))


def _kernel(flow: Flow, op: Op) -> Norm:
    named = dict(op.operands)
    eps = op.attribute("eps")
    source, ops = named["input"], [op.id]
    source = _leading_cast(flow, source, ops)
    result = _trailing_cast(flow, op.outputs[0], ops)
    number = float(eps) if isinstance(eps, (int, float)) else None
    return Norm(
        tuple(ops), source, result, _KERNELS[op.name], number, named.get("weight"), named.get("bias"), offset=False
    )


def _composite(flow: Flow, root: Op) -> Norm | None:
    ops = [root.id]
    value, eps = _under_root(flow, root.inputs[0], ops)
    moment = flow.maker(value)
    if moment is None or moment.name not in ("mean", "sum", "var"):
        return None
    ops.append(moment.id)
    squared = _through_casts(flow, moment.inputs[0], ops)
    base = squared if moment.name == "var" else _unsquare(flow, squared, ops)
    if base is None:
        return None
    scaled = _applied(flow, root, base, ops)
    if scaled is None:
        return None
    return _finish(flow, moment.name, base, scaled, eps, ops)


def _finish(flow: Flow, moment: str, base: int, scaled: Op, eps: float | None, ops: list[int]) -> Norm:
    centred = _uncentre(flow, base, scaled, ops)
    source = _leading_cast(flow, base if centred is None else centred, ops)
    kind = "layer" if centred is not None or moment == "var" else "rms" if moment == "mean" else "l2"
    result, weight, bias, offset = _affine(flow, scaled.outputs[0], ops)
    return Norm(tuple(sorted(set(ops))), source, result, kind, eps, weight, bias, offset)


def _under_root(flow: Flow, value: int, ops: list[int]) -> tuple[int, float | None]:
    """Back over `+ eps`, clamps and scalings under the root."""
    eps = None
    while True:
        op = flow.maker(value)
        if op is None or op.name not in ("add", "clamp", "mul", "div", "to") or len(flow.act_inputs(op)) != 1:
            return value, eps
        number = op.attribute("other", op.attribute("min"))
        if op.name in ("add", "clamp") and isinstance(number, (int, float)):
            eps = float(number)
        ops.append(op.id)
        value = flow.act_inputs(op)[0]


def _through_casts(flow: Flow, value: int, ops: list[int]) -> int:
    while (op := flow.maker(value)) is not None and flow.kind[op.id] == "plumb":
        ops.append(op.id)
        value = op.inputs[0]
    return value


def _unsquare(flow: Flow, value: int, ops: list[int]) -> int | None:
    """x, where `value` is x squared."""
    op = flow.maker(value)
    if op is None:
        return None
    squares = (
        op.name == "square"
        or (op.name == "pow" and op.attribute("exponent") in (2, 2.0))
        or (op.name == "mul" and len(op.inputs) == 2 and op.inputs[0] == op.inputs[1])
    )
    if not squares:
        return None
    ops.append(op.id)
    return _through_casts(flow, op.inputs[0], ops)


def _applied(flow: Flow, root: Op, base: int, ops: list[int]) -> Op | None:
    """The op that multiplies x (or x minus its mean) by the inverse root."""
    value = root.outputs[0]
    for _ in range(3):
        for op in flow.consumers(value):
            others = [item for item in op.inputs if item != value]
            if op.name in ("mul", "div") and others and _same_base(flow, others[0], base):
                ops.append(op.id)
                ops.extend(_casts_between(flow, others[0], base))
                return op
        step = flow.only_consumer(value)
        if step is None or step.name not in ("to", "reciprocal", "expand", "unsqueeze"):
            return None
        ops.append(step.id)
        value = step.outputs[0]
    return None


def _same_base(flow: Flow, value: int, base: int) -> bool:
    """Whether `value` is `base` up to casts, or both are one value less its mean."""
    value, base = flow.through(value), flow.through(base)
    if value == base:
        return True
    one, two = flow.maker(value), flow.maker(base)
    if one is None or one.name != "sub":
        return False
    source = flow.through(one.inputs[0])
    return source == base or (two is not None and two.name == "sub" and flow.through(two.inputs[0]) == source)


def _casts_between(flow: Flow, value: int, base: int) -> list[int]:
    ops = []
    base = flow.through(base)
    while value != base and (op := flow.maker(value)) is not None and flow.kind[op.id] == "plumb":
        ops.append(op.id)
        value = op.inputs[0]
    return ops


def _uncentre(flow: Flow, base: int, scaled: Op, ops: list[int]) -> int | None:
    """x, where the normalised value is x less its mean; None where nothing was subtracted."""
    source = None
    for value in (base, *scaled.inputs):
        op = flow.maker(flow.through(value))
        if op is None or op.name != "sub" or len(op.inputs) != 2:
            continue
        mean = flow.maker(flow.through(op.inputs[1]))
        if mean is not None and mean.name == "mean":
            ops.extend((op.id, mean.id, *_casts_between(flow, mean.inputs[0], flow.through(op.inputs[0]))))
            source = op.inputs[0]
    return source


def _leading_cast(flow: Flow, source: int, ops: list[int]) -> int:
    """The cast before a norm is part of it when nothing else reads its result."""
    op = flow.maker(source)
    while op is not None and flow.kind[op.id] == "plumb" and flow.on_act(op.inputs[0]):
        if any(user.id not in ops for user in flow.consumers(source)):
            return source
        ops.append(op.id)
        source = op.inputs[0]
        op = flow.maker(source)
    return source


def _trailing_cast(flow: Flow, result: int, ops: list[int]) -> int:
    op = flow.only_consumer(result)
    if op is not None and op.name == "to":
        ops.append(op.id)
        return op.outputs[0]
    return result


def _affine(flow: Flow, value: int, ops: list[int]) -> tuple[int, int | None, int | None, bool]:
    """Forward over `* weight`, `+ bias` and casts: (result, weight, bias, offset)."""
    weight = bias = None
    offset = False
    while (op := flow.only_consumer(value)) is not None:
        other = next((item for item in op.inputs if item != value), None)
        parameter = None if other is None else flow.weight(other)
        fits = parameter is not None and other is not None and flow.rank(other) <= 3
        if op.name == "mul" and fits and weight is None and bias is None:
            weight, offset = parameter, _adds_one(flow, other)
        elif op.name == "add" and fits and bias is None:
            bias = parameter
        elif op.name != "to":
            break
        ops.append(op.id)
        value = op.outputs[0]
    return value, weight, bias, offset


def _adds_one(flow: Flow, value: int | None) -> bool:
    while value is not None and (op := flow.maker(value)) is not None and op.operands:
        if op.name == "add" and op.attribute("other", op.attribute("input")) in (1, 1.0):
            return True
        value = op.inputs[0]
    return False
