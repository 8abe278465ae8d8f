"""Norms, however they are spelled: one kernel, or cast, square, mean, add, rsqrt and multiply.

Anchored on the inverse root; walked back to the squared mean and forward to the affine part.
"""

from __future__ import annotations

__all__ = ["Norm", "find_norms"]

from typing import NamedTuple

from inspector.records import Op
from inspector.roles.flow import WRITES, Flow

_KERNELS = {"layer_norm": "layer", "rms_norm": "rms", "group_norm": "group", "batch_norm": "batch", "normalize": "l2"}
_LENGTHS = frozenset({"norm", "linalg_vector_norm"})
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
    found: list[Norm] = []
    claimed: set[int] = set()
    for op in flow.ops:
        if not op.outputs or not flow.on_act(op.outputs[0]):
            continue
        norm = _found(flow, op)
        if norm is not None:
            found.append(_gated(flow, _on_rows(flow, _turned(flow, _apart(flow, norm, claimed)))))
            claimed.update(found[-1].ops)
    return found


def _found(flow: Flow, op: Op) -> Norm | None:
    if op.name in _KERNELS:
        return _kernel(flow, op)
    if op.name in _LENGTHS:
        return _by_length(flow, op)
    return _composite(flow, op) if _is_root(op) else None


def _by_length(flow: Flow, length: Op) -> Norm | None:
    """A vector times a number over its length: the length is one call."""
    ops, eps = [length.id], None
    value = length.outputs[0]
    for _ in range(4):
        step = flow.only_consumer(value)
        if step is None:
            return None
        if step.name in ("mul", "div") and len(flow.act_inputs(step)) == 2:
            if not any(_same_base(flow, item, length.inputs[0]) for item in step.inputs):
                return None
            ops.append(step.id)
            result, weight, bias, offset = _affine(flow, step.outputs[0], ops)
            return Norm(tuple(sorted(set(ops))), length.inputs[0], result, "l2", eps, weight, bias, offset)
        number = step.attribute("min", step.attribute("other"))
        if step.name in ("clamp", "clamp_min", "add") and isinstance(number, (int, float)):
            eps = float(number)
        elif step.name not in ("to", "rdiv", "reciprocal"):
            return None
        ops.append(step.id)
        value = step.outputs[0]
    return None


def _apart(flow: Flow, norm: Norm, claimed: set[int]) -> Norm:
    """The cast that ends one norm begins no other that follows right upon it."""
    shared = [index for index in norm.ops if index in claimed]
    if not shared:
        return norm
    own = tuple(index for index in norm.ops if index not in claimed)
    return norm._replace(ops=own, source=flow.ops[shared[-1]].outputs[0])


def _turned(flow: Flow, norm: Norm) -> Norm:
    """With the turns around it, where the channels that are normalised do not stand last."""
    before, after = flow.maker(norm.source), flow.only_consumer(norm.result)
    if before is None or after is None or not {before.name, after.name} <= _TURNS:
        return norm
    if (
        flow.only_consumer(norm.source) is None
        or flow.values[before.inputs[0]].shape != flow.values[after.outputs[0]].shape
    ):
        return norm
    ops = tuple(sorted((before.id, *norm.ops, after.id)))
    return norm._replace(ops=ops, source=before.inputs[0], result=after.outputs[0])


def _on_rows(flow: Flow, norm: Norm) -> Norm:
    """With the choice of tokens around it, where one kind of token has a norm of its own: taken out, and put back."""
    cut, write = flow.maker(norm.source), flow.only_consumer(norm.result)
    if cut is None or write is None or write.name not in WRITES or len(cut.inputs) != 2:
        return norm
    if flow.kind[cut.id] != "select" or write.inputs[0] != cut.inputs[0]:
        return norm
    ops = tuple(sorted((cut.id, *norm.ops, write.id)))
    return norm._replace(ops=ops, source=cut.inputs[0], result=write.outputs[0])


def _gated(flow: Flow, norm: Norm) -> Norm:
    """With the gate that the normalised values make for themselves: `y * sigmoid(w(act(v(y))))`, of low rank."""
    for op in flow.consumers(norm.result):
        acts = flow.act_inputs(op)
        if op.name == "mul" and len(acts) == 2 and norm.result in acts and acts[0] != acts[1]:
            gate = _low_rank_gate(flow, acts[0] if acts[1] == norm.result else acts[1], norm.result)
            if gate:
                return norm._replace(ops=tuple(sorted((*norm.ops, *gate, op.id))), result=op.outputs[0])
    return norm


def _low_rank_gate(flow: Flow, value: int, end: int) -> list[int]:
    """The ops from `end` to `value`, where they are two projections, a non-linearity between and a sigmoid behind."""
    ops: list[int] = []
    while value != end:
        op = flow.maker(value)
        if op is None or op.name not in _GATE or len(ops) > 8:
            return []
        ops.append(op.id)
        value = flow.act_inputs(op)[0]
    weighted = sum(flow.weighted[index] for index in ops)
    return ops if weighted == 2 and any(flow.ops[index].name == "sigmoid" for index in ops) else []


_TURNS = frozenset({"permute", "transpose"})
_GATE = frozenset({"linear", "silu", "gelu", "relu", "sigmoid", "to"})


def _is_root(op: Op) -> bool:
    return op.name in _ROOTS and (op.name != "pow" or op.attribute("exponent") in (0.5, -0.5))


def _kernel(flow: Flow, op: Op) -> Norm:
    named = dict(op.operands)
    eps = op.attribute("eps")
    source, ops = named["input"], [op.id]
    source = _leading_cast(flow, source, ops)
    number = float(eps) if isinstance(eps, (int, float)) else None
    kind, weight, bias = _KERNELS[op.name], named.get("weight"), named.get("bias")
    if weight is None and bias is None:
        result, weight, bias, offset = _affine(flow, op.outputs[0], ops)
        return Norm(tuple(ops), source, result, kind, number, weight, bias, offset)
    offset = weight is not None and _adds_one(flow, dict(op.operands).get("weight"))
    return Norm(tuple(ops), source, _trailing_cast(flow, op.outputs[0], ops), kind, number, weight, bias, offset)


def _composite(flow: Flow, root: Op) -> Norm | None:
    ops = [root.id]
    value, eps = _under_root(flow, root.inputs[0], ops)
    moment = flow.maker(value)
    if moment is None or moment.name not in ("mean", "sum", "var"):
        return None
    ops.append(moment.id)
    if moment.name == "var":
        base: int | None = moment.inputs[0]
    else:
        base = _unsquare(flow, _through_casts(flow, moment.inputs[0], ops), ops)
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
    return op.inputs[0]


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
    ends = (base, flow.through(base))
    while value not in ends and (op := flow.maker(value)) is not None and flow.kind[op.id] == "plumb":
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
