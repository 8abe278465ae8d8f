"""Which function of one number a chain of ops computes: found by computing it, however it is spelled."""

from __future__ import annotations

__all__ = ["function_of"]

import math
from collections.abc import Callable, Sequence

from inspector.records import Op

_POINTS = (-9.5, -3.7, -2.2, -1.3, -0.6, -0.1, 0.0, 0.2, 0.7, 1.1, 1.9, 2.7, 4.3, 9.5)

Function = Callable[[float], float]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def _gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


KNOWN: dict[str, Function] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "silu": lambda x: x * _sigmoid(x),
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "softplus": _softplus,
    "sqrtsoftplus": lambda x: math.sqrt(_softplus(x)),
    "mish": lambda x: x * math.tanh(_softplus(x)),
    "hardswish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "laplace": lambda x: 0.5 * (1 + math.erf((x - 0.707107) / (0.282095 * math.sqrt(2)))),
    "linear": lambda x: x,
}
"""Name -> the function that it names."""

_ONE: dict[str, Function] = {
    **{
        name: KNOWN[name]
        for name in ("silu", "relu", "relu6", "sigmoid", "tanh", "softplus", "mish", "hardswish", "elu")
    },
    "erf": math.erf,
    "exp": math.exp,
    "square": lambda x: x * x,
    "sqrt": math.sqrt,
    "neg": lambda x: -x,
    "abs": abs,
    "log1p": math.log1p,
}
_TWO: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: b - a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "rdiv": lambda a, b: b / a,
    "pow": lambda a, b: a**b,
}
_PASSING = frozenset({"to", "contiguous", "clone", "dropout", "identity", "detach"})


def function_of(ops: Sequence[Op]) -> str | None:
    """The name of the function that `ops` compute of the one value that enters; None when that cannot be told.

    >>> relu = Op(0, "relu", "", "", "", (("input", 7),), (), (), (8,), "")
    >>> square = Op(1, "square", "", "", "", (("input", 8),), (), (), (9,), "")
    >>> function_of([relu]), function_of([relu, square])
    ('relu', 'relu2')
    """
    name = _named(ops)
    if name is not None:
        return name
    for word, inner in (("clamped", _unclamped(ops)), ("softcapped", _uncapped(ops)), ("sparse", _above_cutoff(ops))):
        if inner and (name := _named(inner)):
            return f"{name} {word}"
    return None


def _unclamped(ops: Sequence[Op]) -> Sequence[Op]:
    """The ops with nothing done where the value is clamped."""
    clamps = any(op.name == "clamp" for op in ops)
    return [op._replace(name="identity") if op.name == "clamp" else op for op in ops] if clamps else ()


def _uncapped(ops: Sequence[Op]) -> Sequence[Op]:
    """The ops with nothing done where one factor of a product is softcapped, c·tanh(x/c), and the other is not."""
    for place, (divides, squashes, multiplies) in enumerate(zip(ops, ops[1:], ops[2:], strict=False)):
        trio = (divides, squashes, multiplies)
        caps = divides.attribute("other"), multiplies.attribute("other")
        shared = sum(set(divides.inputs) <= set(op.inputs) for op in ops) > 1
        if [op.name for op in trio] == ["div", "tanh", "mul"] and caps[0] == caps[1] is not None and shared:
            idle = [op._replace(name="identity") for op in trio]
            return [*ops[:place], *idle, *ops[place + 3 :]]
    return ()


def _above_cutoff(ops: Sequence[Op]) -> Sequence[Op]:
    """What follows where only what lies above a cutoff is kept, one that mean and spread of the values give (Gemma 3n).

    The cutoff is computed of all channels of a token: what is left of the value enters as it is.
    """
    names = [op.name for op in ops]
    last = len(names) - 1 - names[::-1].index("relu") if "relu" in names else 0
    return ops[last + 1 :] if last and names[last - 1] == "sub" and {"mean", "std"} <= set(names[:last]) else ()


def _named(ops: Sequence[Op]) -> str | None:
    try:
        results = [_compute(ops, x) for x in _POINTS]
    except (LookupError, OverflowError, ValueError, ZeroDivisionError):
        return None
    for name, known in KNOWN.items():
        if all(math.isclose(known(x), y, rel_tol=1e-5, abs_tol=1e-6) for x, y in zip(_POINTS, results, strict=True)):
            return name
    return None


def _compute(ops: Sequence[Op], x: float) -> float:
    """Raises LookupError for an op that it does not know, or a second value that enters."""
    known: dict[int, float] = {}
    made = {value for op in ops for value in op.outputs}
    result = x
    for op in ops:
        operands = []
        for value in op.inputs:
            if value not in made:
                if known and value not in known:
                    raise LookupError("a second value enters")
                known[value] = x
            operands.append(known[value])
        result = _call(op, operands)
        known[op.outputs[0]] = result
    return result


def _call(op: Op, operands: list[float]) -> float:
    if op.name in _PASSING:
        return operands[0]
    if op.name == "gelu":
        return (_gelu_tanh if op.attribute("approximate") == "tanh" else _gelu)(operands[0])
    if op.name == "leaky_relu":
        slope = _number(op, "negative_slope", 0.01)
        return operands[0] if operands[0] > 0 else slope * operands[0]
    if op.name == "clamp":
        low, high = _number(op, "min", -math.inf), _number(op, "max", math.inf)
        return min(max(operands[0], low), high)
    if op.name in _ONE:
        return _ONE[op.name](operands[0])
    if op.name in _TWO:
        return _TWO[op.name](*_both(op, operands))
    raise LookupError(op.name)


def _both(op: Op, operands: list[float]) -> tuple[float, float]:
    """Two operands; a number among the attributes stands first when it is `input`."""
    if len(operands) == 2:
        return operands[0], operands[1]
    for name, value in op.attributes:
        if name in ("other", "exponent", "input") and isinstance(value, (int, float)):
            return (float(value), operands[0]) if name == "input" else (operands[0], float(value))
    raise LookupError("no second operand")


def _number(op: Op, name: str, default: float) -> float:
    value = op.attribute(name, default)
    return float(value) if isinstance(value, (int, float)) else default
