"""Names that differ from layer to layer only in a number, written once: `h.{}.mlp.c_fc`."""

from __future__ import annotations

__all__ = ["filled", "numbers", "pattern"]

from collections.abc import Iterable, Sequence

HOLE = "{}"


def numbers(families: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """What counts the layers in names, one family of names per part of the block; () when nothing does.

    >>> numbers([["lm", "lm"], ["h.0.ln", "h.1.ln"]])
    ('0', '1')
    """
    for names in families:
        columns = [column for column in _columns(names) if len(set(column)) == len(column) > 1]
        if columns:
            return columns[0]
    return ()


def pattern(names: Sequence[str], numbered: Sequence[str]) -> str:
    """All of `names` as one, `{}` where they count the layers or otherwise differ.

    >>> pattern(["h.0.ln", "h.1.ln"], ("0", "1")), pattern(["wte", "wte"], ("0", "1")), pattern(["h.0.ln"], ())
    ('h.{}.ln', 'wte', 'h.0.ln')
    """
    columns = _columns(names)
    if not columns:
        return names[0] if len(set(names)) == 1 else HOLE
    counts = tuple(numbered) if len(names) > 1 else None
    return ".".join(column[0] if len(set(column)) == 1 and column != counts else HOLE for column in columns)


def filled(name: str, number: str | None) -> str:
    """The name in one layer; as it is when the number is not known.

    >>> filled("h.{}.ln", "7")
    'h.7.ln'
    """
    return name if number is None else name.replace(HOLE, number)


def _columns(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The names part by part, [] when they have not the same number of parts."""
    split = [name.split(".") for name in names]
    return list(zip(*split, strict=True)) if len({len(parts) for parts in split}) == 1 else []
