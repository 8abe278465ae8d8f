"""Which columns stay, how wide they are, and where lines break."""

from __future__ import annotations

import pytest

from inspector.render.document import Cell, Column, Group, Table, cell, line, plain
from inspector.render.layout import fit, packed, wrapped

NAME = "transformer.h.{}.attn.c_attn scaled_dot_product_attention, view"


def table(*columns: Column, row: tuple[str, ...]) -> Table:
    return Table(columns, (Group(line(), 1, (tuple(map(cell, row)),)),))


def test_everything_is_shown_without_a_limit() -> None:
    made = table(Column("a", rank=3), Column("b", least=2), row=("x" * 50, "y y y y"))

    assert fit(made, [0], None, len) == {0: 50, 1: 7}


def test_the_highest_rank_goes_first_and_rank_zero_never() -> None:
    made = table(Column("a"), Column("b", rank=1), Column("c", rank=2), row=("x" * 10, "y" * 10, "z" * 10))

    assert list(fit(made, [0], 34, len)) == [0, 1, 2]
    assert list(fit(made, [0], 33, len)) == [0, 1]
    assert list(fit(made, [0], 21, len)) == [0]
    assert list(fit(made, [0], 5, len)) == [0]


def test_a_column_gives_way_before_another_is_dropped() -> None:
    made = table(Column("a"), Column("b", rank=1, least=4), row=("x" * 10, "one two three"))

    assert fit(made, [0], 16, len) == {0: 10, 1: 4}
    assert fit(made, [0], 19, len) == {0: 10, 1: 7}


def test_the_indent_belongs_to_the_first_column_only() -> None:
    made = table(Column("a"), Column("b"), row=("xx", "yy"))

    assert fit(made, [4], None, len) == {0: 6, 1: 2}


@pytest.mark.parametrize("width", range(1, 70))
def test_wrapping_loses_nothing_and_keeps_the_width(width: int) -> None:
    lines = [plain(part) for part in wrapped(line(NAME), width, len)]

    assert all(len(part) <= width for part in lines)
    assert "".join(lines).replace(" ", "") == NAME.replace(" ", "")


def test_words_are_broken_only_where_they_do_not_fit() -> None:
    assert [plain(part) for part in wrapped(line("alpha beta"), 6, len)] == ["alpha", "beta"]
    assert [plain(part) for part in wrapped(line("alphabet"), 6, len)] == ["alphab", "et"]


def test_styles_survive_a_break() -> None:
    from inspector.render.document import Span

    parts = wrapped(line("(", Span("B", "B"), ", ", Span("768", "D"), ")"), 4, len)

    assert [list(part) for part in parts] == [[Span("("), Span("B", "B"), Span(",")], [Span("768", "D"), Span(")")]]


def test_items_are_packed_whole() -> None:
    items = Cell(line(text) for text in ("B=2 batch", "S=16 sequence", "D=768 width"))

    assert [plain(part) for part in packed(items, 25, len)] == ["B=2 batch, S=16 sequence,", "D=768 width"]
