"""Pictures as data: pieces with names of colours, which a format turns into what it can draw."""

from __future__ import annotations

__all__ = ["Drawing", "Figure", "Figures", "Shape"]

from typing import Literal, NamedTuple

from inspector.render.text import Line


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
