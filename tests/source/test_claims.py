"""What a config says, as facts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from inspector.messages import messages
from inspector.records import Claims
from inspector.source.claims import claims_of, window
from inspector.source.resolve import resolve
from inspector.source.subject import subject_of


def claims(model_type: str, **keys: Any) -> Claims:
    return claims_of(AutoConfig.for_model(model_type, **keys), keys)


def test_gpt2_keys_are_read_under_their_own_names() -> None:
    """A claim says where it stands, in the words of that model's config.json."""
    facts = {fact: (value, where) for fact, value, where in subject_of(resolve("gpt2")).claims.facts}

    assert facts["model.layers"] == (12, "config n_layer")
    assert facts["attention.heads"] == (12, "config n_head")
    assert facts["mlp.activation"] == ("gelu_tanh", "config activation_function")
    assert facts["model.parameters"][0] == 124_439_808


@pytest.mark.parametrize(
    ("model_type", "keys", "fact", "value"),
    [
        ("llama", {"num_attention_heads": 8, "num_key_value_heads": 8}, "attention.kind", "mha"),
        ("llama", {"num_attention_heads": 8, "num_key_value_heads": 2}, "attention.kind", "gqa"),
        ("llama", {"num_attention_heads": 8, "num_key_value_heads": 1}, "attention.kind", "mqa"),
        ("deepseek_v3", {}, "attention.kind", "mla"),
        ("llama", {"rope_theta": 5e5}, "position.rope.theta", 5e5),
        ("gpt_neox", {"rotary_pct": 0.5}, "position.rope.fraction", 0.5),
        ("smollm3", {"num_hidden_layers": 4}, "position.kind", ("rope", "rope", "rope", "none")),
        ("falcon", {"alibi": True}, "position.kind", "alibi"),
        ("falcon", {"alibi": True}, "position.rope.theta", None),
        ("falcon", {"num_attention_heads": 71, "multi_query": True}, "attention.kv_heads", 1),
        ("falcon", {"num_kv_heads": 8, "new_decoder_architecture": True}, "attention.kv_heads", 8),
        ("bert", {"is_decoder": True}, "attention.direction", "causal"),
        ("gpt_neox", {"is_decoder": False}, "attention.direction", None),
        ("gemma2", {"query_pre_attn_scalar": 144}, "attention.scale", 1 / 12),
        ("mixtral", {"intermediate_size": 64}, "mlp.width", None),
        ("qwen2", {"sliding_window": 64, "use_sliding_window": False}, "attention.window", None),
        ("roberta", {"type_vocab_size": 0}, "embedding.segments", False),
        ("gemma4_text", {}, "attention.head_dim", None),
        ("canine", {"num_hidden_layers": 4}, "model.layers", 6),
        ("mllama_text_model", {"vocab_size": 99}, "model.vocabulary", 107),
        ("convbert", {"num_attention_heads": 12, "head_ratio": 2}, "attention.heads", 6),
        ("lfm2", {"intermediate_size": 96, "block_multiple_of": 32}, "mlp.width", 64),
        ("recurrent_gemma", {"intermediate_size": 96}, "mlp.width", 48),
        ("longcat_flash", {"n_routed_experts": 8, "zero_expert_num": 3}, "moe.experts", 11),
        ("gpt_oss", {}, "mlp.activation", "quick_gelu clamped"),
        ("gpt_oss", {"swiglu_alpha": 1.5}, "mlp.activation", "silu"),
        ("inkling2_text", {}, "mlp.activation", "silu softcapped"),
        (
            "gemma3n_text",
            {"num_hidden_layers": 2, "activation_sparsity_pattern": [0.9, 0.0]},
            "mlp.activation",
            ("gelu_tanh sparse", "gelu_tanh"),
        ),
        ("zamba2", {}, "position.kind", "none"),
        ("zamba2", {"use_mem_rope": True}, "position.kind", "rope"),
        ("cpmant", {"vocab_size": 99, "prompt_types": 2, "prompt_length": 3}, "model.vocabulary", 105),
        ("csm", {}, "embedding.tied", False),
        ("blt", {"num_hidden_layers": 2}, "model.layers", 14 + 1 + 1 + 25 + 9),
        ("fastspeech2_conformer", {}, "model.layers", 8),
        ("mimo_v2_flash", {"num_hidden_layers": 2, "num_key_value_heads": 4}, "attention.kv_heads", (4, 8)),
        ("mimo_v2_flash", {"num_hidden_layers": 2, "num_key_value_heads": 32}, "attention.kind", ("gqa", "mha")),
        ("deepseek_v3", {}, "moe.scale", 2.5),
        ("hy_v3", {}, "moe.scale", 2.826),
        ("laguna", {}, "moe.scale", 1.0),
        ("mixtral", {}, "moe.scale", None),
        ("bart", {}, "attention.cross", None),
        ("granitemoehybrid", {}, "position.kind", None),
        ("granitemoehybrid", {"position_embedding_type": "rope"}, "position.kind", "rope"),
    ],
)
def test_a_key_becomes_a_fact(model_type: str, keys: dict[str, Any], fact: str, value: Any) -> None:
    assert value == claims(model_type, **keys).get(fact)


def test_rope_scaling_keeps_its_factors() -> None:
    scaling = subject_of(resolve("llama-3.1-8b")).claims.get("position.rope.scaling")

    assert scaling == (
        "llama3",
        ("factor", 8.0),
        ("high_freq_factor", 4.0),
        ("low_freq_factor", 1.0),
        ("original_max_position_embeddings", 8192),
    )


def test_unknown_keys_are_listed() -> None:
    """Bookkeeping is not; a switch is, once it stands otherwise than in every published model."""
    keys = {"flux": 1, "n_embd": 8, "eos_token_id": 3, "attn_pdrop": 0.1, "scale_attn_by_inverse_layer_idx": False}

    assert claims("gpt2", **keys).unread == ("flux",)
    assert claims("gpt2", scale_attn_by_inverse_layer_idx=True).unread == ("scale_attn_by_inverse_layer_idx",)


@pytest.mark.parametrize(
    ("model_type", "keys", "size"),
    [
        ("mistral", {"sliding_window": 64}, 64),
        ("mistral", {"sliding_window": None}, None),
        ("gemma2", {"sliding_window": 32, "num_hidden_layers": 2}, 32),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}, 16),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 99}, None),
        ("llama4_text", {"attention_chunk_size": 128}, 128),
        ("gpt_neo", {"window_size": 40}, 40),
        ("gpt2", {}, None),
    ],
)
def test_window_is_the_one_in_use(model_type: str, keys: dict[str, Any], size: int | None) -> None:
    assert size == window(AutoConfig.for_model(model_type, **keys))


def test_the_outermost_config_says_whether_tables_are_tied() -> None:
    """A part that reads text may say otherwise: what it says is not asked."""
    whole = AutoConfig.for_model("moss_transcribe_diarize")
    text = whole.get_text_config(decoder=True)
    text.tie_word_embeddings = False

    assert claims_of(text, {}, whole).get("embedding.tied") is True
    assert claims_of(text, {}).get("embedding.tied") is False


def test_every_explanation_is_a_sentence_in_both_languages() -> None:
    table = tomllib.loads(Path(claims_of.__code__.co_filename).with_suffix(".toml").read_text("utf-8"))
    used = {row["why"] for row in table["explained"]}

    assert used == messages("en")["explained"].keys() == messages("zh")["explained"].keys()


def test_what_execution_shows_instead_is_worked_out() -> None:
    claimed = claims("mllama_text_model", num_hidden_layers=10, cross_attention_layers=[3, 8])

    assert [(fact, value) for fact, value, _ in claimed.explained] == [("model.layers", 8)]
    assert claims("llama").explained == ()
