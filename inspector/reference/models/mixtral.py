"""Mixtral: Mistral's block, with a mixture of experts in place of the feed-forward layer (Jiang et al. 2024, arXiv
2401.04088, section 2).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.layout import rounded
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.mixture import Experts, answered, softmax_routed
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, grouped, projected, sizes_of, turn_of, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, Sight, sights_of, words_of
from inspector.reference.norms import rms_norm
from inspector.reference.steps import Composition
from inspector.reference.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


def forward(
    weights: Mapping[str, Tensor],
    config: Config,
    inputs: Mapping[str, Tensor],
    run: Composition,
    cache: Cache | None = None,
    *,
    head: bool = False,
) -> Answer:
    """The decoder; with `head` the logits besides. `sliding_window` None is no window.

    The router's noise (`router_jitter_noise`) belongs to training.
    """
    w = Weights(weights, run, "embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_tokens.weight"))
    turn, count = turn_of(given, run, rope, x.dtype), config["num_hidden_layers"]
    sights = sights_of(given, memory, [config.get("sliding_window")] * count)
    claims = Experts.of(config)
    for layer in layers_of(w, run, count, "layers"):
        x = _attention(layer, config, x, turn, sights[layer.number], memory)
        y = layer.rms_norm("moe.norm", "post_attention_layernorm", x, _eps(config))
        shares, whose = softmax_routed(layer, y, claims.active, normalised=True)
        y = answered(layer, y, shares, whose, claims)
        x = layer("moe.residual", add, residual=x, x=layer("moe.residual", rounded, x=y))
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    logits = words_of(x, w, run, config, "embed_tokens.weight", tied=False) if head else None
    return Answer(x, logits, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    sizes = sizes_of(config)
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config))
    q, k, v = projected(layer, y, sizes)
    q, k = turned(layer, q, k, turn)
    y = grouped(layer, memory, q, k, v, sight, factor=sizes.width**-0.5)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y)
    return layer("attention.residual", add, residual=x, x=y)


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-6))
