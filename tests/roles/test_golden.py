"""The stage lists of BERT, GPT-2 and Llama at full size, committed and read by a person.

After a change that is meant, run `UPDATE_GOLDEN=1 pytest tests/roles/test_golden.py` and read the difference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from inspector.records import Scenario
from inspector.roles import infer
from inspector.shape_table.build import shape_table
from inspector.vocabulary import UNKNOWN, is_specific

GOLDEN = Path(__file__).parent / "golden"

RUNS = {"prefill": Scenario(), "unpadded": Scenario(padding="none"), "decode": Scenario(past=16, seq=1)}
CASES = [
    (model, attention, run)
    for model in ("bert-base-uncased", "gpt2", "llama-3-8b")
    for attention in ("eager", "sdpa")
    for run in RUNS
    if not (model.startswith("bert") and run == "decode")
]

LAYOUT: dict[str, set[str]] = {}
"""Ops of the activation plane that are layout only, by model. There are none."""


def scenario_of(attention: str, run: str, head: bool | None = None) -> Scenario:
    return replace(RUNS[run], attention=attention, head=head)


def listing(trace) -> str:
    table = shape_table(trace)
    lines = [" ".join(f"{letter}={size}" for letter, size in table.axes)]
    for row in table.rows:
        place = f"x{row.repeat}" if row.block is not None else ""
        role = ".".join(part for part in (row.section, row.role, row.operand) if part)
        shapes = (
            f"{' '.join(view.symbolic for view in row.inputs)} -> {' '.join(view.symbolic for view in row.outputs)}"
        )
        also = f"  also {' '.join(row.also)}" if row.also else ""
        numbers = "".join(f" {name}={value}" for name, value in row.attributes)
        lines.append(
            f"{place:4}{role:28}{row.op:34}  {shapes}{also}{'  ' + numbers.strip() if numbers else ''}".rstrip()
        )
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(
    version("transformers") < "5.23", reason="older transformers call other functions: the lists were read with 5.23"
)
@pytest.mark.parametrize(("model", "attention", "run"), CASES)
def test_the_stage_list_is_the_one_that_was_read(trace_of, model, attention, run):
    actual = listing(trace_of(f"preset:{model}", scenario_of(attention, run)))
    path = GOLDEN / f"{model}.{attention}.{run}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(actual, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == actual


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(("model", "attention", "run"), CASES)
def test_every_op_has_a_role_and_on_the_activation_plane_a_specific_one(trace_of, model, attention, run, head):
    trace = trace_of(f"preset:{model}", scenario_of(attention, run, head))
    naming = infer(trace)
    unknown = [op for op in trace.ops if naming.parts[op.id].path == UNKNOWN]
    active = [op for op in trace.ops if any(map(naming.flow.on_act, op.outputs))]
    vague = {op.name for op in active if not is_specific(naming.parts[op.id].path)}

    assert unknown == []
    assert active
    assert vague == LAYOUT.get(model, set())


def test_every_role_that_is_given_is_in_the_vocabulary(trace_of):
    from inspector.vocabulary import ROLES

    for model, attention, run in CASES:
        naming = infer(trace_of(f"preset:{model}", scenario_of(attention, run)))
        paths = {naming.parts[op].path for op in range(len(naming.parts))}

        assert {path for path in paths if path.partition(".")[2] not in ROLES[path.partition(".")[0]]} == set()
