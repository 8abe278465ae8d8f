"""What matters, as data: one row per rule. Wording is in `messages`, values come from `observed`; this is policy.

A rule fires when the two sides show different values of its id. It reads both sides the same way, so that whatever can
be said to be added can be said to be removed.
"""

from __future__ import annotations

__all__ = ["RULES", "SEVERITIES", "UNEXPLAINED", "Rule", "Severity"]

from typing import Literal, NamedTuple

Severity = Literal["breaking", "notable", "cosmetic"]

SEVERITIES: dict[Severity, str] = {
    "breaking": "another function: with the same weights, other answers",
    "notable": "other sizes or constants, or a part that one of the two does without",
    "cosmetic": "the same function, written otherwise",
}
"""Severity -> what it means, the worst first."""


class Rule(NamedTuple):
    """One rule.

    id: a fact id or `graph.*`. covers: the aspects of rows that it explains, as patterns (`*.norm:eps`).
    """

    id: str
    severity: Severity
    covers: tuple[str, ...] = ()


_MASKS = ("*attention.mask", "mask.build", "mask", "kernel")
_KEYS = tuple(
    f"*attention.{role}:shape"
    for role in ("k_proj", "v_proj", "kv_proj", "split_heads", "rope", "cache_update", "k_norm", "v_norm", "qkv_proj")
)
_NORMS = ("*.norm", "*.post_norm")


def _each(paths: tuple[str, ...], *names: str) -> tuple[str, ...]:
    return tuple(f"{path}:{name}" for path in paths for name in names)


RULES: tuple[Rule, ...] = (
    Rule("attention.direction", "breaking", _each(_MASKS, "kind", "only")),
    Rule("attention.window", "breaking", (*_each(_MASKS, "kind", "size", "only"), "*.cache_update:keeps")),
    Rule("attention.cross", "breaking", ("cross_attention.*",)),
    Rule("model.family", "breaking"),
    Rule(
        "graph.sublayers",
        "breaking",
        (
            "*:sublayer",
            "moe.*:only",
            "mlp.*:only",
            "ssm.*:only",
            "attention.*:only",
            "indexer.*:only",
            "mask.*:only",
            "positions.*:only",
        ),
    ),
    Rule(
        "attention.kind",
        "breaking",
        (
            *_KEYS,
            "*.repeat_kv:*",
            "qkv:shape",
            "low-rank*:*",
            "*.latent_norm:only",
            "*.kv_*:only",
            "*.q_up:only",
            "*.q_down:only",
        ),
    ),
    Rule("attention.kv_heads", "notable", (*_KEYS, "*.repeat_kv:*", "qkv:shape")),
    Rule("attention.qkv", "cosmetic"),
    Rule("attention.heads", "notable"),
    Rule("attention.head_dim", "notable"),
    Rule("attention.scale", "breaking", ("*attention.scale:*", "scale:*", "kernel:factor")),
    Rule("attention.qk_norm", "breaking", ("*.q_norm:*", "*.k_norm:*")),
    Rule("attention.softcap", "breaking", ("*attention.softcap:*", "kernel:cap")),
    Rule("attention.sinks", "breaking", ("*attention.sink:*", "*attention.softmax:shape")),
    Rule("attention.gate", "breaking", ("attention.gate:*",)),
    Rule("attention.softmax_dtype", "cosmetic", ("*attention.softmax:dtype",)),
    Rule(
        "position.kind",
        "breaking",
        ("positions.*:only", "embedding.position:*", "embedding.add:*", "*.rope:only", "*.position_bias:only"),
    ),
    Rule("position.rope.theta", "breaking", ("positions.rope_table:theta", "positions.rope_table:only")),
    Rule("position.rope.fraction", "breaking", ("*.rope:fraction",)),
    Rule("position.rope.layout", "breaking", ("*.rope:layout",)),
    Rule("position.rope.scaling", "breaking", ("positions.rope_table:scaling", "positions.rope_table:theta")),
    Rule("norm.kind", "breaking", _each(_NORMS, "kind")),
    Rule("norm.placement", "breaking", _each(_NORMS, "moved", "only")),
    Rule("norm.eps", "notable", _each(_NORMS, "eps")),
    Rule("norm.bias", "notable", _each(_NORMS, "bias")),
    Rule("norm.affine", "notable", _each(_NORMS, "affine")),
    Rule("norm.offset", "breaking", _each(_NORMS, "offset")),
    Rule("norm.final", "breaking", ("head.norm:only",)),
    Rule(
        "mlp.gated",
        "breaking",
        (
            "*.gate_proj:only",
            "*.multiply:only",
            "*.expert_gate:only",
            "*.expert_multiply:only",
            "*.up_gate_proj:*",
            "*.split_up_gate:*",
        ),
    ),
    Rule("mlp.activation", "breaking", ("*.activation:*", "*.expert_activation:*")),
    Rule("mlp.width", "notable"),
    Rule("block.layout", "breaking", ("mlp.norm:only", "mlp.residual:only", "attention.residual:only")),
    Rule("graph.shared_norm", "breaking", ("mlp.norm:only", "moe.norm:only")),
    Rule("graph.block_scale", "breaking", ("block.scale:*",)),
    Rule("moe.experts", "notable", ("moe.router:shape", "moe.*:shape")),
    Rule("moe.active", "notable", ("moe.top_k:k", "moe.*:shape")),
    Rule("moe.shared", "breaking", ("moe.shared_expert:*",)),
    Rule("moe.router", "breaking", ("moe.router_score:*",)),
    Rule("moe.normalised", "breaking", ("moe.router_score:*", "moe.combine:*")),
    Rule("moe.scale", "breaking", ("moe.router_score:factor", *_each(("moe.dispatch", "moe.combine"), "calls"))),
    Rule("embedding.segments", "notable", ("embedding.segment:only", "embedding.add:*")),
    Rule("embedding.norm", "notable", ("embedding.norm:only",)),
    Rule("embedding.scale", "breaking", ("embedding.scale:*",)),
    Rule("embedding.tied", "notable"),
    Rule(
        "bias.qkv",
        "notable",
        ("qkv:bias", "kv:bias", "*.q_proj:bias", "*.k_proj:bias", "*.v_proj:bias", "*.qkv_proj:bias", "*.kv_proj:bias"),
    ),
    Rule("bias.o", "notable", ("*.o_proj:bias",)),
    Rule(
        "bias.mlp",
        "notable",
        (
            "*.up_proj:bias",
            "*.gate_proj:bias",
            "*.up_gate_proj:bias",
            "*.down_proj:bias",
            "up_gate:bias",
            "moe.expert_*:bias",
            "moe.router:bias",
        ),
    ),
    Rule("bias.lm_head", "notable", ("head.lm_head:bias",)),
    Rule("head.softcap", "breaking", ("head.softcap:*",)),
    Rule("head.scale", "breaking", ("head.scale:*",)),
    Rule("model.layers", "notable"),
    Rule("model.layers.decoder", "notable"),
    Rule("model.layer_pattern", "notable"),
    Rule("model.width", "notable"),
    Rule("model.vocabulary", "notable"),
    Rule("graph.pooler", "notable", ("head.pooler:only",)),
    Rule("graph.lm_head", "notable", ("head.lm_head:only",)),
    Rule("graph.head_transform", "notable", ("head.transform:only",)),
    Rule("graph.embedding_projection", "notable", ("embedding.projection:only",)),
    Rule("graph.embedding_width", "notable", ("embedding.*:shape",)),
    Rule("graph.position_table", "notable"),
    Rule("graph.position_ids", "notable", ("embedding.position:first", "embedding.position:padding")),
    Rule("graph.cache", "notable", ("*.cache_update:only",)),
    Rule("graph.kernel", "cosmetic", ("mask.build:only",)),  # a kernel that is told to be causal needs no mask
    Rule("graph.storage", "cosmetic"),
    Rule("graph.movement", "cosmetic", ("*.split_heads:only", "*.merge_heads:only", "*.split_qkv:only")),
    Rule("graph.dropout", "cosmetic", ("*.dropout:only",)),
)
"""In the order in which a reader is told: what a token may see, how it looks, where it stands, then the rest."""

UNEXPLAINED = Rule("graph.unexplained", "notable")
"""Fires for what differs and no rule above speaks of: nothing that was seen is left unsaid."""
