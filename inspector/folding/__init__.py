"""Folds a sequence of equal and unequal things into runs and repeated patterns. Knows nothing of models."""

from __future__ import annotations

__all__ = ["Group", "fold", "text"]

from collections.abc import Hashable, Sequence
from typing import NamedTuple

_LONGEST_PATTERN = 24


class Group(NamedTuple):
    """`pattern` stands `repeats` times from `start` on."""

    start: int
    pattern: tuple[int, ...]
    repeats: int

    @property
    def length(self) -> int:
        return len(self.pattern) * self.repeats


def fold(items: Sequence[Hashable]) -> tuple[list[int], list[Group]]:
    """The class of each item (numbered by first appearance) and the groups that the sequence folds into.

    >>> fold("aaaa")[1]
    [Group(start=0, pattern=(0,), repeats=4)]
    >>> fold("sfsfsf")[1]
    [Group(start=0, pattern=(0, 1), repeats=3)]
    >>> fold("dmmm")[1]
    [Group(start=0, pattern=(0,), repeats=1), Group(start=1, pattern=(1,), repeats=3)]

    At each place the pattern that covers most is taken, the shortest among equals; patterns are at most 24 long, so
    the cost is linear in the number of items.
    """
    numbers: dict[Hashable, int] = {}
    classes = [numbers.setdefault(item, len(numbers)) for item in items]
    groups, start = [], 0
    while start < len(classes):
        group = _longest(classes, start)
        groups.append(group)
        start += group.length
    return classes, groups


def _longest(classes: list[int], start: int) -> Group:
    best = Group(start, (classes[start],), 1)
    for width in range(1, min(_LONGEST_PATTERN, (len(classes) - start) // 2) + 1):
        end = start + width
        while end < len(classes) and classes[end] == classes[end - width]:
            end += 1
        repeats = (end - start) // width
        if repeats > 1 and repeats * width > best.length:
            best = Group(start, tuple(classes[start : start + width]), repeats)
    return best


def text(groups: Sequence[Group], names: Sequence[str]) -> str:
    """The groups in words; `names[c]` is what class c is called, "" where there is nothing to tell.

    >>> text([Group(0, (0, 1), 21)], ["sliding", "full"])
    '[sliding, full] x21'
    >>> text([Group(0, (0,), 1), Group(1, (1,), 26)], ["dense", "moe"])
    '1 dense + 26 moe'
    """
    if len(groups) == 1 and len(groups[0].pattern) == 1:
        return str(groups[0].repeats)
    return " + ".join(_group_text(group, names) for group in groups)


def _group_text(group: Group, names: Sequence[str]) -> str:
    words = [names[kind] or f"kind {kind + 1}" for kind in group.pattern]
    if len(words) == 1:
        return f"{group.repeats} {words[0]}"
    return f"[{', '.join(_runs(words))}] x{group.repeats}" if group.repeats > 1 else ", ".join(words)


def _runs(words: Sequence[str]) -> list[str]:
    """Equal neighbours counted: `5 sliding, full`."""
    runs: list[tuple[str, int]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1] = (word, runs[-1][1] + 1)
        else:
            runs.append((word, 1))
    return [f"{count} {word}" if count > 1 else word for word, count in runs]
