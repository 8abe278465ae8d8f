"""Fits a table into a width: which columns stay, how wide each is, and where a long line breaks."""

from __future__ import annotations

__all__ = ["GAP", "fit", "packed", "wrapped"]

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from inspector.messages import say
from inspector.render.document import Cell, Column, Line, Span, Table, plain

GAP = 2
Measure = Callable[[str], int]

# A line breaks after a space and around a Chinese character, with the punctuation that belongs to it; a name that does
# not fit, after a dot, a slash or an underscore; a word, anywhere.
_CHINESE = "\u2e80-\u2fff\u3040-\u9fff"
_OPEN, _CLOSE = "（“", "，。；：、！？）”"
_NAME = re.compile(
    rf"[{_OPEN}]*(?:[{_CHINESE}]|[^ {_CHINESE}{_OPEN}{_CLOSE}]+)[{_CLOSE}]* *| +|[{_CLOSE}]+ *|[{_OPEN}]+"
)
_PART = re.compile(r"[^./_]*[./_ ]+|[^./_ ]+")


def fit(table: Table, indents: Sequence[int], width: int | None, measure: Measure) -> dict[int, int]:
    """Column index -> width, for the columns that have room. `indents` are the first column's, one per group.

    Columns of the highest rank go first; those that stay give way down to `least` and are wrapped.
    """
    natural = _natural(table, indents, measure)
    if width is None:
        return natural
    least = {index: _least(table.columns[index], size, measure) for index, size in natural.items()}
    while _total(least) > width and (spare := _dropped_first(table.columns, least)) is not None:
        del least[spare]
    return _grown(least, natural, width) if _total(least) <= width else _squeezed(least, width)


def wrapped(text: Line, width: int, measure: Measure) -> list[Line]:
    """The line, broken into lines no wider than `width`.

    >>> [plain(part) for part in wrapped(Line((Span("h.{}.attn.c_attn"),)), 10, len)]
    ['h.{}.attn.', 'c_attn']
    """
    if measure(plain(text)) <= width:
        return [text]
    lines, start, end = [], 0, 0
    for size in _pieces(plain(text), width, measure):
        if end > start and measure(plain(text)[start : end + size].rstrip()) > width:
            lines.append(_cut(text, start, end))
            start = end
        end += size
    return [*lines, _cut(text, start, end)]


def packed(items: Cell, width: int, measure: Measure, joint: str | None = None) -> list[Line]:
    """The items joined into as few lines as fit, broken between items rather than inside one.

    >>> [plain(part) for part in packed(Cell(Line((Span(text),)) for text in ("B=2 batch", "S=16", "D=768")), 16, len)]
    ['B=2 batch, S=16,', 'D=768']
    """
    lines: list[Line] = []
    joint = say("joint.item") if joint is None else joint
    stop, blank = joint.rstrip(), joint[len(joint.rstrip()) :]
    for index, item in enumerate(items):
        ended = item if index == len(items) - 1 else Line((*item, Span(stop)))
        joined = Line((*lines[-1], Span(blank), *ended)) if lines else ended
        if lines and measure(plain(joined)) <= width:
            lines[-1] = joined
        else:
            lines.extend(wrapped(ended, width, measure))
    return lines


def _natural(table: Table, indents: Sequence[int], measure: Measure) -> dict[int, int]:
    sizes = {index: measure(column.title) for index, column in enumerate(table.columns)}
    for group, indent in zip(table.groups, indents, strict=True):
        for row in group.rows:
            for index, cell in enumerate(row):
                lead = 0 if index else indent
                sizes[index] = max([sizes[index], *(lead + measure(plain(text)) for text in cell)])
    return sizes


def _least(column: Column, natural: int, measure: Measure) -> int:
    return natural if column.least is None else min(natural, max(column.least, measure(column.title)))


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _dropped_first(columns: Sequence[Column], present: Iterable[int]) -> int | None:
    spare = max(present, key=lambda index: columns[index].rank)
    return spare if columns[spare].rank else None


def _grown(widths: dict[int, int], natural: dict[int, int], width: int) -> dict[int, int]:
    """Shares out what is left over, letter by letter, among the columns that are still wrapped."""
    left = width - _total(widths)
    while left > 0 and (hungry := [index for index in widths if widths[index] < natural[index]]):
        for index in hungry[:left]:
            widths[index] += 1
        left -= len(hungry)
    return widths


def _squeezed(widths: dict[int, int], width: int) -> dict[int, int]:
    """Nothing more can be dropped: the widest column gives way until all fit, or are one letter wide."""
    while _total(widths) > width and max(widths.values()) > 1:
        widths[max(widths, key=widths.__getitem__)] -= 1
    return widths


def _pieces(text: str, width: int, measure: Measure) -> Iterator[int]:
    """Lengths of the pieces between which the text may break."""
    for name in _NAME.findall(text):
        if measure(name.rstrip()) <= width:
            yield len(name)
            continue
        for part in _PART.findall(name):
            yield from [len(part)] if measure(part.rstrip()) <= width else (1 for _ in part)


def _cut(text: Line, start: int, end: int) -> Line:
    spans, at = [], 0
    for span in text:
        part = span.text[max(0, start - at) : max(0, end - at)]
        spans.append(Span(part, span.style))
        at += len(span.text)
    return Line(span for span in _stripped(spans) if span.text)


def _stripped(spans: list[Span]) -> list[Span]:
    """Without the blanks at which the line was broken."""
    while spans and not spans[-1].text.rstrip():
        spans.pop()
    return [*spans[:-1], spans[-1]._replace(text=spans[-1].text.rstrip())] if spans else spans
