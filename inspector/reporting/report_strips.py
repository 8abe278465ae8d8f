"""Rows of several models: what stands side by side, from the comparisons of neighbours."""

from __future__ import annotations

__all__ = ["Group", "Unit", "grouped", "scopes_of"]

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import pairwise

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.changes import Row
from inspector.comparison.judge import Comparison

_OPERAND = re.compile(r"^([qkv])_(?=proj$|norm$|down$|up$)")

Unit = tuple[int, str]
"""A stage of one of the models: its number among them, and the id of the part."""

Scopes = tuple[Scope | None, ...]


@dataclass(slots=True)
class Group:
    """Stages that share a row. pairs: for each two neighbours, the rows of their comparison that speak of it."""

    units: dict[Unit, Part] = field(default_factory=dict)
    pairs: dict[int, list[Row]] = field(default_factory=dict)

    def parts(self, model: int) -> list[Part]:
        return [part for (number, _), part in self.units.items() if number == model]

    @property
    def first(self) -> Part:
        return next(iter(self.units.values()))

    def join(self, other: Group) -> None:
        self.units |= other.units
        for pair, rows in other.pairs.items():
            known = self.pairs.setdefault(pair, [])
            known += [row for row in rows if row not in known]


def scopes_of(sides: Sequence[Side], comparisons: Sequence[Comparison]) -> list[Scopes]:
    """Which scope of each model stands beside which of the others: stem, blocks, head."""
    if not comparisons:
        return [(scope,) for scope in sides[0].scopes]
    chains: list[Scopes] = [pair for pair in _pairs(comparisons[0]) if any(pair)]
    for number, comparison in enumerate(comparisons[1:], 2):
        pairs = _pairs(comparison)
        longer = [
            (*chain, two)
            for chain in chains
            for two in [two for one, two in pairs if one is chain[-1] and one is not None] or [None]
        ]
        chains = [*longer, *((*[None] * number, two) for one, two in pairs if one is None)]
    return sorted(chains, key=_place)


def _place(chain: Scopes) -> int:
    return ("stem", "block", "head").index(next(scope.place for scope in chain if scope))


def _pairs(comparison: Comparison) -> list[tuple[Scope | None, Scope | None]]:
    found: dict[tuple[int, int], tuple[Scope | None, Scope | None]] = {}
    for row in comparison.rows:
        one, two = row.scopes
        found.setdefault((id(one), id(two)), row.scopes)
    return list(found.values())


def grouped(chain: Scopes, comparisons: Sequence[Comparison]) -> list[Group]:
    """The rows of one chain of scopes, in an order that every model's own order agrees with."""
    groups = {
        (number, part.id): Group({(number, part.id): part})
        for number, scope in enumerate(chain)
        for part in (scope.parts if scope else ())
    }
    for number, (comparison, pair) in enumerate(zip(comparisons, pairwise(chain), strict=True)):
        for row in comparison.rows:
            if row.scopes[0] is pair[0] and row.scopes[1] is pair[1]:
                _enter(groups, number, row)
    _lanes(groups)
    return _ordered(list({id(group): group for group in groups.values()}.values()), chain)


def _enter(groups: dict[Unit, Group], number: int, row: Row) -> None:
    """What belongs together stands in one row; what moved stands in two, each at its own place."""
    sides = [[(number, part.id) for part in row.a], [(number + 1, part.id) for part in row.b]]
    for units in sides if row.status == "moved" else [sides[0] + sides[1]]:
        if units:
            group = _joined(groups, units)
            group.pairs.setdefault(number, []).append(row)


def _joined(groups: dict[Unit, Group], units: Sequence[Unit]) -> Group:
    first, *rest = (groups[unit] for unit in units)
    for other in rest:
        if other is not first:
            first.join(other)
            groups |= dict.fromkeys(other.units, first)
    return first


def lane(part: Part) -> str:
    """Which of queries, keys and values a stage is about, "" for all of them.

    >>> lane(Part("x", "attention.k_proj", "k")), lane(Part("x", "attention.rope", "q")), lane(Part("x", "mlp.norm"))
    ('k', 'q', '')
    """
    found = _OPERAND.match(part.role)
    return part.operand if part.operand in ("q", "k", "v") else found[1] if found else ""


def _lanes(groups: dict[Unit, Group]) -> None:
    """One row for queries, keys and values, where each of them has its own stage of the same part."""
    known: dict[str, Group] = {}
    for group in list(groups.values()):
        part = group.first
        if not all(map(lane, group.units.values())) and not _projects(group):
            continue
        key = f"{part.section}.{'proj' if _projects(group) else _OPERAND.sub('', part.role)}"
        mate = known.setdefault(key, group)
        if mate is not group and group.first.id not in {unit for _, unit in mate.units} and _apart(mate, group):
            _joined(groups, [next(iter(mate.units)), next(iter(group.units))])


_PROJECTIONS = frozenset({"q_proj", "k_proj", "v_proj", "qkv_proj", "kv_proj"})


def _projects(group: Group) -> bool:
    return any(part.role in _PROJECTIONS for part in group.units.values())


def _apart(one: Group, two: Group) -> bool:
    """Whether no model has the same lane in both."""
    taken = {(number, lane(part)) for (number, _), part in one.units.items()}
    return not any((number, lane(part)) in taken for (number, _), part in two.units.items())


def _ordered(groups: Sequence[Group], chain: Scopes) -> list[Group]:
    """Kahn's order over each model's first stages; of what may come next, what stands earliest in its model."""
    places: list[dict[int, int]] = []
    for number, scope in enumerate(chain):
        at = {part.id: step for step, part in enumerate(scope.parts)} if scope else {}
        places.append(
            {
                index: min(at[part.id] for part in group.parts(number))
                for index, group in enumerate(groups)
                if group.parts(number)
            }
        )
    after: list[set[int]] = [set() for _ in groups]
    for place in places:
        for one, two in pairwise(sorted(place, key=place.__getitem__)):
            after[one].add(two)
    keys = [_share(index, places, chain) for index in range(len(groups))]
    return [groups[index] for index in _sorted(after, keys)]


def _share(index: int, places: Sequence[dict[int, int]], chain: Scopes) -> tuple[float, int]:
    shares = [
        (place[index] / len(scope.parts), number)
        for number, (place, scope) in enumerate(zip(places, chain, strict=True))
        if scope and index in place
    ]
    return min(shares)


def _sorted(after: Sequence[set[int]], keys: Sequence[tuple[float, int]]) -> Iterator[int]:
    waits = [0] * len(after)
    for followers in after:
        for follower in followers:
            waits[follower] += 1
    ready = [(keys[index], index) for index, count in enumerate(waits) if not count]
    heapify(ready)
    left = dict.fromkeys(sorted(range(len(after)), key=keys.__getitem__))
    while left:
        index = heappop(ready)[1] if ready else next(iter(left))  # orders cross: go on with the earliest
        if index not in left:
            continue
        del left[index]
        yield index
        for follower in sorted(after[index]):
            waits[follower] -= 1
            if not waits[follower]:
                heappush(ready, (keys[follower], follower))
