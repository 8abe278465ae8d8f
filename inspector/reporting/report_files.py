"""The files of a report: the document in three formats, and its pictures in two themes."""

from __future__ import annotations

__all__ = ["PICTURES", "THEMES", "drawings", "html", "in_markdown"]

from collections.abc import Iterator

from inspector.errors import UsageError
from inspector.render.html import report
from inspector.render.markdown import Flavor, Page, markdown
from inspector.render.svg import Theme, svg
from inspector.reporting.report_material import Material
from inspector.reporting.report_view import LEVELS, document, figures, left_out

PICTURES = "pictures"
"""The folder beside a document in which its pictures lie."""

THEMES: tuple[Theme, ...] = ("light", "dark")


def html(found: Material, *, exact: bool = False) -> str:
    """The page: one file that needs nothing else."""
    return report(document(found, page=True, exact=exact))


def in_markdown(
    found: Material,
    *,
    flavor: Flavor = "github",
    pictures: str | None = None,
    most: int | None = None,
    exact: bool = False,
) -> str:
    """The document in at most `most` bytes: what says least is left out first, and the document says what that was."""
    page = Page(flavor, pictures, compact=True)
    text = ""
    for level in range(len(LEVELS)):
        text = markdown(document(found, level=level, exact=exact), page)
        if most is None or len(text.encode()) <= most:
            return text
    raise UsageError(
        f"the report cannot be said in {most:,} bytes",
        why=f"without {left_out(len(LEVELS) - 1)} it still has {len(text.encode()):,}",
        hint="allow more, or report fewer models at once",
    )


def drawings(found: Material) -> Iterator[tuple[str, str]]:
    """(name, text) of every picture as a file, light and dark."""
    for figure in figures(document(found)):
        for theme in THEMES:
            yield f"{figure.name}-{theme}.svg", svg(figure, theme)
