"""Llama: pre-norm blocks, rotary positions, grouped keys and values, a gated feed-forward layer (Touvron et al. 2023,
arXiv 2302.13971 and 2307.09288; Llama 3, arXiv 2407.21783).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, gated, grouped, projected, sizes_of, turn_of, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, Sight, activation_of, words_of
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
    """The decoder; with `head` the logits besides, by the token table where it is tied.

    `pretraining_tp` cuts the same maps into slices. NotCovered for a kind of rotation without a formula here.
    """
    w = Weights(weights, run, "embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_tokens.weight"))
    turn, sight = turn_of(given, run, rope, x.dtype), Sight(given.mask("causal"))
    for layer in layers_of(w, run, config["num_hidden_layers"], "layers"):
        x = _attention(layer, config, x, turn, sight, memory)
        x = _feedforward(layer, config, x)
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    logits = words_of(x, w, run, config, "embed_tokens.weight", tied=False) if head else None
    return Answer(x, logits, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    sizes, biased = sizes_of(config), bool(config.get("attention_bias"))
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config))
    q, k, v = projected(layer, y, sizes, bias=biased)
    q, k = turned(layer, q, k, turn)
    y = grouped(layer, memory, q, k, v, sight, factor=sizes.width**-0.5)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y, bias=biased)
    return layer("attention.residual", add, residual=x, x=y)


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.rms_norm("mlp.norm", "post_attention_layernorm", x, _eps(config))
    y = gated(layer, y, activation_of(config, "hidden_act"), bias=bool(config.get("mlp_bias")))
    return layer("mlp.residual", add, residual=x, x=y)


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-6))
