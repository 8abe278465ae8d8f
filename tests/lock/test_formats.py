"""What a check looks like in every format, whatever strangers wrote into a lock, and however little room there is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rich.cells import cell_len

import inspector
from inspector.api.check import Check
from inspector.api.lock import Lock
from inspector.api.schemas import schema
from inspector.stage_graph.export.lock import _digest

Command = Callable[..., tuple[int, str, str]]
HOSTILE = "a|b `c` </script><script>alert(1)</script>\x1b[31m\u202e[x](y)"


def test_json_is_valid_and_the_same_each_time(differing: Check, tiny: Path) -> None:
    again = inspector.check(tiny / "mine.arch.json", str(tiny / "eps.json"))
    document = json.loads(differing.to_json())
    Draft202012Validator(schema("check")).validate(document)

    assert differing.to_json() == again.to_json()
    assert document["rows"][0]["findings"][0]["rule"] == "norm.eps"
    assert document["rows"][0]["severities"] == {"breaking": 0, "notable": 1, "cosmetic": 0}
    assert [model["name"] for model in document["models"]] == ["eps"]


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(differing: Check, width: int) -> None:
    assert max(map(cell_len, differing.to_terminal(width=width, color=False).splitlines())) <= width


def test_every_format_can_be_written(differing: Check, same: Check) -> None:
    both = Check((*differing.held, *same.held))

    assert both.to_markdown().startswith("# 2 locks\n")
    assert "<table" in both.to_html()
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(both.to_csv()))] == ["differs", "same"]
    assert both.to_text(encoding="ascii").isascii()
    assert both.exit_code == 1


def test_a_hostile_name_breaks_no_format(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text((tiny / "mine.json").read_text())
    document = json.loads(inspector.lock(str(tmp_path / "x.json")).to_json())
    document["models"][0]["name"] = HOSTILE
    document["nodes"][3]["module"] = HOSTILE
    document["config"]["note"] = HOSTILE
    document["digest"] = _digest({key: value for key, value in document.items() if key != "digest"})
    found = inspector.check(document)

    assert found.verdict == "same"
    for text in (
        found.to_text(),
        found.to_markdown(),
        found.to_terminal(width=100, color=False),
        found.to_summary(9999),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script>alert" not in found.to_html()
    assert "<script>" not in found.to_markdown()
    table = [line for line in found.to_markdown().splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1  # all rows have as many cells
    assert Lock.read(json.loads(Lock.read(document).to_json())).name == HOSTILE


def test_a_renamed_part_is_reported_and_no_failure(tiny: Path) -> None:
    document = json.loads((tiny / "mine.arch.json").read_text("utf-8"))
    node = next(node for node in document["nodes"] if node["role"] == "up_proj")
    node["module"] = "transformer.layers.{}.mlp.fc"
    document["digest"] = _digest({key: value for key, value in document.items() if key != "digest"})
    found = inspector.check(document)

    assert (found.verdict, found.exit_code) == ("same", 0)
    assert "1 only renamed" in found.sentences[0]
    text = found.to_text()
    assert "renamed, which changes nothing" in text
    assert "transformer.layers.{}.mlp.fc" in text
    assert "transformer.h.{}.mlp.c_fc" in text


def test_the_summary_keeps_to_its_budget(command: Command, folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))

    assert command("check", str(folder), "--step-summary")[0] == 1
    assert page.read_text("utf-8").startswith("before\n# 2 locks\n")
    assert "norm.eps" in page.read_text("utf-8")

    page.write_text("x" * ((1000 << 10) - 300))
    assert command("check", str(folder), "--step-summary")[0] == 1
    assert page.stat().st_size <= 1000 << 10
    assert "left out" in page.read_text("utf-8")


@pytest.mark.parametrize("room", [0, 40, 200, 600, 1500, 4000, 100_000])
def test_a_summary_of_any_size(differing: Check, room: int) -> None:
    text = differing.to_summary(room)

    assert len(text.encode()) <= room
    assert ("side by side" in text) == (room == 100_000)


def test_an_unanswered_check_is_on_the_page_too(
    command: Command, locked: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    locked.write_text("{}")

    assert command("check", str(locked), "--step-summary")[0] == 3
    assert "mine.arch.json is no lock" in page.read_text("utf-8")
