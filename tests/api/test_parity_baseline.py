"""Baselines: what is excused and for how long, what is noticed, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inspector.api.baseline import Baseline, Waiver, apply, identified, load, save
from inspector.api.parity import Parity
from inspector.api.schemas import schema
from inspector.errors import SchemaError, UsageError
from inspector.stage_graph.fields import model_fields


def baseline(report: Any, *waivers: Waiver, **rows: float) -> Baseline:
    found = {stage.replace("__", " ").replace("_", "."): rho for stage, rho in rows.items()}
    return Baseline(model_fields(report.model, report.scenario), found, waivers)


def test_what_is_written_is_read_again(made: SimpleNamespace, tmp_path: Path) -> None:
    report, waiver = made.report(made.row("mlp.norm", 0, 0.123456), made.broken()), Waiver("mlp.*", "known", "0.3")
    save(tmp_path / "base.json", report, (waiver,))
    document = json.loads((tmp_path / "base.json").read_text())
    Draft202012Validator(schema("parity-baseline")).validate(document)

    assert document["rows"] == [{"stage": "layer 0 mlp.norm", "rho": 0.123}]
    assert load(tmp_path / "base.json").waivers == (waiver,)
    assert [path.name for path in tmp_path.iterdir()] == ["base.json"]


def test_a_second_stage_of_one_name_has_a_number(made: SimpleNamespace) -> None:
    rows = [made.row("attention.dropout", 0, 0.0), made.row("attention.dropout", 0, 0.0)]

    assert [stage for stage, _ in identified(rows)] == ["layer 0 attention.dropout", "layer 0 attention.dropout #2"]


@pytest.mark.parametrize(
    ("before", "now", "noticed"), [(0.1, 0.21, True), (0.1, 0.2, False), (0.01, 0.04, False), (0.04, 0.09, True)]
)
def test_rho_that_doubled_is_noticed(made: SimpleNamespace, before: float, now: float, noticed: bool) -> None:
    report = made.report(made.row("head.norm", None, now))
    found = apply(report, baseline(report, head_norm=before), name="base.json")
    expected = (f"rho of head.norm is {now:.3g}, more than twice the {before:.3g} of base.json",) if noticed else ()

    assert (found.notes, found.verdict) == (expected, "pass")


def test_a_waived_failure_is_a_finding(made: SimpleNamespace) -> None:
    report = made.report(made.row("mlp.norm", 0, 0.1), made.broken(3), made.broken(4))
    found = apply(report, baseline(report, Waiver("layer * attention.scale", "issue 12", "transformers 5.30")))
    reason = "waived until transformers 5.30: issue 12 (factor is 1.0, claimed is 0.25; 90 of 120 values differ)"

    assert (found.verdict, Parity(found).exit_code) == ("pass", 0)
    assert [row.finding for row in found.findings] == [reason, reason]
    assert found.counts["exempt"] == 2
    assert f"note  layer 3 attention.scale: {reason} (and layer 4)" in Parity(found).to_text()
    assert "fail" not in Parity(found).to_text().replace("failure", "")


@pytest.mark.parametrize(
    ("expires", "failing"),
    [("0.1.0", True), ("0.1", True), ("0.2", False), ("transformers 5.23", True), ("torch 2.14", False)],
)
def test_a_waiver_expires(made: SimpleNamespace, expires: str, failing: bool) -> None:
    report = made.report(made.row("mlp.norm", 0, 0.1), made.broken())
    found = apply(report, baseline(report, Waiver("layer 3 attention.scale", "issue 12", expires)))

    assert found.verdict == ("fail" if failing else "pass")
    if failing:
        assert found.failures[0].culprit.endswith(f"; its waiver (issue 12) expired with {expires}")


def test_what_is_not_there_is_listed(made: SimpleNamespace) -> None:
    report = made.report(made.row("head.norm", None, 0.1))
    found = apply(report, baseline(report, Waiver("mlp.norm", "issue", "9"), head_norm=0.1, head_pooler=0.1))

    assert found.notes == (
        "stages of the baseline that did not run: head.pooler",
        "waivers of the baseline that excuse no stage of this run: mlp.norm",
    )


def test_a_baseline_of_another_run_is_refused(made: SimpleNamespace) -> None:
    report = made.report()
    other = replace(report, scenario=replace(report.scenario, dtype="bfloat16", attention="sdpa"))

    with pytest.raises(UsageError) as caught:
        apply(report, baseline(other), name="base.json")

    assert str(caught.value).splitlines() == [
        "base.json is of another run",
        "attention sdpa against eager, dtype bfloat16 against float32",
        "use one file for each run, or --update-baseline",
    ]


BROKEN = {
    "no JSON": ("{", "base.json is no baseline"),
    "another schema": ('{"schema": "inspector/graph/1"}', "base.json is no baseline"),
    "no rows": ('{"schema": "inspector/parity-baseline/1", "waivers": [], "models": [{}]}', "base.json is no baseline"),
    "a list": ("[]", "base.json is no baseline"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(name: str, tmp_path: Path) -> None:
    text, expected = BROKEN[name]
    (tmp_path / "base.json").write_text(text)

    with pytest.raises(SchemaError, match=expected):
        load(tmp_path / "base.json")


@pytest.mark.parametrize(
    ("waiver", "expected"),
    [
        (Waiver("mlp.norm", " ", "0.3"), "the waiver of mlp.norm in base.json gives no reason"),
        (Waiver("mlp.norm", "issue", "soon"), "the waiver of mlp.norm in base.json does not say when it expires"),
        (Waiver("mlp.norm", "issue", "numpy 3"), "the waiver of mlp.norm in base.json does not say when it expires"),
    ],
)
def test_a_waiver_needs_a_reason_and_an_end(
    made: SimpleNamespace, waiver: Waiver, expected: str, tmp_path: Path
) -> None:
    save(tmp_path / "base.json", made.report(), (waiver,))

    with pytest.raises(SchemaError, match=expected):
        load(tmp_path / "base.json")


def test_a_place_that_cannot_be_written_is_said(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write the baseline base\.json"):
        save(tmp_path / "no folder" / "base.json", made.report())
