"""`inspector report` and `inspector.report`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import inspector
from inspector.api.graph import Graph
from inspector.cli import cli
from inspector.errors import InspectorError, UsageError
from inspector.reporting.report_view import figures
from inspector.stage_graph.export.lock import Locked, lock_document
from inspector.stage_graph.record import GraphRecord


@pytest.fixture
def run() -> Callable[..., Any]:
    return lambda *args: CliRunner().invoke(cli, ["report", *args], standalone_mode=False)


def test_a_report_of_graphs(seen: Callable[..., tuple[GraphRecord, Any]]) -> None:
    made = inspector.report(seen("bert")[0], seen("gpt2")[0])

    assert repr(made) == "<Report of tiny bert, tiny gpt2>"
    assert made.sentences[0].startswith("tiny gpt2 masks the future")


def test_one_model_is_shown_part_by_part(seen: Callable[..., tuple[GraphRecord, Any]]) -> None:
    printed = inspector.report(seen("llama")[0]).to_markdown()

    assert "## part by part" in printed
    assert "## what differs" not in printed


@pytest.mark.parametrize("models", [(), ("gpt2", "gpt2")])
def test_what_cannot_be_asked(models: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        inspector.report(*models, attention="eager,sdpa")


def test_a_model_that_is_not_there(run: Callable[..., Any]) -> None:
    done = run("gpt2", "no-such-model-anywhere.json")

    assert isinstance(done.exception, InspectorError)


def test_check_is_for_the_gallery_alone(run: Callable[..., Any]) -> None:
    for asked in ("--check", "--all"):
        error = run("gpt2", asked).exception
        assert isinstance(error, UsageError)
        assert error.what == f"{asked} is for the gallery, which has its own list of models"


@pytest.mark.parametrize("name", ["../up", "/abs", "a/b", ".."])
def test_a_name_is_no_path(name: str, run: Callable[..., Any], tmp_path: Path) -> None:
    done = run("gpt2", "bert", "--output-dir", str(tmp_path), "--name", name)

    assert isinstance(done.exception, UsageError)
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_a_step(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    done = run("gpt2", "bert", "--step-summary", "--flavor", "plain", "--output-dir", str(tmp_path / "out"))

    assert done.exception is None
    assert page.read_text("utf-8").startswith("before\n# gpt2 and bert")
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.slow
def test_three_models_from_stored_traces_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, inspector;"
        "inspector.report('bert-base-uncased', 'gpt2', 'llama-3-8b').save(sys.argv[1]);"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    env = {"INSPECTOR_CACHE_DIR": str(tmp_path / "cache"), "PATH": "", "HF_HUB_OFFLINE": "1"}
    took = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True, check=True, env=env
        )
        took.append(time.perf_counter() - start)

    assert done.stdout.split() == ["False", "False"]
    assert min(took) < 6  # 2 s on a machine that does nothing else


@pytest.mark.parametrize("kind", ["graph", "lock"])
def test_a_saved_model_is_reported_without_running_it(
    kind: str, seen: Callable[..., tuple[GraphRecord, Any]], tmp_path: Path
) -> None:
    record = seen("gpt2")[0]
    document = Graph(record).envelope() if kind == "graph" else lock_document(Locked(record))
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(document), "utf-8")
    made = inspector.report(str(path), seen("llama")[0])

    assert {figure.name for figure in figures(made.document())} >= {"tiny-gpt2-mask", "tiny-gpt2-heads"}
    assert "tiny gpt2" in made.to_html()


def test_a_run_that_ends_midway_leaves_whole_files_and_no_document(
    seen: Callable[..., tuple[GraphRecord, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures are written first, and each file beside its place."""
    left = iter(range(5))
    rename = Path.replace

    def broken(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(KeyboardInterrupt):
        inspector.report(seen("gpt2")[0]).save(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert len(files) == 5
    assert all(path.read_text("utf-8").endswith("</svg>\n") for path in files)
