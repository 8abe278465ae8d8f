"""Small models of any type, traced once per session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inspector.records import Scenario, Trace
from inspector.source import Subject, subject_of
from inspector.source.resolve import Origin, resolve

SIZES = {
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Sizes for a model small enough to run in no time. Widths, heads and vocabulary are pairwise different."""

GROUPED = {"num_key_value_heads": 2, "head_dim": 16}

SIDES = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "decoder_start_token_id": 2,
}

OWN: dict[str, dict[str, Any]] = {
    "bart": SIDES,
    "bloom": {"n_layer": 2, "n_head": 4},
    "cohere": GROUPED,
    "distilbert": {"dim": 64, "hidden_dim": 96, "n_layers": 2, "n_heads": 4},
    "electra": {"embedding_size": 32},
    "falcon": {"multi_query": False, "new_decoder_architecture": False},
    "gemma": GROUPED,
    "gemma2": {**GROUPED, "sliding_window": 8},
    "gemma3_text": {**GROUPED, "num_hidden_layers": 12, "sliding_window": 8},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 96},
    "gptj": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_inner": 96, "rotary_dim": 8},
    "llama": GROUPED,
    "gpt_oss": {**GROUPED, "num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 8},
    "marian": SIDES,
    "mbart": SIDES,
    "mistral": {**GROUPED, "sliding_window": None},
    "mixtral": {**GROUPED, "num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": None},
    "mt5": {"d_model": 64, "d_kv": 24, "d_ff": 96, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    "olmo2": {"num_key_value_heads": 2},
    "olmoe": {"num_key_value_heads": 2, "num_experts": 6, "num_experts_per_tok": 2},
    "opt": {"word_embed_proj_dim": 64, "ffn_dim": 96},
    "pegasus": SIDES,
    "phi3": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen2_moe": {
        **GROUPED,
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 40,
        "sliding_window": None,
    },
    "qwen3": GROUPED,
    "qwen3_moe": {**GROUPED, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    "stablelm": {"num_key_value_heads": 2},
}
"""What a type calls its sizes, where it does not use the common names, or what it needs besides."""

TYPES = frozenset({*OWN, "bert", "roberta", "gpt_neox"})


def tiny_subject(model_type: str, **changes: Any) -> Subject:
    own = OWN.get(model_type, {})
    common = {} if "n_embd" in own or "dim" in own else SIZES
    config = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, **common, **own, **changes}
    return subject_of(Origin("config", f"tiny {model_type}", "test", model_type, config))


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Subject]:
    """A subject of a small model: `tiny("llama", rope_theta=...)`."""
    return tiny_subject


def _preset(name: str) -> Subject:
    return subject_of(resolve(name.removeprefix("preset:")))


@pytest.fixture(scope="session")
def trace_of() -> Callable[..., Trace]:
    """The trace of a small model (`trace_of("bert")`) or of a catalogue entry (`trace_of("preset:gpt2")`)."""
    from inspector.tracing import observe

    known: dict[str, Trace] = {}

    def trace(name: str, scenario: Scenario | None = None, **changes: Any) -> Trace:
        scenario = scenario or Scenario()
        key = repr((name, scenario, sorted(changes.items())))
        if key not in known:
            known[key] = observe(tiny_subject(name, **changes) if name in TYPES else _preset(name), scenario)
        return known[key]

    return trace
