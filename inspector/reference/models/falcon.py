"""Falcon: one projection for queries and the keys and values they share, attention and feed-forward layer side by side
behind one norm, or each behind its own (Almazrouei et al. 2023, arXiv 2311.16867, section 3, and the code released with
it).

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add_all
from inspector.reference.layout import arrange, pieces, repeated
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.models.rotary import Turn, turn_of, turned
from inspector.reference.models.shared import Answer, Inputs, Memory, activation_of, attend, words_of
from inspector.reference.norms import layer_norm
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
    """The decoder; with `head` the logits besides, by the token table where it is tied.

    NotCovered for the 1B models' own ways: alibi, and sublayers that follow each other.
    """
    _require_covered(config)
    w, memory = Weights(weights, run, "word_embeddings.weight"), Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    rope = rope_claimed(config, _width(config))
    x = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=w("word_embeddings.weight"))
    turn, allowed = turn_of(given, run, rope, x.dtype), given.mask("causal")
    for layer in layers_of(w, run, config["num_hidden_layers"], "h"):
        y = z = layer.layer_norm("attention.norm", _norms(config)[0], x, _eps(config))
        if len(_norms(config)) == 2:
            z = layer.layer_norm("mlp.norm", _norms(config)[1], x, _eps(config))
        y = _attention(layer, config, y, turn, allowed, memory)
        x = layer("mlp.residual", add_all, first=x, second=_feedforward(layer, config, z), third=y)
    x = run("head.norm", layer_norm, x=x, eps=_eps(config), **w.affine("ln_f"))
    logits = words_of(x, w, run, config, "word_embeddings.weight", tied=True) if head else None
    return Answer(x, logits, cache=memory.kept)


def _require_covered(config: Config) -> None:
    follow = not (config.get("parallel_attn", True) or config.get("new_decoder_architecture"))
    if config.get("alibi") or follow:
        key = "alibi" if config.get("alibi") else "parallel_attn"
        raise NotCovered(f"this reference has no {key} {config[key]}", why="the config claims it")


def _norms(config: Config) -> tuple[str, ...]:
    """The norms of a block: one for both sublayers, or one for each."""
    if not config.get("new_decoder_architecture") or config.get("num_ln_in_parallel_attn") == 1:
        return ("input_layernorm",)
    return ("ln_attn", "ln_mlp")


def _width(config: Config) -> int:
    return int(config["hidden_size"] // config["num_attention_heads"])


def _groups(config: Config) -> int:
    """How many keys and values there are: one, one for each head, or as many as are claimed."""
    if config.get("new_decoder_architecture"):
        return int(config["num_kv_heads"])
    return 1 if config.get("multi_query", True) else int(config["num_attention_heads"])


def _attention(layer: Layer, config: Config, x: Tensor, turn: Turn, allowed: Tensor | None, memory: Memory) -> Tensor:
    biased = bool(config.get("bias"))
    y = layer.linear("attention.qkv_proj", "self_attention.query_key_value", x, bias=biased)
    q, k, v = (_shared if _groups(config) == 1 else _grouped)(layer, config, y)
    q, k = turned(layer, q, k, turn)
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, allowed, factor=_width(config) ** -0.5)
    return layer.linear("attention.o_proj", "self_attention.dense", y, bias=biased)


def _shared(layer: Layer, config: Config, x: Tensor) -> list[Tensor]:
    """All queries, and then one key and one value for all heads."""
    heads, width = config["num_attention_heads"], _width(config)
    parts = []
    x = layer("attention.split_heads", arrange, x=x, pattern="B S (N K) -> B S N K", K=width)
    for operand, start, stop in (("q", 0, heads), ("k", heads, heads + 1), ("v", heads + 1, heads + 2)):
        (part,) = layer(f"attention.split_qkv.{operand}", pieces, x=x, bounds=((start, stop, 1),), axis=2)
        parts.append(layer(f"attention.split_heads.{operand}", arrange, x=part, pattern="B S N K -> B N S K"))
    return parts


def _grouped(layer: Layer, config: Config, x: Tensor) -> list[Tensor]:
    """For each group its queries, and then its key and its value, which are repeated for each of its queries."""
    groups, width = _groups(config), _width(config)
    each, parts = config["num_attention_heads"] // groups, []
    x = layer("attention.split_heads", arrange, x=x, pattern="B S (G N K) -> B S G N K", G=groups, K=width)
    for operand, start, stop in (("q", 0, each), ("k", each, each + 1), ("v", each + 1, each + 2)):
        (part,) = layer(f"attention.split_qkv.{operand}", pieces, x=x, bounds=((start, stop, 1),), axis=3)
        pattern = "B S G N K -> B (G N) S K"
        if operand != "q" and each > 1:
            part = layer(f"attention.repeat_kv.{operand}", repeated, x=part, times=each, axis=3)
        parts.append(layer(f"attention.split_heads.{operand}", arrange, x=part, pattern=pattern))
    return parts


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    biased = bool(config.get("bias"))
    y = layer.linear("mlp.up_proj", "mlp.dense_h_to_4h", x, bias=biased)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "activation"))
    return layer.linear("mlp.down_proj", "mlp.dense_4h_to_h", y, bias=biased)


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_epsilon", 1e-5))
