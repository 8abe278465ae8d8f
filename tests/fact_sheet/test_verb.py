"""`inspector facts` and `inspector.facts`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator, ValidationError

from inspector.api.facts import Facts
from inspector.api.schemas import schema
from inspector.cli import cli
from inspector.errors import UsageError
from inspector.fact_sheet.verdicts import with_probes
from inspector.messages import messages
from inspector.records import Scenario

LONG = Scenario(seq=24)


@pytest.fixture
def result(facts_of) -> Facts:
    return Facts(facts_of("llama", LONG, sliding_window=8))


def test_json_is_valid_and_says_its_conflicts(result, facts_of):
    document = json.loads(result.to_json())
    Draft202012Validator(schema("facts")).validate(document)

    assert document["schema"] == "inspector/facts/1"
    assert document["summary"]["conflicts"] == 1
    (row,) = [row for row in document["rows"] if row["conflict"]]
    assert (row["id"], row["value"], row["claim"]) == (
        "attention.window",
        None,
        {"where": "config sliding_window", "value": 8},
    )
    for other in ("gemma2", "gptj", "bert"):
        Draft202012Validator(schema("facts")).validate(json.loads(Facts(facts_of(other, LONG)).to_json()))


def test_a_broken_document_is_refused(result):
    document = json.loads(result.to_json())
    del document["rows"][0]["evidence"]

    with pytest.raises(ValidationError):
        Draft202012Validator(schema("facts")).validate(document)


def test_conflicts_stand_before_the_table(result):
    printed = result.to_text()

    assert printed.index("attention.window is none, but config sliding_window says 8") < printed.index("fact  ")
    assert "CONFLICT: 8" in printed
    assert "1 conflict" in printed


def test_without_a_conflict_nothing_is_said_of_one(facts_of):
    printed = Facts(facts_of("llama", LONG)).to_text()

    assert "CONFLICT" not in printed
    assert "0 conflicts" in printed


@pytest.fixture
def explained(result) -> Facts:
    """The same where it is known why the window is not there."""
    facts = [replace(fact, explained="nothing reads it") if fact.conflict else fact for fact in result.rows]
    return Facts(replace(result.sheet, facts=tuple(facts)))


def test_what_is_explained_is_told_with_its_reason_and_is_no_conflict(explained):
    printed = explained.to_text()

    assert "attention.window is none, but config sliding_window says 8: nothing reads it" in printed
    assert "0 conflicts" in printed
    assert "1 difference explained" in printed
    assert "CONFLICT" not in printed
    assert "explained: 8" in printed


def test_json_counts_what_is_explained_apart(explained):
    document = json.loads(explained.to_json())
    Draft202012Validator(schema("facts")).validate(document)
    (row,) = [row for row in document["rows"] if row["explained"]]

    assert (document["summary"]["conflicts"], document["summary"]["explained"]) == (0, 1)
    assert (row["id"], row["agrees"], row["conflict"]) == ("attention.window", False, False)
    assert [fact.id for fact in explained.explained] == ["attention.window"]


def test_a_reason_is_told_in_the_language_that_is_asked_for(explained):
    known = messages("en")["explained"]["window_not_read"]
    (fact,) = explained.explained
    sheet = replace(explained.sheet, facts=(replace(fact, explained=known),))

    assert messages("zh")["explained"]["window_not_read"] in Facts(sheet).to_text(lang="zh")


def test_a_disagreement_with_an_experiment_is_said(facts_of):
    sheet = with_probes(facts_of("llama", LONG), [("norm.kind", 0, "it moves", False)], ())

    assert "norm.kind is rms, but an experiment says otherwise (it moves: no)" in Facts(sheet).to_text()


@pytest.mark.parametrize("width", [80, 200])
def test_the_text_fits(result, width):
    lines = result.to_terminal(width=width, color=False).splitlines()

    assert max(map(len, lines)) <= width
    assert "what shows it" in "\n".join(lines)
    assert ("who claims it" in "\n".join(lines).replace("no room at this width for: who claims it", "")) == (
        width == 200
    )


def test_every_format(result):
    assert "attention.window" in result.to_markdown()
    assert "sliding_window" in result.to_html()
    assert result.to_csv().startswith("model,fact,layers,value,")
    frame = result.to_frame()
    assert frame[frame.fact == "attention.heads"].value.tolist() == [4]
    assert repr(result) == f"<Facts of tiny llama: {len(result.rows)} facts, 1 conflict>"


def test_the_verb_takes_a_module_and_tells_what_it_cannot_do():
    from transformers import LlamaConfig, LlamaForCausalLM

    import inspector

    config = LlamaConfig(
        vocab_size=99, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
    )
    found = inspector.facts(LlamaForCausalLM(config).eval())

    assert found.get("attention.direction") == "causal"
    assert [fact.probed for fact in found.rows if fact.id == "attention.direction"] == [True]
    with pytest.raises(UsageError, match="one kind of attention"):
        inspector.facts("gpt2", attention="eager,sdpa")


def test_the_command_has_help_and_refuses_what_is_no_model():
    shown = CliRunner().invoke(cli, ["facts", "--help"])

    assert shown.exit_code == 0
    assert "--probes / --no-probes" in shown.output


def test_a_sheet_is_made_and_printed_without_torch():
    code = (
        "import sys; from inspector.api.facts import Facts; from inspector.fact_sheet.sheet import fact_sheet\n"
        "from inspector.records import ModelInfo, Scenario, Trace\n"
        "trace = Trace(ModelInfo('n', None, 'N', 0, 0), Scenario(), (), (), (), ())\n"
        "print(len(Facts(fact_sheet(trace)).to_text()) > 0,"
        " {'torch', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "True set()"
