"""A document as GitHub-flavoured Markdown."""

from __future__ import annotations

__all__ = ["Flavor", "Page", "markdown"]

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Literal, NamedTuple

from inspector.messages import say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
    Diagram,
    Document,
    Figure,
    Figures,
    Heading,
    Line,
    Note,
    Pairs,
    Paragraph,
    Rows,
    Table,
    mapped,
    plain,
)
from inspector.render.escape import visible
from inspector.render.ladder import in_text
from inspector.render.plain import text_table
from inspector.render.rows import tabled

Flavor = Literal["github", "hf", "plain"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&$])")
# A code span takes its text as it is, but neither a backtick nor, inside a table, a bar or a backslash before one.
_NOT_IN_CODE = re.compile(r"[`|\\]")
_PADDING = re.compile(r" {2,}\|")
_RULE = re.compile(r"-{4,}(?=:?\|)")

_PUNCTUATION = re.compile(r"[^\w ]|_")


class Page(NamedTuple):
    """For whom the Markdown is. pictures: the folder of the pictures, seen from the document; None without them.

    compact: tables are not padded: a table of long cells is not read as text.
    """

    flavor: Flavor = "github"
    pictures: str | None = None
    compact: bool = False


_PADDED = Page()


def markdown(document: Document, page: Page = _PADDED) -> str:
    r"""The document for an issue, a pull request or a README.

    >>> from inspector.render.document import Heading, line
    >>> markdown((Heading(1, line("a|b")),))
    '# a\\|b\n'

    The flavour "github" draws diagrams and notes, follows the reader's theme and folds; "hf" (model cards) folds;
    "plain" has tables and images alone.
    """
    safe = mapped(_in_tables(in_text(document)), visible)
    return "\n\n".join(_blocks(safe, page)) + "\n"


def _in_tables(document: Document) -> Document:
    return tuple(map(_inside, document))


def _inside(block: Block) -> Block:
    if isinstance(block, Details):
        return Details(block.summary, _in_tables(block.blocks))
    return tabled(block) if isinstance(block, Rows) else block


def _blocks(blocks: Sequence[Block], page: Page) -> Iterator[str]:
    return (part for block in blocks for part in _block(block, page))


def _block(block: Block, page: Page) -> Iterator[str]:
    match block:
        case Heading():
            yield f"{'#' * block.level} {_prose(plain(block.text))}"
        case Paragraph():
            yield _lead(block.text)
        case Note():
            lead = "> [!NOTE]\n> " if page.flavor == "github" else f"> **{say('render.Note')}** "
            yield f"{lead}{_prose(plain(block.text))}"
        case Pairs():
            yield "\n".join(f"* **{_prose(label)}**: {_prose(plain(value))}" for label, value in block.rows)
        case Table():
            yield from _table(block, page)
        case Figures():
            yield f"### {_prose(plain(block.caption))}"
            yield from _figures(block.figures, page)
        case Diagram():
            if page.flavor == "github":
                yield f"```mermaid\n{block.source.rstrip()}\n```"
        case Details():
            yield from _details(block, page)


def _lead(text: Line) -> str:
    """A paragraph; one that is all title stands out."""
    said = _prose(plain(text))
    return f"**{said}**" if text and all(span.style == "title" for span in text) else said


def _details(block: Details, page: Page) -> Iterator[str]:
    """Folded where that can be; a diagram that is not drawn leaves nothing to open."""
    inside = list(_blocks(block.blocks, page))
    if not inside:
        return
    if page.flavor == "plain":
        yield f"**{_prose(plain(block.summary))}**"
        yield from inside
        return
    yield f"<details><summary>{escape(plain(block.summary))}</summary>"
    yield from inside
    yield "</details>"


_ACROSS = 4


def _figures(figures: Sequence[Figure], page: Page) -> Iterator[str]:
    """Pictures beside each other, what they show below them; in words alone where there is no folder of pictures."""
    if page.pictures is None:
        yield "\n".join(f"* **{_prose(figure.title)}**: {_prose(figure.description)}" for figure in figures)
        return
    for start in range(0, len(figures), _ACROSS):
        chosen = figures[start : start + _ACROSS]
        columns = [Column(_prose(figure.title)) for figure in chosen]
        rows = [[_picture(figure, page) for figure in chosen], [_prose(figure.description) for figure in chosen]]
        yield "\n".join(text_table(columns, rows, "pipe"))


def _picture(figure: Figure, page: Page) -> str:
    light, dark = (f"{page.pictures}/{figure.name}-{theme}.svg" for theme in ("light", "dark"))
    if page.flavor == "plain":
        return f"![{_prose(figure.title)}]({light})"
    image = f'<img src="{light}" alt="{escape(figure.title).replace("|", "&#124;")}" width="300">'
    if page.flavor == "hf":
        return image
    return f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">{image}</picture>'


def _table(table: Table, page: Page) -> Iterator[str]:
    """One table for all groups: the heading of a group is a row of its own."""
    rows = []
    for group in table.groups:
        if plain(group.title).strip():
            rows.append([_title(group.title), *[""] * (len(table.columns) - 1)])
        rows += [[_cell(*pair) for pair in zip(table.columns, row, strict=True)] for row in group.rows]
    if table.caption:
        yield _prose(table.caption)
    columns = [column._replace(title=_prose(column.title)) for column in table.columns]
    lines = text_table(columns, rows, "pipe")
    yield "\n".join(map(_compact, lines) if page.compact else lines)


def _compact(text: str) -> str:
    return _RULE.sub("---", _PADDING.sub(" |", text))


def _title(title: Line) -> str:
    head, *rest = title
    return " ".join([f"**{_prose(head.text.strip())}**", *(_prose(span.text.strip()) for span in rest)])


def _cell(column: Column, cell: Cell) -> str:
    style = _prose if column.align == "right" or column.prose else _code
    return "<br>".join(style(plain(text)) for text in cell)


def _prose(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _code(text: str) -> str:
    if _NOT_IN_CODE.search(text):
        return f"<code>{_PUNCTUATION.sub(lambda match: f'&#{ord(match[0])};', text)}</code>"
    return f"`{text}`"
