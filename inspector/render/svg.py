"""Drawings as SVG: files for Markdown in one theme each, and pieces of a page that follow its theme.

A file has colours as plain attributes and paints its own ground: other renderers than browsers know no CSS variables,
and a reader's page may be of the other theme.
"""

from __future__ import annotations

__all__ = ["COLOURS", "Theme", "inline", "svg"]

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Literal

from inspector.render.document import Figure, Shape
from inspector.render.escape import visible

Theme = Literal["light", "dark"]

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14171b"),
    "ink": ("#1c2024", "#e8eaed"),
    "muted": ("#5b6470", "#a2abb6"),
    "grid": ("#ffffff", "#14171b"),
    "off": ("#e6eaef", "#2a3038"),
    "line": ("#8a94a0", "#6d7884"),
    "seen": ("#2f6fe4", "#6ea0ff"),
    "part": ("#a9c4f5", "#3c5688"),
    "q": ("#2f6fe4", "#6ea0ff"),
    "k": ("#d9822b", "#f0a04b"),
    "v": ("#2e9e5b", "#5cc98a"),
    "norm": ("#7a5ad6", "#ab92f7"),
    "block": ("#dfe6ee", "#2f3742"),
    "B": ("#8a94a0", "#8a94a0"),
    "S": ("#dc4c4c", "#f07f7f"),
    "T": ("#b94fd0", "#d68be8"),
    "D": ("#2e9e5b", "#5cc98a"),
    "H": ("#c9850a", "#eeb03f"),
    "G": ("#a98f06", "#dcc33a"),
    "K": ("#0a93ad", "#45c4dc"),
    "F": ("#2f6fe4", "#6ea0ff"),
    "V": ("#5a5cd6", "#9597f7"),
}
"""Colour -> as it is on light paper, on dark paper. Axis letters as in `inspector.axes`."""

_MARGIN = 10

_FONT = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def svg(figure: Figure, theme: Theme) -> str:
    """The picture as a file of its own, with a margin."""
    width, height = (side + 2 * _MARGIN for side in figure.drawing[:2])
    shapes = "".join(f"{_shape(shape, theme)}\n" for shape in figure.drawing.shapes)
    size = f'width="{_number(width)}" height="{_number(height)}"'
    ground = f'<rect x="-{_MARGIN}" y="-{_MARGIN}" {size} fill="{_colour("paper", theme)}"/>\n'
    head = _head(figure, f'xmlns="http://www.w3.org/2000/svg" {size}', _MARGIN)
    return f"{head}{ground}{shapes}</svg>\n"


def inline(figure: Figure) -> str:
    """The picture inside a page, in its font: classes, by which the theme of the page paints it."""
    runs = (list(run) for _, run in groupby(figure.drawing.shapes, _looks))
    return f"{_head(figure)}{''.join(map(_run, runs))}</svg>"


def _head(figure: Figure, more: str = "", margin: int = 1) -> str:
    width, height = (_number(side + 2 * margin) for side in figure.drawing[:2])
    box = f'viewBox="-{margin} -{margin} {width} {height}" role="img"'
    font = f'font-family="{_FONT}"' if more else ""
    lead = " ".join(filter(None, ("<svg", more, box, font)))
    title, description = _text(figure.title), _text(figure.description)
    return f'{lead} font-size="11">\n<title>{title}</title>\n<desc>{description}</desc>\n'


def _shape(shape: Shape, theme: Theme) -> str:
    """One element of a file: all that is to be seen is in its attributes."""
    paint = _paint("fill", _fill(shape), theme) + (_paint("stroke", shape.stroke, theme) if shape.stroke else "")
    return _element(shape, paint + "".join(f' {name}="{_number(value)}"' for name, value in shape.at))


_PLACED = frozenset("x y cx cy d x1 x2 y1 y2 width height".split())
"""Where an element stands and how large it is: what elements that look alike do not share."""


def _run(run: Sequence[Shape]) -> str:
    """Elements that look alike, one after the other: how they look is said once."""
    looks = _looks(run[0])
    if len(run) == 1:
        return _element(run[0], looks[1] + _places(run[0]))
    return f"<g{looks[1]}>{''.join(_element(shape, _places(shape)) for shape in run)}</g>"


def _looks(shape: Shape) -> tuple[str, str]:
    """The kind of an element and its attributes, but for its place; a line is one unit wide unless told otherwise."""
    said = [(name, value) for name, value in shape.at if name not in _PLACED and (name, value) != ("stroke-width", 1)]
    bare = ' fill="none"' if _fill(shape) == "none" else ""
    return shape.kind, _classes(shape) + bare + "".join(f' {name}="{_number(value)}"' for name, value in said)


def _places(shape: Shape) -> str:
    return "".join(f' {name}="{_number(value)}"' for name, value in shape.at if name in _PLACED)


def _element(shape: Shape, attributes: str) -> str:
    inside = f">{_text(shape.text)}</text>" if shape.kind == "text" else "/>"
    return f"<{shape.kind}{attributes}{inside}"


def _fill(shape: Shape) -> str:
    return shape.fill or ("none" if shape.kind in ("path", "circle", "line") else "ink")


def _classes(shape: Shape) -> str:
    plain = shape.kind == "text" and shape.fill == "ink"  # as all text of a page is
    fill = f"f-{shape.fill}" if shape.fill in COLOURS and not plain else ""
    names = [fill, f"s-{shape.stroke}" if shape.stroke else ""]
    found = " ".join(filter(None, names))
    return f' class="{found}"' if found else ""


def _paint(name: str, colour: str, theme: Theme) -> str:
    return f' {name}="{_colour(colour, theme)}"'


def _colour(name: str, theme: Theme) -> str:
    return COLOURS[name][theme == "dark"] if name in COLOURS else "none"


def _number(value: float | str) -> str:
    """Short, and the same on every machine: two decimals at most."""
    if isinstance(value, str):
        return _text(value)
    return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")


def _text(text: str) -> str:
    return escape(visible(text))
