"""Runs and patterns, on plain sequences."""

from __future__ import annotations

import pytest

from inspector.folding import Group, fold, text


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("aaaa", "4"),
        ("a", "1"),
        ("abababab", "[A, B] x4"),
        ("aaaaabaaaaab", "[5 A, B] x2"),
        ("dmmmmm", "1 A + 5 B"),
        ("abcabcab", "[A, B, C] x2 + 1 A + 1 B"),
        ("", ""),
    ],
)
def test_text(items, said):
    classes, groups = fold(items)

    assert text(groups, [name for name, _ in zip("ABC", sorted(set(classes)), strict=False)]) == said


def test_groups_cover_everything_once():
    items = "abbaabbbcabcabcaaab"
    classes, groups = fold(items)
    spelled = [kind for group in groups for _ in range(group.repeats) for kind in group.pattern]

    assert spelled == classes
    assert [group.start for group in groups] == [sum(g.length for g in groups[:i]) for i in range(len(groups))]


def test_a_single_kind_is_preferred_to_a_longer_pattern_of_it():
    assert fold("aaaaaa")[1] == [Group(0, (0,), 6)]
