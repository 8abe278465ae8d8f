"""DistilBERT: half of BERT's blocks, without segments and without a pooler (Sanh et al. 2019, arXiv 1910.01108,
section 3).

Shapes: B batch, S tokens, D width, H heads, K head width, V vocabulary.
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
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.shared import Answer, Inputs, activation_of, attend
from inspector.reference.norms import layer_norm
from inspector.reference.projections import linear
from inspector.reference.steps import Composition
from inspector.reference.weights import NotCovered, Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]

EPS = 1e-12
"""Of every norm: it stands in the published code, and no config says another."""


def forward(
    weights: Mapping[str, Tensor],
    config: Config,
    inputs: Mapping[str, Tensor],
    run: Composition,
    cache: Cache | None = None,
    *,
    head: bool = False,
) -> Answer:
    """The encoder; with `head` the scores of words besides. NotCovered for a past.

    `sinusoidal_pos_embds` says how the table of positions was filled: it is looked up all the same.
    """
    if cache is not None:
        raise NotCovered("an encoder keeps no cache", why="DistilBERT reads a sequence as a whole")
    w, given = Weights(weights, run, "embeddings.word_embeddings.weight"), Inputs(inputs, run)
    table = w("embeddings.word_embeddings.weight")
    token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    positions, table = given.positions(), w("embeddings.position_embeddings.weight")
    position = run("embedding.position", embeddings.position, position_ids_BS=positions, table_PD=table)
    x = run("embedding.add", embeddings.add_embeddings, token_BSD=token, position_BSD=position)
    x = run("embedding.norm", layer_norm, x=x, eps=EPS, **w.affine("embeddings.LayerNorm"))
    allowed = given.mask("bidirectional")
    for layer in layers_of(w, run, config["n_layers"], "transformer.layer"):
        x = _attention(layer, config, x, allowed)
        x = _feedforward(layer, config, x)
    return Answer(x, _words(w, config, run, x) if head else None)


def _attention(layer: Layer, config: Config, x: Tensor, allowed: Tensor | None) -> Tensor:
    heads, parts = config["n_heads"], []
    for operand in "qkv":
        flat = layer.linear(f"attention.{operand}_proj.{operand}", f"attention.{operand}_lin", x, bias=True)
        parts.append(layer(f"attention.split_heads.{operand}", split_heads, x_BSD=flat, heads=heads))
    q, k, v = parts
    y = attend(layer, q, k, v, allowed, factor=(config["dim"] // heads) ** -0.5)
    y = layer.linear("attention.o_proj", "attention.out_lin", y, bias=True)
    x = layer("attention.residual", add, residual=x, x=y)
    return layer.layer_norm("attention.post_norm", "sa_layer_norm", x, EPS)


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.linear("mlp.up_proj", "ffn.lin1", x, bias=True)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "activation"))
    y = layer.linear("mlp.down_proj", "ffn.lin2", y, bias=True)
    x = layer("mlp.residual", add, residual=x, x=y)
    return layer.layer_norm("mlp.post_norm", "output_layer_norm", x, EPS)


def _words(w: Weights, config: Config, run: Composition, x: Tensor) -> Tensor:
    """Scores of words, (B, S, V), by the token table where it is tied, and a bias of their own."""
    x = run(
        "head.transform",
        outputs.transform,
        x_BSD=x,
        dense_DD=w.outside("vocab_transform.weight"),
        dense_bias_D=w.outside("vocab_transform.bias"),
        norm_D=w.outside("vocab_layer_norm.weight"),
        norm_bias_D=w.outside("vocab_layer_norm.bias"),
        kind=activation_of(config, "activation"),
        eps=EPS,
    )
    tied = config.get("tie_word_embeddings", True)
    table = w("embeddings.word_embeddings.weight") if tied else w.outside("vocab_projector.weight")
    return run("head.lm_head", linear, x=x, weight=table, bias=w.outside("vocab_projector.bias"))
