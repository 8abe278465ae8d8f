"""What a config may say, by model type: what changes the maths, what changes sizes, and what no forward covers."""

from __future__ import annotations

from typing import Any

import torch

from inspector.errors import ModelAtFault
from inspector.reference.weights import NotCovered

BATCH, LENGTH = 3, 11

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("bart", {"scale_embedding": True}),
    ("bart", {"activation_function": "relu"}),
    ("bert", {"layer_norm_eps": 0.2}),
    ("bert", {"hidden_act": "relu"}),
    ("bert", {"is_decoder": True}),
    ("gpt2", {"layer_norm_epsilon": 0.2}),
    ("gpt2", {"activation_function": "gelu"}),
    ("gpt2", {"scale_attn_weights": False}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("llama", {"rms_norm_eps": 0.2}),
    ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 8,
            }
        },
    ),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "factor": 2.0,
                "original_max_position_embeddings": 6,
                "short_factor": [1.0] * 8,
                "long_factor": [3.0] * 8,
            }
        },
    ),
    (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}, "max_position_embeddings": 6},
    ),
    ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    ("llama", {"attention_bias": True}),
    ("llama", {"mlp_bias": True}),
    ("mistral", {"sliding_window": 5}),
    ("mixtral", {"sliding_window": 5}),
    ("mixtral", {"num_experts_per_tok": 3}),
    ("mixtral", {"hidden_act": "gelu"}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    ("qwen3", {"rms_norm_eps": 0.2}),
    ("qwen3_moe", {"norm_topk_prob": True}),
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 5}),
    ("gemma", {"hidden_act": "relu"}),
    ("gemma2", {"sliding_window": 5}),
    ("gemma2", {"query_pre_attn_scalar": 16}),
    ("gemma2", {"attn_logit_softcapping": 0.5}),
    ("gemma2", {"final_logit_softcapping": None}),
    ("phi3", {"sliding_window": 5}),
    (
        "phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}},
    ),
    ("olmo2", {"rms_norm_eps": 0.2}),
    ("olmoe", {"norm_topk_prob": True}),
    ("olmoe", {"num_experts_per_tok": 3}),
    ("gpt_oss", {"swiglu_limit": 0.5}),
    ("gpt_oss", {"sliding_window": 5}),
    ("gpt_oss", {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    ("roberta", {"pad_token_id": 3}),
    ("roberta", {"is_decoder": True}),
    ("electra", {"is_decoder": True}),
    ("distilbert", {"activation": "relu"}),
    ("gpt_neox", {"use_parallel_residual": False}),
    (
        "gpt_neox",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    ),
    ("opt", {"activation_function": "gelu"}),
    ("marian", {"scale_embedding": True}),
    ("mbart", {"activation_function": "relu"}),
    ("mt5", {"layer_norm_epsilon": 0.2}),
    ("mt5", {"feed_forward_proj": "gated-silu"}),
    ("pegasus", {"scale_embedding": True}),
    ("t5", {"feed_forward_proj": "gelu"}),
    ("t5", {"layer_norm_epsilon": 0.2}),
    ("t5", {"relative_attention_max_distance": 9, "relative_attention_num_buckets": 32}),
    ("t5", {"tie_word_embeddings": False}),
    ("bloom", {"apply_residual_connection_post_layernorm": True}),
    ("falcon", {"layer_norm_epsilon": 0.2}),
    ("gptj", {"rotary_dim": 4}),
    ("gptj", {"layer_norm_epsilon": 0.2}),
    ("gptj", {"activation_function": "relu"}),
]
"""The same weights give something else than with what the type says by default."""

SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("bart", {"encoder_layers": 3}),
    ("bart", {"decoder_attention_heads": 2, "encoder_ffn_dim": 48}),
    ("bart", {"tie_word_embeddings": False}),
    ("marian", {"share_encoder_decoder_embeddings": False, "tie_word_embeddings": True, "decoder_vocab_size": 97}),
    ("mbart", {"tie_word_embeddings": False}),
    ("mt5", {"feed_forward_proj": "relu"}),
    ("pegasus", {"tie_word_embeddings": False}),
    ("t5", {"feed_forward_proj": "gated-gelu"}),
    ("t5", {"num_decoder_layers": 3}),
    ("t5", {"relative_attention_num_buckets": 8}),
    ("gpt2", {"n_inner": None}),
    ("gpt2", {"reorder_and_upcast_attn": True}),
    ("gpt2", {"tie_word_embeddings": False}),
    ("llama", {"num_key_value_heads": 4}),
    ("llama", {"num_key_value_heads": 1}),
    ("llama", {"head_dim": 24}),
    ("llama", {"head_dim": None}),
    ("llama", {"tie_word_embeddings": True}),
    ("bert", {"type_vocab_size": 5}),
    ("bert", {"tie_word_embeddings": False}),
    ("roberta", {"tie_word_embeddings": False}),
    ("distilbert", {"tie_word_embeddings": False}),
    ("electra", {"tie_word_embeddings": False}),
    ("electra", {"embedding_size": 64}),
    ("mistral", {"num_key_value_heads": 1}),
    ("mixtral", {"num_local_experts": 5}),
    ("qwen3", {"attention_bias": True}),
    ("qwen3_moe", {"decoder_sparse_step": 2}),
    ("qwen3_moe", {"mlp_only_layers": [1]}),
    ("qwen3_moe", {"num_experts": 5}),
    ("gemma", {"attention_bias": True}),
    ("gemma2", {"tie_word_embeddings": False}),
    ("gemma2", {"attn_logit_softcapping": None}),
    ("gpt_neox", {"attention_bias": False}),
    ("olmoe", {"attention_bias": True}),
    ("gpt_oss", {"num_local_experts": 5}),
    ("gpt_oss", {"attention_bias": False}),
    ("opt", {"enable_bias": False}),
    ("gptj", {"n_inner": None}),
    ("gptj", {"n_head": 2}),
    ("falcon", {"multi_query": True}),
    ("falcon", {"bias": True}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}),
]
"""The weights are others."""

TWO_SIDED = ["bart", "marian", "mbart", "mt5", "pegasus", "t5"]
"""What reads one text and writes another."""

DECODERS: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"is_decoder": True}),
    ("bloom", {}),
    ("electra", {"is_decoder": True}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("gemma", {}),
    ("gemma2", {}),
    ("gpt2", {}),
    ("gpt_neox", {}),
    ("gpt_oss", {"sliding_window": 5}),
    ("gptj", {}),
    ("llama", {}),
    ("mistral", {"sliding_window": 5}),
    ("mixtral", {"sliding_window": 5}),
    ("olmo2", {}),
    ("olmoe", {}),
    ("opt", {}),
    ("phi3", {"sliding_window": 12}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 14, "max_window_layers": 1}),
    ("qwen3", {}),
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 5}),
]
"""What generates. Windows are shorter than the prompt, or end between two steps."""

REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ("bart", {}, {"labels": torch.ones(1)}, NotCovered, "does not read labels"),
    ("gpt2", {}, {"inputs_embeds": torch.ones(1)}, NotCovered, "does not read inputs_embeds"),
    ("gpt2", {}, {"attention_mask": torch.ones(BATCH, LENGTH - 1)}, NotCovered, r"\(batch, 11\), but got \(3, 10\)"),
    ("gpt2", {}, {"attention_mask": torch.ones(BATCH, 1, LENGTH, LENGTH)}, NotCovered, "an attention mask is"),
    ("bert", {}, {"encoder_hidden_states": torch.ones(1)}, NotCovered, "does not read encoder_hidden_states"),
    ("bert", {"position_embedding_type": "relative_key"}, {}, NotCovered, "no relative_key positions"),
    ("llama", {"hidden_act": "xielu"}, {}, NotCovered, "the reference has no xielu"),
    ("mistral", {"rope_parameters": {"rope_type": "mrope"}}, {}, NotCovered, "no mrope rotations"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, {}, NotCovered, "partial_rotary_factor"),
    ("gemma2", {"layer_types": ["chunked_attention"] * 2}, {}, NotCovered, "no chunked_attention layers"),
    ("qwen2", {"layer_types": None, "sliding_window": 4}, {}, NotCovered, "sliding_window needs layer_types"),
    ("roberta", {"position_embedding_type": "relative_key"}, {}, NotCovered, "no relative_key positions"),
    ("electra", {"position_embedding_type": "relative_key"}, {}, NotCovered, "no relative_key positions"),
    ("opt", {"do_layer_norm_before": False}, {}, NotCovered, "do_layer_norm_before"),
    ("opt", {"word_embed_proj_dim": 32}, {}, NotCovered, "word_embed_proj_dim"),
    ("bloom", {}, {"position_ids": torch.ones(1, LENGTH)}, NotCovered, "places that are given"),
    ("bloom", {"n_head": 6}, {}, NotCovered, "no power of two"),
    ("gpt_oss", {"swiglu_alpha": 1.5}, {}, NotCovered, "swiglu_alpha"),
    ("olmoe", {"clip_qkv": 8.0}, {}, NotCovered, "clip_qkv"),
    ("gptj", {"rotary_dim": None}, {}, NotCovered, "no rotary_dim"),
    ("gptj", {}, {"token_type_ids": torch.ones(BATCH, LENGTH)}, NotCovered, "does not read token_type_ids"),
    ("t5", {"feed_forward_proj": "xielu"}, {}, NotCovered, "the reference has no xielu"),
    ("falcon", {"alibi": True}, {}, NotCovered, "alibi"),
    ("falcon", {"parallel_attn": False}, {}, NotCovered, "parallel_attn"),
    ("llama", {"attention_bias": True}, {}, ModelAtFault, "hold no model.layers.0.self_attn.q_proj.bias"),
]
"""Type, claims, inputs, and what is said to them."""
