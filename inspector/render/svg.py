"""Drawings as SVG: files for Markdown in one theme each, and pieces of a page that follow its theme.

A file has colours as plain attributes and paints its own ground: other renderers than browsers know no CSS variables,
and a reader's page may be of the other theme.
"""

from __future__ import annotations

__all__ = ["COLOURS", "Theme", "inline", "svg"]

from html import escape
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
    """The picture inside a page: light colours as attributes, and classes by which the page's theme repaints it."""
    return f"{_head(figure)}{''.join(_shape(shape) for shape in figure.drawing.shapes)}</svg>"


def _head(figure: Figure, more: str = "", margin: int = 1) -> str:
    width, height = (_number(side + 2 * margin) for side in figure.drawing[:2])
    box = f'viewBox="-{margin} -{margin} {width} {height}" role="img"'
    lead = " ".join(filter(None, ("<svg", more, box)))
    title, description = _text(figure.title), _text(figure.description)
    return f'{lead} font-family="{_FONT}" font-size="11">\n<title>{title}</title>\n<desc>{description}</desc>\n'


def _shape(shape: Shape, theme: Theme | None = None) -> str:
    """One element. On a page colours come from classes: of the attributes only what must be seen without them."""
    fill = shape.fill or ("none" if shape.kind in ("path", "circle", "line") else "ink")
    if theme is None:
        paint = _classes(shape) + (' fill="none"' if fill == "none" else "")
    else:
        paint = _paint("fill", fill, theme) + (_paint("stroke", shape.stroke, theme) if shape.stroke else "")
    numbers = "".join(f' {name}="{_number(value)}"' for name, value in shape.at)
    inside = f">{_text(shape.text)}</text>" if shape.kind == "text" else "/>"
    return f"<{shape.kind}{paint}{numbers}{inside}"


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
