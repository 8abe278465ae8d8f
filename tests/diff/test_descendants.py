"""Models that transformers derives from others. What changes was written down from their sources, before running.

The reason beside each pair is what the modular file or its config says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

GROUPED = {"num_key_value_heads": 2}
HEADED = {"num_key_value_heads": 2, "head_dim": 16}


class Pair(NamedTuple):
    child: Any
    parent: Any
    rules: set[str]
    why: str


PAIRS = [
    Pair("mistral", "llama", set(), "without its window Mistral is Llama"),
    Pair(
        "phi3",
        "mistral",
        {"attention.qkv", "norm.eps", "graph.dropout"},
        "q, k, v in one weight, gate and up too; eps 1e-5; dropout after each sublayer",
    ),
    Pair("qwen2", "llama", {"bias.qkv"}, "q, k, v with bias; o without"),
    Pair("qwen3", "qwen2", {"attention.qk_norm", "bias.qkv"}, "norms over each head's queries and keys, no biases"),
    Pair(
        ("gemma", HEADED),
        "llama",
        {"embedding.scale", "embedding.tied", "mlp.activation", "norm.offset"},
        "sqrt(D) times the embeddings, tied, gelu by tanh, 1 + w",
    ),
    Pair(
        "gemma2",
        ("gemma", HEADED),
        {
            "norm.placement",
            "attention.softcap",
            "head.softcap",
            "attention.window",
            "attention.scale",
            "model.layer_pattern",
        },
        "norms around both sublayers, two soft caps, every other layer slides, 1/sqrt(query_pre_attn_scalar)",
    ),
    Pair(
        "gemma3_text",
        ("gemma2", {"num_hidden_layers": 12}),
        {"attention.qk_norm", "attention.softcap", "head.softcap", "position.rope.theta", "model.layer_pattern"},
        "norms over queries and keys instead of soft caps, a base of their own for global layers, 5 local to 1 global",
    ),
    Pair(
        ("olmo", GROUPED),
        "llama",
        {"norm.kind", "norm.affine", "norm.eps"},
        "LayerNorm without weight and bias, eps 1e-5 in the code",
    ),
    Pair(
        "olmo2",
        ("olmo", GROUPED),
        {"norm.kind", "norm.affine", "norm.placement", "attention.qk_norm"},
        "RMSNorm with weight, after each sublayer and inside the residual; norms over all queries and keys",
    ),
    Pair(
        "stablelm",
        "llama",
        {"norm.kind", "norm.bias", "norm.eps", "position.rope.fraction", "graph.dropout"},
        "nn.LayerNorm with bias, eps 1e-5, a quarter of each head rotated, dropout after the feed-forward",
    ),
    Pair(
        "cohere",
        "llama",
        {
            *("norm.kind", "norm.eps", "block.layout", "embedding.tied", "head.scale"),
            *("position.rope.layout", "position.rope.theta"),
        },
        "LayerNorm without bias, eps 1e-5, parallel, tied, logit_scale, neighbours rotated, base 500000",
    ),
    Pair(
        ("granite", GROUPED), "llama", {"attention.scale"}, "its multipliers are 1 by default, that of the scores too"
    ),
    Pair(
        ("granite", GROUPED | {"embedding_multiplier": 12.0, "logits_scaling": 8.0, "residual_multiplier": 0.22}),
        ("granite", GROUPED),
        {"embedding.scale", "head.scale", "graph.block_scale"},
        "the other three multipliers",
    ),
    Pair("roberta", "bert", {"graph.position_ids"}, "positions start after the padding index and skip padding"),
    Pair(
        "electra",
        "bert",
        {"graph.embedding_projection", "graph.embedding_width", "graph.pooler"},
        "embeddings in a width of their own, projected; no pooler",
    ),
    Pair(
        ("helium", HEADED),
        "llama",
        {"norm.eps", "position.rope.layout", "position.rope.theta"},
        "eps 1e-8, neighbours rotated, base 100000",
    ),
    Pair(
        ("glm", HEADED),
        "llama",
        {"bias.qkv", "norm.eps", "position.rope.fraction", "position.rope.layout"},
        "q, k, v with bias, eps 1.5625e-7, half of each head rotated, neighbours; gate and up in one weight",
    ),
    Pair(("glm4", HEADED), ("glm", HEADED), {"norm.placement"}, "two more norms, on what the sublayers put out"),
    Pair(
        ("starcoder2", GROUPED),
        "mistral",
        {
            *("norm.kind", "norm.bias", "norm.eps", "mlp.gated", "mlp.activation"),
            *("bias.qkv", "bias.o", "bias.mlp", "embedding.tied", "graph.dropout"),
        },
        "nn.LayerNorm, plain feed-forward with gelu by tanh, biases everywhere, tied, residual dropout",
    ),
    Pair(
        ("arcee", HEADED),
        "llama",
        {"mlp.gated", "mlp.activation", "norm.eps"},
        "plain feed-forward with relu squared, eps 1e-5",
    ),
    Pair(
        ("seed_oss", HEADED), "llama", {"bias.qkv", "graph.dropout"}, "q, k, v with bias, dropout after each sublayer"
    ),
    Pair(
        ("smollm3", GROUPED | {"num_hidden_layers": 4}),
        ("llama", {"num_hidden_layers": 4}),
        {"position.kind", "model.layer_pattern", "position.rope.theta", "embedding.tied"},
        "every fourth layer without positions, base 2000000, tied",
    ),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.child}-{pair.parent}")
def test_exactly_what_the_source_changes(compared, pair: Pair):
    """Each rule fires once, no other fires, and nothing stays unexplained."""
    found = compared(pair.child, pair.parent)

    assert {finding.rule for finding in found.findings} == pair.rules
    assert len(found.findings) == len(pair.rules)
    assert found.aligned == 1.0
