"""A document as HTML: a fragment for notebooks, or a page that needs nothing else."""

from __future__ import annotations

__all__ = ["fragment", "page", "report"]

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inspector.axes import AXES
from inspector.messages import LANGUAGES, language, say
from inspector.render.document import Block, Column, Document, Heading, mapped, plain
from inspector.render.escape import visible
from inspector.render.ladder import drawn
from inspector.render.rows import in_tables
from inspector.render.styles import STYLES
from inspector.render.svg import COLOURS, inline

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_ASSETS = Path(__file__).parent / "assets"


def fragment(document: Document) -> str:
    """The document inside one element: no script, no ids, colours that fit any theme; reads well without its styles."""
    return _rendered("fragment.html", document)


def page(document: Document) -> str:
    """The document as a file that opens from disk: no network, no script, light or dark as the reader's system is."""
    return _rendered("page.html", document)


class Section(NamedTuple):
    """What stands below one heading of the second level; `id` is where links to it lead."""

    id: str
    title: str
    blocks: tuple[Block, ...]


def report(document: Document) -> str:
    """The document as a page with pictures, rows side by side and a few keys; without script all of it is there too."""
    safe = mapped(document, visible)
    lead, sections = _sections(safe)
    return (
        _environment()
        .get_template("report.html")
        .render(title=_title(safe), lead=lead, sections=sections, styles=STYLES, colours=COLOURS)
    )


def _sections(document: Document) -> tuple[Sequence[Block], list[Section]]:
    heads = [
        (at, plain(block.text)) for at, block in enumerate(document) if isinstance(block, Heading) and block.level == 2
    ]
    starts = [at for at, _ in heads]
    ends = [*starts[1:], len(document)]
    sections = [
        Section("s-" + title.replace(" ", "-"), title, document[start:end])
        for (start, title), end in zip(heads, ends, strict=True)
    ]
    return document[: starts[0] if starts else None], sections


def _rendered(template: str, document: Document) -> str:
    safe = mapped(in_tables(document), visible)
    return _environment().get_template(template).render(blocks=safe, title=_title(safe), styles=STYLES)


def _title(document: Document) -> str:
    return next((plain(block.text) for block in document if isinstance(block, Heading)), "inspector")


def _marked(column: Column) -> Markup:
    """The classes of a cell: left is what every cell is, and a table has thousands."""
    from markupsafe import Markup

    named = " ".join(
        filter(None, ("right" if column.align == "right" else "", "wraps" if column.rank and column.least else ""))
    )
    return Markup(' class="{}"').format(named) if named else Markup()


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["axes"] = AXES
    environment.globals["kind"] = lambda block: type(block).__name__
    environment.globals["drawn"] = drawn
    environment.globals["plain"] = plain
    environment.globals["say"] = say
    environment.globals["marked"] = _marked
    environment.globals["lang"] = LANGUAGES[language()]
    environment.globals["picture"] = lambda figure: Markup(inline(figure))  # noqa: S704 - it escapes its texts itself
    return environment
