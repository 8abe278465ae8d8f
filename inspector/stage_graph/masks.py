"""What a mask lets through, read from its contents: nothing about how it was built is asked."""

from __future__ import annotations

__all__ = ["HIDDEN", "MaskKind", "describe", "first_keys", "spans"]

from typing import NamedTuple

from inspector.records import Concrete

HIDDEN = -1e4
"""What is added to a score so that it counts for nothing: this, or less."""


class MaskKind(NamedTuple):
    """kind: full, causal, sliding, chunked, bidirectional-sliding or other. size: of the window or chunk, else None."""

    kind: str
    size: int | None = None

    def __str__(self) -> str:
        return self.kind


Span = tuple[int, int]
"""First and last key that a query may see, (1, 0) when it may see none."""


_NOBODY: Span = (1, 0)
_HOLES: Span = (0, -1)
"""A row that is seen in several pieces: no pattern that we know."""


def describe(mask: Concrete, hides: bool = False) -> MaskKind:
    """The pattern of a mask of shape (..., S, T), judged on the row of the batch with the least padding.

    hides: in a mask of booleans, true means hidden.

    >>> describe(Concrete((2, 3), "bool", (True, False, True), (1, 1, 4), ""))
    MaskKind(kind='other', size=None)
    >>> describe(Concrete((3, 3), "bool", (True, False, True, False, True), (1, 2, 2, 1, 3), ""))
    MaskKind(kind='causal', size=None)
    """
    if not mask.kept or len(mask.shape) < 2:
        return MaskKind("other")
    return _pattern(spans(mask, hides), *mask.shape[-2:])


def spans(mask: Concrete, hides: bool = False) -> list[Span]:
    """For each query the first and last key it sees, in the row of the batch with the least padding.

    (1, 0) where it sees none, (0, -1) where what it sees has holes.

    >>> spans(Concrete((2, 2), "bool", (True, False, True), (1, 1, 2), ""))
    [(0, 0), (0, 1)]
    """
    if hides:
        mask = mask._replace(values=tuple(not value for value in mask.values))
    planes = _planes(mask, *mask.shape[-2:])
    return max(planes, key=lambda spans: sum(last - first + 1 for first, last in spans if last >= first))


def first_keys(mask: Concrete, width: int) -> Concrete:
    """The columns of the first `width` keys.

    >>> first_keys(Concrete((2, 3), "bool", (True, False, True), (1, 1, 4), ""), 2)[2:4]
    ((True, False, True), (1, 1, 2))
    """
    runs: list[tuple[float | int | bool, int]] = []
    place, keys = 0, mask.shape[-1]
    for value, count in zip(mask.values, mask.counts, strict=True):
        left = count
        while left:
            step = min(left, keys - place)
            kept = max(0, min(place + step, width) - place)
            if kept and runs and runs[-1][0] == value:
                runs[-1] = (value, runs[-1][1] + kept)
            elif kept:
                runs.append((value, kept))
            place, left = (place + step) % keys, left - step
    values, counts = zip(*runs, strict=True)
    return mask._replace(shape=(*mask.shape[:-1], width), values=values, counts=counts)


def _planes(mask: Concrete, queries: int, keys: int) -> list[list[Span]]:
    """For each (S, T) plane the span of each query, from the runs alone: a long mask is never spelled out."""
    two = len(set(mask.values)) == 2 and max(mask.values) == 0  # zero and one number below it, however large
    hidden = max(min(mask.values), HIDDEN) if two else HIDDEN
    spans: list[Span] = []
    row: list[Span] = []
    place = 0
    for value, count in zip(mask.values, mask.counts, strict=True):
        seen = value if isinstance(value, bool) else value > hidden
        left = count
        while left:
            step = min(left, keys - place)
            if seen and row and row[-1][1] == place - 1:
                row[-1] = (row[-1][0], place + step - 1)
            elif seen:
                row.append((place, place + step - 1))
            place, left = place + step, left - step
            if place == keys:
                spans.append(_NOBODY if not row else row[0] if len(row) == 1 else _HOLES)
                place, row = 0, []
    return [spans[start : start + queries] for start in range(0, len(spans), queries)]


def _pattern(spans: list[Span], queries: int, keys: int) -> MaskKind:
    past = keys - queries
    if _HOLES in spans:
        return MaskKind("other")
    firsts, lasts = [first for first, _ in spans], [last for _, last in spans]
    ends_at_self = all(last == query + past for query, last in enumerate(lasts))
    if all(first == 0 for first in firsts) and all(last == keys - 1 for last in lasts):
        return MaskKind("causal") if queries == 1 and past else MaskKind("full")
    if ends_at_self and all(first == 0 for first in firsts):
        return MaskKind("causal")
    if ends_at_self:
        return _bounded(firsts, past)
    reach = max((last - query - past for query, last in enumerate(lasts)), default=0)
    if reach > 0 and all(last == min(query + past + reach, keys - 1) for query, last in enumerate(lasts)):
        return MaskKind("bidirectional-sliding", reach)
    return MaskKind("other")


def _bounded(firsts: list[int], past: int) -> MaskKind:
    """Causal, but not back to the beginning: a window slides, a chunk jumps."""
    window = max(query + past - first + 1 for query, first in enumerate(firsts))
    if all(first == max(0, query + past - window + 1) for query, first in enumerate(firsts)):
        return MaskKind("sliding", window)
    starts = sorted(set(firsts))
    chunk = starts[1] - starts[0] if len(starts) > 1 else window
    if all(first == (query + past) // chunk * chunk for query, first in enumerate(firsts)):
        return MaskKind("chunked", chunk)
    return MaskKind("other")
