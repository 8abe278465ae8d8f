"""One dataflow order for the stages of two sides."""

from __future__ import annotations

__all__ = ["merged"]

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from inspector.alignment.parts import Match, Part

Places = tuple[int | None, int | None]


def merged(a: Sequence[Part], b: Sequence[Part], matches: Sequence[Match]) -> list[Match]:
    """The matches so that each side's stages come in their own order, as far as both orders can be kept.

    Of what may come next, what stands earliest: rows of A before rows of B where neither side says more. What moved
    stands at the earlier of its two places.
    """
    place_a = {part.id: number for number, part in enumerate(a)}
    place_b = {part.id: number for number, part in enumerate(b)}
    firsts = [_first(match, place_a, place_b) for match in matches]
    kept = [
        _earlier(first, len(a), len(b)) if match.moved else first for match, first in zip(matches, firsts, strict=True)
    ]
    after: list[set[int]] = [set() for _ in matches]
    waits = [0] * len(matches)
    for side in (0, 1):
        chain = sorted((place, index) for index, first in enumerate(kept) if (place := first[side]) is not None)
        for (_, one), (_, two) in pairwise(chain):
            if two not in after[one]:
                after[one].add(two)
                waits[two] += 1
    keys = [_key(first, len(a), len(b)) for first in firsts]
    ready = [(keys[index], index) for index in range(len(matches)) if not waits[index]]
    heapify(ready)
    left = dict.fromkeys(sorted(range(len(matches)), key=keys.__getitem__))
    order: list[Match] = []
    while left:
        index = heappop(ready)[1] if ready else next(iter(left))  # the two orders cross: go on with the earliest
        if index not in left:
            continue
        del left[index]
        order.append(matches[index])
        for follower in sorted(after[index]):
            waits[follower] -= 1
            if not waits[follower]:
                heappush(ready, (keys[follower], follower))
    return order


def _first(match: Match, a: dict[str, int], b: dict[str, int]) -> Places:
    one = min((a[part.id] for part in match.a), default=None)
    return one, min((b[part.id] for part in match.b), default=None)


def _earlier(first: Places, n: int, m: int) -> Places:
    one, two = first
    if one is None or two is None:
        return first
    return (one, None) if one * m <= two * n else (None, two)


def _key(first: Places, n: int, m: int) -> tuple[float, int]:
    """How far down a match stands, 0 to 1; an absence on one side is placed by the other."""
    shares = [place / max(1, total) for place, total in zip(first, (n, m), strict=True) if place is not None]
    return min(shares), 0 if first[0] is not None else 1
