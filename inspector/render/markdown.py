"""A document as GitHub-flavoured Markdown."""

from __future__ import annotations

__all__ = ["markdown"]

import re
from collections.abc import Iterator, Sequence
from html import escape

from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
    Document,
    Heading,
    Line,
    Note,
    Pairs,
    Paragraph,
    Table,
    mapped,
    plain,
)
from inspector.render.escape import visible
from inspector.render.ladder import in_text
from inspector.render.plain import text_table

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&$])")
# A code span takes its text as it is, but neither a backtick nor, inside a table, a bar or a backslash before one.
_NOT_IN_CODE = re.compile(r"[`|\\]")
_PUNCTUATION = re.compile(r"[^\w ]|_")


def markdown(document: Document) -> str:
    r"""The document for an issue, a pull request or a README.

    >>> from inspector.render.document import Heading, line
    >>> markdown((Heading(1, line("a|b")),))
    '# a\\|b\n'
    """
    return "\n\n".join(_blocks(mapped(in_text(document), visible))) + "\n"


def _blocks(blocks: Sequence[Block]) -> Iterator[str]:
    return (part for block in blocks for part in _block(block))


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {_prose(plain(block.text))}"
        case Paragraph():
            yield _prose(plain(block.text))
        case Note():
            yield f"> [!NOTE]\n> {_prose(plain(block.text))}"
        case Pairs():
            yield "\n".join(f"* **{label}**: {_prose(plain(value))}" for label, value in block.rows)
        case Table():
            yield from _table(block)
        case Details():
            yield f"<details><summary>{escape(plain(block.summary))}</summary>"
            yield from _blocks(block.blocks)
            yield "</details>"


def _table(table: Table) -> Iterator[str]:
    """One table for all groups: the heading of a group is a row of its own."""
    rows = []
    for group in table.groups:
        if group.title:
            rows.append([_title(group.title), *[""] * (len(table.columns) - 1)])
        rows += [[_cell(*pair) for pair in zip(table.columns, row, strict=True)] for row in group.rows]
    if table.caption:
        yield _prose(table.caption)
    yield "\n".join(text_table(table.columns, rows, "pipe"))


def _title(title: Line) -> str:
    head, *rest = title
    return " ".join([f"**{_prose(head.text.strip())}**", *(_prose(span.text.strip()) for span in rest)])


def _cell(column: Column, cell: Cell) -> str:
    style = _prose if column.align == "right" else _code
    return "<br>".join(style(plain(text)) for text in cell)


def _prose(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _code(text: str) -> str:
    if _NOT_IN_CODE.search(text):
        return f"<code>{_PUNCTUATION.sub(lambda match: f'&#{ord(match[0])};', text)}</code>"
    return f"`{text}`"
