"""Which pictures a report has: one question each, one answer per model."""

from __future__ import annotations

__all__ = ["pictures"]

from collections.abc import Callable, Iterator, Sequence

from inspector.messages import say
from inspector.render.document import Figure, Figures, line
from inspector.reporting.pictures_attention import fusion, heads
from inspector.reporting.pictures_flow import norms, positions, strip
from inspector.reporting.pictures_masks import masks
from inspector.reporting.report_material import Portrait

Painter = Callable[[Portrait], Iterator[Figure]]

PICTURES: tuple[tuple[str, Painter], ...] = (
    ("masks", masks),
    ("heads", heads),
    ("positions", positions),
    ("norms", norms),
    ("fusion", fusion),
    ("strip", strip),
)
"""Question -> the pictures that answer it. A picture more is one function, its line here, and its question in words."""


def pictures(portraits: Sequence[Portrait]) -> Iterator[Figures]:
    """What can be drawn; a model that does not show something has no picture of it."""
    for question, painter in PICTURES:
        figures = tuple(figure for portrait in portraits for figure in painter(portrait))
        if figures:
            yield Figures(line(say(f"question.{question}")), figures)
