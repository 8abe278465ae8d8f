"""A model that is as it claims passes, in every number format, kernel, mode and padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from inspector.verification.report import Report

KERNELS = ("eager", "sdpa")
FORMATS = ("float32", "bfloat16", "float16")
SEEDS = (0, 1, 2, 3, 4)


def require_clean(report: Report) -> None:
    assert [(row.where, row.culprit) for row in report.rows if row.verdict not in ("pass", "exempt")] == []
    assert report.verdict == "pass"
    assert report.calls > 40
    assert report.elements > 1000
    assert report.uncovered == ()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("attention", KERNELS)
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_prefill(verified, name, attention, dtype, seed):
    require_clean(verified(name, attention=attention, dtype=dtype, seed=seed))


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("attention", KERNELS)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_decode(verified, name, attention, dtype, tokens):
    require_clean(verified(name, attention=attention, dtype=dtype, past=13, seq=tokens))


@pytest.mark.parametrize("padding", ["none", "right"])
@pytest.mark.parametrize("attention", KERNELS)
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_padding(verified, name, attention, padding):
    require_clean(verified(name, attention=attention, padding=padding))


CONFIGS = {
    "gpt2 without scale": ("gpt2", {"scale_attn_weights": False}),
    "gpt2 with scale by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2 with float32 scores": ("gpt2", {"reorder_and_upcast_attn": True}),
    "gpt2 with relu": ("gpt2", {"activation_function": "relu"}),
    "gpt2 untied": ("gpt2", {"tie_word_embeddings": False}),
    "llama with as many kv heads": ("llama", {"num_key_value_heads": 4}),
    "llama with one kv head": ("llama", {"num_key_value_heads": 1}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama tied": ("llama", {"tie_word_embeddings": True}),
    "llama with wide heads": ("llama", {"head_dim": 24}),
    "llama with another base": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
    "llama with linear scaling": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "llama 3.1": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
                "rope_theta": 5e5,
            }
        },
    ),
    "llama with yarn": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_theta": 1e4,
            }
        },
    ),
    "bert as decoder": ("bert", {"is_decoder": True}),
    "bert with gelu_new": ("bert", {"hidden_act": "gelu_new"}),
    "bert with one segment": ("bert", {"type_vocab_size": 1}),
}


@pytest.mark.parametrize("attention", KERNELS)
@pytest.mark.parametrize(("name", "config"), CONFIGS.values(), ids=CONFIGS)
def test_config(verified, name, config, attention):
    require_clean(verified(name, config, attention=attention))


def test_excess_of_gelu_new_is_a_finding(verified):
    report = verified("gpt2", dtype="bfloat16")
    found = {row.name: row.finding for row in report.findings}
    assert list(found) == ["mlp.activation"]
    assert "times what one rounding allows" in found["mlp.activation"]
    assert verified("gpt2", dtype="float32").findings == ()


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_token_ids_that_count_up_are_still_tokens(ready, report_of, name, rows):
    run = replace(ready(name), inputs=lambda: {"input_ids": torch.arange(12 * rows).reshape(rows, 12)})
    require_clean(report_of(run))
