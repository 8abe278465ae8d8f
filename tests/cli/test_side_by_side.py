"""Alignment on the role, and the headings above rows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from inspector.render.document import plain
from inspector.reporting.groups import groups
from inspector.reporting.side_by_side import aligned


def test_one_table_is_itself(tables: SimpleNamespace) -> None:
    assert aligned([tables.gpt2()]) == [(row,) for row in tables.gpt2().rows]


def test_both_orders_are_kept_and_no_row_is_lost(tables: SimpleNamespace) -> None:
    eager, sdpa = tables.gpt2(), tables.gpt2("sdpa")
    entries = aligned([eager, sdpa])

    assert tuple(row for row, _ in entries if row) == eager.rows
    assert tuple(row for _, row in entries if row) == sdpa.rows
    assert [row.role for row, other in entries if row and not other] == [
        "scores",
        "mask",
        "softmax",
        "cast",
        "weighted_sum",
    ]
    assert [other.role for row, other in entries if other and not row] == ["fused"]


def test_a_step_that_moved_is_shown_once(tables: SimpleNamespace) -> None:
    first, second = (tables.row(path, "op", "m", "B -> B") for path in ("mlp.norm", "mlp.residual"))
    entries = aligned([tables.table_of(first, second), tables.table_of(second, first)])

    assert entries == [(first, first), (second, second)]


def test_one_role_in_two_modules_is_two_steps(tables: SimpleNamespace) -> None:
    inner, outer = (tables.row("attention.dropout", "dropout", module, "B -> B") for module in ("attn", "attn.resid"))

    assert aligned([tables.table_of(inner, outer), tables.table_of(outer)]) == [(inner, None), (outer, outer)]


def test_equal_steps_are_told_apart_by_their_count(tables: SimpleNamespace) -> None:
    step = tables.row("layout.cast", "to", "m", "B -> B")

    assert aligned([tables.table_of(step, step), tables.table_of(step)]) == [(step, step), (step, None)]


def headings(table: object) -> list[tuple[int, str, int]]:
    made = groups(aligned([table]), table, lambda entry, section: ())
    return [(group.level, plain(group.title).split("  ")[0], len(group.rows)) for group in made]


def test_sections_stand_before_and_after_the_block(tables: SimpleNamespace) -> None:
    assert headings(tables.gpt2()) == [
        (1, "embedding", 3),
        (1, "positions", 1),
        (1, "mask", 1),
        (1, "block ×12", 0),
        (2, "attention", 16),
        (2, "mlp", 5),
        (1, "head", 2),
    ]


def test_a_block_says_what_one_layer_costs(tables: SimpleNamespace) -> None:
    table = tables.gpt2()
    (title,) = [plain(group.title) for group in groups(aligned([table]), table, lambda *_: ()) if not group.rows]

    assert title == "block ×12  layers 0-11, rows below: 7,087,872 parameters and 455 MFLOPs per layer"


def test_kinds_of_layers_in_one_block_are_told_apart(tables: SimpleNamespace) -> None:
    rows = tables.inside("attention.norm", "op", "m", "B -> B"), tables.inside("attention.mask", "op", "m", "B -> B")
    even, odd = (replace(row, layers=layers) for row, layers in zip(rows, ("0-40:2", "1-41:2"), strict=True))
    table = tables.table_of(even, odd, blocks=("[sliding, full] x21",))
    titles = [plain(group.title) for group in groups(aligned([table]), table, lambda *_: ())]

    assert titles[0] == "block [sliding, full] ×21"
    assert titles[1].startswith("attention  layers 0-40, every 2nd")
    assert titles[2].startswith("attention  layers 1-41, every 2nd")


def test_a_block_that_is_torn_apart_says_so(tables: SimpleNamespace) -> None:
    inside, outside = tables.inside("mlp.norm", "op", "m", "B -> B"), tables.row("mask.build", "op", "m", "B -> B")
    table = tables.table_of(inside, outside, inside)
    titles = [plain(group.title) for group in groups(aligned([table]), table, lambda *_: ()) if group.title]

    assert titles[0].startswith("block ×12  layers 0-11")
    assert titles[3] == "block ×12  continued"


def test_an_op_without_a_role_stays_where_it_ran(tables: SimpleNamespace) -> None:
    steps = ["attention.norm", "unknown.", "layout.cast", "attention.residual"]
    table = tables.table_of(*(tables.inside(path, "op", "m", "B -> B") for path in steps))

    assert headings(table) == [(1, "block ×12", 0), (2, "attention", 4)]
