"""Normalisation over the last axis.

Shapes: `x` is (..., D); `weight` and `bias` are (D,).  D width.
"""

from __future__ import annotations

__all__ = ["l2_norm", "layer_norm", "rms_norm"]

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance over the last axis, then scaled and shifted.

    >>> layer_norm(torch.tensor([1.0, 3.0], dtype=torch.float64), eps=0.0)
    tensor([-1.,  1.], dtype=torch.float64)

    (..., D) -> (..., D). The variance is the biased one (divided by D), and `eps` is added to it under the root.
    Source: Ba, Kiros and Hinton 2016 (arXiv 1607.06450), equation 4.
    """
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    y = centred / torch.sqrt(variance + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6, offset: float = 0.0) -> Tensor:
    """Unit root mean square over the last axis, times `offset + weight`.

    >>> rms_norm(torch.tensor([3.0, 4.0], dtype=torch.float64), torch.zeros(2), eps=0.0, offset=1.0)
    tensor([0.8485, 1.1314], dtype=torch.float64)

    (..., D) -> (..., D). `offset` 1 is Gemma's `1 + w`; without a weight nothing is multiplied.
    Source: Zhang and Sennrich 2019 (arXiv 1910.07467), equation 4.
    """
    y = x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + eps)
    return y if weight is None else y * (offset + weight)


def l2_norm(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Unit length over the last axis; `eps` is added to the squared length.

    >>> l2_norm(torch.tensor([3.0, 4.0]), eps=0.0)
    tensor([0.6000, 0.8000])
    """
    return x / torch.sqrt((x * x).sum(dim=-1, keepdim=True) + eps)
