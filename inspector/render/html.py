"""A document as HTML: a fragment for notebooks, or a page that needs nothing else."""

from __future__ import annotations

__all__ = ["fragment", "page"]

from pathlib import Path
from typing import TYPE_CHECKING

from inspector.render.document import Document, Heading, mapped, plain
from inspector.render.escape import visible
from inspector.render.ladder import drawn
from inspector.render.styles import STYLES

if TYPE_CHECKING:
    from jinja2 import Environment

_ASSETS = Path(__file__).parent / "assets"


def fragment(document: Document) -> str:
    """The document inside one element: no script, no ids, colours that fit any theme; reads well without its styles."""
    return _rendered("fragment.html", document)


def page(document: Document) -> str:
    """The document as a file that opens from disk: no network, no script, light or dark as the reader's system is."""
    return _rendered("page.html", document)


def _rendered(template: str, document: Document) -> str:
    safe = mapped(document, visible)
    title = next((plain(block.text) for block in safe if isinstance(block, Heading)), "inspector")
    return _environment().get_template(template).render(blocks=safe, title=title, styles=STYLES)


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["kind"] = lambda block: type(block).__name__
    environment.globals["drawn"] = drawn
    return environment
