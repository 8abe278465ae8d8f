"""BERT: post-norm blocks over learned positions and segments (Devlin et al. 2018, arXiv 1810.04805).

Shapes: B batch, S new tokens, T keys, D width, H heads, K = D/H head width, F ffn width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings, outputs
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.models.shared import Answer, Inputs, activation_of, attend, remember
from inspector.reference.norms import layer_norm
from inspector.reference.projections import linear
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
    """The encoder, or with `is_decoder` the decoder; with `head` the scores of words besides.

    The pooler runs where there are weights for it. NotCovered for relative positions.
    """
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise NotCovered(f"the reference has no {kind} positions", why="position_embedding_type of the config")
    w = Weights(weights, run, "embeddings.word_embeddings.weight")
    decoder = bool(config.get("is_decoder"))
    past = cache or Cache()
    given = Inputs(inputs, run, past.length)
    x = _embed(w, config, given, run)
    allowed = given.mask("causal" if decoder else "bidirectional")
    kept = Cache() if decoder and (cache is not None or config.get("use_cache", True)) else None
    for layer in range(config["num_hidden_layers"]):
        x, kept = _attention(w, config, run, x, allowed, past, kept, layer)
        x = _feedforward(w, config, run, x, layer)
    pooled = None
    if "pooler.dense.weight" in w:
        dense = w("pooler.dense.weight"), w("pooler.dense.bias")
        pooled = run("head.pooler", outputs.pooler, x_BSD=x, weight_DD=dense[0], bias_D=dense[1])
    return Answer(x, _words(w, config, run, x) if head else None, pooled, kept)


def _embed(w: Weights, config: Config, given: Inputs, run: Composition) -> Tensor:
    ids = given["input_ids"]
    token = run("embedding.token", embeddings.token, ids_BS=ids, table_VD=w("embeddings.word_embeddings.weight"))
    positions = given.positions()
    kinds, table = given.get("token_type_ids"), w("embeddings.token_type_embeddings.weight")
    if kinds is None:
        batch = ids.shape[0]
        segment = run(
            "embedding.segment", embeddings.first_segment, position_ids_BS=positions, table_ND=table, batch=batch
        )
    else:
        segment = run("embedding.segment", embeddings.segment, token_type_ids_BS=kinds, table_ND=table)
    table = w("embeddings.position_embeddings.weight")
    position = run("embedding.position", embeddings.position, position_ids_BS=positions, table_PD=table)
    x = run(
        "embedding.add",
        embeddings.add_embeddings,
        token_BSD=token,
        segment_BSD=segment,
        position_BSD=position,
    )
    return run("embedding.norm", layer_norm, x=x, eps=_eps(config), **w.affine("embeddings.LayerNorm"))


def _attention(
    w: Weights,
    config: Config,
    run: Composition,
    x: Tensor,
    allowed: Tensor | None,
    past: Cache,
    kept: Cache | None,
    layer: int,
) -> tuple[Tensor, Cache | None]:
    name, heads = f"encoder.layer.{layer}.attention", config["num_attention_heads"]
    parts = []
    for operand, module in (("q", "query"), ("k", "key"), ("v", "value")):
        affine = w.affine(f"{name}.self.{module}")
        flat = run(f"attention.{operand}_proj.{operand}", linear, layer=layer, x=x, **affine)
        parts.append(run(f"attention.split_heads.{operand}", split_heads, layer=layer, x_BSD=flat, heads=heads))
    q, k, v = parts
    if kept is not None:
        k, v = remember(run, k, v, past, layer)
        kept = kept.extended(k, v)
    factor = (config["hidden_size"] // heads) ** -0.5
    mixed = attend(run, q, k, v, allowed, factor=factor, layer=layer)
    mixed = run("attention.o_proj", linear, layer=layer, x=mixed, **w.affine(f"{name}.output.dense"))
    x = run("attention.residual", add, layer=layer, residual=x, x=mixed)
    norm = w.affine(f"{name}.output.LayerNorm")
    return run("attention.post_norm", layer_norm, layer=layer, x=x, eps=_eps(config), **norm), kept


def _feedforward(w: Weights, config: Config, run: Composition, x: Tensor, layer: int) -> Tensor:
    name = f"encoder.layer.{layer}"
    y = run("mlp.up_proj", linear, layer=layer, x=x, **w.affine(f"{name}.intermediate.dense"))
    y = run("mlp.activation", activate, layer=layer, x=y, kind=activation_of(config, "hidden_act"))
    y = run("mlp.down_proj", linear, layer=layer, x=y, **w.affine(f"{name}.output.dense"))
    x = run("mlp.residual", add, layer=layer, residual=x, x=y)
    norm = w.affine(f"{name}.output.LayerNorm")
    return run("mlp.post_norm", layer_norm, layer=layer, x=x, eps=_eps(config), **norm)


def _words(w: Weights, config: Config, run: Composition, x: Tensor) -> Tensor:
    """Scores of words, (B, S, V), by the token table where it is tied, and a bias of their own."""
    tied = config.get("tie_word_embeddings", True)
    name = "cls.predictions.transform"
    x = run(
        "head.transform",
        outputs.transform,
        x_BSD=x,
        dense_DD=w.outside(f"{name}.dense.weight"),
        dense_bias_D=w.outside(f"{name}.dense.bias"),
        norm_D=w.outside(f"{name}.LayerNorm.weight"),
        norm_bias_D=w.outside(f"{name}.LayerNorm.bias"),
        kind=activation_of(config, "hidden_act"),
        eps=_eps(config),
    )
    table = w("embeddings.word_embeddings.weight") if tied else w.outside("cls.predictions.decoder.weight")
    bias = w.outside("cls.predictions.bias" if tied else "cls.predictions.decoder.bias")
    return run("head.lm_head", linear, x=x, weight=table, bias=bias)


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_eps", 1e-12))
