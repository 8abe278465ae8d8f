"""Affine maps, and how a fused projection is cut apart.

Shapes: B batch, S new tokens, D width, H heads, G kv heads, K head width, F ffn width; O out, I in.
"""

from __future__ import annotations

__all__ = ["convolve", "linear", "linear_heads", "product_of", "split_gate_up", "split_qkv"]

from typing import Literal

import torch
from torch import Tensor

Layout = Literal["out_in", "in_out"]
Fused = Literal["stacked", "per_head", "grouped"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, layout: Layout = "out_in") -> Tensor:
    """y = Wx + b on the last axis.

    >>> linear(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 10.0]]), torch.tensor([0.5]))
    tensor([21.5000])

    (..., I) -> (..., O). `weight` is (O, I), or (I, O) where `layout` is "in_out" (GPT-2 stores it so).
    """
    if layout not in ("out_in", "in_out"):
        raise ValueError(f"a layout is out_in or in_out, but got {layout}")
    y = torch.einsum("...i,oi->...o" if layout == "out_in" else "...i,io->...o", x, weight)
    return y if bias is None else y + bias


def product_of(x: Tensor, weight: Tensor, layout: Layout = "out_in") -> Tensor:
    """Wx, for a bias that is added by itself.

    >>> product_of(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 10.0]]))
    tensor([21.])
    """
    return linear(x, weight, layout=layout)


def convolve(
    x_BIS: Tensor, weight_OIW: Tensor, bias_O: Tensor | None = None, padding: int = 0, groups: int = 1
) -> Tensor:
    """Each place from its neighbours, (B, I, S) -> (B, O, S'): the channels of a group from those of that group.

    >>> convolve(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 10.0]]]), padding=1).tolist()
    [[[10.0, 21.0, 32.0, 3.0]]]

    `padding` zeros stand before and behind. Where all but the first S places are cut off it looks back alone, with one
    channel to a group in Mamba (Gu and Dao 2023, arXiv 2312.00752, section 3.4).
    """
    zeros = x_BIS.new_zeros((*x_BIS.shape[:-1], padding))
    wide = torch.cat([zeros, x_BIS, zeros], dim=-1)
    windows = wide.unfold(-1, weight_OIW.shape[-1], 1).unflatten(1, (groups, -1))  # (B, groups, I / groups, S', W)
    y = torch.einsum("bgisw,goiw->bgos", windows, weight_OIW.unflatten(0, (groups, -1))).flatten(1, 2)
    return y if bias_O is None else y + bias_O[:, None]


def linear_heads(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = Wx + b where the weight keeps the heads apart: (..., D) and (D, H, K) -> (..., H, K).

    >>> linear_heads(torch.ones(2, 3), torch.ones(3, 4, 5)).shape
    torch.Size([2, 4, 5])
    """
    y = torch.einsum("...d,dhk->...hk", x, weight)
    return y if bias is None else y + bias


def split_qkv(
    x_BSD: Tensor, heads: int, groups: int | None = None, layout: Fused = "stacked"
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, S, H·K), keys and values (B, S, G·K) from one fused projection (B, S, (H + 2G)·K).

    >>> x = torch.arange(6.0).reshape(1, 1, 6)
    >>> [part.flatten().tolist() for part in split_qkv(x, heads=2)]
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    >>> [part.flatten().tolist() for part in split_qkv(x, heads=2, layout="per_head")]
    [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]

    "stacked": all queries, all keys, all values (GPT-2). "per_head": q, k, v of head 0, then of head 1 ... (GPT-NeoX,
    BLOOM). "grouped": for each kv head its queries, then its key, then its value (Falcon). ValueError where the width
    does not divide, and for another layout.
    """
    groups = groups or heads
    width = x_BSD.shape[-1] // (heads + 2 * groups)
    if width * (heads + 2 * groups) != x_BSD.shape[-1] or heads % groups:
        raise ValueError(f"{x_BSD.shape[-1]} columns do not hold {heads} queries and {groups} keys and values")
    if layout == "stacked":
        q, k, v = x_BSD.split([heads * width, groups * width, groups * width], dim=-1)
        return q, k, v
    if layout == "per_head" and groups != heads:
        raise ValueError(f"a per_head layout has a key for each query head, but got {heads} and {groups}")
    if layout not in ("per_head", "grouped"):
        raise ValueError(f"a layout is stacked, per_head or grouped, but got {layout}")
    each = heads // groups
    x_BSGNK = x_BSD.unflatten(-1, (groups, each + 2, width))  # N: a group's queries, its key, its value
    parts = (x_BSGNK[..., :each, :], x_BSGNK[..., each, :], x_BSGNK[..., each + 1, :])
    q, k, v = (part.flatten(2) for part in parts)
    return q, k, v


def split_gate_up(x: Tensor, layout: Literal["halves", "interleaved"] = "halves") -> tuple[Tensor, Tensor]:
    """The gate and the up part of one fused projection.

    >>> split_gate_up(torch.arange(4.0), layout="interleaved")
    (tensor([0., 2.]), tensor([1., 3.]))

    (..., 2F) -> (..., F) and (..., F): gate first, then up, by halves or by turns.
    """
    if layout not in ("halves", "interleaved"):
        raise ValueError(f"a layout is halves or interleaved, but got {layout}")
    if layout == "interleaved":
        return x[..., 0::2], x[..., 1::2]
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]
