"""One key of the config changed: exactly the rules that it speaks to fire, and no other."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest


class Edit(NamedTuple):
    model: str
    changes: dict[str, Any]
    rules: set[str]
    base: dict[str, Any] = {}  # noqa: RUF012 - never written to


def rope(**parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, **parameters}}


MIXTURE = {
    "n_routed_experts": 8, "num_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2,
    "first_k_dense_replace": 0, "moe_intermediate_size": 24, "n_shared_experts": 1, "num_shared_experts": 1,
    "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 12, "v_head_dim": 16,
    "num_key_value_heads": 4,
}  # fmt: skip
SCALED = [("deepseek_v3", "routed_scaling_factor"), ("hy_v3", "router_scaling_factor")]
"""Where the number stands among what sends the tokens, and where it is part of the scores."""

EDITS = [
    Edit("llama", {"num_attention_heads": 8}, {"attention.heads"}),
    Edit("llama", {"num_key_value_heads": 4}, {"attention.kind", "attention.kv_heads"}),
    Edit("llama", {"num_key_value_heads": 1}, {"attention.kind", "attention.kv_heads"}),
    Edit("llama", {"head_dim": 32}, {"attention.head_dim"}),
    Edit("llama", {"hidden_size": 128}, {"model.width"}),
    Edit("llama", {"intermediate_size": 160}, {"mlp.width"}),
    Edit("llama", {"num_hidden_layers": 3}, {"model.layers"}),
    Edit("llama", {"vocab_size": 131}, {"model.vocabulary"}),
    Edit("llama", {"rms_norm_eps": 1e-3}, {"norm.eps"}),
    Edit("llama", {"hidden_act": "gelu"}, {"mlp.activation"}),
    Edit("llama", {"attention_bias": True}, {"bias.qkv", "bias.o"}),
    Edit("llama", {"mlp_bias": True}, {"bias.mlp"}),
    Edit("llama", {"tie_word_embeddings": True}, {"embedding.tied"}),
    Edit("llama", rope(rope_theta=5e5), {"position.rope.theta"}),
    Edit("llama", rope(rope_type="linear", factor=2.0), {"position.rope.scaling"}),
    Edit("llama", {"attention_dropout": 0.3}, set()),
    Edit("llama", {"max_position_embeddings": 256}, set()),
    Edit("mistral", {"sliding_window": 8}, {"attention.window"}),
    Edit("gemma2", {"attn_logit_softcapping": None}, {"attention.softcap"}),
    Edit("gemma2", {"attn_logit_softcapping": 20.0}, {"attention.softcap"}),
    Edit("gemma2", {"final_logit_softcapping": None}, {"head.softcap"}),
    Edit("gemma2", {"query_pre_attn_scalar": 16}, {"attention.scale"}),
    Edit("gemma2", {"sliding_window": 12}, {"attention.window"}),
    Edit("cohere", {"logit_scale": 0.5}, {"head.scale"}),
    Edit("stablelm", {"use_qkv_bias": True}, {"bias.qkv"}),
    Edit("stablelm", {"use_parallel_residual": True}, {"block.layout"}),
    Edit("gpt_neox", {"use_parallel_residual": False}, {"block.layout"}),
    Edit("gpt_neox", {"attention_bias": False}, {"bias.qkv", "bias.o"}),
    Edit("gpt2", {"n_head": 8}, {"attention.heads", "attention.kv_heads", "attention.head_dim"}),
    Edit("gpt2", {"n_inner": 160}, {"mlp.width"}),
    Edit("gpt2", {"n_positions": 256}, {"graph.position_table"}),
    Edit("gpt2", {"activation_function": "relu"}, {"mlp.activation"}),
    Edit("gpt2", {"activation_function": "gelu_pytorch_tanh"}, set()),
    Edit("gpt2", {"layer_norm_epsilon": 1e-3}, {"norm.eps"}),
    Edit("gpt2", {"tie_word_embeddings": False}, {"embedding.tied"}),
    Edit("gpt2", {"scale_attn_weights": False}, {"attention.scale"}),
    Edit("gpt2", {"scale_attn_by_inverse_layer_idx": True}, {"attention.scale", "model.layer_pattern"}),
    Edit("bert", {"hidden_act": "relu"}, {"mlp.activation"}),
    Edit("bert", {"layer_norm_eps": 1e-5}, {"norm.eps"}),
    Edit("qwen3", {"attention_bias": True}, {"bias.qkv", "bias.o"}),
    *(Edit(model, MIXTURE | {key: 1.5}, {"moe.scale"}, MIXTURE) for model, key in SCALED),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.model}-{list(edit.changes)[-1 if edit.base else 0]}")
def test_exactly_the_expected_rules_fire(compared, edit: Edit):
    """Each once, and what it says of the two sides is not the same thing."""
    found = compared((edit.model, edit.base), (edit.model, edit.changes))

    assert sorted(edit.rules) == sorted(finding.rule for finding in found.findings)
    assert all(finding.a != finding.b for finding in found.findings)
    assert found.aligned == 1.0
