"""Short words for the pieces of a drawing."""

from __future__ import annotations

__all__ = ["circle", "label", "path", "rect", "rects", "wire", "wires"]

from collections.abc import Iterable

from inspector.render.document import Shape


def rect(x: float, y: float, width: float, height: float, fill: str, stroke: str = "", radius: float = 0) -> Shape:
    at: tuple[tuple[str, float | str], ...] = (("x", x), ("y", y), ("width", width), ("height", height))
    return Shape("rect", (*at, ("rx", radius)) if radius else at, fill, stroke)


def path(d: str, fill: str = "", stroke: str = "", width: float = 0) -> Shape:
    at: tuple[tuple[str, float | str], ...] = (("d", d),)
    return Shape("path", (*at, ("stroke-width", width)) if width else at, fill, stroke)


def circle(x: float, y: float, radius: float, fill: str = "", stroke: str = "") -> Shape:
    return Shape("circle", (("cx", x), ("cy", y), ("r", radius)), fill, stroke)


def wire(*points: tuple[float, float], stroke: str = "line", width: float = 1.5, dashed: bool = False) -> Shape:
    """A line through points; the same on every machine, so numbers are rounded here."""
    d = "M" + "L".join(f"{_short(x)},{_short(y)}" for x, y in points)
    more: tuple[tuple[str, float | str], ...] = (("stroke-dasharray", "4 3"),) if dashed else ()
    return Shape("path", (("d", d), ("stroke-width", width), *more), "", stroke)


def wires(lines: Iterable[tuple[float, float, float, float]], stroke: str = "line", width: float = 1.5) -> Shape:
    """Many lines as one piece: a hundred heads must not be a hundred elements."""
    d = "".join(f"M{_short(x)},{_short(y)}L{_short(to_x)},{_short(to_y)}" for x, y, to_x, to_y in lines)
    return Shape("path", (("d", d), ("stroke-width", width)), "", stroke)


def rects(boxes: Iterable[tuple[float, float, float, float]], fill: str = "") -> Shape:
    """Many boxes (x, y, width, height) of one colour as one piece."""
    d = "".join(
        f"M{_short(x)},{_short(y)}h{_short(width)}v{_short(height)}h-{_short(width)}z" for x, y, width, height in boxes
    )
    return Shape("path", (("d", d),), fill)


def label(x: float, y: float, text: str, fill: str = "ink", anchor: str = "start", size: float = 11) -> Shape:
    """A text; what every text of a picture has unless it says otherwise is not said."""
    at: tuple[tuple[str, float | str], ...] = (("x", x), ("y", y))
    at += (("font-size", size),) if size != 11 else ()
    at += (("text-anchor", anchor),) if anchor != "start" else ()
    return Shape("text", at, fill, "", text)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
