"""RoBERTa: BERT's blocks, with positions counted over real tokens from behind the padding id (Liu et al. 2019, arXiv
1907.11692, and the authors' code). XLM-RoBERTa (arXiv 1911.02116) and CamemBERT (arXiv 1911.03894) are the same.

Shapes: B batch, S new tokens, D width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings, outputs
from inspector.reference.cache import Cache
from inspector.reference.models.layer import layers_of
from inspector.reference.models.post_norm import encoder_layer, eps_of, pooled, segments
from inspector.reference.models.shared import Answer, Inputs, Memory
from inspector.reference.norms import layer_norm
from inspector.reference.positions import counted
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

    The pooler runs where there are weights for it. NotCovered for relative positions, and for a past.
    """
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise NotCovered(f"the reference has no {kind} positions", why="position_embedding_type of the config")
    if cache is not None and cache.length:
        raise NotCovered("positions after a past are not covered", why="the ids of the past are not known")
    w, decoder = Weights(weights, run, "embeddings.word_embeddings.weight"), bool(config.get("is_decoder"))
    memory = Memory(run, cache, keep=decoder and config.get("use_cache", True))
    given = Inputs(inputs, run)
    x = _embed(w, config, given, run)
    allowed = given.mask("causal" if decoder else "bidirectional")
    for layer in layers_of(w, run, config["num_hidden_layers"], "encoder.layer"):
        x = encoder_layer(layer, config, x, allowed, memory)
    return Answer(x, _words(w, config, run, x) if head else None, pooled(x, w, run), memory.kept)


def _embed(w: Weights, config: Config, given: Inputs, run: Composition) -> Tensor:
    table = w("embeddings.word_embeddings.weight")
    token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    positions = _positions(config, given, run)
    segment = segments(given, w, run, positions)
    table = w("embeddings.position_embeddings.weight")
    position = run("embedding.position", embeddings.position, position_ids_BS=positions, table_PD=table)
    parts: dict[str, Any] = {"token_BSD": token, "segment_BSD": segment, "position_BSD": position}
    x = run("embedding.add", embeddings.add_embeddings, **parts)
    return run("embedding.norm", layer_norm, x=x, eps=eps_of(config), **w.affine("embeddings.LayerNorm"))


def _positions(config: Config, given: Inputs, run: Composition) -> Tensor:
    """Real tokens are those whose id is not that of padding, whatever the attention mask says."""
    positions, pad = given.get("position_ids"), config["pad_token_id"]
    if positions is not None:
        return positions
    numbers = {"length": given.length, "first": pad + 1, "padding": pad, "unlike": pad}
    return run("positions.ids", counted, real_BT=given["input_ids"], **numbers)


def _words(w: Weights, config: Config, run: Composition, x: Tensor) -> Tensor:
    """Scores of words, (B, S, V), by the token table where it is tied, and a bias of their own."""
    tied = config.get("tie_word_embeddings", True)
    x = run(
        "head.transform",
        outputs.transform,
        x_BSD=x,
        dense_DD=w.outside("lm_head.dense.weight"),
        dense_bias_D=w.outside("lm_head.dense.bias"),
        norm_D=w.outside("lm_head.layer_norm.weight"),
        norm_bias_D=w.outside("lm_head.layer_norm.bias"),
        kind="gelu",
        eps=eps_of(config),
    )
    table = w("embeddings.word_embeddings.weight") if tied else w.outside("lm_head.decoder.weight")
    return run(
        "head.lm_head", linear, x=x, weight=table, bias=w.outside("lm_head.bias" if tied else "lm_head.decoder.bias")
    )
