"""OLMoE: pre-norm blocks with a mixture of experts in each, and a norm over all queries and over all keys before they
are turned (Muennighoff et al. 2024, arXiv 2409.02060, section 2).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.layout import rounded
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.mixture import Experts, answered, softmax_routed
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, grouped, sizes_of, turn_of, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, Sight, words_of
from inspector.reference.norms import rms_norm
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

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
    """The decoder; with `head` the logits besides. NotCovered for values that are cut off (`clip_qkv`)."""
    if config.get("clip_qkv") is not None:
        raise NotCovered("this reference cuts no queries, keys and values off", why="clip_qkv of the config claims it")
    w = Weights(weights, run, "embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_tokens.weight"))
    turn, sight = turn_of(given, run, rope, x.dtype), Sight(given.mask("causal"))
    for layer in layers_of(w, run, config["num_hidden_layers"], "layers"):
        x = _mixture(layer, config, _attention(layer, config, x, turn, sight, memory))
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    logits = words_of(x, w, run, config, "embed_tokens.weight", tied=False) if head else None
    return Answer(x, logits, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    sizes, biased, parts = sizes_of(config), bool(config.get("attention_bias")), []
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config))
    for operand, heads in (("q", sizes.heads), ("k", sizes.groups), ("v", sizes.groups)):
        z = layer.linear(f"attention.{operand}_proj.{operand}", f"self_attn.{operand}_proj", y, bias=biased)
        if operand != "v":
            name = f"self_attn.{operand}_norm"
            z = layer.rms_norm(f"attention.{operand}_norm.{operand}", name, z, _eps(config))
        parts.append(layer(f"attention.split_heads.{operand}", split_heads, x_BSD=z, heads=heads))
    q, k, v = parts
    q, k = turned(layer, q, k, turn)
    y = grouped(layer, memory, q, k, v, sight, factor=sizes.width**-0.5)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y, bias=biased)
    return layer("attention.residual", add, residual=x, x=y)


def _mixture(layer: Layer, config: Config, x: Tensor) -> Tensor:
    claims, normalised = Experts.of(config), bool(config.get("norm_topk_prob", False))
    y = layer.rms_norm("moe.norm", "post_attention_layernorm", x, _eps(config))
    shares, whose = softmax_routed(layer, y, claims.active, normalised=normalised)
    y = answered(layer, y, shares, whose, claims)
    return layer("moe.residual", add, residual=x, x=layer("moe.residual", rounded, x=y))


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-5))
