"""What runs through a row beside its boxes: the stream, the lanes of queries, keys and values, the residual line."""

from __future__ import annotations

__all__ = ["Tracks", "tracks"]

from collections.abc import Sequence
from typing import NamedTuple

from inspector.render.document import Lane
from inspector.reporting.report_material import Portrait
from inspector.reporting.report_strips import Group, lane


class Tracks(NamedTuple):
    """Of each model, for each row: its lane without boxes. skips: (row it starts in, row it ends in); -1: above."""

    lanes: tuple[tuple[Lane, ...], ...]
    skips: tuple[tuple[tuple[int, int], ...], ...]

    def lane(self, model: int, place: int) -> Lane:
        return self.lanes[model][place]

    def past(self, first: int, last: int) -> tuple[Lane, ...]:
        """What runs past these rows when they are folded away."""
        return tuple(
            Lane(
                (),
                "one" if lanes[first].track else "",
                skip="pass" if any(a < first and b > last for a, b in skips) else "",
            )
            for lanes, skips in zip(self.lanes, self.skips, strict=True)
        )


def tracks(portraits: Sequence[Portrait], groups: Sequence[Group], *, flows: bool, inside: bool = False) -> Tracks:
    """flows: whether the stream runs through these rows. inside: through all of them, from the first to the last."""
    skips = [_skips(portrait, number, groups) if inside else () for number, portrait in enumerate(portraits)]
    lanes = [_lanes(number, groups, skips[number], flows, inside) for number in range(len(portraits))]
    return Tracks(tuple(map(tuple, lanes)), tuple(map(tuple, skips)))


def _lanes(
    model: int, groups: Sequence[Group], skips: Sequence[tuple[int, int]], flows: bool, inside: bool
) -> list[Lane]:
    here = [bool(group.parts(model)) for group in groups]
    if not flows or not any(here):
        return [Lane(())] * len(groups)
    first, last = here.index(True), len(here) - 1 - here[::-1].index(True)
    parted = _parted(model, groups, here)
    made = []
    for place in range(len(groups)):
        track = "lanes" if parted[place] else "one" if inside or first <= place <= last else ""
        made.append(Lane((), track, skip=_skip(place, skips), fan=_fan(place, parted)))
    return made


def _parted(model: int, groups: Sequence[Group], here: Sequence[bool]) -> list[bool]:
    """Whether queries, keys and values run side by side: from their first stages to the last, past gaps."""
    split = [any(lane(part) for part in group.parts(model)) for group in groups]
    made, open_ = [], False
    for place in range(len(groups)):
        open_ = split[place] if here[place] else open_ and any(split[place:])
        made.append(open_)
    return made


def _fan(place: int, parted: Sequence[bool]) -> str:
    if not parted[place]:
        return ""
    top = place == 0 or not parted[place - 1]
    bottom = place == len(parted) - 1 or not parted[place + 1]
    return " ".join(name for name, is_so in (("top", top), ("bottom", bottom)) if is_so)


def _skip(place: int, skips: Sequence[tuple[int, int]]) -> str:
    names = []
    for first, last in skips:
        if place == first:
            names.append("start")
        elif first < place < last:
            names.append("pass")
        elif place == last:
            names.append("end")
    return " ".join(dict.fromkeys(names))


def _skips(portrait: Portrait, model: int, groups: Sequence[Group]) -> list[tuple[int, int]]:
    """From where the stream is left to where the sublayer is added back."""
    homes = {portrait.nodes[part.id].id: place for place, group in enumerate(groups) for part in group.parts(model)}
    found = []
    for node, place in homes.items():
        if portrait.record.node(node).role != "residual":
            continue
        starts = [
            homes.get(edge.source, -1) if not edge.between else -1
            for edge in portrait.record.incoming[node]
            if edge.stream
        ]
        if starts:
            found.append((min(starts), place))
    return sorted(found)
