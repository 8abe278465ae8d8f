"""Where tokens stand: their numbers, fixed tables, and biases by distance.

Shapes: B batch, S new tokens (queries), T keys, D width, H heads.
"""

from __future__ import annotations

__all__ = [
    "alibi_bias",
    "alibi_of_numbers",
    "alibi_of_places",
    "alibi_slopes",
    "counted",
    "position_ids",
    "relative_bias",
    "relative_buckets",
    "sinusoid",
]

from typing import Literal

import torch
from torch import Tensor

Device = torch.device | str | None


def position_ids(length: int, past: int = 0, padding_BT: Tensor | None = None, device: Device = None) -> Tensor:
    """The positions of `length` new tokens after `past` old ones: (1, S), or (B, S) where padding is not counted.

    >>> position_ids(3, past=2)
    tensor([[2, 3, 4]])
    >>> position_ids(2, past=2, padding_BT=torch.tensor([[0, 1, 1, 1]]))
    tensor([[1, 2]])

    With `padding` (B, T), 1 for a token and 0 for padding, tokens are counted from the first that is real; padding
    itself stands at 0. GPT-2, Llama and BERT count without it, unless they are given positions.
    """
    if padding_BT is None:
        return torch.arange(past, past + length, device=device).unsqueeze(0)
    counted = padding_BT.to(torch.long).cumsum(dim=-1) - 1
    return torch.where(padding_BT > 0, counted, torch.zeros_like(counted))[:, past : past + length]


def counted(real_BT: Tensor, length: int, first: int = 0, padding: int = 0, unlike: int | None = None) -> Tensor:
    """The positions of the last `length` places, counted from `first` at the first token that is real: (B, S).

    >>> counted(torch.tensor([[0, 1, 1]]), 3, first=2, padding=1)
    tensor([[1, 2, 3]])

    real: 1 for a token and 0 for padding, which stands at `padding`; or ids, of which `unlike` is padding's. RoBERTa
    counts so, from behind its padding id.
    """
    real = real_BT.to(torch.bool) if unlike is None else real_BT != unlike
    places = real.to(torch.long).cumsum(dim=-1) - 1 + first
    return torch.where(real, places, padding)[:, real.shape[-1] - length :]


def sinusoid(
    positions_BS: Tensor, dim: int, theta: float = 10000.0, layout: Literal["interleaved", "half"] = "interleaved"
) -> Tensor:
    """Sines and cosines of positions, (B, S, D) float64; D is even.

    >>> sinusoid(torch.tensor([[0]]), 4).tolist()
    [[[0.0, 1.0, 0.0, 1.0]]]

    Sine at 2i and cosine at 2i + 1, or all sines and then all cosines ("half").
    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    speeds = theta ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions_BS.device) / dim)
    angles = positions_BS[..., None].to(torch.float64) * speeds
    waves = (torch.sin(angles), torch.cos(angles))
    return torch.cat(waves, dim=-1) if layout == "half" else torch.stack(waves, dim=-1).flatten(-2)


def alibi_slopes(heads: int, device: Device = None) -> Tensor:
    """How steeply each head forgets, (H,) float64: 2^(−8h/H) for h = 1 ... H.

    >>> alibi_slopes(4).tolist()
    [0.25, 0.0625, 0.015625, 0.00390625]
    >>> alibi_slopes(3).tolist()
    [0.0625, 0.00390625, 0.25]

    Where H is no power of two: the slopes of the power n below it, then every other one of 2n's.
    Source: Press, Smith and Lewis 2021 (arXiv 2108.12409), section 3 and the authors' code.
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * head / power) for head in range(1, power + 1)]
    between = [2.0 ** (-8.0 * head / (2 * power)) for head in range(1, 2 * power, 2)]
    return torch.tensor(slopes + between[: heads - power], dtype=torch.float64, device=device)


def alibi_bias(keys_T: Tensor, heads: int, queries_S: Tensor | None = None) -> Tensor:
    """What is added to the scores, (H, S, T) float64: −slope·(query − key).

    >>> alibi_bias(torch.arange(3), heads=1, queries_S=torch.tensor([2]))[0, 0] * 256
    tensor([-2., -1.,  0.], dtype=torch.float64)

    Without queries the distance is counted from position 0, (H, 1, T): a softmax does not see the difference (BLOOM).
    """
    slopes_H11 = alibi_slopes(heads, keys_T.device)[:, None, None]
    keys_T = keys_T.to(torch.float64)
    return slopes_H11 * (keys_T if queries_S is None else keys_T - queries_S.to(torch.float64)[:, None])


def alibi_of_places(places_BT: Tensor, heads: int) -> Tensor:
    """The bias of keys by their own places, in each row of the batch: (B, H, 1, T) float64 (BLOOM).

    >>> alibi_of_places(torch.tensor([[0, 0, 1]]), heads=1)[0, 0] * 256
    tensor([[0., 0., 1.]], dtype=torch.float64)
    """
    slopes_H11 = alibi_slopes(heads, places_BT.device)[:, None, None]
    return slopes_H11 * places_BT.to(torch.float64)[:, None, None, :]


def alibi_of_numbers(heads_1H: Tensor, places_BT: Tensor, batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The same from the numbers of the heads, 1 to H, where H is a power of two: (B, H, 1, T).

    >>> alibi_of_numbers(torch.tensor([[1, 2]]), torch.tensor([[0, 1]]), batch=1).flatten().tolist()
    [0.0, 0.0625, 0.0, 0.00390625]

    Computed in float64, handed out as `dtype`, for every row of the batch.
    """
    numbers_H = heads_1H.reshape(-1).to(torch.float64)
    slopes_H11 = torch.pow(2.0, -8.0 * numbers_H / len(numbers_H))[:, None, None]
    bias = slopes_H11 * places_BT.to(torch.float64)[:, None, None, :]
    return bias.to(dtype).expand(batch, -1, -1, -1)


def relative_bias(
    table_NH: Tensor, queries: int, keys: int, bidirectional: bool = True, farthest: int = 128, past: int = 0
) -> Tensor:
    """The learned bias of each head by the bucket of the distance, (1, H, S, T); N buckets.

    >>> relative_bias(torch.arange(4.0)[:, None], 2, 2, farthest=8).flatten().tolist()
    [0.0, 3.0, 1.0, 0.0]
    """
    places = torch.arange(keys, device=table_NH.device)
    relative = places[None, :] - (torch.arange(queries, device=table_NH.device) + past)[:, None]
    buckets = relative_buckets(relative, bidirectional, table_NH.shape[0], farthest)
    return table_NH[buckets].permute(2, 0, 1).unsqueeze(0)


def relative_buckets(relative: Tensor, bidirectional: bool = True, buckets: int = 32, farthest: int = 128) -> Tensor:
    """The number of the bucket of each distance `key − query`: near ones by themselves, far ones by their logarithm.

    >>> relative_buckets(torch.tensor([-200, -9, -1, 0, 1, 200])).tolist()
    [15, 8, 1, 0, 17, 31]

    With `bidirectional`, later keys have the upper half of the buckets; else they share bucket 0. Half of a side's
    buckets hold one distance each; bucket e + j of k further ones begins where (n/e)^k >= (farthest/e)^j, decided in
    whole numbers. Source: Raffel et al. 2020 (arXiv 1910.10683), section 2.1, and the authors' code.
    """
    if bidirectional:
        side = buckets // 2
        base = (relative > 0).to(torch.long) * side
        distance = relative.abs()
    else:
        side = buckets
        base = torch.zeros_like(relative)
        distance = torch.clamp(-relative, min=0)
    exact = side // 2
    starts = [_first(exact, side - exact, step, farthest) for step in range(1, side - exact)]
    far = exact + sum(((distance >= start).to(torch.long) for start in starts), torch.zeros_like(distance))
    return base + torch.where(distance < exact, distance, far)


def _first(exact: int, buckets: int, step: int, farthest: int) -> int:
    """The smallest distance of a far bucket."""
    distance = exact
    while distance**buckets * exact**step < farthest**step * exact**buckets:
        distance += 1
    return distance
