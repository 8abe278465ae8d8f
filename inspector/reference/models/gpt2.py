"""GPT-2: pre-norm blocks over learned positions (Radford et al. 2019, Language Models are Unsupervised Multitask
Learners, section 2.3). Its maps are stored (in, out).

Shapes: B batch, S new tokens, T keys, D width, H heads, K head width, F ffn width, V vocabulary.
"""

from __future__ import annotations

__all__ = ["forward"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inspector.reference import embeddings
from inspector.reference.activations import activate
from inspector.reference.cache import Cache
from inspector.reference.feedforward import add
from inspector.reference.heads import split_heads
from inspector.reference.models.layer import Layer, layers_of
from inspector.reference.models.shared import Answer, Inputs, Memory, activation_of, attend, words_of
from inspector.reference.norms import layer_norm
from inspector.reference.projections import split_qkv
from inspector.reference.steps import Composition
from inspector.reference.weights import Weights

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

    `reorder_and_upcast_attn` is another order of the same maths, and `n_inner` is read off the weights' shapes.
    """
    w, memory = Weights(weights, run, "wte.weight"), Memory(run, cache, keep=config.get("use_cache", True))
    given = Inputs(inputs, run, memory.length)
    x = _embed(w, given, run)
    allowed = given.mask("causal")
    for layer in layers_of(w, run, config["n_layer"], "h"):
        x = _attention(layer, config, x, allowed, memory)
        x = _feedforward(layer, config, x)
    x = run("head.norm", layer_norm, x=x, eps=_eps(config), **w.affine("ln_f"))
    return Answer(x, words_of(x, w, run, config, "wte.weight", tied=True) if head else None, cache=memory.kept)


def _embed(w: Weights, given: Inputs, run: Composition) -> Tensor:
    """Segments, where they are given, are looked up in the token table."""
    table = w("wte.weight")
    token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    positions = given.positions()
    position = run("embedding.position", embeddings.position, position_ids_BS=positions, table_PD=w("wpe.weight"))
    kinds, segment = given.get("token_type_ids"), None
    if kinds is not None:
        segment = run("embedding.segment", embeddings.segment, token_type_ids_BS=kinds, table_ND=table)
    parts: dict[str, Any] = {"token_BSD": token, "segment_BSD": segment, "position_BSD": position}
    return run("embedding.add", embeddings.add_embeddings, **parts)


def _attention(layer: Layer, config: Config, x: Tensor, allowed: Tensor | None, memory: Memory) -> Tensor:
    heads = config["n_head"]
    y = layer.layer_norm("attention.norm", "ln_1", x, _eps(config))
    y = layer.linear("attention.qkv_proj", "attn.c_attn", y, bias=True, layout="in_out")
    q, k, v = layer("attention.split_qkv", split_qkv, x_BSD=y, heads=heads)
    k = layer("attention.split_heads.k", split_heads, x_BSD=k, heads=heads)
    v = layer("attention.split_heads.v", split_heads, x_BSD=v, heads=heads)
    q = layer("attention.split_heads.q", split_heads, x_BSD=q, heads=heads)
    k, v = memory.with_past(layer, k, v)
    y = attend(layer, q, k, v, allowed, factor=_factor(config, layer.number))
    y = layer.linear("attention.o_proj", "attn.c_proj", y, bias=True, layout="in_out")
    return layer("attention.residual", add, residual=x, x=y)


def _feedforward(layer: Layer, config: Config, x: Tensor) -> Tensor:
    y = layer.layer_norm("mlp.norm", "ln_2", x, _eps(config))
    y = layer.linear("mlp.up_proj", "mlp.c_fc", y, bias=True, layout="in_out")
    y = layer("mlp.activation", activate, x=y, kind=activation_of(config, "activation_function"))
    y = layer.linear("mlp.down_proj", "mlp.c_proj", y, bias=True, layout="in_out")
    return layer("mlp.residual", add, residual=x, x=y)


def _factor(config: Config, layer: int) -> float:
    """1/sqrt(K) unless it is switched off, over the number of the layer where that is switched on."""
    factor = 1.0
    if config.get("scale_attn_weights", True):
        factor = float((config["n_embd"] // config["n_head"]) ** -0.5)
    return factor / (layer + 1) if config.get("scale_attn_by_inverse_layer_idx") else factor


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_epsilon", 1e-5))
