"""Mistakes in projections, in how a fused one is cut apart, and in what comes of the last hidden state.

Shapes: `x` is (..., I); a weight is (O, I), or (I, O) where `layout` is "in_out".  O out, I in.
"""

from __future__ import annotations

__all__ = ["PROJECTIONS"]

import torch
from torch import Tensor

from inspector.reference.projections import split_qkv
from inspector.verification.mutants.apply import Edits, rebound
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in

_LINEAR = ("projections.linear",)
_SPLIT = ("projections.split_qkv",)
_POOLER = ("outputs.pooler",)

Parts = tuple[Tensor, Tensor, Tensor]


def _times(x: Tensor, weight: Tensor, layout: str, bias: Tensor | None = None) -> Tensor:
    """As a model computes it: the weight as it is stored, or transposed."""
    return torch.nn.functional.linear(x, weight if layout == "out_in" else weight.t(), bias)


def _transposed(x: Tensor, weight: Tensor, layout: str, bias: Tensor | None = None) -> Tensor | None:
    return _times(x, weight.t(), layout, bias) if weight.shape[0] == weight.shape[1] else None


def _without_bias(x: Tensor, weight: Tensor, layout: str, bias: Tensor | None = None) -> Tensor | None:
    return None if bias is None else _times(x, weight, layout)


def _bias_twice(x: Tensor, weight: Tensor, layout: str, bias: Tensor | None = None) -> Tensor | None:
    return None if bias is None else _times(x, weight, layout, bias) + bias


def _in_half(x: Tensor, weight: Tensor, layout: str, bias: Tensor | None = None) -> Tensor:
    y = _times(x.to(torch.bfloat16), weight.to(torch.bfloat16), layout).to(x.dtype)
    return y if bias is None else y + bias


def _permuted(x: Tensor, weight: Tensor, layout: str, bias: Tensor | None = None) -> Tensor:
    y = _times(x, weight, layout, bias)
    return torch.cat((y[..., 0::2], y[..., 1::2]), -1)


def _other_layer(target: Target) -> Edits | None:
    """The same weight of the layer before: the names differ in one number."""
    name = str(dict(target.step.sources)["weight"].ref)
    layer = target.stage.layer
    if not layer:
        return None
    parts = [str(layer - 1) if part == str(layer) else part for part in name.split(".")]
    return rebound(target, name, ".".join(parts))


def _from_table(target: Target) -> Edits | None:
    """The table that tokens are looked up in, where the head has a weight of its own."""
    first = target.ground.find("embedding.token", None)
    name = str(dict(target.step.sources)["weight"].ref)
    return None if first is None else rebound(target, name, str(dict(first.step.sources)["table_VD"].ref))


_MAPS = (
    Mutant("weight-not-transposed", _LINEAR, "a square weight is read the wrong way round", seen_in(33), _transposed),
    Mutant(
        "rows-not-permuted",
        _LINEAR,
        "a checkpoint's rows that stand by turns are read as halves",
        seen_in(1, 2),
        _permuted,
    ),
    Mutant("bias-missing", _LINEAR, "the bias is not added", seen_in(36), _without_bias),
    Mutant("bias-twice", _LINEAR, "the bias is added twice", seen_in(36), _bias_twice),
    Mutant(
        "projection-in-half-precision",
        _LINEAR,
        "input and weight are rounded to bfloat16",
        seen_in(7),
        _in_half,
        halves=True,
    ),
    Mutant(
        "projection-of-another-layer",
        _LINEAR,
        "the weight is that of the layer before",
        "https://github.com/huggingface/transformers/pull/29402",
        change=_other_layer,
    ),
    Mutant(
        "head-tied-wrongly",
        _LINEAR,
        "the head reads the token table",
        seen_in(36),
        change=_from_table,
        roles=("head.lm_head",),
    ),
    Mutant(
        "projection-left-out",
        _LINEAR,
        "what should be multiplied is handed on",
        "https://github.com/huggingface/transformers/issues/45902",
        lambda x, weight, **_: x if weight.shape[0] == weight.shape[1] else None,
    ),
)


def _keys_first(x_BSD: Tensor, heads: int, groups: int | None = None, layout: str = "stacked") -> Parts:
    q, k, v = split_qkv(x_BSD, heads, groups, layout)  # type: ignore[arg-type]
    return k, q, v


def _values_first(x_BSD: Tensor, heads: int, groups: int | None = None, layout: str = "stacked") -> Parts:
    q, k, v = split_qkv(x_BSD, heads, groups, layout)  # type: ignore[arg-type]
    return q, v, k


def _other_layout(x_BSD: Tensor, heads: int, groups: int | None = None, layout: str = "stacked") -> Parts | None:
    if groups not in (None, heads) or heads == 1:
        return None
    return split_qkv(x_BSD, heads, groups, "per_head" if layout == "stacked" else "stacked")


_READERS = ("attention.split_heads", "attention.qkv_proj", "attention.scores")
"""A cut that only moves is told where its parts are read: queries that turn out to be the second third."""

_FUSED = (
    Mutant(
        "qkv-queries-and-keys-swapped",
        _SPLIT,
        "the second third is read as queries",
        seen_in(2),
        _keys_first,
        told_at=_READERS,
    ),
    Mutant(
        "qkv-keys-and-values-swapped",
        _SPLIT,
        "the last third is read as keys",
        seen_in(2),
        _values_first,
        told_at=_READERS,
    ),
    Mutant(
        "qkv-layout-wrong",
        _SPLIT,
        "queries, keys and values are read head by head where they are stacked, or the other way round",
        "https://github.com/huggingface/transformers/pull/13573",
        _other_layout,
        told_at=_READERS,
    ),
)


def _pooled(x_BD: Tensor, weight_DD: Tensor, bias_D: Tensor | None) -> Tensor:
    return torch.tanh(torch.nn.functional.linear(x_BD, weight_DD, bias_D))


def _no_tanh(x_BSD: Tensor, weight_DD: Tensor, bias_D: Tensor | None = None) -> Tensor:
    return torch.nn.functional.linear(x_BSD[:, 0], weight_DD, bias_D)


_POOLED = (
    Mutant(
        "pooler-reads-the-last-token",
        _POOLER,
        "the last token is pooled instead of the first",
        seen_in(35),
        lambda x_BSD, weight_DD, bias_D=None: _pooled(x_BSD[:, -1], weight_DD, bias_D),
    ),
    Mutant(
        "pooler-reads-the-mean",
        _POOLER,
        "the mean of all tokens is pooled instead of the first",
        seen_in(35),
        lambda x_BSD, weight_DD, bias_D=None: _pooled(x_BSD.mean(1), weight_DD, bias_D),
    ),
    Mutant("pooler-without-tanh", _POOLER, "the pooled token is not bounded", seen_in(35), _no_tanh),
    Mutant(
        "pooler-without-bias",
        _POOLER,
        "the bias of the pooler is not added",
        seen_in(36),
        lambda x_BSD, weight_DD, bias_D=None: None if bias_D is None else _pooled(x_BSD[:, 0], weight_DD, None),
    ),
)

PROJECTIONS = (*_MAPS, *_FUSED, *_POOLED)
