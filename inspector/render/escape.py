"""Makes foreign text harmless. Names of models, modules and config strings come from files that strangers wrote."""

from __future__ import annotations

__all__ = ["ascii_only", "visible"]

_ASCII = str.maketrans(
    {"×": "x", "→": "->", "·": "*", "…": "...", "–": "-", "—": "-", "−": "-", "█": "#", "│": "|", "▶": ">", "∞": "inf"}
)


def visible(text: str) -> str:
    r"""The text with every character that does not print spelled out.

    Control characters move the cursor or recolour a terminal, bidirectional marks reorder what is read, newlines break
    tables; none of them may act.

    >>> visible("a\x1b[31m b\u202e c\n")
    'a\\x1b[31m b\\u202e c\\n'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _spelled(char) for char in text)


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def ascii_only(text: str) -> str:
    r"""The text for a stream that knows only ASCII.

    >>> ascii_only("×12 → 12·64 é")
    'x12 -> 12*64 \\xe9'
    """
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
