"""GPT-NeoX: attention and feed-forward layer side by side, each behind a norm of its own; one projection whose columns
are queries, keys and values of one head after the other; part of each head is turned (Black et al. 2022, arXiv
2204.06745, section 2). Pythia is the same.

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add, add_all
from inspector.reference.heads import split_heads
from inspector.reference.layout import pieces
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, sizes_of, turn_of, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, activation_of, attend, words_of
from inspector.reference.norms import layer_norm
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
    """The decoder; with `head` the logits besides. `use_parallel_residual` says whether the two stand side by side."""
    w, memory = Weights(weights, run, "embed_in.weight"), Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width, partial=True)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_in.weight"))
    turn, allowed = turn_of(given, run, rope, x.dtype, dims=rope.dim), given.mask("causal")
    for layer in layers_of(w, run, config["num_hidden_layers"], "layers"):
        y = _attention(layer, config, x, turn, allowed, memory)
        if config.get("use_parallel_residual", True):
            x = layer("mlp.residual", add_all, first=x, second=y, third=_feedforward(layer, config, x))
        else:
            x = layer("attention.residual", add, residual=x, x=y)
            x = layer("mlp.residual", add, residual=x, x=_feedforward(layer, config, x))
    x = run("head.norm", layer_norm, x=x, eps=_eps(config), **w.affine("final_layer_norm"))
    return Answer(x, words_of(x, w, run, config, "embed_in.weight", tied=False) if head else None, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, allowed: Tensor | None, memory: Memory) -> Tensor:
    sizes, biased = sizes_of(config), bool(config.get("attention_bias", True))
    y = layer.layer_norm("attention.norm", "input_layernorm", x, _eps(config))
    y = layer.linear("attention.qkv_proj", "attention.query_key_value", y, bias=biased)
    y = layer("attention.split_heads", split_heads, x_BSD=y, heads=sizes.heads)  # each with its query, key and value
    bounds = tuple((part * sizes.width, (part + 1) * sizes.width, 1) for part in range(3))
    q, k, v = layer("attention.split_qkv", pieces, x=y, bounds=bounds)
    q, k = turned(layer, q, k, turn)
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, allowed, factor=sizes.width**-0.5)
    return layer.linear("attention.o_proj", "attention.dense", y, bias=biased)


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.layer_norm("mlp.norm", "post_attention_layernorm", x, _eps(config))
    y = layer.linear("mlp.up_proj", "mlp.dense_h_to_4h", y, bias=True)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "hidden_act"))
    return layer.linear("mlp.down_proj", "mlp.dense_4h_to_h", y, bias=True)


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_eps", 1e-5))
