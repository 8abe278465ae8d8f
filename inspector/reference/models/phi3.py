"""Phi-3: Llama's block with one projection for queries, keys and values and one for gate and up; part of a head may be
turned, and tokens may see a window (Abdin et al. 2024, arXiv 2404.14219, section 2, and the code released with it).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add, multiply
from inspector.reference.heads import split_heads
from inspector.reference.layout import pieces
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, grouped, sizes_of, turn_of, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, Sight, activation_of, sights_of, words_of
from inspector.reference.norms import rms_norm
from inspector.reference.projections import split_gate_up
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
    """The decoder; with `head` the logits besides. `sliding_window` None is no window."""
    w = Weights(weights, run, "embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width, partial=True)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_tokens.weight"))
    turn, count = turn_of(given, run, rope, x.dtype, dims=rope.dim), config["num_hidden_layers"]
    sights = sights_of(given, memory, [config.get("sliding_window")] * count)
    for layer in layers_of(w, run, count, "layers"):
        x = _attention(layer, config, x, turn, sights[layer.number], memory)
        x = _feedforward(layer, config, x)
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    logits = words_of(x, w, run, config, "embed_tokens.weight", tied=False) if head else None
    return Answer(x, logits, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    sizes = sizes_of(config)
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config))
    y = layer.linear("attention.qkv_proj", "self_attn.qkv_proj", y)
    q, k, v = _parts(layer, y, config)
    q, k = turned(layer, q, k, turn)
    y = grouped(layer, memory, q, k, v, sight, factor=sizes.width**-0.5)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y)
    return layer("attention.residual", add, residual=x, x=y)


def _parts(layer: Layer, x: Tensor, config: Config) -> list[Tensor]:
    """All queries, then all keys, then all values."""
    sizes, start, parts = sizes_of(config), 0, []
    for operand, heads in (("q", sizes.heads), ("k", sizes.groups), ("v", sizes.groups)):
        bounds = ((start, start + heads * sizes.width, 1),)
        (part,) = layer(f"attention.split_qkv.{operand}", pieces, x=x, bounds=bounds)
        parts.append(layer(f"attention.split_heads.{operand}", split_heads, x_BSD=part, heads=heads))
        start += heads * sizes.width
    return parts


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.rms_norm("mlp.norm", "post_attention_layernorm", x, _eps(config))
    y = layer.linear("mlp.up_gate_proj", "mlp.gate_up_proj", y)
    gate, up = layer("mlp.split_up_gate", split_gate_up, x=y)
    gate = layer("mlp.activation", activate, x=gate, kind=activation_of(config, "hidden_act"))
    y = layer("mlp.multiply", multiply, gate=gate, up=up)
    y = layer.linear("mlp.down_proj", "mlp.down_proj", y)
    return layer("mlp.residual", add, residual=x, x=y)


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-6))
