"""Mistakes in norms.

Shapes: `x` is (..., D); `weight` and `bias` are (D,).  D width.
"""

from __future__ import annotations

__all__ = ["NORMS"]

from functools import partial
from typing import Any

import torch
from torch import Tensor

from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in

_LAYER, _RMS = "norms.layer_norm", "norms.rms_norm"
_BOTH = (_LAYER, _RMS)


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None = None, offset: float = 0.0) -> Tensor:
    if weight is not None:
        y = (weight + offset if offset else weight) * y
    return y if bias is None else y + bias


def _rms(x: Tensor, eps: float, dim: int = -1) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(dim, keepdim=True) + eps)


def _layer(x: Tensor, eps: float, dim: int = -1) -> Tensor:
    return _rms(x - x.mean(dim, keepdim=True), eps, dim)


def _is_rms(offset: float | None) -> bool:
    """Only the norm without a mean has an offset among its numbers."""
    return offset is not None


def _right(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, offset: float | None) -> Tensor:
    if _is_rms(offset):
        return _affine(_rms(x, eps), weight, None, offset or 0.0)
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _with_eps(
    other: float, x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor | None:
    return None if other == eps else _right(x, weight, bias, other, offset)


def _eps_outside(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor:
    y = x if _is_rms(offset) else x - x.mean(-1, keepdim=True)
    return _affine(y / (y.pow(2).mean(-1, keepdim=True).sqrt() + eps), weight, bias, offset or 0.0)


def _other_kind(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor:
    kind = _layer if _is_rms(offset) else _rms
    return _affine(kind(x, eps), weight, bias, offset or 0.0)


def _unbiased(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor:
    y = x if _is_rms(offset) else x - x.mean(-1, keepdim=True)
    return _affine(
        y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / (x.shape[-1] - 1) + eps), weight, bias, offset or 0.0
    )


def _half_statistics(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor:
    y = x if _is_rms(offset) else x - x.mean(-1, keepdim=True)
    variance = y.to(torch.bfloat16).pow(2).mean(-1, keepdim=True).to(x.dtype)
    return _affine(y * torch.rsqrt(variance + eps), weight, bias, offset or 0.0)


def _over_tokens(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor | None:
    if x.dim() < 3 or x.shape[-2] < 2:
        return None
    kind = _rms if _is_rms(offset) else _layer
    return _affine(kind(x, eps, -2), weight, bias, offset or 0.0)


def _unweighted(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor | None:
    return None if weight is None else _right(x, None, bias, eps, offset)


def _unshifted(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor | None:
    return None if bias is None else _right(x, weight, None, eps, None)


def _offset_by_one(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor | None:
    """1 + w where it is w, and the other way round."""
    if weight is None:
        return None
    kind = _rms if _is_rms(offset) else _layer
    return _affine(kind(x, eps), weight, bias, 0.0 if offset else 1.0)


def _shifted_first(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor | None:
    return None if weight is None or bias is None else (_layer(x, eps) + bias) * weight


def _twice(
    x: Tensor, weight: Tensor | None, eps: float, bias: Tensor | None = None, offset: float | None = None
) -> Tensor:
    return _right(_right(x, weight, bias, eps, offset), weight, bias, eps, offset)


def _left_out(x: Tensor, **_: Any) -> Tensor:
    return x


NORMS = (
    Mutant("norm-eps-1e-5", _BOTH, "eps is 1e-5", seen_in(9), partial(_with_eps, 1e-5), number="eps"),
    Mutant("norm-eps-1e-6", _BOTH, "eps is 1e-6", seen_in(9), partial(_with_eps, 1e-6), number="eps"),
    Mutant("norm-eps-1e-12", _BOTH, "eps is 1e-12", seen_in(9), partial(_with_eps, 1e-12), number="eps"),
    Mutant(
        "norm-eps-outside-the-root",
        _BOTH,
        "eps is added to the root instead of under it",
        seen_in(9),
        _eps_outside,
        number="kind",  # only what has it under the root is known as a norm
    ),
    Mutant(
        "norm-of-the-other-kind",
        _BOTH,
        "the mean is taken off where it is not, or not where it is",
        seen_in(6),
        _other_kind,
    ),
    Mutant("norm-variance-unbiased", _BOTH, "the sum of squares is divided by D - 1", seen_in(9), _unbiased),
    Mutant(
        "norm-statistics-in-half-precision", _BOTH, "the squares are added up in bfloat16", seen_in(6), _half_statistics
    ),
    Mutant(
        "norm-over-tokens",
        _BOTH,
        "the mean is taken along the sequence instead of the width",
        seen_in(10),
        _over_tokens,
    ),
    Mutant("norm-weight-missing", _BOTH, "the result is not multiplied by the weight", seen_in(7), _unweighted),
    Mutant("norm-weight-plus-one", _BOTH, "the weight counts as 1 + w, or 1 + w as w", seen_in(5, 8), _offset_by_one),
    Mutant("norm-bias-missing", (_LAYER,), "the bias is not added", seen_in(36), _unshifted),
    Mutant(
        "norm-bias-before-weight",
        (_LAYER,),
        "the bias is added before the weight is multiplied",
        seen_in(36),
        _shifted_first,
    ),
    Mutant("norm-twice", _BOTH, "the norm is applied to its own result", seen_in(10), _twice),
    Mutant("norm-left-out", _BOTH, "the norm is not applied", seen_in(10), _left_out),
)
