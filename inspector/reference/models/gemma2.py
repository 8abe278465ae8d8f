"""Gemma 2: Gemma with a norm on both sides of each sublayer, scores and logits squashed, and every other layer seeing a
window (Gemma Team 2024, arXiv 2408.00118, section 2, and the code released with it).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.attention import softcap
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, gated, grouped, projected, sizes_of, turn_of, turned, windows_of
from inspector.reference.models.shared import Answer, Inputs, Memory, Sight, activation_of, sights_of, words_of
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
    """The decoder; with `head` the logits besides. NotCovered for kinds of layers other than full and sliding."""
    w = Weights(weights, run, "embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_tokens.weight"))
    x = run("embedding.scale", embeddings.scale_embedding, x_BSD=x, factor=config["hidden_size"] ** 0.5)
    turn, sights = turn_of(given, run, rope, x.dtype), sights_of(given, memory, windows_of(config))
    for layer in layers_of(w, run, config["num_hidden_layers"], "layers"):
        x = _attention(layer, config, x, turn, sights[layer.number], memory)
        x = _feedforward(layer, config, x)
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config), offset=1.0)
    if not head:
        return Answer(x, cache=memory.kept)
    logits, cap = words_of(x, w, run, config, "embed_tokens.weight", tied=True), config.get("final_logit_softcapping")
    return Answer(x, logits if cap is None else run("head.softcap", softcap, x=logits, cap=cap), cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    """The scale is a number of its own, not that of the width of a head."""
    biased, factor, cap = bool(config.get("attention_bias")), _factor(config), config.get("attn_logit_softcapping")
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config), offset=1.0)
    q, k, v = projected(layer, y, sizes_of(config), bias=biased)
    q, k = turned(layer, q, k, turn)
    y = grouped(layer, memory, q, k, v, sight, factor=factor, cap=cap)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y, bias=biased)
    y = layer.rms_norm("attention.post_norm", "post_attention_layernorm", y, _eps(config), offset=1.0)
    return layer("attention.residual", add, residual=x, x=y)


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.rms_norm("mlp.norm", "pre_feedforward_layernorm", x, _eps(config), offset=1.0)
    y = gated(layer, y, activation_of(config, "hidden_activation"))
    y = layer.rms_norm("mlp.post_norm", "post_feedforward_layernorm", y, _eps(config), offset=1.0)
    return layer("mlp.residual", add, residual=x, x=y)


def _factor(config: Config) -> float:
    return float(config.get("query_pre_attn_scalar", 256) ** -0.5)


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-6))
