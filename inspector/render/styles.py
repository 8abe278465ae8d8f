"""One colour per axis, in every format. Colour only repeats what a letter or a word already says."""

from __future__ import annotations

__all__ = ["STYLES", "Style"]

from typing import NamedTuple


class Style(NamedTuple):
    """How a style looks in each format.

    terminal: a rich style, of the 16 colours that follow the reader's theme.
    fill: r g b, laid thinly behind HTML text, which keeps the colour of the page. html: further CSS declarations.
    """

    terminal: str = ""
    fill: str = ""
    html: str = ""


STYLES: dict[str, Style] = {
    "B": Style("bright_black", "128 128 128"),
    "S": Style("red", "239 68 68"),
    "P": Style("bright_red", "249 115 22"),
    "T": Style("magenta", "217 70 239"),
    "D": Style("green", "34 197 94"),
    "H": Style("yellow", "245 158 11"),
    "G": Style("bright_yellow", "234 179 8"),
    "K": Style("cyan", "6 182 212"),
    "Kv": Style("bright_cyan", "20 184 166"),
    "F": Style("blue", "59 130 246"),
    "V": Style("bright_blue", "99 102 241"),
    "E": Style("bright_magenta", "168 85 247"),
    "A": Style("bright_magenta", "192 132 252"),
    "N": Style("bright_green", "132 204 22"),
    "R": Style("bright_green", "101 163 13"),
    "title": Style("bold", html="font-weight: bold"),
    "muted": Style("bright_black", html="opacity: .7"),
    "good": Style("green", "34 197 94"),
    "caution": Style("yellow", "234 179 8"),
    "warning": Style("bold red", "239 68 68", "font-weight: bold"),
}
"""Style name -> how it looks. Axis letters are named as in `inspector.axes`."""
