"""What the verbs return."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

from inspector.api.results import Shapes


def test_rows_of_all_runs_follow_one_another(tables: SimpleNamespace) -> None:
    eager, sdpa = tables.gpt2(), tables.gpt2("sdpa")
    result = Shapes((eager, sdpa))

    assert result.table == eager
    assert result.rows == eager.rows + sdpa.rows
    assert [row["model"] for row in json.loads(result.to_json())["rows"]] == [0] * len(eager.rows) + [1] * len(
        sdpa.rows
    )


def test_a_summary_of_several_runs_hides_no_gap(tables: SimpleNamespace) -> None:
    worse = replace(tables.hostile(), summary=replace(tables.hostile().summary, specific=0.5))
    summary = Shapes((tables.gpt2(), worse)).summary

    assert (summary.unknown, summary.orphans, summary.unsolved_dims) == (1, 2, 1)
    assert summary.specific == 0.5
    assert summary.ops == 2 * tables.gpt2().summary.ops
    assert summary.cache_bytes_per_token == 36_864


def test_repr_is_one_short_line(tables: SimpleNamespace) -> None:
    assert repr(Shapes((tables.gpt2(),))) == "<Shapes of gpt2, eager: 28 rows, 0 unknown ops>"
    assert "\n" not in repr(Shapes((tables.hostile(),)))
    assert "\x1b" not in repr(Shapes((tables.hostile(),)))


def test_a_frame_has_numbers_in_its_numeric_columns(tables: SimpleNamespace) -> None:
    frame = Shapes((tables.gpt2(),)).to_frame()

    assert len(frame) == 28
    assert frame["parameters"].sum() == sum(row.parameters for row in tables.gpt2().rows)
    assert list(frame.columns[:4]) == ["model", "attention", "section", "layers"]


def test_gaps_are_said_in_words(tables: SimpleNamespace) -> None:
    printed = Shapes((tables.hostile(),)).to_text()

    assert "1 op could not be given a role" in printed
    assert "2 tensors came from nowhere" in printed
    assert "1 dimension did not solve" in printed
    assert "    unknown " in printed


def test_no_gap_is_counted_too(tables: SimpleNamespace) -> None:
    assert "0 unknown ops, 0 orphan tensors, 0 unsolved dimensions" in Shapes((tables.gpt2(),)).to_text()
