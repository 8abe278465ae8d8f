"""A document for a person at a terminal: colour, headings, columns that fit the width."""

from __future__ import annotations

__all__ = ["terminal"]

import io
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from inspector.messages import say
from inspector.render.document import (
    Block,
    Cell,
    Details,
    Document,
    Group,
    Heading,
    Line,
    Note,
    Pairs,
    Paragraph,
    Span,
    Table,
    line,
    mapped,
)
from inspector.render.escape import ascii_only, visible
from inspector.render.ladder import in_text
from inspector.render.layout import GAP, fit, packed, wrapped
from inspector.render.rows import in_tables
from inspector.render.styles import STYLES

if TYPE_CHECKING:
    from rich.text import Text


def terminal(document: Document, *, width: int | None, color: bool, encoding: str = "utf-8") -> str:
    """The document in `width` columns (None: as wide as it is), with ANSI colours if `color`.

    rich is given `Text` only, never markup: markup would eat shapes such as `[batch, 768]`.
    """
    safe = mapped(in_text(in_tables(document)), visible)
    try:
        return _printed(safe, width, color, encoding)
    except UnicodeEncodeError:
        return ascii_only(_printed(mapped(safe, ascii_only), width, color, "utf-8"))


def _printed(document: Document, width: int | None, color: bool, encoding: str) -> str:
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=width or 80,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        legacy_windows=False,
    )
    for text in _blocks(document, width):
        console.print(_text(text), soft_wrap=True)
    printed = out.getvalue()
    printed.encode(encoding)
    return printed


def _text(text: Line) -> Text:
    from rich.text import Text

    return Text.assemble(*((span.text, STYLES[span.style].terminal if span.style else "") for span in text))


def _blocks(blocks: Sequence[Block], width: int | None) -> Iterator[Line]:
    for index, block in enumerate(blocks):
        if index and not (isinstance(block, Pairs | Paragraph) and isinstance(blocks[index - 1], Heading)):
            yield Line()
        yield from _block(block, width)


def _block(block: Block, width: int | None) -> Iterator[Line]:
    match block:
        case Heading():
            yield from _wrapped(_styled(block.text, "title"), width)
        case Paragraph():
            yield from _wrapped(block.text, width)
        case Note():
            yield from _hanging(*_note(block, width))
        case Pairs():
            yield from _pairs(block, width)
        case Table():
            yield from _table(block, width)
        case Details():
            yield _styled(block.summary, "title")
            yield from _blocks(block.blocks, width)


def _note(block: Note, width: int | None) -> tuple[Span, list[Line]]:
    from rich.cells import cell_len

    lead = f"{say('render.note')}  "
    return Span(lead, "warning"), _wrapped(block.text, width and max(1, width - cell_len(lead)))


def _pairs(block: Pairs, width: int | None) -> Iterator[Line]:
    from rich.cells import cell_len

    lead = max((cell_len(label) for label, _ in block.rows), default=0) + GAP
    for label, value in block.rows:
        lines = packed(value, max(1, width - lead), cell_len) if width else [line(*_joint(value))]
        yield from _hanging(Span(label + " " * (lead - cell_len(label)), "muted"), lines)


def _joint(items: Cell) -> Iterator[Span]:
    for index, item in enumerate(items):
        yield from (Span(say("joint.item")), *item) if index else item


def _hanging(first: Span, lines: Sequence[Line]) -> Iterator[Line]:
    from rich.cells import cell_len

    for index, text in enumerate(lines):
        yield line(Span(" " * cell_len(first.text)) if index else first, *text)


def _table(table: Table, width: int | None) -> Iterator[Line]:
    from rich.cells import cell_len

    indents = [2 * group.level for group in table.groups]
    widths = fit(table, indents, width, cell_len)
    if table.caption:
        yield from _wrapped(line(Span(table.caption, "muted")), width)
    titles = tuple(Cell((line(Span(column.title, "muted")),)) for column in table.columns)
    yield from _row(table, titles, widths, 0)
    for group in table.groups:
        yield from _group(table, group, widths, width)
    if hidden := [column.title for index, column in enumerate(table.columns) if index not in widths]:
        yield Line()
        yield from _wrapped(line(Span(say("render.no room", columns=say("joint.list").join(hidden)), "muted")), width)


def _group(table: Table, group: Group, widths: dict[int, int], width: int | None) -> Iterator[Line]:
    if group.title:
        if group.level == 1:
            yield Line()
        lead = "  " * (group.level - 1)
        yield from _hanging(Span(lead), _wrapped(group.title, width and max(1, width - len(lead))))
    for row in group.rows:
        yield from _row(table, row, widths, 2 * group.level)


def _row(table: Table, row: Sequence[Cell], widths: dict[int, int], indent: int) -> Iterator[Line]:
    """The lines of one row: cells stacked and wrapped in their own width."""
    from rich.cells import cell_len

    first = min(widths)
    stacks = []
    for index, size in widths.items():
        room = max(1, size - indent) if index == first else size
        lead = [Span(" " * (size - room))] if size > room else []
        stacks.append([Line((*lead, *part)) for text in row[index] for part in wrapped(text, room, cell_len)])
    for parts in zip_longest(*stacks, fillvalue=Line()):
        yield _joined(parts, [(size, table.columns[index].align) for index, size in widths.items()])


def _joined(parts: Sequence[Line], columns: Sequence[tuple[int, str]]) -> Line:
    from rich.cells import cell_len

    spans: list[Span] = []
    pending = 0
    for part, (size, align) in zip(parts, columns, strict=True):
        blank = max(0, size - sum(cell_len(span.text) for span in part))
        before = blank if align == "right" else 0
        if part:
            spans += [Span(" " * (pending + before)), *part]
            pending = 0 if align == "right" else blank
        else:
            pending += size
        pending += GAP
    return Line(span for span in spans if span.text)


def _wrapped(text: Line, width: int | None) -> list[Line]:
    from rich.cells import cell_len

    return wrapped(text, width, cell_len) if width else [text]


def _styled(text: Line, style: str) -> Line:
    return Line(span if span.style else Span(span.text, style) for span in text)
