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


class Box(NamedTuple):
    """One stage in a row. name: what the model calls it. said: what it computes. lane: "q", "k", "v", "" for all.

    facts: label and value, shown on demand. idle: it hands on what it got. style: the status it is painted in.
    """

    name: str
    said: str
    shape: Line
    lane: str = ""
    idle: bool = False
    facts: tuple[tuple[str, Cell], ...] = ()
    style: str = ""


class Lane(NamedTuple):
    """What one model has in one row. track: what runs through the row: "one" line, "lanes" (three) or nothing.

    skip: what the residual line does here: "start", "pass", "end". fan: where the lanes part ("top"), and join
    ("bottom").
    """

    boxes: tuple[Box, ...]
    track: str = ""
    skip: str = ""
    fan: str = ""


class Mark(NamedTuple):
    """How two neighbours of a row relate. said: what changed. link: id of the row where what moved is found again."""

    sign: str
    status: str
    said: tuple[str, ...] = ()
    link: str = ""
    why: str = ""


class Strip(NamedTuple):
    """One row: a part of the architecture, one lane for each model, the marks between them. quiet: all alike."""

    id: str
    part: str
    meaning: str
    lanes: tuple[Lane, ...]
    marks: tuple[tuple[Mark, ...], ...]
    quiet: bool


class Fold(NamedTuple):
    """Rows, and folds inside, under one heading. tracks: of each model, for what runs past when it is closed."""

    title: str
    said: str
    items: tuple[Strip | Fold, ...]
    tracks: tuple[Lane, ...] = ()


class Rows(NamedTuple):
    """Models side by side, one row for each part of their architecture."""

    names: tuple[str, ...]
    folds: tuple[Fold, ...]


class Shape(NamedTuple):
    """A piece of a drawing. kind, and what SVG calls its numbers; fill, stroke: names of colours; text: of a label."""

    kind: Literal["rect", "path", "line", "circle", "text"]
    at: tuple[tuple[str, float | str], ...]
    fill: str = ""
    stroke: str = ""
    text: str = ""


class Drawing(NamedTuple):
    width: float
    height: float
    shapes: tuple[Shape, ...]


class Figure(NamedTuple):
    """A picture: title and description say in words what it shows. name: of its file, unique in the document."""

    name: str
    title: str
    description: str
    drawing: Drawing


class Figures(NamedTuple):
    """Pictures that answer one question, one for each model."""

    caption: Line
    figures: tuple[Figure, ...]


class Diagram(NamedTuple):
    """A Mermaid diagram, for formats that draw one."""

    title: str
    source: str


Block = Heading | Paragraph | Note | Pairs | Table | Details | Ladder | Rows | Figures | Diagram
Document = tuple[Block, ...]


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
