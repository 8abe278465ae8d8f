"""GPT-2: pre-norm blocks over learned positions (Radford et al. 2019, Language Models are Unsupervised Multitask
Learners, section 2.3). Its maps are stored (in, out).

Shapes: B batch, S new tokens, P past, T = P + S keys, D width, H heads, K = D/H head width, F ffn width, V vocabulary.
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
from inspector.reference.models.shared import Answer, Inputs, activation_of, attend, remember
from inspector.reference.norms import layer_norm
from inspector.reference.projections import linear, split_qkv
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
    w = Weights(weights, run, "wte.weight")
    past = cache or Cache()
    given = Inputs(inputs, run, past.length)
    x = _embed(w, given, run)
    allowed = given.mask("causal")
    kept = Cache() if cache is not None or config.get("use_cache", True) else None
    for layer in range(config["n_layer"]):
        x, kept = _attention(w, config, run, x, allowed, past, kept, layer)
        x = _feedforward(w, config, run, x, layer)
    x = run("head.norm", layer_norm, x=x, eps=_eps(config), **w.affine("ln_f"))
    if not head:
        return Answer(x, cache=kept)
    tied = config.get("tie_word_embeddings", True)
    logits = run("head.lm_head", linear, x=x, weight=w("wte.weight") if tied else w.outside("lm_head.weight"))
    return Answer(x, logits, cache=kept)


def _embed(w: Weights, given: Inputs, run: Composition) -> Tensor:
    """Segments, where they are given, are looked up in the token table."""
    table = w("wte.weight")
    token = run("embedding.token", embeddings.token, ids_BS=given["input_ids"], table_VD=table)
    positions = given.positions()
    position = run("embedding.position", embeddings.position, position_ids_BS=positions, table_PD=w("wpe.weight"))
    kinds, segment = given.get("token_type_ids"), None
    if kinds is not None:
        segment = run("embedding.segment", embeddings.segment, token_type_ids_BS=kinds, table_ND=table)
    return run(
        "embedding.add",
        embeddings.add_embeddings,
        token_BSD=token,
        segment_BSD=segment,
        position_BSD=position,
    )


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
    name, heads = f"h.{layer}", config["n_head"]
    y = run("attention.norm", layer_norm, layer=layer, x=x, eps=_eps(config), **w.affine(f"{name}.ln_1"))
    y = run("attention.qkv_proj", linear, layer=layer, x=y, layout="in_out", **w.affine(f"{name}.attn.c_attn"))
    q, k, v = run("attention.split_qkv", split_qkv, layer=layer, x_BSD=y, heads=heads)
    k = run("attention.split_heads.k", split_heads, layer=layer, x_BSD=k, heads=heads)
    v = run("attention.split_heads.v", split_heads, layer=layer, x_BSD=v, heads=heads)
    q = run("attention.split_heads.q", split_heads, layer=layer, x_BSD=q, heads=heads)
    if kept is not None:
        k, v = remember(run, k, v, past, layer)
        kept = kept.extended(k, v)
    y = attend(run, q, k, v, allowed, factor=_factor(config, layer), layer=layer)
    y = run("attention.o_proj", linear, layer=layer, x=y, layout="in_out", **w.affine(f"{name}.attn.c_proj"))
    return run("attention.residual", add, layer=layer, residual=x, x=y), kept


def _feedforward(w: Weights, config: Config, run: Composition, x: Tensor, layer: int) -> Tensor:
    name = f"h.{layer}"
    y = run("mlp.norm", layer_norm, layer=layer, x=x, eps=_eps(config), **w.affine(f"{name}.ln_2"))
    y = run("mlp.up_proj", linear, layer=layer, x=y, layout="in_out", **w.affine(f"{name}.mlp.c_fc"))
    y = run("mlp.activation", activate, layer=layer, x=y, kind=activation_of(config, "activation_function"))
    y = run("mlp.down_proj", linear, layer=layer, x=y, layout="in_out", **w.affine(f"{name}.mlp.c_proj"))
    return run("mlp.residual", add, layer=layer, residual=x, x=y)


def _factor(config: Config, layer: int) -> float:
    """1/sqrt(K) unless it is switched off, over the number of the layer where that is switched on."""
    factor = 1.0
    if config.get("scale_attn_weights", True):
        factor = float((config["n_embd"] // config["n_head"]) ** -0.5)
    return factor / (layer + 1) if config.get("scale_attn_by_inverse_layer_idx") else factor


def _eps(config: Config) -> float:
    return float(config.get("layer_norm_epsilon", 1e-5))
