"""Pictures of masks: who sees whom."""

from __future__ import annotations

__all__ = ["masks"]

from collections.abc import Iterator, Sequence
from itertools import groupby

from inspector.messages import say
from inspector.render.document import Drawing, Figure
from inspector.reporting import words
from inspector.reporting.pictures_ink import label, path, rect
from inspector.reporting.report_material import Portrait, slug

_CELL = 14
_MOST = 16
"""Cells on a side; of a longer run each stands for several tokens."""

_HIDING = ("attention.mask", "attention.fused")

Spans = Sequence[tuple[int, int]]


def masks(portrait: Portrait) -> Iterator[Figure]:
    """One picture for each different mask of a model, from the values that ran where they are known."""
    known = dict(portrait.values.masks) or dict(_from_graph(portrait))
    said = {node.span: str(node.attribute("kind")) for node in portrait.record.nodes if node.path in _HIDING}
    seen: dict[tuple[tuple[int, int], ...], str] = {}
    for layers, spans in known.items():
        seen.setdefault(spans, layers)
    for number, (spans, layers) in enumerate(seen.items()):
        who = words.listed((portrait.name, words.layers(layers))) if len(seen) > 1 else portrait.name
        title = f"{who}: {said.get(layers) or 'mask'}"
        suffix = f"-{number + 1}" if number else ""
        text = _described(spans, traced=bool(portrait.values.masks))
        yield Figure(f"{slug(portrait.name)}-mask{suffix}", title, text, _grid(spans))


def _described(spans: Spans, *, traced: bool) -> str:
    where = say("mask.traced" if traced else "mask.named")
    return say("mask.shown", told=_told(spans), where=where, tokens=f"{len(spans):,}", scaled=_scaled(spans))


def _from_graph(portrait: Portrait) -> Iterator[tuple[str, tuple[tuple[int, int], ...]]]:
    """A saved graph has the name of the pattern and the size of the window, not the contents."""
    for node in portrait.record.nodes:
        kind, size = node.attribute("kind"), node.attribute("size")
        if node.path not in _HIDING or kind not in ("full", "causal", "sliding"):
            continue
        window = size if isinstance(size, int) else _MOST
        if kind == "full":
            yield node.span, tuple((0, _MOST - 1) for _ in range(_MOST))
        else:
            yield (
                node.span,
                tuple((max(0, query - window + 1) if kind == "sliding" else 0, query) for query in range(_MOST)),
            )


def _scaled(spans: Spans) -> str:
    each = -(-len(spans) // _MOST)
    return say("mask.scaled", n=f"{each:,}") if each > 1 else ""


def _told(spans: Spans) -> str:
    """The picture in words, read off it."""
    keys = max((last for _, last in spans), default=0) + 1
    if all(first == 0 and last == keys - 1 for first, last in spans):
        return say("mask.full")
    if all(last == query + keys - len(spans) for query, (_, last) in enumerate(spans)):
        back = max(last - first + 1 for first, last in spans)
        if all(first == 0 for first, _ in spans):
            return say("mask.causal")
        return say("mask.window", n=back - 1)
    return say("mask.other")


def _grid(spans: Spans) -> Drawing:
    """At most sixteen by sixteen cells: full where all is seen, pale where some of it is."""
    keys = max((last for _, last in spans), default=0) + 1
    shares = [_shares(rows, keys) for rows in _cut(spans)]
    left, top = 34, 22
    width, height = len(shares[0]) * _CELL, len(shares) * _CELL
    lines = "".join(f"M{left + at * _CELL} {top}v{height}" for at in range(1, len(shares[0])))
    lines += "".join(f"M{left} {top + at * _CELL}h{width}" for at in range(1, len(shares)))
    shapes = (
        rect(left, top, width, height, "off"),
        path(_filled(shares, left, top, whole=True), fill="seen"),
        *([path(some, fill="part")] if (some := _filled(shares, left, top, whole=False)) else []),
        path(lines, stroke="grid", width=1),
        label(left, 14, say("mask.keys"), "muted"),
        label(left - 6, top + 11, say("mask.queries"), "muted", "end"),
        label(left - 6, top + 26, "↓", "muted", "end"),
    )
    return Drawing(left + width + 2, top + height + 2, shapes)


def _cut(spans: Spans) -> list[Spans]:
    """The queries in as many rows as there is room for."""
    rows = min(len(spans), _MOST)
    return [spans[at * len(spans) // rows : (at + 1) * len(spans) // rows] for at in range(rows)]


def _shares(rows: Spans, keys: int) -> list[float]:
    """How much of each cell these queries see."""
    columns = min(keys, _MOST)
    shares = []
    for at in range(columns):
        start, end = at * keys // columns, (at + 1) * keys // columns
        seen = sum(max(0, min(last, end - 1) - max(first, start) + 1) for first, last in rows)
        shares.append(seen / (len(rows) * (end - start)))
    return shares


def _filled(shares: Sequence[Sequence[float]], left: int, top: int, *, whole: bool) -> str:
    """The cells of one kind as a path, neighbours in a row joined."""
    made = []
    for row, cells in enumerate(shares):
        for kind, run in groupby(range(len(cells)), key=lambda at: cells[at] == 1 if whole else 0 < cells[at] < 1):
            places = list(run)
            if kind:
                width = len(places) * _CELL
                made.append(f"M{left + places[0] * _CELL} {top + row * _CELL}h{width}v{_CELL}h-{width}z")
    return "".join(made)
