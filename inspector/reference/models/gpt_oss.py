"""gpt-oss: Llama's block, whose heads may look at nothing (a sink), every second layer sees a window, and each has a
mixture of experts (OpenAI 2025, arXiv 2508.10925, section 2).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, A active experts, M rows of experts.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from inspector.reference import attention, embeddings
from inspector.reference.activations import activate, clamp, shift
from inspector.reference.cache import Cache
from inspector.reference.experts import probabilities
from inspector.reference.feedforward import add, multiply
from inspector.reference.heads import merge_heads, repeat_kv
from inspector.reference.layout import rounded
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.mixture import Experts, answered, best, number_of_experts
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, projected, sizes_of, turn_of, turned, windows_of
from inspector.reference.models.shared import Answer, Inputs, Memory, Sight, sights_of, words_of
from inspector.reference.norms import rms_norm
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]

_STEEP = 1.702


def forward(
    weights: Mapping[str, Tensor],
    config: Config,
    inputs: Mapping[str, Tensor],
    run: Composition,
    cache: Cache | None = None,
    *,
    head: bool = False,
) -> Answer:
    """The decoder; with `head` the logits besides. NotCovered for a gate of another steepness (`swiglu_alpha`)."""
    if config.get("swiglu_alpha", _STEEP) != _STEEP:
        raise NotCovered(f"this reference has no gate but that of {_STEEP}", why="the config's swiglu_alpha claims one")
    w = Weights(weights, run, "embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, sizes_of(config).width)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("embed_tokens.weight"))
    turn = turn_of(given, run, rope, x.dtype, "single")._replace(layout="half")  # one angle for each pair of halves
    sights = sights_of(given, memory, windows_of(config))
    for layer in layers_of(w, run, config["num_hidden_layers"], "layers"):
        x = _attention(layer, config, x, turn, sights[layer.number], memory)
        x = _mixture(layer, config, x)
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    logits = words_of(x, w, run, config, "embed_tokens.weight", tied=False) if head else None
    return Answer(x, logits, cache=memory.kept)


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, sight: Sight, memory: Memory) -> Tensor:
    sizes, biased = sizes_of(config), bool(config.get("attention_bias", True))
    y = layer.rms_norm("attention.norm", "input_layernorm", x, _eps(config))
    q, k, v = projected(layer, y, sizes, bias=biased)
    q, k = turned(layer, q, k, turn)
    k, v = memory.with_past(layer, k, v, sight.window)
    k = layer("attention.repeat_kv.k", repeat_kv, x_BGTK=k, heads=sizes.heads)
    v = layer("attention.repeat_kv.v", repeat_kv, x_BGTK=v, heads=sizes.heads)
    s = layer("attention.scores", attention.scores, q_BHSK=q, k_BHTK=k)
    s = layer("attention.scale", attention.scale, scores_BHST=s, factor=sizes.width**-0.5)
    if sight.allowed is not None:
        s = layer("attention.mask", attention.apply_mask, scores_BHST=s, allowed=sight.allowed)
    s = layer("attention.sink", attention.with_sink, scores_BHST=s, sinks_H=layer.weight("self_attn.sinks"))
    p = layer("attention.softmax", attention.softmax, scores_BHST=s)
    p = layer("attention.sink", attention.drop_sink, weights_BHST=p)
    y = layer("attention.weighted_sum", attention.weighted_sum, weights_BHST=p, v_BHTK=v)
    y = layer("attention.merge_heads", merge_heads, x_BHSK=y)
    y = layer.linear("attention.o_proj", "self_attn.o_proj", y, bias=biased)
    return layer("attention.residual", add, residual=x, x=y)


def _mixture(layer: Layer, config: Config, x: Tensor) -> Tensor:
    """Probabilities are among the chosen experts alone."""
    number, active = number_of_experts(config), config["num_experts_per_tok"]
    claims = Experts(number, active, "quick_gelu", biased=True, stored="in_out", cut="interleaved")
    y = layer.rms_norm("moe.norm", "post_attention_layernorm", x, _eps(config))
    scores, whose = best(layer, layer.linear("moe.router", "mlp.router", y, bias=True), active)
    shares = layer("moe.router_score", probabilities, logits_NE=scores)
    y = answered(layer, y, shares, whose, claims, partial(_gated, limit=float(config.get("swiglu_limit", 7.0))))
    return layer("moe.residual", add, residual=x, x=layer("moe.residual", rounded, x=y))


def _gated(layer: Layer, gate: Tensor, up: Tensor, limit: float) -> Tensor:
    """gate · σ(1.702 · gate) · (up + 1), where gate is cut off above, and up on both sides: (M, F)."""
    name = "moe.expert_activation"
    gate = layer(name, activate, x=layer(name, clamp, x=gate, high=limit), kind="quick_gelu")
    up = layer(name, shift, x=layer(name, clamp, x=up, low=-limit, high=limit), by=1.0)
    return layer("moe.expert_multiply", multiply, gate=up, up=gate)


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-5))
