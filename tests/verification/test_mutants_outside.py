"""Mistakes as people make them: in the model's own code and config, by hands that know nothing of the catalogue."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.llama import modeling_llama

from inspector.records import Scenario
from inspector.source import subject_of
from inspector.source.resolve import resolve
from inspector.source.tiny import twin_of
from inspector.tracing.run import model_info
from inspector.verification.claims import claimed_by
from inspector.verification.verify import Running, verify


@cache
def twin(name: str):
    return twin_of(subject_of(resolve(name)), Scenario(head=name != "bert-base-uncased"))


@pytest.fixture
def first_failure(request):
    """Of the patched twin: checked against the config as it was before anybody touched it."""

    def check(name: str):
        subject, module = twin(name)
        scenario = Scenario(3, 15, device="cpu", dtype="float32", weights="random")
        run = Running(
            module, lambda: subject.inputs(module, scenario), scenario, model_info(subject, module), subject.claims
        )
        config = subject.config.to_dict()
        return verify(run, lambda inputs: claimed_by(subject.model_type, module, config, inputs)).first_failure

    return check


def test_without_a_patch_nothing_fails(first_failure):
    assert [first_failure(name) for name in ("bert-base-uncased", "gpt2", "llama-3-8b")] == [None] * 3


@pytest.mark.parametrize("name", ["bert-base-uncased", "gpt2", "llama-3-8b"])
def test_the_scaling_of_one_layer_is_set_to_one(name, first_failure, monkeypatch):
    module = next(child for path, child in twin(name)[1].named_modules() if ".1." in path and hasattr(child, "scaling"))
    monkeypatch.setattr(module, "scaling", 1.0)

    assert first_failure(name).where == "layer 1 attention.scale"


def test_eager_attention_without_a_scale(first_failure, monkeypatch):
    right = modeling_llama.eager_attention_forward

    def wrong(module, query, key, value, attention_mask, scaling, **kwargs):
        return right(module, query, key, value, attention_mask, 1.0, **kwargs)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", wrong)

    assert first_failure("llama-3-8b").where == "layer 0 attention.scale"


def test_eager_attention_without_a_mask(first_failure, monkeypatch):
    right = modeling_gpt2.eager_attention_forward

    def wrong(module, query, key, value, attention_mask, **kwargs):
        return right(module, query, key, value, None, **kwargs)

    monkeypatch.setattr(modeling_gpt2, "eager_attention_forward", wrong)

    assert first_failure("gpt2").where == "layer 0 attention.mask"


@pytest.mark.parametrize(
    ("name", "path", "attribute", "where"),
    [
        ("llama-3-8b", "model.layers.1.post_attention_layernorm", "variance_epsilon", "layer 1 mlp.norm"),
        ("llama-3-8b", "model.norm", "variance_epsilon", "head.norm"),
        ("gpt2", "transformer.h.0.ln_2", "eps", "layer 0 mlp.norm"),
        ("bert-base-uncased", "encoder.layer.1.attention.output.LayerNorm", "eps", "layer 1 attention.post_norm"),
    ],
)
def test_the_eps_of_one_norm(name, path, attribute, where, first_failure, monkeypatch):
    monkeypatch.setattr(twin(name)[1].get_submodule(path), attribute, 1e-6)
    found = first_failure(name)

    assert found.where == where
    assert "eps is 1e-06, claimed is" in found.culprit


def test_rotate_half_with_the_other_sign(first_failure, monkeypatch):
    def wrong(x):
        half = x.shape[-1] // 2
        return torch.cat((x[..., half:], -x[..., :half]), dim=-1)

    monkeypatch.setattr(modeling_llama, "rotate_half", wrong)

    assert first_failure("llama-3-8b").where == "layer 0 attention.rope.q"


def test_frequencies_in_half_precision(first_failure):
    frequencies = twin("llama-3-8b")[1].model.rotary_emb.inv_freq
    right = frequencies.clone()
    try:
        frequencies.copy_(right.to(torch.bfloat16))
        found = first_failure("llama-3-8b")
    finally:
        frequencies.copy_(right)

    assert found.where == "positions.rope_table"


def test_a_flag_of_the_config_that_the_code_reads_and_nobody_asked_for(first_failure, monkeypatch):
    for block in twin("gpt2")[1].transformer.h:
        monkeypatch.setattr(block.attn, "scale_attn_by_inverse_layer_idx", True, raising=False)
        monkeypatch.setattr(block.attn, "scaling", block.attn.scaling / (block.attn.layer_idx + 1))

    assert first_failure("gpt2").where == "layer 1 attention.scale"


def test_another_activation(first_failure, monkeypatch):
    monkeypatch.setattr(twin("gpt2")[1].transformer.h[1].mlp, "act", torch.nn.GELU())

    assert first_failure("gpt2").where == "layer 1 mlp.activation"


def test_a_block_that_forgets_its_residual(first_failure, monkeypatch):
    block = twin("llama-3-8b")[1].model.layers[1]
    right = block.self_attn.forward

    def wrong(hidden_states, **kwargs):
        answer, *more = right(hidden_states, **kwargs)
        return answer * 0, *more

    monkeypatch.setattr(block.self_attn, "forward", wrong)
    found = first_failure("llama-3-8b")

    assert found.layer == 1
    assert found.module.startswith("model.layers.1")


def test_a_write_that_torch_is_not_told_of(first_failure, monkeypatch):
    block = twin("llama-3-8b")[1].model.layers[1]
    right = block.post_attention_layernorm.forward

    def wrong(hidden_states):
        with torch._C.DisableTorchFunction():
            hidden_states.detach().numpy()[:] *= 2
        return right(hidden_states)

    monkeypatch.setattr(block.post_attention_layernorm, "forward", wrong)
    found = first_failure("llama-3-8b")

    assert found.where == "layer 1 mlp.norm"
    assert found.culprit.startswith("x no longer holds what layer 1 attention.residual made: something wrote into it")


def test_the_weight_of_another_layer(first_failure, monkeypatch):
    layers = twin("llama-3-8b")[1].model.layers
    monkeypatch.setattr(layers[1].mlp.up_proj, "forward", layers[0].mlp.up_proj.forward)

    assert first_failure("llama-3-8b").where == "layer 1 mlp.up_proj"
