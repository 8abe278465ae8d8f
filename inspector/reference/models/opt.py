"""OPT: pre-norm blocks over learned positions, which are counted over real tokens and looked up two rows further on;
queries are scaled before they meet the keys (Zhang et al. 2022, arXiv 2205.01068, section 2, and the code released with
it).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.attention import scale
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.shared import Answer, Inputs, Memory, activation_of, attend, words_of
from inspector.reference.norms import layer_norm
from inspector.reference.positions import counted, position_ids
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]

EPS = 1e-5
"""Of every norm: it stands in the published code, and no config says another."""

FIRST = 2
"""The row of the first position."""


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

    NotCovered for the 350M model's own ways: norms behind the sublayers, and embeddings of another width.
    """
    _require_covered(config)
    w = Weights(weights, run, "decoder.embed_tokens.weight")
    memory = Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    x = _embed(w, given, run)
    allowed = given.mask("causal")
    for layer in layers_of(w, run, config["num_hidden_layers"], "decoder.layers"):
        x = _attention(layer, config, x, allowed, memory)
        x = _feedforward(layer, config, x)
    x = run("head.norm", layer_norm, x=x, eps=EPS, **w.affine("decoder.final_layer_norm"))
    logits = words_of(x, w, run, config, "decoder.embed_tokens.weight", tied=True) if head else None
    return Answer(x, logits, cache=memory.kept)


def _require_covered(config: Config) -> None:
    plain = {
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": False,
        "layer_norm_elementwise_affine": True,
        "word_embed_proj_dim": config["hidden_size"],
    }
    for key, value in plain.items():
        if config.get(key, value) not in (value, None):
            raise NotCovered(f"this reference has no {key} {config[key]}", why=f"it covers {value} alone")


def _embed(w: Weights, given: Inputs, run: Composition) -> Tensor:
    """Positions that are given are those of the tokens; the table has two rows before them."""
    table = w("decoder.embed_tokens.weight")
    token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    table, ids, offset = w("decoder.embed_positions.weight"), given.get("position_ids"), FIRST
    if ids is None:
        ids, offset = _rows(given, run), 0
    position = run("embedding.position", embeddings.position, position_ids_BS=ids, table_PD=table, offset=offset)
    return run("embedding.add", embeddings.add_embeddings, token_BSD=token, position_BSD=position)


def _rows(given: Inputs, run: Composition) -> Tensor:
    """The row of each new token, counted over real ones; padding has the row before the first."""
    mask = given.get("attention_mask")
    if mask is None:
        where = given["input_ids"].device
        return run("positions.ids", position_ids, length=given.length, past=given.past + FIRST, device=where)
    return run("positions.ids", counted, real_BT=mask, length=given.length, first=FIRST, padding=FIRST - 1)


def _attention(layer: Layer, config: Config, x: Tensor, allowed: Tensor | None, memory: Memory) -> Tensor:
    heads, biased, parts = config["num_attention_heads"], config.get("enable_bias", True), []
    y = layer.layer_norm("attention.norm", "self_attn_layer_norm", x, EPS)
    for operand in "qkv":
        flat = layer.linear(f"attention.{operand}_proj.{operand}", f"self_attn.{operand}_proj", y, bias=biased)
        if operand == "q":
            factor = (config["hidden_size"] // heads) ** -0.5
            flat = layer("attention.scale.q", scale, scores_BHST=flat, factor=factor)
        parts.append(layer(f"attention.split_heads.{operand}", split_heads, x_BSD=flat, heads=heads))
    q, k, v = parts
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, allowed, factor=1.0)
    y = layer.linear("attention.o_proj", "self_attn.out_proj", y, bias=biased)
    return layer("attention.residual", add, residual=x, x=y)


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    biased = config.get("enable_bias", True)
    y = layer.layer_norm("mlp.norm", "final_layer_norm", x, EPS)
    y = layer.linear("mlp.up_proj", "fc1", y, bias=biased)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "activation_function"))
    y = layer.linear("mlp.down_proj", "fc2", y, bias=biased)
    return layer("mlp.residual", add, residual=x, x=y)
