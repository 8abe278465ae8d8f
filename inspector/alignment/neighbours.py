"""Matches by surroundings: stages with one name that stand several times, and stages that no name matched."""

from __future__ import annotations

__all__ = ["by_neighbours", "in_context"]

from collections.abc import Iterator, Sequence

from inspector.alignment.parts import Match, Part

_LEAST = 0.5


def in_context(ones: Sequence[Part], twos: Sequence[Part], reason: str) -> Iterator[Match]:
    """Pairs of stages of one name: in order where there are equally many, else those with the likest neighbours."""
    if len(ones) == len(twos):
        for one, two in zip(ones, twos, strict=True):
            yield Match((one,), (two,), reason, 1.0 if len(ones) == 1 else 0.95)
        return
    pairs = [(one, two) for one in ones for two in twos]
    # Ties are broken by place, in a way that is the same whichever side is called A.
    place = {part.id: number for side in (ones, twos) for number, part in enumerate(side)}
    pairs.sort(key=lambda pair: (-_nearness(*pair), abs(place[pair[0].id] - place[pair[1].id]), place[pair[0].id]))
    yield from _greedy(pairs, reason)


def by_neighbours(ones: Sequence[Part], twos: Sequence[Part]) -> Iterator[Match]:
    """What nothing else matched: the same ops in one section, reading from and read by the same stages."""
    buckets: dict[tuple[str, str], list[Part]] = {}
    for part in twos:
        buckets.setdefault((part.section, part.spelling), []).append(part)
    pairs = [(one, two) for one in ones for two in buckets.get((one.section, one.spelling), ())]
    near = [pair for pair in pairs if _nearness(*pair) >= _LEAST]
    near.sort(key=lambda pair: (-_nearness(*pair), pair[0].id + pair[1].id))
    yield from _greedy(near, "the same ops between the same neighbours")


def _greedy(pairs: Sequence[tuple[Part, Part]], reason: str) -> Iterator[Match]:
    seen: set[tuple[int, str]] = set()
    for one, two in pairs:
        if (0, one.id) not in seen and (1, two.id) not in seen:
            seen |= {(0, one.id), (1, two.id)}
            yield Match((one,), (two,), reason, round(0.5 + 0.4 * _nearness(one, two), 2))


def _nearness(one: Part, two: Part) -> float:
    """Share of equal neighbours, those that feed it and those that read it."""
    a = {("from", name) for name in one.feeds} | {("to", name) for name in one.readers}
    b = {("from", name) for name in two.feeds} | {("to", name) for name in two.readers}
    return len(a & b) / len(a | b) if a | b else 1.0
