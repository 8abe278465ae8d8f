"""Rotary positions: the table of cosines and sines, and the rotation itself.

Shapes: B batch, S new tokens, H heads, K head width, R elements that are turned, F = R/2 pairs.
"""

from __future__ import annotations

__all__ = ["complex_table", "cos_sin", "rope_table", "rotate", "rotate_complex", "rotate_part"]

from typing import Any, Literal

import torch
from torch import Tensor

from inspector.reference.frequencies import RopeScaling, attention_factor, inverse_frequencies

Layout = Literal["half", "interleaved", "single"]


def cos_sin(
    positions_BS: Tensor, inverse_F: Tensor, factor: float = 1.0, layout: Layout = "half"
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each element's angle, times `factor`: two tensors (B, 1, S, R) of float64.

    >>> cos, sin = cos_sin(torch.tensor([[0, 1]]), torch.tensor([torch.pi / 2, torch.pi], dtype=torch.float64))
    >>> cos.shape, sin[0, 0, 1].round().tolist()
    (torch.Size([1, 1, 2, 4]), [1.0, 0.0, 1.0, 0.0])

    Pair i stands at the elements i and i + F ("half"), or at 2i and 2i + 1 ("interleaved"), or each pair has one angle
    ("single": R is F). Angles are computed in float64: in half precision positions beyond 256 would collide.
    """
    angles_BSF = positions_BS[..., None].to(torch.float64) * inverse_F
    if layout == "single":
        return torch.cos(angles_BSF.unsqueeze(1)) * factor, torch.sin(angles_BSF.unsqueeze(1)) * factor
    repeated = (angles_BSF, angles_BSF)
    angles_BSR = torch.cat(repeated, dim=-1) if _is_half(layout) else torch.stack(repeated, dim=-1).flatten(-2)
    angles_B1SR = angles_BSR.unsqueeze(1)
    return torch.cos(angles_B1SR) * factor, torch.sin(angles_B1SR) * factor


def rotate(
    x_BHSK: Tensor, cos_B1SR: Tensor, sin_B1SR: Tensor, layout: Layout = "half", dims: int | None = None
) -> Tensor:
    """Each pair (a, b) of the first `dims` elements becomes (a·cos − b·sin, b·cos + a·sin); the rest stays.

    >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    >>> quarter = torch.zeros(1, 1, 1, 4), torch.ones(1, 1, 1, 4)
    >>> rotate(x, *quarter).flatten().tolist()
    [-3.0, -4.0, 1.0, 2.0]
    >>> rotate(x, *quarter, layout="interleaved").flatten().tolist()
    [-2.0, 1.0, -4.0, 3.0]

    (B, H, S, K) -> (B, H, S, K). A table may have one angle for each pair, and then R is half of `dims`.
    Source: Su et al. 2021 (arXiv 2104.09864), equation 34.
    """
    dims = dims or x_BHSK.shape[-1]
    turned, rest = x_BHSK[..., :dims], x_BHSK[..., dims:]
    if cos_B1SR.shape[-1] * 2 == dims:
        cos_B1SR, sin_B1SR = (_for_both(table, layout) for table in (cos_B1SR, sin_B1SR))
    if _is_half(layout):
        a, b = turned[..., : dims // 2], turned[..., dims // 2 :]
        partner = torch.cat((-b, a), dim=-1)
    else:
        partner = torch.stack((-turned[..., 1::2], turned[..., 0::2]), dim=-1).flatten(-2)
    turned = turned * cos_B1SR + partner * sin_B1SR
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned


def rotate_part(
    x_BHSK: Tensor,
    cos_B1SR: Tensor,
    sin_B1SR: Tensor,
    layout: Layout = "half",
    dims: int | None = None,
    start: int = 0,
    into: Layout | None = None,
    backwards: bool = False,
) -> Tensor:
    """As `rotate`, of `dims` elements from `start` on.

    >>> quarter = torch.zeros(1, 2), torch.ones(1, 2)
    >>> rotate_part(torch.tensor([[5.0, 1.0, 2.0]]), *quarter, dims=2, start=1).tolist()
    [[5.0, -2.0, 1.0]]
    >>> rotate_part(torch.tensor([[1.0, 2.0]]), *quarter, backwards=True).tolist()
    [[2.0, -1.0]]

    into: how the pairs stand in the result, where that differs (DeepSeek takes neighbours and gives halves).
    backwards: turned the other way (nanochat). Queries and keys alike, so that their products are the same.
    """
    dims = dims or x_BHSK.shape[-1]
    before, turned, rest = x_BHSK[..., :start], x_BHSK[..., start : start + dims], x_BHSK[..., start + dims :]
    if into == "half" and layout == "interleaved":
        turned, layout = torch.cat((turned[..., 0::2], turned[..., 1::2]), dim=-1), "half"
    turned = rotate(turned, cos_B1SR, -sin_B1SR if backwards else sin_B1SR, layout)
    return torch.cat((before, turned, rest), dim=-1)


def _for_both(table: Tensor, layout: Layout) -> Tensor:
    return torch.cat((table, table), -1) if _is_half(layout) else table.repeat_interleave(2, -1)


def rotate_complex(x_BHSK: Tensor, table_B1SF: Tensor, dims: int | None = None) -> Tensor:
    """Neighbours as complex numbers, times the unit numbers of a table; the elements beyond `dims` stay.

    >>> rotate_complex(torch.tensor([[1.0, 2.0]]), torch.tensor([[1j]])).tolist()
    [[-2.0, 1.0]]

    Source: Su et al. 2021 (arXiv 2104.09864), equation 12.
    """
    dims = dims or x_BHSK.shape[-1]
    pairs = torch.view_as_complex(x_BHSK[..., :dims].unflatten(-1, (-1, 2)).contiguous())
    turned = torch.view_as_real(pairs * table_B1SF).flatten(-2).to(x_BHSK.dtype)
    return torch.cat((turned, x_BHSK[..., dims:]), dim=-1)


def rope_table(
    position_ids_BS: Tensor,
    layout: Layout = "half",
    dtype: torch.dtype = torch.float64,
    heads: int = 1,
    **claims: Any,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, 1, S, R) for positions, from what a config claims (`RopeScaling.claims`).

    >>> cos, sin = rope_table(torch.tensor([[0, 1, 2]]), dim=4, theta=100.0)
    >>> sin[0, 0, :, 0]
    tensor([0.0000, 0.8415, 0.9093], dtype=torch.float64)

    Computed in float64, handed out as `dtype`. Kinds that depend on the length take it from the largest position.
    heads: at which place their axis stands in what is turned; with 2 the table is (B, S, 1, R).
    """
    rope = RopeScaling(**claims)
    inverse_F = inverse_frequencies(rope, position_ids_BS.max() + 1, position_ids_BS.device)
    cos, sin = cos_sin(position_ids_BS, inverse_F, attention_factor(rope), layout)
    cos, sin = cos.transpose(1, heads), sin.transpose(1, heads)
    return cos.to(dtype), sin.to(dtype)


def complex_table(position_ids_BS: Tensor, **claims: Any) -> Tensor:
    """Cosines and sines side by side, one pair of them for each pair of elements: (B, 1, S, F, 2) float64.

    >>> complex_table(torch.tensor([[0]]), dim=2).tolist()
    [[[[[1.0, 0.0]]]]]
    """
    return torch.stack(rope_table(position_ids_BS, layout="single", **claims), dim=-1)


def _is_half(layout: str) -> bool:
    if layout not in ("half", "interleaved"):
        raise ValueError(f"a layout of pairs is half or interleaved, but got {layout}")
    return layout == "half"
