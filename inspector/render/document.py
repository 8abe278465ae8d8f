"""What a report is made of, before anyone decides how it is printed.

A document is a tuple of blocks. Text is a `Line`: spans that carry the *name* of a style ("D", "role", "muted"), so
that an axis has one colour in every format. Views make documents; each format prints one, and knows nothing else.
"""

from __future__ import annotations

__all__ = [
    "Block",
    "Box",
    "Cell",
    "Column",
    "Details",
    "Diagram",
    "Document",
    "Drawing",
    "Figure",
    "Figures",
    "Fold",
    "Group",
    "Heading",
    "Ladder",
    "Lane",
    "Line",
    "Mark",
    "Note",
    "Pairs",
    "Paragraph",
    "Rows",
    "Rung",
    "Shape",
    "Span",
    "Strip",
    "Table",
    "cell",
    "line",
    "mapped",
    "plain",
]

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeVar

from inspector.render.drawings import Drawing, Figure, Figures, Shape
from inspector.render.strips import Box, Fold, Lane, Mark, Rows, Strip
from inspector.render.text import Cell, Line, Span, cell, line, plain


class Column(NamedTuple):
    """One column of a table.

    rank: 0 is always shown; where there is no room, the highest rank goes first.
    least: the width down to which the column may be wrapped; None where wrapping would hurt.
    prose: it holds sentences, not names and shapes.
    """

    title: str
    align: Literal["left", "right"] = "left"
    rank: int = 0
    least: int | None = None
    prose: bool = False


class Group(NamedTuple):
    """Rows under one heading of a table. `level` 1 stands by itself, 2 is inside the group of level 1 above it."""

    title: Line
    level: int
    rows: tuple[tuple[Cell, ...], ...]


class Heading(NamedTuple):
    level: int
    text: Line


class Paragraph(NamedTuple):
    text: Line


class Note(NamedTuple):
    """Something the reader must not miss."""

    text: Line


class Pairs(NamedTuple):
    """A short list of label and value; a value's lines are items that may share one line."""

    rows: tuple[tuple[str, Cell], ...]


class Table(NamedTuple):
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    caption: str = ""


class Details(NamedTuple):
    """Blocks that a format with folding may fold away under their summary."""

    summary: Line
    blocks: tuple[Block, ...]


class Rung(NamedTuple):
    """One measured thing. value: None where nothing was measured. cells: what stands beside its bar."""

    label: Line
    value: float | None
    style: str
    cells: tuple[Cell, ...] = ()


class Ladder(NamedTuple):
    """Values on a logarithmic scale, with a mark at 1: bars in text, a drawing in HTML.

    title: what is measured. label: what the rungs are. columns: of the cells beside a bar; `groups` as in a table.
    """

    title: str
    label: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[Line, tuple[Rung, ...]], ...]


class Diagram(NamedTuple):
    """A Mermaid diagram, for formats that draw one."""

    title: str
    source: str


Block = Heading | Paragraph | Note | Pairs | Table | Details | Ladder | Rows | Figures | Diagram
Document = tuple[Block, ...]


Part = TypeVar("Part")


def mapped(part: Part, change: Callable[[str], str]) -> Part:
    """The same document, block or line with every text passed through `change`.

    >>> mapped((Heading(1, line("gpt2")),), str.upper)[0].text
    (Span(text='GPT2', style=''),)
    """
    made: Part = _mapped(part, change)
    return made


def _mapped(part: Any, change: Callable[[str], str]) -> Any:
    match part:
        case str():
            return change(part)
        case Span():
            return Span(change(part.text), part.style)
        case Column():
            return part._replace(title=change(part.title))
        case Line() | Cell():
            return type(part)(_each(part, change))
        case tuple() if hasattr(part, "_fields"):
            return type(part)(*_each(part, change))
        case tuple():
            return tuple(_each(part, change))
        case _:
            return part


def _each(parts: Iterable[Any], change: Callable[[str], str]) -> Iterable[Any]:
    return (_mapped(part, change) for part in parts)
