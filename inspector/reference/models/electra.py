"""ELECTRA: BERT's blocks over embeddings that may be narrower than the blocks (Clark et al. 2020, arXiv 2003.10555,
section 3.2, and the authors' code).

Shapes: B batch, S new tokens, D width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings, outputs
from inspector.reference.cache import Cache
from inspector.reference.models.layer import layers_of
from inspector.reference.models.post_norm import encoder_layer, eps_of, segments
from inspector.reference.models.shared import Answer, Inputs, Memory
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
    """The discriminator's body, or with `is_decoder` a decoder; with `head` the generator's scores of words besides.

    NotCovered for relative positions.
    """
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise NotCovered(f"the reference has no {kind} positions", why="position_embedding_type of the config")
    w, decoder = Weights(weights, run, "embeddings.word_embeddings.weight"), bool(config.get("is_decoder"))
    memory = Memory(run, cache, keep=decoder and config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    x = _embed(w, config, given, run)
    allowed = given.mask("causal" if decoder else "bidirectional")
    for layer in layers_of(w, run, config["num_hidden_layers"], "encoder.layer"):
        x = encoder_layer(layer, config, x, allowed, memory)
    return Answer(x, _words(w, config, run, x) if head else None, cache=memory.kept)


def _embed(w: Weights, config: Config, given: Inputs, run: Composition) -> Tensor:
    table = w("embeddings.word_embeddings.weight")
    token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    positions = given.positions()
    segment = segments(given, w, run, positions)
    table = w("embeddings.position_embeddings.weight")
    position = run("embedding.position", embeddings.position, position_ids_BS=positions, table_PD=table)
    parts: dict[str, Any] = {"token_BSD": token, "segment_BSD": segment, "position_BSD": position}
    x = run("embedding.add", embeddings.add_embeddings, **parts)
    x = run("embedding.norm", layer_norm, x=x, eps=eps_of(config), **w.affine("embeddings.LayerNorm"))
    if config["embedding_size"] == config["hidden_size"]:
        return x
    return run("embedding.projection", linear, x=x, **w.affine("embeddings_project"))


def _words(w: Weights, config: Config, run: Composition, x: Tensor) -> Tensor:
    """Scores of words, (B, S, V), of the narrower width: by the token table where it is tied, and a bias."""
    tied = config.get("tie_word_embeddings", True)
    x = run(
        "head.transform",
        outputs.transform,
        x_BSD=x,
        dense_DD=w.outside("generator_predictions.dense.weight"),
        dense_bias_D=w.outside("generator_predictions.dense.bias"),
        norm_D=w.outside("generator_predictions.LayerNorm.weight"),
        norm_bias_D=w.outside("generator_predictions.LayerNorm.bias"),
        kind="gelu",
        eps=eps_of(config),
    )
    table = w("embeddings.word_embeddings.weight") if tied else w.outside("generator_lm_head.weight")
    return run("head.lm_head", linear, x=x, weight=table, bias=w.outside("generator_lm_head.bias"))
