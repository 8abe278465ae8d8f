"""The numbers that two stages were executed with, side by side."""

from __future__ import annotations

__all__ = ["differences"]

from collections.abc import Mapping, Sequence
from typing import Any

from inspector.records import Plain
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.stages import Stage
from inspector.verification.against.groups import Group
from inspector.verification.against.report import Difference
from inspector.verification.against.sides import Side

_SEEN_IN_VALUES = frozenset(
    "kind size is_causal enable_gqa dtype dim keeps first padding learned scaling groups".split()
)
"""Numbers that are read off tables and masks, or that say how a thing is run and not what it is."""

_DEFAULTS: Mapping[str, Any] = {"factor": 1.0}


def differences(a: Side, b: Side, group: Group) -> tuple[Difference, ...]:
    """Every number that is not alike, whether or not it shows in the values."""
    one, two = (_numbers(side, stages) for side, stages in ((a, group.a), (b, group.b)))
    names = [name for name in {**one, **two} if name not in _SEEN_IN_VALUES]
    found = [Difference(name, _get(one, name), _get(two, name)) for name in names]
    shared = Difference("weight shared with", *(_shared(side, stages) for side, stages in ((a, group.a), (b, group.b))))
    differing = [item for item in found if _differ(item)]
    return (*differing, shared) if shared.a != shared.b else tuple(differing)


def _numbers(side: Side, stages: Sequence[Stage]) -> dict[str, Any]:
    """Of several stages what they come to: factors multiply, the rest is one stage's."""
    found: dict[str, Any] = {}
    for stage in stages:
        for name, value in attributes(side.graph, stage):
            both = name == "factor" and isinstance(value, float) and isinstance(found.get(name, 1.0), float)
            found[name] = found.get(name, 1.0) * value if both else value
    return found


def _get(numbers: Mapping[str, Any], name: str) -> Plain:
    return numbers.get(name, _DEFAULTS.get(name))  # type: ignore[no-any-return]


def _differ(one: Difference) -> bool:
    if one.a is None or one.b is None:
        return False  # what cannot be told on one side shows in the values
    if isinstance(one.a, float) and isinstance(one.b, float):
        tolerance = 1e-3 if one.name == "theta" else 1e-6  # a base is read off rounded tables
        return abs(one.a - one.b) > tolerance * max(abs(one.a), abs(one.b))
    return one.a != one.b


def _shared(side: Side, stages: Sequence[Stage]) -> str | None:
    """The first other stage that reads the same weight: the table of tokens, where a head is tied to it."""
    inside = {stage.index for stage in stages}
    weights = set(side.weights(stages))
    before = [
        s for s in side.graph.stages if s.index not in inside and s.index < min(inside) and weights & set(s.parameters)
    ]
    return before[0].name if before else None
