"""`inspector graph`: formats, files, options, refusals, and a stored answer without torch."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

import inspector
from inspector.api.graph import Graph
from inspector.api.store import TraceStore
from inspector.cli import main
from inspector.cli.graph import FORMATS
from inspector.records import Scenario
from inspector.source import resolve

ROOT = Path(inspector.__file__).parents[1]


@pytest.fixture(scope="module")
def saved(record_for: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("saved") / "tiny.json"
    path.write_text(Graph(record_for("gpt2")).to_json())
    return str(path)


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["graph", *args])
    return int(caught.value.code or 0)


STARTS = {
    "text": "graph of tiny gpt2",
    "json": '{\n  "schema": "inspector/graph/1"',
    "graphml": "<graphml",
    "dot": 'digraph "tiny gpt2"',
    "mermaid": "flowchart TD",
    "model-explorer": '{\n  "label": "tiny gpt2"',
}


@pytest.mark.parametrize(
    ("format", "ending"), [(form, ending) for form, endings in FORMATS.items() for ending in endings]
)
def test_the_ending_of_the_file_says_the_format(saved: str, format: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"drawn{ending}"

    assert run(saved, "-o", str(path)) == 0
    assert path.read_text("utf-8").startswith(STARTS[format])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_is_taken_before_an_ending(saved: str, format: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "drawn.dot"

    assert run(saved, "--format", format, "-o", str(path)) == run(saved, "--format", format) == 0
    assert capsys.readouterr().out == path.read_text("utf-8")
    assert path.read_text("utf-8").startswith(STARTS[format])


def test_an_ending_that_is_no_format_is_refused_before_anything_runs(tmp_path: Path, capsys: Any) -> None:
    assert run("no-such-model", "-o", str(tmp_path / "drawn.png")) == 2
    assert "is no format of a graph" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_is_kept_when_there_is_no_answer(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "kept.json"
    path.write_text("before")

    assert run("no-such-model", "-o", str(path)) == 3
    assert path.read_text() == "before"


def test_layers_are_unfolded(saved: str, capsys: Any) -> None:
    assert run(saved, "--unfold", "1", "--format", "json") == 0
    layers = {node["layers"] for node in json.loads(capsys.readouterr().out)["nodes"]}

    assert layers == {"", "0", "1"}


REFUSED = [
    (["--unfold", "9"], 2, "has no layer 9"),
    (["--unfold", "x"], 2, "cannot unfold 'x'"),
    (["--seq", "3"], 2, "cannot be run in another way"),
    (["--attention", "eager,sdpa"], 2, "a graph is of one kind of attention"),
    (["--format", "svg"], 2, "'svg' is not one of"),
    (["-o", "/no/such/folder/x.json"], 2, "cannot write"),
]


@pytest.mark.parametrize(("args", "code", "said"), REFUSED)
def test_what_cannot_be_met_is_refused(saved: str, args: list[str], code: int, said: str, capsys: Any) -> None:
    assert run(saved, *args) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("schema", ["inspector/graph/9", "inspector/shapes/1"])
def test_documents_that_are_no_graph_exit_with_3(schema: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"schema": schema}))

    assert run(str(path)) == 3
    assert f"other.json is {schema}" in capsys.readouterr().err


def test_the_command_has_the_options_of_the_verb() -> None:
    from inspector.cli.graph import command

    options = {option.name for option in command.params} - {"format", "file", "quiet", "lang"}

    assert options == set(inspect.signature(inspector.graph).parameters) - {"progress"}


def test_a_run_is_the_graph_of_its_trace(record_for: Any) -> None:
    """The verb from a name to networkx; sdpa and a model without its head are other graphs."""
    graph = inspector.graph("gpt2", head=False, attention="sdpa", trace_cache=False)

    assert isinstance(graph.networkx(), nx.MultiDiGraph)
    assert [node.role for node in graph.record.nodes if node.role in ("fused", "scores", "lm_head")] == ["fused"]
    assert graph.record.nodes != record_for("preset:gpt2").nodes


WITHOUT = """
import sys
from inspector.cli import main
try:
    main(["graph", "gpt2", "-q", "--format", sys.argv[1]])
finally:
    print(*({"torch", "transformers"} & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_a_stored_run_is_drawn_without_torch(trace_of: Any, record_for: Any, format: str, tmp_path: Path) -> None:
    TraceStore(tmp_path / "traces").put(resolve("gpt2").identity() or {}, Scenario(), trace_of("preset:gpt2"), [])
    env = {**os.environ, "INSPECTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, format], env=env, capture_output=True, encoding="utf-8", check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "\n")
    assert done.stdout == getattr(Graph(record_for("preset:gpt2")), f"to_{format.replace('-', '_')}")()


def test_without_a_stored_run_torch_is_needed(tmp_path: Path) -> None:
    """The check above can fail."""
    env = {**os.environ, "INSPECTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "json"], env=env, capture_output=True, check=False, timeout=60
    )

    assert b"torch" in done.stderr.splitlines()[-1]
