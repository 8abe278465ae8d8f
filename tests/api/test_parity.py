"""The verb `parity` on small models: what passes, what fails, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import inspector
from inspector.api.parity import Parity
from inspector.api.schemas import schema
from inspector.errors import InspectorError
from inspector.records import Scenario
from inspector.source import prepared
from inspector.source.memory import available, needed
from inspector.source.tiny import randomise

SMALL = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 50, "n_positions": 64}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}


def gpt2(**config: Any) -> GPT2LMHeadModel:
    with torch.random.fork_rng(devices=[]):
        model = GPT2LMHeadModel(GPT2Config(**{**SMALL, **TOKENS, "attn_implementation": "eager", **config})).eval()
    randomise(model, 0)
    return model


def unscaled() -> GPT2LMHeadModel:
    model = gpt2()
    for block in model.transformer.h:
        block.attn.scaling = 1.0
    return model


def refused(model: Any, inputs: Any = None, **options: Any) -> InspectorError:
    with pytest.raises(InspectorError) as caught:
        inspector.parity(model, inputs, **options)
    return caught.value


def test_a_live_module_is_checked_as_it_is() -> None:
    model = gpt2()
    before, state = [value.clone() for value in model.parameters()], torch.get_rng_state()
    told: list[str] = []
    found = inspector.parity(model, progress=told.append)

    assert isinstance(found, Parity)
    assert (found.verdict, found.exit_code, found.first_failure) == ("pass", 0, None)
    assert found.report.scenario.weights == "checkpoint"
    assert "its own weights" in found.to_text()
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert told[0] == "building the model"
    assert told[-1].startswith("checked ")


def test_the_kind_of_attention_is_the_modules_own() -> None:
    found = inspector.parity(gpt2(attn_implementation="sdpa"))

    assert found.report.scenario.attention == "sdpa"
    assert "attention.fused" in {row.path for row in found.rows}
    assert found.verdict == "pass"


def test_inputs_are_the_users() -> None:
    ids = (torch.arange(24) * 7 + 3).reshape(2, 12) % 50
    found = inspector.parity(gpt2(), lambda batch, seq, past: {"input_ids": ids})

    assert found.verdict == "pass"
    assert found.report.scenario.padding == "none"


def test_a_sabotaged_model_fails_at_its_stage() -> None:
    found = inspector.parity(unscaled())

    assert (found.verdict, found.exit_code) == ("fail", 1)
    assert {row.name for row in found.report.failures} == {"attention.scale"}
    assert found.first_failure.where == "layer 0 attention.scale"
    assert [one.name for one in found.first_failure.attributes if one.differs] == ["factor"]


def test_an_assertion_names_the_stage() -> None:
    with pytest.raises(AssertionError) as caught:
        inspector.assert_parity(unscaled())
    lines = str(caught.value).splitlines()

    assert isinstance(caught.value, inspector.ParityError)
    assert caught.value.result.verdict == "fail"
    assert lines[0].startswith("GPT2LMHeadModel fails parity in 2 stages of ")
    assert lines[0].endswith(", the first is layer 0 attention.scale")
    assert lines[1] == "  layer 0 attention.scale (transformer.h.0.attn), and likewise in 1 more layer"
    assert any(line.startswith("    required: factor 0.25 (") for line in lines)
    assert "    came: factor 1" in lines
    assert any("worst at (" in line and "allowed" in line and "(rho " in line for line in lines)


def test_an_assertion_that_holds_gives_the_result() -> None:
    assert inspector.assert_parity(gpt2()).exit_code == 0


def test_an_assertion_proves_nothing_of_what_was_not_checked() -> None:
    with pytest.raises(inspector.ParityError, match=r"Linear has no verdict: 1 stage of 1 is unchecked or unclaimed"):
        inspector.assert_parity(nn.Linear(4, 4), lambda batch, seq, past: torch.ones(batch, seq, 4))


def test_without_a_reference_the_wiring_is_unclaimed() -> None:
    found = inspector.parity(nn.Linear(4, 4), lambda batch, seq, past: torch.ones(batch, seq, 4))

    assert (found.verdict, found.exit_code) == ("incomplete", 3)
    assert found.report.notes[-1] == (
        "there is no reference forward for a model without a transformers config: each stage was checked by itself, "
        "and nothing claims where its inputs come from"
    )
    Draft202012Validator(schema("parity")).validate(json.loads(found.to_json()))


# memory and twins


def test_a_model_that_does_not_fit_is_checked_on_a_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "available", lambda device: 10_000_000)
    found = inspector.parity("gpt2")

    assert found.verdict == "pass"
    assert found.report.model.parameters < 1_000_000
    assert found.report.notes[0].startswith("a small twin of the same config was run, with 172,096 parameters and ")
    assert found.report.notes[0].endswith("gpt2 takes about 1.6 GB in float32, and 0.0 GB are free on cpu")


def test_memory_is_known_here() -> None:
    assert available("cpu") > 1 << 20
    with torch.device("meta"):
        table = nn.Embedding(1000, 10)

    assert needed(table, Scenario(batch=1, seq=1, dtype="float32")) == 4 * 10_000 + 24 * 10_000 + 32 * 1000


def test_a_twin_in_bfloat16_keeps_its_tables() -> None:
    """Casting a module casts the rotary frequencies too; the twin is built in its format instead."""
    found = inspector.parity("llama-3-8b", twin=True, dtype="bfloat16", attention="sdpa")

    assert found.verdict == "pass"
    assert {row.dtype for row in found.rows if row.path == "attention.fused"} == {"bfloat16"}


FACTORY = """\
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)


def build():
    return LlamaForCausalLM(LlamaConfig(**SIZES, vocab_size=50))
"""


def test_what_a_factory_makes_keeps_its_tables_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "factory_of_llama.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    found = inspector.parity("factory_of_llama:build", dtype="bfloat16", weights="random")

    assert found.verdict == "pass"
    assert (found.report.scenario.weights, found.report.model.model_type) == ("random", "llama")


# models that cannot be followed


def test_a_model_in_training_mode_is_refused() -> None:
    error = refused(gpt2().train())

    assert error.exit_code == 3
    assert str(error).splitlines() == [
        "the model does not give the same output twice on the same inputs",
        "bernoulli_ in transformer.drop draws random numbers; the model is in training mode",
        "call .eval() before",
    ]


def test_training_mode_without_dropout_is_only_said() -> None:
    found = inspector.parity(gpt2(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0).train())

    assert found.verdict == "pass"
    assert "the module is in training mode: dropout is not idle" in found.report.notes


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + torch.rand_like(x)


class Counting(Noisy):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.inner(x) * self.calls


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Noisy(), "rand_like in Noisy draws random numbers"),
        (nn.Sequential(Noisy()), "rand_like in 0 draws random numbers"),
        (Counting(), "mul in Counting is the first call that differs"),
    ],
    ids=["noisy", "inside", "counting"],
)
def test_a_model_that_is_random_is_refused_and_the_call_named(model: nn.Module, why: str) -> None:
    error = refused(model.eval(), {"x" if not isinstance(model, nn.Sequential) else "input": torch.ones(2, 4)})

    assert (error.exit_code, error.why) == (3, why)


def test_an_empty_model_is_refused() -> None:
    error = refused(nn.Sequential(), torch.ones(2, 3))

    assert (error.exit_code, error.what) == (3, "Sequential: the forward pass ran no op")


def test_a_model_that_raises_is_refused() -> None:
    error = refused(nn.Linear(4, 4), torch.ones(2, 3))

    assert (error.exit_code, error.what) == (3, "Linear: running the model failed")


REFUSED = {
    "batch": ({"batch": 0}, 2, "batch must be at least 1, but is 0"),
    "dtype": ({"dtype": "int3"}, 2, "--dtype int3 is not known"),
    "device": ({"device": "tpu9"}, 2, "--device tpu9 is not known"),
    "meta": ({"device": "meta"}, 2, "numbers are checked, and the meta device has none"),
    "positions": ({"seq": 2000}, 2, "gpt2 has a position table for 1,024 tokens, but got 2,000"),
    "attention": ({"attention": "eager,sdpa"}, 2, "parity is of one kind of attention, but got 'eager,sdpa'"),
    "kernel": ({"attention": "magic"}, 2, "--attention magic is not known"),
    "twin with weights": ({"weights": "checkpoint"}, 2, "a twin has random weights of its own"),
    "inputs": ({"inputs": ()}, 2, "gpt2 makes its own inputs"),
    "no baseline": ({"update_baseline": True}, 2, "there is no baseline to update"),
    "lost baseline": ({"baseline": "no.json"}, 2, "cannot read the baseline no.json"),
    "mutants and baseline": ({"mutants": True, "strict": True}, 2, "--mutants is judged by itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_met_is_said(name: str) -> None:
    options, code, what = REFUSED[name]
    error = refused("gpt2", twin=True, **options)

    assert (error.exit_code, error.what) == (code, what)


def test_a_device_that_is_not_here_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")

    assert refused("gpt2", device="cuda").what == "--device cuda: this machine has none"


def test_a_live_module_keeps_its_weights() -> None:
    assert refused(gpt2(), weights="random").what == "a module keeps its own weights"
    assert refused(nn.Linear(2, 2, device="meta"), torch.ones(1, 2, device="meta")).what == (
        "Linear is on the meta device: it has no numbers to check"
    )
    assert refused(3).what == "a model is a name, a module or a function, but got a int"


# baselines and mutants


def test_a_baseline_is_written_and_held_against(tmp_path: Path) -> None:
    file, model = tmp_path / "base.json", unscaled()
    assert inspector.parity(model, baseline=file, update_baseline=True).exit_code == 1

    document = json.loads(file.read_text())
    Draft202012Validator(schema("parity-baseline")).validate(document)
    waiver = {"stage": "layer * attention.scale", "reason": "known", "expires": "99"}
    file.write_text(json.dumps({**document, "waivers": [waiver]}))

    waived = inspector.parity(model, baseline=file)
    assert (waived.exit_code, waived.report.counts["exempt"]) == (0, 3)
    assert inspector.parity(model, baseline=file, update_baseline=True).exit_code == 0
    assert json.loads(file.read_text())["waivers"] == [waiver]


def test_mutants_are_another_question(monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    import inspector.verification.mutants.run as engine

    monkeypatch.setattr(engine, "run_mutants", lambda running, claimed, progress: made.mutants())
    found = inspector.parity(gpt2(), mutants=True)

    assert (found.verdict, found.exit_code) == ("pass", 0)
    assert found.report == replace(made.mutants(), model=found.report.model)
    Draft202012Validator(schema("parity-mutants")).validate(json.loads(found.to_json()))


def test_no_mistake_is_made_where_nothing_is_checked() -> None:
    error = refused(nn.Linear(4, 4), torch.ones(2, 4), mutants=True)

    assert error.what == "Linear cannot be checked, and so no mistake in it"
