"""Which kind of block of the one is which of the other: depths and patterns may differ, structure decides."""

from __future__ import annotations

__all__ = ["paired"]

from collections import Counter
from collections.abc import Sequence

from inspector.alignment.parts import Scope

_LEAST = 0.25
"""Below this share of equal stages two kinds of block are not the same job."""

Pair = tuple[Scope | None, Scope | None, float]


def paired(a: Sequence[Scope], b: Sequence[Scope]) -> list[Pair]:
    """Pairs of kinds of block with their likeness, in the order of `a`; every kind stands in at least one.

    The best pairs go first; where both sides have only one kind there is nothing to choose. A kind that is left over
    takes its best counterpart a second time: one kind of block in one model is compared with both kinds of a model that
    alternates between two.
    """
    like = _likenesses(a, b)
    order = sorted(like, key=lambda place: _rank(place, like, len(a), len(b)))
    least = 0.0 if len(a) == len(b) == 1 else _LEAST
    chosen: list[tuple[int, int]] = []
    for exclusive in (True, False):
        seen_a, seen_b = {i for i, _ in chosen}, {j for _, j in chosen}
        for i, j in order:
            taken = (i in seen_a or j in seen_b) if exclusive else (i in seen_a and j in seen_b)
            if not taken and like[i, j] >= least:
                chosen.append((i, j))
                seen_a.add(i)
                seen_b.add(j)
    pairs: list[Pair] = [(a[i], b[j], like[i, j]) for i, j in sorted(chosen)]
    pairs += [(scope, None, 0.0) for i, scope in enumerate(a) if i not in {i for i, _ in chosen}]
    return pairs + [(None, scope, 0.0) for j, scope in enumerate(b) if j not in {j for _, j in chosen}]


def _rank(place: tuple[int, int], like: dict[tuple[int, int], float], n: int, m: int) -> tuple[float, float, int, int]:
    """Best first; then those at about the same depth. The same whichever side is called A."""
    i, j = place
    depth = abs((i + 0.5) / n - (j + 0.5) / m)
    return (-round(like[place], 9), round(depth, 9), i + j, abs(i - j))


def _likenesses(a: Sequence[Scope], b: Sequence[Scope]) -> dict[tuple[int, int], float]:
    """Each distinct pair of kinds is compared once: of 126 layers most are of one kind."""
    keys_a, keys_b = [_key(scope) for scope in a], [_key(scope) for scope in b]
    known: dict[tuple[int, int], float] = {}
    numbers: dict[tuple[tuple[object, ...], ...], int] = {}
    ids_a = [numbers.setdefault(key, len(numbers)) for key in keys_a]
    ids_b = [numbers.setdefault(key, len(numbers)) for key in keys_b]
    like: dict[tuple[int, int], float] = {}
    for i, one in enumerate(ids_a):
        for j, two in enumerate(ids_b):
            if (one, two) not in known:
                known[one, two] = _likeness(keys_a[i], keys_b[j])
            like[i, j] = known[one, two]
    return like


def _key(scope: Scope) -> tuple[tuple[object, ...], ...]:
    return tuple((part.name, part.maths, part.shapes) for part in scope.parts if not part.idle)


def _likeness(a: Sequence[tuple[object, ...]], b: Sequence[tuple[object, ...]]) -> float:
    """Shared stages over all stages: half for the role, half for role and maths."""
    names = _overlap([key[0] for key in a], [key[0] for key in b])
    whole = _overlap(list(a), list(b))
    return (names + whole) / 2 if names else 0.0


def _overlap(a: Sequence[object], b: Sequence[object]) -> float:
    one, two = Counter(a), Counter(b)
    union = sum((one | two).values())
    return sum((one & two).values()) / union if union else 1.0
