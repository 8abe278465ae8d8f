"""Qwen3: Llama's block, with a norm over each head of queries and keys before they are turned; some layers may see a
window, and some have a mixture of experts in place of the feed-forward layer (Yang et al. 2025, arXiv 2505.09388,
section 2).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.layout import arrange, rounded
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.mixture import Experts, answered, number_of_experts, softmax_routed
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, gated, grouped, sizes_of, turn_of, turned, windows_of
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
    turn, sights = turn_of(given, run, rope, x.dtype), sights_of(given, memory, _windows(config))
    for layer in layers_of(w, run, config["num_hidden_layers"], "layers"):
        x = _attention(layer, config, x, turn, sights[layer.number], memory)
        x = (_mixture if _is_sparse(config, layer.number) else _feedforward)(layer, config, x)
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    logits = words_of(x, w, run, config, "embed_tokens.weight", tied=False) if head else None
    return Answer(x, logits, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    sizes = sizes_of(config)
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config))
    q = _heads(layer, config, y, "q", sizes.heads, norm=True)
    k = _heads(layer, config, y, "k", sizes.groups, norm=True)
    v = _heads(layer, config, y, "v", sizes.groups, norm=False)
    q, k = turned(layer, q, k, turn)
    y = grouped(layer, memory, q, k, v, sight, factor=sizes.width**-0.5)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y, bias=bool(config.get("attention_bias")))
    return layer("attention.residual", add, residual=x, x=y)


def _heads(layer: Layer, config: Config, x: Tensor, name: str, heads: int, *, norm: bool) -> Tensor:
    """One of queries, keys and values, (B, heads, S, K); `norm` says whether each head of it is normalised."""
    biased = bool(config.get("attention_bias"))
    y = layer.linear(f"attention.{name}_proj.{name}", f"self_attn.{name}_proj", x, bias=biased)
    if not norm:
        return layer(f"attention.split_heads.{name}", split_heads, x_BSD=y, heads=heads)
    y = layer(f"attention.split_heads.{name}", arrange, x=y, pattern="B S (H K) -> B S H K", H=heads)
    y = layer.rms_norm(f"attention.{name}_norm.{name}", f"self_attn.{name}_norm", y, _eps(config))
    return layer(f"attention.split_heads.{name}", arrange, x=y, pattern="B S H K -> B H S K")


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.rms_norm("mlp.norm", "post_attention_layernorm", x, _eps(config))
    y = gated(layer, y, activation_of(config, "hidden_act"))
    return layer("mlp.residual", add, residual=x, x=y)


def _mixture(layer: Layer, config: Config, x: Tensor) -> Tensor:
    claims, normalised = Experts.of(config), bool(config.get("norm_topk_prob", False))
    y = layer.rms_norm("moe.norm", "post_attention_layernorm", x, _eps(config))
    shares, whose = softmax_routed(layer, y, claims.active, normalised=normalised)
    y = answered(layer, y, shares, whose, claims)
    return layer("moe.residual", add, residual=x, x=layer("moe.residual", rounded, x=y))


def _is_sparse(config: Config, number: int) -> bool:
    """Whether a layer has experts: none does, or every n-th but for those that are named."""
    if number in (config.get("mlp_only_layers") or ()) or not number_of_experts(config):
        return False
    return (number + 1) % int(config.get("decoder_sparse_step", 1)) == 0


def _windows(config: Config) -> list[int | None]:
    """How many tokens each layer sees; with experts the same in every layer, for there is no list."""
    if number_of_experts(config) and config.get("layer_types") is None:
        return [config.get("sliding_window")] * config["num_hidden_layers"]
    return windows_of(config)


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-6))
