"""Bytes and parameters."""

from __future__ import annotations

__all__ = ["activation_bytes", "cache_bytes_per_token", "itemsize", "parameters", "value_bytes"]

import re
from collections.abc import Iterable, Mapping
from functools import cache
from math import prod

from inspector.records import Op, Trace, Value


@cache
def itemsize(dtype: str) -> int:
    """Bytes of one element. A dtype's name says how many bits it has; what is smaller than a byte is stored in one.

    >>> itemsize("bfloat16"), itemsize("float8_e4m3fn"), itemsize("bool"), itemsize("int4")
    (2, 1, 1, 1)
    """
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1


def value_bytes(value: Value) -> int:
    """Bytes of one tensor, each element stored once.

    >>> value_bytes(Value(0, "input", "input_ids", (2, 16), "int64", "cpu", None))
    256
    """
    return prod(value.shape) * itemsize(value.dtype)


def parameters(ops: Iterable[Op], trace: Trace) -> int:
    """Elements of the parameters that `ops` consume, each counted once however often it is used."""
    consumed = {value for op in ops for value in op.inputs}
    return sum(prod(trace.values[value].shape) for value in consumed if trace.values[value].kind == "parameter")


def activation_bytes(ops: Iterable[Op], trace: Trace) -> int:
    """Bytes of the fresh memory that `ops` write: views and in-place results have none."""
    return sum(value_bytes(trace.values[output]) for op in ops if not op.effect for output in op.outputs)


def cache_bytes_per_token(value: Value, symbols: tuple[str, ...]) -> int:
    """Bytes by which a cached tensor grows with each token of one sequence; 0 for a state that does not grow.

    >>> keys = Value(7, "op", None, (2, 12, 48, 64), "bfloat16", "meta", 90)
    >>> cache_bytes_per_token(keys, ("B", "12", "T", "64"))
    1536

    `symbols` are the dimensions' texts (`Trace.symbols`). Growth is read from them, never from sizes that happen to
    agree: a window of 16 is not 16 tokens.
    """

    def elements(new: int, past: int) -> int:
        sizes = {"B": 1, "S": new, "P": past, "T": new + past}
        return prod(_evaluated(text, sizes) for text in symbols)

    start = elements(8, 8)
    growth = max(elements(9, 8) - start, elements(8, 9) - start)  # a decoding trace may know only P, a prefill only S
    return growth * itemsize(value.dtype)


def _evaluated(text: str, sizes: Mapping[str, int]) -> int:
    """A dimension's text as a number: "12*B" or "2*S+1". One that did not solve ("?16") is its number."""
    total = 0
    for sign, term in re.findall(r"([+-]?)([^+-]+)", text.lstrip("?")):
        size = prod(sizes[factor] if factor in sizes else int(factor) for factor in term.split("*"))
        total += -size if sign == "-" else size
    return total
