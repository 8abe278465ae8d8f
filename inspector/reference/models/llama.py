"""Llama: pre-norm blocks, rotary positions, grouped keys and values, a gated feed-forward layer (Touvron et al. 2023,
arXiv 2302.13971 and 2307.09288; Llama 3, arXiv 2407.21783).

Shapes: B batch, S new tokens, P past, T = P + S keys, D width, H heads, G kv heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add, multiply
from inspector.reference.frequencies import RopeScaling
from inspector.reference.heads import repeat_kv, split_heads
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.shared import Answer, Inputs, activation_of, attend, remember
from inspector.reference.norms import rms_norm
from inspector.reference.projections import linear
from inspector.reference.rope import rope_table, rotate
from inspector.reference.steps import Composition
from inspector.reference.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


class Sizes(NamedTuple):
    """What a config claims of the heads."""

    heads: int
    groups: int
    width: int


class Tables(NamedTuple):
    """What every layer reads: who may be seen, and how far each position is turned."""

    allowed: Tensor | None
    cos: Tensor
    sin: Tensor


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
    past = cache or Cache()
    given = Inputs(inputs, run, past.length)
    rope = rope_claimed(config, _sizes(config).width)
    table = w("embed_tokens.weight")
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    tables = _tables(given, rope, run, x)
    kept = Cache() if cache is not None or config.get("use_cache", True) else None
    for layer in range(config["num_hidden_layers"]):
        x, kept = _attention(w, config, run, x, tables, past, kept, layer)
        x = _feedforward(w, config, run, x, layer)
    x = run("head.norm", rms_norm, x=x, weight=w("norm.weight"), eps=_eps(config))
    if not head:
        return Answer(x, cache=kept)
    tied = config.get("tie_word_embeddings", False)
    logits = run("head.lm_head", linear, x=x, weight=table if tied else w.outside("lm_head.weight"))
    return Answer(x, logits, cache=kept)


def _tables(given: Inputs, rope: RopeScaling, run: Composition, x: Tensor) -> Tables:
    ids = given.positions()
    cos, sin = run("positions.rope_table", rope_table, position_ids_BS=ids, dtype=x.dtype, **rope.claims())
    return Tables(given.mask("causal"), cos, sin)


def _attention(
    w: Weights,
    config: Config,
    run: Composition,
    x: Tensor,
    tables: Tables,
    past: Cache,
    kept: Cache | None,
    layer: int,
) -> tuple[Tensor, Cache | None]:
    name, sizes = f"layers.{layer}", _sizes(config)
    y = run("attention.norm", rms_norm, layer=layer, x=x, weight=w(f"{name}.input_layernorm.weight"), eps=_eps(config))
    q, k, v = _project(w, config, run, y, layer)
    turn: dict[str, Any] = {"cos_B1SR": tables.cos, "sin_B1SR": tables.sin, "layer": layer}
    q = run("attention.rope.q", rotate, x_BHSK=q, **turn)
    k = run("attention.rope.k", rotate, x_BHSK=k, **turn)
    if kept is not None:
        k, v = remember(run, k, v, past, layer)
        kept = kept.extended(k, v)
    k = run("attention.repeat_kv.k", repeat_kv, layer=layer, x_BGTK=k, heads=sizes.heads)
    v = run("attention.repeat_kv.v", repeat_kv, layer=layer, x_BGTK=v, heads=sizes.heads)
    y = attend(run, q, k, v, tables.allowed, factor=sizes.width**-0.5, layer=layer)
    out = w.affine(f"{name}.self_attn.o_proj", bias=bool(config.get("attention_bias")))
    y = run("attention.o_proj", linear, layer=layer, x=y, **out)
    return run("attention.residual", add, layer=layer, residual=x, x=y), kept


def _project(w: Weights, config: Config, run: Composition, x: Tensor, layer: int) -> list[Tensor]:
    sizes, biased = _sizes(config), bool(config.get("attention_bias"))
    parts = []
    for operand, heads in (("q", sizes.heads), ("k", sizes.groups), ("v", sizes.groups)):
        affine = w.affine(f"layers.{layer}.self_attn.{operand}_proj", bias=biased)
        flat = run(f"attention.{operand}_proj.{operand}", linear, layer=layer, x=x, **affine)
        parts.append(run(f"attention.split_heads.{operand}", split_heads, layer=layer, x_BSD=flat, heads=heads))
    return parts


def _feedforward(w: Weights, config: Config, run: Composition, x: Tensor, layer: int) -> Tensor:
    name, biased = f"layers.{layer}", bool(config.get("mlp_bias"))
    norm = w(f"{name}.post_attention_layernorm.weight")
    y = run("mlp.norm", rms_norm, layer=layer, x=x, weight=norm, eps=_eps(config))
    gate = run("mlp.gate_proj", linear, layer=layer, x=y, **w.affine(f"{name}.mlp.gate_proj", bias=biased))
    gate = run("mlp.activation", activate, layer=layer, x=gate, kind=activation_of(config, "hidden_act"))
    up = run("mlp.up_proj", linear, layer=layer, x=y, **w.affine(f"{name}.mlp.up_proj", bias=biased))
    y = run("mlp.multiply", multiply, layer=layer, gate=gate, up=up)
    y = run("mlp.down_proj", linear, layer=layer, x=y, **w.affine(f"{name}.mlp.down_proj", bias=biased))
    return run("mlp.residual", add, layer=layer, residual=x, x=y)


def _sizes(config: Config) -> Sizes:
    heads = config["num_attention_heads"]
    return Sizes(
        heads, config.get("num_key_value_heads") or heads, config.get("head_dim") or config["hidden_size"] // heads
    )


def _eps(config: Config) -> float:
    return float(config.get("rms_norm_eps", 1e-6))
