"""Text of a document: lines of spans that carry the *name* of a style ("D", "role", "muted"), and cells of lines."""

from __future__ import annotations

__all__ = ["Cell", "Line", "Span", "cell", "line", "plain"]

from typing import NamedTuple

from inspector.messages import say


class Span(NamedTuple):
    """A piece of text with the name of its style."""

    text: str
    style: str = ""


class Line(tuple[Span, ...]):
    """Spans that are read as one line."""

    __slots__ = ()


class Cell(tuple[Line, ...]):
    """Lines of one cell: stacked where there is room, else joined with commas."""

    __slots__ = ()


def line(*parts: str | Span) -> Line:
    """A line of plain texts and styled spans.

    >>> plain(line("(", Span("B", "B"), ", 768)"))
    '(B, 768)'
    """
    return Line(Span(part) if isinstance(part, str) else part for part in parts)


def cell(*lines: str | Span | Line) -> Cell:
    """A cell of the given lines; empty texts are left out.

    >>> len(cell("one", "two")), len(cell(""))
    (2, 0)
    """
    made = (part if isinstance(part, Line) else line(part) for part in lines)
    return Cell(part for part in made if plain(part))


def plain(text: Line | Cell, joint: str | None = None) -> str:
    """The text without its styles.

    >>> plain(cell("(B, S)", "(B, 1)"))
    '(B, S), (B, 1)'
    """
    if isinstance(text, Cell):
        return (say("joint.item") if joint is None else joint).join(map(plain, text))
    return "".join(span.text for span in text)
