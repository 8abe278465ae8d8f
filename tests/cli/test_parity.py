"""The command `parity` on real models, with nothing replaced."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import inspector
from inspector.api.schemas import schema
from inspector.cli import main

ENV = {**os.environ, "PYTHONPATH": str(Path(inspector.__file__).parents[1]), "TERM": "xterm"}
COMMAND = (sys.executable, "-m", "inspector", "parity")

SABOTAGE = """\
from transformers import GPT2Config, GPT2LMHeadModel


def build(scaling=1.0):
    config = GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=50, bos_token_id=1, eos_token_id=2)
    config._attn_implementation = "eager"
    model = GPT2LMHeadModel(config)
    for block in model.transformer.h:
        block.attn.scaling = scaling
    return model


def needs(config):
    return None


def none():
    return 3
"""


def shell(*args: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [*COMMAND, *args]
    return subprocess.run(line, check=False, capture_output=True, encoding="utf-8", timeout=300, env=ENV, cwd=folder)


def run(capfd: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of one command in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["parity", *args, "--format", "json"])
    document = json.loads(capfd.readouterr().out)
    Draft202012Validator(schema("parity")).validate(document)
    return int(caught.value.code or 0), document


RUNS = [
    *product(("gpt2", "bert-base-uncased", "llama-3-8b"), ("eager", "sdpa"), ("float32", "bfloat16"), ("31",), ("0",)),
    *product(("gpt2", "llama-3-8b"), ("eager", "sdpa"), ("float32", "bfloat16"), ("1",), ("16",)),
]


@pytest.mark.parametrize(("model", "attention", "dtype", "seq", "past"), RUNS)
def test_twins_pass(
    model: str, attention: str, dtype: str, seq: str, past: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--attention", attention, "--dtype", dtype, "--seq", seq, "--past", past)
    code, document = run(capfd, model, "--twin", *options)
    summary, scenario = document["summary"], document["models"][0]["scenario"]

    assert (code, summary["verdict"], summary["fail"], summary["unchecked"]) == (0, "pass", 0, 0)
    assert summary["pass"] > 40
    assert (scenario["attention"], scenario["dtype"], scenario["past"]) == (attention, dtype, int(past))
    assert any(
        row["role"] == ("attention.fused" if attention == "sdpa" else "attention.softmax") for row in document["rows"]
    )
    assert all(row["rho"] is None or row["rho"] <= 1 for row in document["rows"])


@pytest.mark.parametrize("pad", ["none", "right"])
@pytest.mark.parametrize("model", ["gpt2", "bert-base-uncased", "llama-3-8b"])
def test_twins_pass_with_any_padding(model: str, pad: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, document = run(capfd, model, "--twin", "--pad", pad)

    assert (code, document["summary"]["verdict"]) == (0, "pass")


@pytest.mark.slow
def test_the_command_says_the_verdict_first() -> None:
    done = shell("gpt2", "--twin")
    lines = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "gpt2"
    assert re.fullmatch(r"gpt2: \d+ stages checked against float64, all within what float32 allows\.", lines[1])
    assert any(re.match(r" +×2 attention\.scores +0\.\d+ +█+ +│ +pass +layer [01]$", line) for line in lines)


@pytest.mark.slow
def test_what_is_not_measured_is_the_same_every_time(capfd: pytest.CaptureFixture[str]) -> None:
    def structure() -> dict[str, Any]:
        document = run(capfd, "gpt2", "--twin", "--dtype", "bfloat16")[1]
        for row in document["rows"]:
            row |= {"rho": 0, "max_abs_error": 0, "worst": 0}
        document["summary"] |= {"power": 0, "whole": 0}
        return document

    assert structure() == structure()


@pytest.fixture
def sabotage(tmp_path: Path) -> Path:
    (tmp_path / "sabotaged_gpt2.py").write_text(SABOTAGE)
    return tmp_path


@pytest.mark.slow
def test_a_sabotaged_model_fails_at_its_stage(sabotage: Path) -> None:
    done = shell("sabotaged_gpt2:build", folder=sabotage)

    assert (done.returncode, done.stderr) == (1, "")
    assert "First divergence: layer 0 attention.scale: factor is 1.0, claimed is 0.25." in done.stdout
    assert "required       factor 0.25" in done.stdout
    assert "came           factor 1" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["gpt2", "--batch", "0"], 2, "Invalid value for '--batch': 0 is not in the range x>=1."),
        (["gpt2", "--nonsense"], 2, "No such option '--nonsense'"),
        (["gpt2", "--twin", "--dtype", "int3"], 2, "inspector: --dtype int3 is not known"),
        (
            ["gpt2", "--twin", "--seq", "5000"],
            2,
            "inspector: gpt2 has a position table for 1,024 tokens, but got 5,000",
        ),
        (["gpt22"], 3, "inspector: no model is named 'gpt22'"),
        (["bert-base-uncased", "--twin", "--past", "3"], 3, "inspector: bert-base-uncased has no decode step"),
        (["sabotaged_gpt2:needs"], 2, "inspector: sabotaged_gpt2:needs takes config, and nothing says what to give it"),
        (["sabotaged_gpt2:none"], 3, "inspector: sabotaged_gpt2:none returned int, not a module"),
        (["sabotaged_gpt2:build", "--weights", "checkpoint"], 2, "inspector: sabotaged_gpt2:build cannot take weights"),
        (["gpt2", "--twin", "--baseline", "lost.json"], 2, "inspector: cannot read the baseline lost.json"),
    ],
)
def test_a_mistake_is_one_clear_message(
    args: list[str],
    code: int,
    said: str,
    sabotage: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(sabotage)
    with pytest.raises(SystemExit) as caught:
        main(["parity", *args])
    printed = capfd.readouterr()

    assert (caught.value.code, printed.out) == (code, "")
    assert said in printed.err.replace("No such option: ", "No such option ")
    assert "Traceback" not in printed.err


def test_a_type_without_a_reference_is_incomplete(capfd: pytest.CaptureFixture[str]) -> None:
    code, document = run(capfd, "model_type:starcoder2", "--twin")

    summary = document["summary"]
    assert (code, summary["verdict"], summary["fail"], summary["unchecked"]) == (3, "incomplete", 0, 0)
    assert summary["unclaimed"] > 50
    notes = document["models"][0]["notes"]
    assert any(note.startswith("there is no reference forward for the model type starcoder2") for note in notes)


@pytest.mark.slow
def test_a_terminal_sees_what_is_being_done() -> None:
    """One line on stderr, rewritten and in the end wiped; nothing of it on stdout."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([*COMMAND, "gpt2", "--twin"], stdout=subprocess.PIPE, stderr=follower, env=ENV)
    os.close(follower)
    seen = b""
    while process.poll() is None or select.select([leader], [], [], 0)[0]:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                seen += os.read(leader, 4096)
            except OSError:  # the other side is closed
                break
    printed = process.communicate()[0].decode()
    os.close(leader)

    assert b"building the model ..." in seen
    assert re.search(rb"checked \d+ of \d+ stages \.\.\.", seen)
    assert seen.split(b"\r")[-1] == b""
    assert "..." not in printed
