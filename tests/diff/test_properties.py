"""What holds for any two models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import inspector
from inspector.comparison.judge import compare
from inspector.comparison.sides import side_of

SAMPLE = ["bert", "gpt2", "llama", "gemma2", "gpt_neox", "olmo2", "cohere", "qwen2_moe", "opt"]

PAIRS = [
    *(("bert", "gpt2"), ("gpt2", "llama"), ("bert", "llama"), ("olmo2", "llama"), ("gemma2", "llama")),
    *(("cohere", "bert"), ("qwen2_moe", "qwen2"), ("gpt_neox", "gptj"), ("roberta", "bert"), ("llama", "opt")),
]

OTHER = {"only-a": "only-b", "only-b": "only-a"}


def mirrored(found):
    """What the mirror of a comparison must show."""
    rows = {
        (OTHER.get(row.status, row.status), ids(row.b), ids(row.a), swapped(row), row.reason, row.score)
        for row in found.rows
    }
    findings = [(finding.rule, finding.severity, finding.b, finding.a, finding.sentence) for finding in found.findings]
    return rows, findings, found.aligned


def shown(found):
    rows = {(row.status, ids(row.a), ids(row.b), changes(row), row.reason, row.score) for row in found.rows}
    findings = [(finding.rule, finding.severity, finding.a, finding.b, finding.sentence) for finding in found.findings]
    return rows, findings, found.aligned


def ids(parts):
    return tuple(part.id for part in parts)


def changes(row):
    return tuple((change.name, change.a, change.b) for change in row.changes)


def swapped(row):
    return tuple((change.name, change.b, change.a) for change in row.changes)


@pytest.mark.parametrize("model", SAMPLE)
def test_a_model_does_not_differ_from_itself(side, model):
    found = compare(side(model), side(model))

    assert found.rows
    assert {row.status for row in found.rows} == {"same"}
    assert found.findings == ()
    assert found.aligned == 1.0


@pytest.mark.slow
def test_no_catalogue_entry_differs_from_itself(side):
    for name in inspector.models().names:
        found = compare(side(f"preset:{name}"), side(f"preset:{name}"))

        assert {row.status for row in found.rows} == {"same"}, name
        assert found.findings == (), name
        assert found.aligned == 1.0, name


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_the_diff_mirrors(side, names):
    """What is added one way is removed the other way, in the same words where the words name the models."""
    a, b = (side(name) for name in names)
    rows, findings, aligned = mirrored(compare(b, a))
    expected_rows, expected_findings, expected_aligned = shown(compare(a, b))

    assert expected_rows == rows
    assert [finding[:4] for finding in expected_findings] == [finding[:4] for finding in findings]
    assert expected_aligned == aligned


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_every_stage_stands_in_a_row(side, names):
    """A stage of a kind of block that is compared twice stands in two rows, none in no row."""
    a, b = (side(name) for name in names)
    found = compare(a, b)

    assert {part.id for row in found.rows for part in row.a} == {part.id for part in a.parts}
    assert {part.id for row in found.rows for part in row.b} == {part.id for part in b.parts}
    assert len({row.id for row in found.rows}) == len(found.rows)


def test_fingerprints_do_not_depend_on_the_sizes_of_the_run(traced):
    small = compare(side_of(traced("bert")), side_of(traced("gpt2")))
    large = compare(side_of(traced("bert", batch=3, seq=24)), side_of(traced("gpt2", batch=3, seq=24)))

    assert small.findings == large.findings
    assert {row.id for row in small.rows} == {row.id for row in large.rows}


def test_fingerprints_tell_values_apart(compared):
    """The same rule with other values is another finding."""
    one = compared("llama", ("llama", {"rms_norm_eps": 1e-3})).findings[0]
    two = compared("llama", ("llama", {"rms_norm_eps": 1e-4})).findings[0]

    assert one.rule == two.rule == "norm.eps"
    assert one.fingerprint != two.fingerprint


RUN = """
import json, runpy, sys
tests = runpy.run_path(sys.argv[1])
from inspector.comparison.judge import compare
from inspector.comparison.sides import side_of
from inspector.records import Scenario
from inspector.tracing import observe
a, b = (side_of(observe(tests["tiny_subject"](name), Scenario())) for name in ("gemma2", "llama"))
found = compare(a, b)
print(json.dumps([[f.fingerprint, f.sentence] for f in found.findings] + [[r.id, r.status] for r in found.rows]))
"""


@pytest.mark.slow
def test_another_process_says_the_same():
    """Whatever the hashes of strings are there."""
    conftest = str(Path(__file__).parents[1] / "conftest.py")
    said = [
        subprocess.run(
            [sys.executable, "-c", RUN, conftest],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(inspector.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    ]

    assert json.loads(said[0])
    assert said[0] == said[1]
