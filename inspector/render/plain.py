"""A document for a pipe or a file: aligned, one row per line, never cut, no colour and no box."""

from __future__ import annotations

__all__ = ["text", "text_table"]

from collections.abc import Iterator, Sequence
from unicodedata import east_asian_width

from inspector.messages import say
from inspector.render.document import (
    Block,
    Column,
    Details,
    Document,
    Heading,
    Note,
    Pairs,
    Paragraph,
    Table,
    mapped,
    plain,
)
from inspector.render.escape import ascii_only, visible
from inspector.render.ladder import in_text
from inspector.render.rows import in_tables


def text(document: Document, *, encoding: str = "utf-8") -> str:
    r"""The document as plain text; where `encoding` cannot say `×`, all of it is written in ASCII.

    >>> from inspector.render.document import Heading, line
    >>> text((Heading(1, line("block ×12")),), encoding="ascii")
    'block x12\n'
    """
    safe = mapped(in_text(in_tables(document)), visible)
    printed = "\n".join(_blocks(safe)) + "\n"
    try:
        printed.encode(encoding)
    except UnicodeEncodeError:
        return ascii_only("\n".join(_blocks(mapped(safe, ascii_only)))) + "\n"
    return printed


def text_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], style: str) -> list[str]:
    """Aligned lines in one of tabulate's formats; numbers stay the texts they are."""
    from tabulate import tabulate

    printed = tabulate(
        [[_stretched(text) for text in row] for row in rows],
        headers=[_stretched(column.title) for column in columns],
        tablefmt=style,
        disable_numparse=True,
        colalign=[column.align for column in columns] if rows else None,
    )
    return [part.replace(_FILLER, "").rstrip() for part in printed.splitlines()]


_FILLER = "\0"


def _stretched(text: str) -> str:
    """The text with a filler behind each character that is two cells wide, so that its length is its width."""
    if text.isascii():
        return text
    return "".join(char + _FILLER if east_asian_width(char) in "WF" else char for char in text)


def _blocks(blocks: Sequence[Block]) -> Iterator[str]:
    for index, block in enumerate(blocks):
        if index and not (isinstance(block, Pairs | Paragraph) and isinstance(blocks[index - 1], Heading)):
            yield ""
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading() | Paragraph():
            yield plain(block.text)
        case Note():
            yield f"{say('render.note')}  {plain(block.text)}"
        case Pairs():
            lead = max((len(_stretched(label)) for label, _ in block.rows), default=0) + 2
            yield from (label + " " * (lead - len(_stretched(label))) + plain(value) for label, value in block.rows)
        case Table():
            yield from _table(block)
        case Details():
            yield plain(block.summary)
            yield from _blocks(block.blocks)


def _table(table: Table) -> Iterator[str]:
    """All groups share one alignment, so they are laid out as one table and then taken apart."""
    rows = [[plain(cell) for cell in row] for group in table.groups for row in group.rows]
    header, *lines = text_table(table.columns, rows, "plain")
    if table.caption:
        yield table.caption
    yield f"    {header}"
    at = 0
    for group in table.groups:
        if group.title:
            if group.level == 1:
                yield ""
            yield "  " * (group.level - 1) + plain(group.title)
        yield from (f"    {part}" for part in lines[at : at + len(group.rows)])
        at += len(group.rows)
