"""The block of BERT and its kin: each sublayer's answer is added to what entered it, and then the sum is normalised
(Vaswani et al. 2017, arXiv 1706.03762, section 3.1; Devlin et al. 2018, arXiv 1810.04805).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width.
"""

from __future__ import annotations

__all__ = ["encoder_layer", "eps_of", "pooled", "segments"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings, outputs
from inspector.reference.activations import activate
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.models.layer import Layer
from inspector.reference.models.shared import Inputs, Memory, activation_of, attend
from inspector.reference.steps import Composition
from inspector.reference.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


def encoder_layer(layer: Layer, config: Config, x: Tensor, allowed: Tensor | None, memory: Memory) -> Tensor:
    """Attention and the feed-forward layer, under the names that BERT's weights have."""
    x = _attention(layer, config, x, allowed, memory)
    y = layer.linear("mlp.up_proj", "intermediate.dense", x, bias=True)
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "hidden_act"))
    y = layer.linear("mlp.down_proj", "output.dense", y, bias=True)
    x = layer("mlp.residual", add, residual=x, x=y)
    return layer.layer_norm("mlp.post_norm", "output.LayerNorm", x, eps_of(config))


def _attention(layer: Layer, config: Config, x: Tensor, allowed: Tensor | None, memory: Memory) -> Tensor:
    heads, parts = config["num_attention_heads"], []
    for operand, module in (("q", "query"), ("k", "key"), ("v", "value")):
        flat = layer.linear(f"attention.{operand}_proj.{operand}", f"attention.self.{module}", x, bias=True)
        parts.append(layer(f"attention.split_heads.{operand}", split_heads, x_BSD=flat, heads=heads))
    q, k, v = parts
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, allowed, factor=(config["hidden_size"] // heads) ** -0.5)
    y = layer.linear("attention.o_proj", "attention.output.dense", y, bias=True)
    x = layer("attention.residual", add, residual=x, x=y)
    return layer.layer_norm("attention.post_norm", "attention.output.LayerNorm", x, eps_of(config))


def segments(given: Inputs, w: Weights, run: Composition, positions: Tensor) -> Tensor:
    """The row of each token's segment, of the first where none are named."""
    kinds, table = given.get("token_type_ids"), w("embeddings.token_type_embeddings.weight")
    if kinds is not None:
        return run("embedding.segment", embeddings.segment, token_type_ids_BS=kinds, table_ND=table)
    batch, first = given["input_ids"].shape[0], embeddings.first_segment
    return run("embedding.segment", first, position_ids_BS=positions, table_ND=table, batch=batch)


def pooled(x: Tensor, w: Weights, run: Composition) -> Tensor | None:
    """The first token through a dense layer, where there are weights for one."""
    if "pooler.dense.weight" not in w:
        return None
    dense = w("pooler.dense.weight"), w("pooler.dense.bias")
    return run("head.pooler", outputs.pooler, x_BSD=x, weight_DD=dense[0], bias_D=dense[1])


def eps_of(config: Config) -> float:
    return float(config.get("layer_norm_eps", 1e-12))
