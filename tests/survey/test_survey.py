"""The survey: a row is found by itself, a lost one costs no other, a worse one is told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

from inspector.api import survey, survey_row
from inspector.api.schemas import schema
from inspector.api.survey import Coverage, coverage
from inspector.api.survey_baseline import read, worse
from inspector.api.survey_pool import Lost, answers
from inspector.api.survey_row import surveyed
from inspector.cli.models import command
from inspector.errors import SchemaError, UsageError
from inspector.reporting.coverage_rows import Row, Worse
from inspector.source.types import KINDS, sample

COMMITTED = Path(__file__).parents[2] / "reports" / "measured" / "coverage.json"

GOOD = Row("gpt2", True, "meta", 1000, 100, 100.0, 99.0, 7, 0, True, 100.0, 40, 98.0, 0, "2", 54, (), "")


def alone(name: str) -> Iterator[str]:
    """What becomes of a process of that name."""
    yield "begun"
    if name == "dies":
        os._exit(7)
    if name == "hangs":
        time.sleep(60)
    if name == "eats":
        bytearray(64 << 30)
    yield name.upper()


def test_one_that_dies_hangs_or_eats_memory_costs_its_own_answer_only():
    found = dict(answers(alone, ["dies", "a", "hangs", "eats", "b"], jobs=2, seconds=4))

    assert (found.pop("a"), found.pop("b")) == ("A", "B")
    assert found == {
        "dies": Lost("the process ended without an answer (exit code 7)", "begun"),
        "hangs": Lost("no answer in 4 seconds", "begun"),
        "eats": Lost("the process ended without an answer (exit code 1)", "begun"),
    }


def test_whatever_fails_ends_the_row_and_is_its_reason(monkeypatch):
    monkeypatch.setattr(survey_row, "_named", lambda *_: 1 / 0)

    row = surveyed("gpt2")

    assert (row.traced, row.ops is not None, row.pattern) == (True, True, None)
    assert row.reason == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("model_type", ["rwkv", "unlimited_ocr"])
def test_what_is_done_once_or_row_by_row_costs_no_report(model_type):
    """One rescales its weights in its first forward, the other makes its mask in a vmap."""
    row = surveyed(model_type)

    assert row.reason == ""
    assert row.stages_failed == 0
    assert row.stages_verified > 70


def test_what_reads_no_text_alone_says_so():
    row = surveyed("clip")

    assert (row.traced, row.ops, row.reason) == (False, None, "CLIPModel does not read token ids alone")


def test_the_exam_is_asked_and_decides_nothing():
    plain, examined = surveyed("gpt2"), surveyed("gpt2", lambda trace, naming: (4, 1, ["up: why"]))

    assert (plain.label_exam, examined.label_exam) == (None, 75.0)
    assert (plain.label_mismatches, examined.label_mismatches) == ((), ("up: why",))
    assert replace(examined, label_exam=None, label_mismatches=()) == plain


def test_every_mismatch_is_listed_in_the_report():
    found = replace(GOOD, label_mismatches=("up: why",))

    assert "up: why" in Coverage([found]).to_markdown()
    assert "why" not in Coverage([GOOD]).to_markdown()


def test_a_reason_tells_no_path(monkeypatch):
    said = "no Model in <module 'a.b' from '/srv/u1/lib/a/b.py'>, see https://x.org/a/b or ~/.cache/hub/m.json"
    monkeypatch.setattr(survey_row, "_named", lambda *_: (_ for _ in ()).throw(ValueError(said)))

    reason = surveyed("gpt2").reason

    assert reason == "ValueError: no Model in <module 'a.b' from 'b.py'>, see https://x.org/a/b or m.json"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder of its own for rows, and how many types were surveyed since."""
    monkeypatch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path))
    asked: list[str] = []

    def found(names, jobs, seconds, exam):
        asked.extend(names)
        return ((name, replace(GOOD, model_type=name)) for name in names)

    monkeypatch.setattr(survey, "_found", found)
    return asked


def test_a_survey_goes_on_where_it_was_left(kept):
    first = coverage(["gpt2"])
    both = coverage(["bert", "gpt2"])

    assert kept == ["gpt2", "bert"]
    assert both.rows == (replace(GOOD, model_type="bert"), first.rows[0])


@pytest.mark.parametrize("change", ["versions", "sources_digest"])
def test_rows_of_another_version_are_found_again(kept, monkeypatch, change):
    coverage(["gpt2"])
    monkeypatch.setattr(survey, change, lambda: {"torch": "other"} if change == "versions" else "other")
    coverage(["gpt2"])

    assert kept == ["gpt2", "gpt2"]


def test_a_lost_row_is_not_kept(kept, monkeypatch):
    lost = Row("gpt2", reason=f"{survey._LOST}no answer in 1 seconds")
    monkeypatch.setattr(survey, "_found", lambda names, *_: (kept.extend(names), [("gpt2", lost)] if names else [])[1])
    coverage(["gpt2"])
    coverage(["gpt2"])

    assert kept == ["gpt2", "gpt2"]


def test_what_was_found_before_the_time_ran_out_is_kept(monkeypatch):
    half = replace(GOOD, stages=None)
    monkeypatch.setattr("inspector.api.survey_pool.answers", lambda *_, **__: iter([("gpt2", Lost("it hung", half))]))

    assert coverage(["gpt2"], trace_cache=False).rows == (replace(half, reason=f"{survey._LOST}it hung"),)


def test_a_torn_row_is_found_again(kept, tmp_path):
    coverage(["gpt2"])
    for file in (tmp_path / "traces").iterdir():
        file.write_bytes(b"torn")
    coverage(["gpt2"])

    assert kept == ["gpt2", "gpt2"]


WORSE = [
    ({"traced": False}, "traced"),
    ({"unknown": 1}, "unknown"),
    ({"stages_failed": 2}, "stages_failed"),
    ({"role_percent": 99.9}, "role_percent"),
    ({"specific_percent": 98.0}, "specific_percent"),
    ({"label_exam": 97.0}, "label_exam"),
    ({"stages_verified": None}, "stages_verified"),
]


@pytest.mark.parametrize(("change", "field"), WORSE, ids=[field for _, field in WORSE])
def test_each_figure_that_is_worse_is_told(change, field):
    before = {"gpt2": json.loads(json.dumps(Coverage((GOOD,)).envelope()["rows"][0]))}
    now = replace(GOOD, **change)

    assert worse([now], before) == ([Worse("gpt2", field, getattr(GOOD, field), getattr(now, field))], 1)
    assert worse([GOOD], before) == ([], 1)


def test_another_conflict_is_worse_and_an_explained_one_is_none():
    before = {"gpt2": {"traced": True, "conflicts": ["norm.eps"]}}

    assert worse([replace(GOOD, conflicts=("norm.eps", "norm.kind"))], before)[0] == [Worse("gpt2", "conflicts", 1, 2)]
    assert worse([replace(GOOD, conflicts=("norm.kind",), explained=("norm.eps",))], before)[0] == []


def test_conflicts_and_what_is_explained_are_counted_apart():
    rows = (
        replace(GOOD, conflicts=("norm.kind",)),
        replace(GOOD, model_type="t5", explained=("norm.eps", "mlp.width")),
    )
    found = Coverage(rows)

    assert found.envelope()["summary"] | {"conflicts": 1, "explained": 2} == found.envelope()["summary"]
    assert "1 in conflict, 2 different for a known reason" in found.to_text()
    assert found.records()[1]["explained"] == "norm.eps mlp.width"


def test_better_other_and_unmeasured_figures_are_not_worse():
    before = {"gpt2": {"traced": True, "unknown": 3, "label_exam": 100.0, "stages_verified": 90.0}}

    assert worse([replace(GOOD, label_exam=None), replace(GOOD, model_type="bert")], before) == ([], 1)


def run(*arguments):
    return CliRunner().invoke(command, ["--coverage", *arguments], standalone_mode=False)


def test_the_command_exits_by_the_baseline(kept, tmp_path):
    file = tmp_path / "before.json"
    run("gpt2", "--format", "json", "-o", str(file))

    assert run("gpt2", "--baseline", str(file)).return_value == 0
    assert run("bert", "--baseline", str(file)).return_value == 3

    better = json.loads(file.read_text())
    better["rows"][0]["stages_verified"] = 99.0
    file.write_text(json.dumps(better))
    answer = run("gpt2", "--baseline", str(file))

    assert answer.return_value == 1
    assert "gpt2: stages_verified was 99.0, is 98.0" in answer.stdout


def test_a_file_that_is_no_baseline_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"schema": "inspector/facts/1"}')

    with pytest.raises(SchemaError, match="no inspector/coverage/1 document"):
        read(tmp_path / "other.json")
    with pytest.raises(SchemaError, match="cannot be read"):
        read(tmp_path / "absent.json")


def test_a_mistake_says_what_was_meant():
    with pytest.raises(UsageError, match="no model type 'gpt3'") as caught:
        coverage(["gpt3"])
    assert "gpt2" in caught.value.why
    with pytest.raises(UsageError, match="is for a survey"):
        CliRunner().invoke(command, ["gpt2"], standalone_mode=False, catch_exceptions=False)
    with pytest.raises(UsageError, match="a sample is one of all types"):
        coverage(["gpt2"], sample=3)


def test_nothing_traced_is_no_success():
    assert Coverage((Row("clip", reason="it sees"),)).exit_code == 3


ROWS = (GOOD, Row("clip", reason="a | <b>"), replace(GOOD, model_type="t5", softmax=False, conflicts=("norm.kind",)))


def test_every_document_is_valid_and_a_broken_one_is_not():
    document = json.loads(Coverage(ROWS, (Worse("gpt2", "unknown", 0, 1),), 2).to_json())
    validator = Draft202012Validator(schema("coverage"))
    validator.validate(document)

    document["rows"][0]["unknown"] = -1
    with pytest.raises(ValidationError):
        validator.validate(document)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_format_shows_every_row(lang):
    found = Coverage(ROWS, (), 3)
    for text in (found.to_text(lang=lang), found.to_markdown(lang=lang), found.to_html(lang=lang), found.to_csv()):
        assert all(row.model_type in text for row in ROWS)
    assert "<b>" not in found.to_html()


def test_a_sample_is_the_same_each_time_and_has_every_kind_of_attention():
    names = [f"type{index:03}" for index in range(40)] + list(KINDS)
    chosen = sample(sorted(names), 20)

    assert set(KINDS) <= set(chosen)
    assert chosen == sample(sorted(names), 20)
    assert len(chosen) < len(KINDS) + 6


def test_a_sample_of_the_committed_survey_is_as_good_as_ever(tmp_path, monkeypatch):
    """The whole of it is one job of CI; these are two dozen types of all kinds, within two minutes of one core."""
    monkeypatch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path))
    before = read(COMMITTED)
    names = [name for index, name in enumerate(sorted(before)) if index % 25 == 0 and before[name]["traced"]]
    found = coverage([*names, "bert", "llama", "t5", "mixtral", "deepseek_v3"], baseline=COMMITTED, jobs=2)

    assert found.compared == len(found.rows)
    assert found.worse == ()
    assert all(row.traced for row in found.rows), [(row.model_type, row.reason) for row in found.rows if not row.traced]


def test_the_committed_survey_is_whole():
    before = read(COMMITTED)
    Draft202012Validator(schema("coverage")).validate(json.loads(COMMITTED.read_text("utf-8")))

    assert len(before) > 380
    assert sum(row["traced"] for row in before.values()) >= 336
    assert all(row["traced"] or row["reason"] for row in before.values())
