"""The width cut into heads, joined again, and shared.

Shapes: B batch, S new tokens, T keys, D width, H heads, G kv heads, K head width.
"""

from __future__ import annotations

__all__ = ["merge_heads", "repeat_kv", "split_heads"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def split_heads(x_BSD: Tensor, heads: int) -> Tensor:
    """(B, S, H·K) -> (B, H, S, K): head h has the columns h·K to (h+1)·K.

    >>> import torch
    >>> split_heads(torch.arange(4).reshape(1, 1, 4), heads=2)[0, 1, 0].tolist()
    [2, 3]

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.2.
    """
    return x_BSD.reshape(*x_BSD.shape[:-1], heads, -1).transpose(1, 2)


def merge_heads(x_BHSK: Tensor) -> Tensor:
    """(B, H, S, K) -> (B, S, H·K): the heads side by side, in order.

    >>> import torch
    >>> x = torch.arange(12).reshape(1, 3, 4)
    >>> torch.equal(merge_heads(split_heads(x, 2)), x)
    True
    """
    return x_BHSK.transpose(1, 2).flatten(2)


def repeat_kv(x_BGTK: Tensor, heads: int) -> Tensor:
    """(B, G, T, K) -> (B, H, T, K): query head h reads kv head h // (H/G), so that neighbours share.

    >>> import torch
    >>> repeat_kv(torch.tensor([1, 2]).reshape(1, 2, 1, 1), heads=4).flatten().tolist()
    [1, 1, 2, 2]

    ValueError where G does not divide H. Source: Ainslie et al. 2023 (arXiv 2305.13245), section 2.2.
    """
    groups = x_BGTK.shape[1]
    if heads % groups:
        raise ValueError(f"{groups} kv heads cannot be shared by {heads} query heads")
    reads = [head // (heads // groups) for head in range(heads)]
    return x_BGTK[:, reads]
