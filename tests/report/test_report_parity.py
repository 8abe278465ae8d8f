"""Parity in a report: verdicts of each model, the ladder where what is measured may stand, nothing hidden."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import inspector
from inspector.api.report import Report
from inspector.cli import cli
from inspector.errors import SchemaError
from inspector.reporting.report_files import html, in_markdown


@pytest.fixture(scope="module")
def checked() -> Report:
    from inspector.api.report import _checked, _seen
    from inspector.records import Scenario
    from inspector.reporting.report_material import material

    names = ("gpt2", "llama-3-8b")
    ask = {"weights": "none", "stored": True, "progress": None}
    run = Scenario()
    return Report(
        material([_seen(name, run, ask) for name in names], [_checked(name, run, None, twin=True) for name in names])
    )


def test_each_model_has_its_verdict_and_its_ladder(checked: Report) -> None:
    said = checked.to_markdown()
    gpt2, llama = (portrait.parity for portrait in checked.material.portraits)

    assert gpt2
    assert llama
    assert re.search(rf"\| `gpt2` \| `pass` \| +{gpt2.counts['pass']} ", said)
    assert re.search(rf"\| `llama-3-8b` \| `pass` \| +{llama.counts['pass']} ", said)
    assert said.count("attention.scores` |") >= 2
    assert "0.001    1   100" in said
    assert "a small twin of the same config was run" in said


def test_the_page_draws_the_ladders(checked: Report) -> None:
    page = checked.to_html()

    assert page.count('<svg class="ladder"') == 2
    assert ".inspector .rung.is-good rect" in page


def test_what_is_measured_is_not_in_a_gallery(checked: Report) -> None:
    for text in (in_markdown(checked.material, exact=True), html(checked.material, exact=True)):
        assert "0.001    1   100" not in text
        assert '<svg class="ladder"' not in text
        assert "inspector parity MODEL" in text
        assert "parity" in text


def test_json_has_the_counts(checked: Report) -> None:
    models = json.loads(checked.to_json())["models"]

    assert [model["parity"]["verdict"] for model in models] == ["pass", "pass"]
    assert models[0]["parity"]["stages"]["fail"] == 0
    assert models[0]["parity"]["first_failure"] is None


def test_without_it_nothing_is_said_of_parity() -> None:
    made = inspector.report("gpt2")

    assert "## parity" not in made.to_markdown()
    assert json.loads(made.to_json())["models"][0]["parity"] is None


def test_a_model_that_fails_is_named() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=97, attn_implementation="eager"))
    for block in model.eval().transformer.h:
        block.attn.scaling = 1.0
    said = inspector.report(model, parity=True).to_markdown()

    assert "`fail`" in said
    assert "attention.scale: factor is 1.0, claimed is" in said


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "gpt2.json"
    path.write_text(inspector.graph("gpt2").to_json(), "utf-8")
    return path


def test_a_saved_graph_cannot_be_checked_and_that_is_said(tmp_path: Path) -> None:
    said = inspector.report(str(saved(tmp_path)), parity=True).to_json()

    assert json.loads(said)["models"][0]["parity"] is None
    assert inspector.report(str(saved(tmp_path)), parity=True).material.portraits[0].parity is None


def test_a_graph_comes_through_a_pipe(tmp_path: Path) -> None:
    text = saved(tmp_path).read_bytes()
    run = CliRunner().invoke
    piped = run(cli, ["report", "-", "--format", "json"], input=text, standalone_mode=False)
    named = run(cli, ["report", str(tmp_path / "gpt2.json"), "--format", "json"], standalone_mode=False)

    assert piped.exception is None
    assert json.loads(piped.output) == json.loads(named.output)


def test_a_lock_comes_through_a_pipe_and_is_one_side_of_a_diff() -> None:
    text = inspector.lock("gpt2").to_json()
    result = CliRunner().invoke(cli, ["diff", "-", "gpt2-medium"], input=text, standalone_mode=False)

    assert result.exception is None
    assert "gpt2-medium" in result.output


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), ("no", "is not JSON"), ('{"schema": "x"}', "standard input")]
)
def test_what_is_no_graph_is_refused(text: str, said: str) -> None:
    result = CliRunner().invoke(cli, ["report", "-"], input=text, standalone_mode=False)

    assert isinstance(result.exception, SchemaError)
    assert said in str(result.exception)


def test_saved_graphs_are_reported_without_torch(tmp_path: Path) -> None:
    path = saved(tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import inspector; made = inspector.report(sys.argv[1], sys.argv[1])\n"
        "print(len(made.to_html(lang='zh')), len(made.to_markdown()))"
    )
    env = {**os.environ, "INSPECTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=env, check=False)

    assert done.returncode == 0, done.stderr
    assert all(int(size) > 1000 for size in done.stdout.split())
