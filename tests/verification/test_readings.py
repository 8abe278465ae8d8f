"""Models without a whole reference forward: every stage has a reading, and what a config claims is held against it."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from inspector.records import Claims
from inspector.verification.readings import claimed_from
from inspector.verification.report import Report
from inspector.verification.verify import Running, verify

WIRING = "nothing claims where its inputs come from"
DOZEN = (
    "bart", "bloom", "cohere", "distilbert", "falcon", "gemma2", "gpt_neox", "gpt_oss", "mistral", "mixtral", "olmo2",
    "opt", "phi3", "qwen2_moe", "qwen3", "roberta", "stablelm", "t5",
)  # fmt: skip


def read(run: Running) -> Report:
    return verify(run, lambda inputs, plan: claimed_from(plan, run.module, inputs, run.claims))


def told(report: Report, *verdicts: str) -> list[tuple[str, str]]:
    return [(row.where, row.culprit) for row in report.rows if row.verdict in verdicts]


@pytest.fixture(scope="session")
def looked_at(ready):
    """The report of a small model whose stages are read one by one, with the claims of its config."""
    return lambda *args, **changes: read(ready(*args, **changes))


# nothing is wrong with models as they are


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", DOZEN)
def test_every_stage_is_checked_and_none_fails(looked_at, name, dtype, attention):
    if attention == "sdpa" and name in ("bloom", "gemma2", "gpt_oss"):
        pytest.skip("transformers has no sdpa for it")
    report = looked_at(name, dtype=dtype, attention=attention)

    assert told(report, "fail", "unchecked") == []
    assert report.uncovered == ()
    assert report.verdict == "incomplete"  # for nobody claims its wiring


@pytest.mark.parametrize("name", ["gemma2", "gpt_neox", "mixtral", "opt", "qwen3"])
@pytest.mark.parametrize("tokens", [1, 4])
def test_decode(looked_at, name, tokens):
    assert told(looked_at(name, past=13, seq=tokens), "fail", "unchecked") == []


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_agrees_with_the_reference_forwards(looked_at, name):
    assert told(looked_at(name), "fail", "unchecked") == []


def test_a_number_that_nobody_claims_is_never_a_pass(looked_at):
    report = looked_at("mistral")
    verdicts = {row.verdict for row in report.rows if row.path != "attention.dropout"}

    assert "pass" not in verdicts
    by_name = {row.name: row.culprit for row in report.rows if row.layer in (0, None)}
    assert by_name["attention.scale"] == WIRING  # 1/sqrt(K) is a convention, and it is what ran
    assert by_name["attention.rope.q"] == "nothing claims layout and where its inputs come from"
    assert by_name["mask.build"] == "nothing claims patterns and where its inputs come from"


def test_a_frequency_table_in_half_precision_is_found(looked_at):
    """GPT-J built in bfloat16 computes its angles in bfloat16: they are off by more than a rounded table may be."""
    assert {row.name for row in looked_at("gptj").failures} == set()
    assert {row.name for row in looked_at("gptj", dtype="bfloat16").failures} == {"positions.rope_table"}


# what a config claims


def first(report: Report) -> tuple[str, str]:
    failure = report.first_failure
    assert failure is not None
    return failure.where, failure.culprit


@pytest.mark.parametrize(
    ("name", "module", "attribute", "where"),
    [
        ("mistral", "model.layers.1.input_layernorm", "variance_epsilon", "layer 1 attention.norm"),
        ("qwen3", "model.layers.0.self_attn.q_norm", "variance_epsilon", "layer 0 attention.q_norm.q"),
        ("gemma2", "model.layers.1.pre_feedforward_layernorm", "eps", "layer 1 mlp.norm"),
        ("gpt_neox", "gpt_neox.final_layer_norm", "eps", "head.norm"),
        ("t5", "encoder.block.0.layer.1.layer_norm", "variance_epsilon", "layer 0 mlp.norm"),
        ("roberta", "encoder.layer.1.output.LayerNorm", "eps", "layer 1 mlp.post_norm"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_eps(ready, name, module, attribute, where, dtype):
    run = ready(name, dtype=dtype)
    norm = run.module.get_submodule(module)
    eps = getattr(norm, attribute)
    setattr(norm, attribute, eps * 10)

    found, culprit = first(read(run))

    assert found == where
    executed, claimed = culprit.partition(";")[0].removeprefix("eps is ").split(", claimed is ")
    assert (float(executed), float(claimed)) == pytest.approx((eps * 10, eps))


@pytest.mark.parametrize(
    ("name", "module", "where"),
    [
        ("mistral", "model.layers.1.mlp.act_fn", "layer 1 mlp.activation"),
        ("phi3", "model.layers.0.mlp.activation_fn", "layer 0 mlp.activation"),
        ("gpt_neox", "gpt_neox.layers.1.mlp.act", "layer 1 mlp.activation"),
        ("opt", "model.decoder.layers.0.activation_fn", "layer 0 mlp.activation"),
        ("t5", "encoder.block.1.layer.1.DenseReluDense.act", "layer 1 mlp.activation"),
        ("mixtral", "model.layers.1.mlp.experts.act_fn", "layer 1 moe.expert_activation"),
    ],
)
def test_another_activation(ready, name, module, where):
    run = ready(name)
    parent, _, child = module.rpartition(".")
    setattr(run.module.get_submodule(parent), child, torch.nn.Tanh())

    found, culprit = first(read(run))

    assert found == where
    assert "function is tanh, claimed is" in culprit


def test_another_scale_where_a_config_claims_one(ready):
    run = ready("gemma2")
    run.module.model.layers[1].self_attn.scaling *= 1.01

    found, culprit = first(read(run))

    assert found == "layer 1 attention.scale"
    assert culprit.startswith("factor is 0.063")


def test_another_scale_where_no_config_claims_one_is_said(ready):
    run = ready("qwen2")
    run.module.model.layers[1].self_attn.scaling *= 1.01
    report = read(run)

    assert report.failures == ()
    scales = {row.layer: row.culprit for row in report.rows if row.name == "attention.scale"}
    assert scales == {0: WIRING, 1: "nothing claims factor and where its inputs come from"}


@pytest.mark.parametrize("name", ["mistral", "gpt_neox", "qwen2", "mixtral", "phi3"])
def test_another_base_of_rotations(ready, name):
    run = ready(name)
    rotary = next(child for path, child in run.module.named_modules() if path.endswith("rotary_emb"))
    dim = 2 * rotary.inv_freq.numel()
    rotary.inv_freq.copy_(12345.0 ** -(torch.arange(0, dim, 2) / dim))

    assert first(read(run))[0] == "positions.rope_table"


def test_another_window(ready):
    run = ready("gemma2")
    run.module.config.sliding_window = 7

    found, culprit = first(read(run))

    assert found == "mask.build"
    assert "pairs of query and key are not as claimed" in culprit


def test_no_window_at_all(ready):
    run = ready("gpt_oss")
    run.module.config.sliding_window = 10**6

    assert first(read(run))[0] == "mask.build"


def test_another_softcap(ready):
    run = ready("gemma2")
    run.module.model.layers[0].self_attn.attn_logit_softcapping = 49.0
    run.module.config.final_logit_softcapping = 29.0

    assert {row.where for row in read(run).failures} == {"layer 0 attention.softcap", "head.softcap"}


def test_other_numbers_of_experts(ready):
    run = ready("mixtral")
    run.module.model.layers[1].mlp.gate.top_k = 3

    assert first(read(run))[0] == "layer 1 moe.top_k"


# what no claim is needed for


@pytest.mark.parametrize("name", ["mistral", "mixtral", "qwen3"])
def test_keys_shared_by_turns(ready, monkeypatch, name):
    run = ready(name)
    module = import_module(type(run.module.model.layers[1].self_attn).__module__)
    monkeypatch.setattr(module, "repeat_kv", lambda x, n: x.repeat(1, n, 1, 1))

    assert first(read(run))[0] == "layer 0 attention.repeat_kv.k"


def test_a_model_that_claims_nothing_is_checked_all_the_same(ready):
    run = ready("qwen3")
    report = verify(run, lambda inputs, plan: claimed_from(plan, run.module, inputs, Claims()))

    assert told(report, "fail", "unchecked") == []
    assert {row.culprit for row in report.rows if row.path == "attention.norm"} == {
        "nothing claims eps and where its inputs come from"
    }
