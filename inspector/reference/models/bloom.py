"""BLOOM: pre-norm blocks over normalised embeddings; scores fall off with distance, each head's at a pace of its own,
and one projection has queries, keys and values of one head after the other (BigScience 2022, arXiv 2211.05100, section
3.2; alibi: arXiv 2108.12409).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.layout import arrange, pieces
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.shared import Answer, Inputs, Memory, attend, words_of
from inspector.reference.norms import layer_norm
from inspector.reference.positions import alibi_of_numbers, counted, position_ids
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


class Tables(NamedTuple):
    """What every layer reads: who may be seen, and what distance adds to the scores."""

    allowed: Tensor | None
    alibi: Tensor


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

    `pretraining_tp` cuts the same maps into slices. NotCovered for a number of heads that is no power of two.
    """
    if config["n_head"] & (config["n_head"] - 1):
        raise NotCovered("slopes of so many heads are not covered", why=f"n_head {config['n_head']} is no power of two")
    if "position_ids" in inputs:
        raise NotCovered("places that are given are not covered", why="BLOOM counts them by its attention mask")
    w, memory = Weights(weights, run, "word_embeddings.weight"), Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("word_embeddings.weight"))
    x = run("embedding.norm", layer_norm, x=x, eps=_eps(config), **w.affine("word_embeddings_layernorm"))
    tables = Tables(given.mask("causal"), _alibi(config, given, run, x))
    for layer in layers_of(w, run, config["n_layer"], "h"):
        x = _attention(layer, config, x, tables, memory)
        x = _feedforward(layer, config, x)
    x = run("head.norm", layer_norm, x=x, eps=_eps(config), **w.affine("ln_f"))
    logits = words_of(x, w, run, config, "word_embeddings.weight", tied=True) if head else None
    return Answer(x, logits, cache=memory.kept)


def _alibi(config: Config, given: Inputs, run: Composition, x: Tensor) -> Tensor:
    """By the place of each key among the real ones: a softmax does not see that it is no distance."""
    total, mask = given.past + given.length, given.get("attention_mask")
    heads = run("positions.ids", position_ids, length=config["n_head"], past=1, device=x.device)
    if mask is None:
        places = run("positions.ids", position_ids, length=total, device=x.device)
    else:
        places = run("positions.ids", counted, real_BT=mask, length=total)
    batch = x.shape[0]
    return run("positions.alibi", alibi_of_numbers, heads_1H=heads, places_BT=places, batch=batch, dtype=x.dtype)


def _attention(layer: Layer, config: Config, x: Tensor, tables: Tables, memory: Memory) -> Tensor:
    y = layer.layer_norm("attention.norm", "input_layernorm", x, _eps(config))
    residual = y if config.get("apply_residual_connection_post_layernorm") else x
    y = layer.linear("attention.qkv_proj", "self_attention.query_key_value", y, bias=True)
    q, k, v = _parts(layer, config, y)
    k, v = memory.with_past(layer, k, v)
    factor = (config["hidden_size"] // config["n_head"]) ** -0.5
    y = attend(layer, q, k, v, tables.allowed, factor=factor, bias=tables.alibi)
    y = layer.linear("attention.o_proj", "self_attention.dense", y, bias=True)
    return layer("attention.residual", add, residual=residual, x=y)


def _parts(layer: Layer, config: Config, x: Tensor) -> list[Tensor]:
    """For each head its query, its key and its value."""
    x = layer("attention.split_heads", arrange, x=x, pattern="B S (H N K) -> B S H N K", H=config["n_head"], N=3)
    parts = []
    for place, operand in enumerate("qkv"):
        (part,) = layer(f"attention.split_qkv.{operand}", pieces, x=x, bounds=((place, place + 1, 1),), axis=3)
        parts.append(layer(f"attention.split_heads.{operand}", arrange, x=part, pattern="B S H N K -> B (H N) S K"))
    return parts


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.layer_norm("mlp.norm", "post_attention_layernorm", x, _eps(config))
    residual = y if config.get("apply_residual_connection_post_layernorm") else x
    y = layer.linear("mlp.up_proj", "mlp.dense_h_to_4h", y, bias=True)
    y = layer("mlp.activation", activate, x=y, kind="gelu_tanh")
    y = layer.linear("mlp.down_proj", "mlp.dense_4h_to_h", y, bias=True)
    return layer("mlp.residual", add, residual=residual, x=y)


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_epsilon", 1e-5))
