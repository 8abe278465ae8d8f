"""How a side is asked: stages by role path, what they say, and one value where all of them agree."""

from __future__ import annotations

__all__ = ["MIXERS", "folded", "has", "parts", "said", "size"]

from collections.abc import Iterable

from inspector.alignment.parts import Part, Scope, Side
from inspector.records import Plain

MIXERS = ("attention", "cross_attention")


def folded(values: Iterable[Plain]) -> Plain:
    """One value where all kinds of block agree."""
    known = [value for value in values if value is not None]
    distinct = tuple(dict.fromkeys(known))
    return distinct[0] if len(distinct) == 1 else distinct or None


def parts(scope: Scope | Side, *paths: str) -> list[Part]:
    """Stages of these role paths; a path that begins with a dot is a role in any section."""
    return [part for part in scope.parts if part.path in paths or f".{part.role}" in paths]


def has(scope: Scope | Side, *paths: str) -> bool:
    return bool(parts(scope, *paths))


def said(parts: Iterable[Part], name: str) -> Plain:
    return folded(part.get(name) for part in parts)


def size(side: Side, letter: str) -> Plain:
    sizes = side.sizes.get(letter, ())
    return sizes[0] if len(sizes) == 1 else sizes or None
