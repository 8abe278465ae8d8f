"""What decides the result of a stage: its attributes, and its calls where those say nothing.

Read alike from a trace and from a saved graph: two stages are the same if they are told apart by neither.
"""

from __future__ import annotations

__all__ = ["deciding", "formula", "maths_of"]

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from inspector.records import Plain
from inspector.stage_graph import Stage, StageGraph
from inspector.stage_graph.attributes import MOVEMENT, attributes
from inspector.stage_graph.calls import exact

Arguments = tuple[tuple[str, Plain], ...]
Sizes = Mapping[str, Sequence[int]]

_SAID_ELSEWHERE = frozenset({"dim", "groups", "enable_gqa", "is_causal"})
"""Numbers that only repeat a size, or how a kernel was asked."""

_ONCE = ("factor", 1.0)
"""To multiply by one is to do nothing."""

_SILENT = MOVEMENT | frozenset(
    "softmax mask fused rope rope_table build token segment position scale softcap top_k".split()
)
"""Roles whose calls decide nothing beyond their attributes."""


def maths_of(graph: StageGraph, stage: Stage, sizes: Sizes) -> Arguments:
    """(name, value) pairs of a stage that ran, sorted by name."""
    kind = graph.naming.flow.kind
    live = [op for op in graph.ops(stage) if op.effect != "noop" and kind[op.id] not in ("plumb", "view")]
    calls = ((op.name, op.attributes) for op in live)
    return deciding(stage.path, exact(attributes(graph, stage)), calls, sizes)


def deciding(path: str, said: Arguments, calls: Iterable[tuple[str, Arguments]], sizes: Sizes) -> Arguments:
    """The attributes that decide, a factor that follows from a size as what it is; else the calls in words.

    >>> deciding("attention.scale", (("factor", 0.125),), (), {"K": (64,)})
    (('factor', '1/sqrt(K)'),)
    >>> deciding("ssm.scan", (), [("cumsum", (("dim", 1),)), ("pow", (("exponent", 2),))], {})
    (('calls', 'cumsum pow(exponent=2)'),)
    """
    section, _, role = path.partition(".")
    found = {name: value for name, value in said if name not in _SAID_ELSEWHERE and (name, value) != _ONCE}
    if isinstance(factor := found.get("factor"), float):
        letter = "K" if "attention" in section else "D"
        found["factor"] = formula(float(f"{factor:.6g}"), letter, sizes.get(letter, ()))
    if not said and role not in _SILENT:
        texts = [_call(*call) for call in calls]
        found |= {"calls": " ".join(text for text, _ in groupby(texts))} if texts else {}
    return tuple(sorted(found.items()))


def formula(factor: float, letter: str, sizes: Sequence[int]) -> Plain:
    """`1/sqrt(K)` for 0.125 where K is 64, `sqrt(D)` for 22.6 where D is 512; else the number.

    A wider model is no other function.

    >>> formula(0.125, "K", (64,)), formula(0.2, "K", (64,))
    ('1/sqrt(K)', 0.2)
    """
    for size in sizes:
        for text, number in (("1/sqrt({})", size**-0.5), ("sqrt({})", size**0.5), ("1/{}", 1 / size)):
            if abs(factor / number - 1) < 4e-3:  # what bfloat16 rounds away
                return text.format(letter)
    return factor


def _call(name: str, arguments: Arguments) -> str:
    """The op with the numbers that are no sizes."""
    numbers = [
        f"{key}={value}"
        for key, value in arguments
        if (isinstance(value, float) and math.isfinite(value)) or (isinstance(value, (int, str)) and key in _TELLING)
    ]
    return f"{name}({', '.join(numbers)})" if numbers else name


_TELLING = frozenset({"other", "exponent", "approximate", "negative_slope", "alpha", "beta", "threshold", "groups"})
