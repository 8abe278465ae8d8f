"""Who may look at whom, as booleans: True where a query may see a key.

Shapes: B batch, S new tokens (queries), T keys. A mask is (S, T), or (B, 1, S, T) where rows of the batch differ.
"""

from __future__ import annotations

__all__ = [
    "Direction",
    "allowed",
    "build_mask",
    "build_masks",
    "fully_masked_rows",
    "hidden_masks",
    "laid_over",
    "padding_of",
]

import math
from typing import Literal

import torch
from torch import Tensor

Direction = Literal["causal", "bidirectional", "prefix"]


def allowed(
    queries_S: Tensor,
    keys_T: Tensor,
    direction: Direction = "causal",
    window: int | None = None,
    chunk: int | None = None,
    prefix: int | Tensor | None = None,
    padding_BT: Tensor | None = None,
) -> Tensor:
    """Which of the keys at `keys` each query at `queries` may see: (S, T), or (B, 1, S, T).

    >>> allowed(torch.tensor([2, 3]), torch.arange(4), window=2).int().tolist()
    [[0, 1, 1, 0], [0, 0, 1, 1]]

    direction: "causal" sees no later key; "prefix" sees all of the first `prefix` ones besides (a number, or one per
    row of the batch); "bidirectional" sees all. window: the last so many keys, the query's own among them (to both
    sides where the direction is bidirectional). chunk: only keys of the query's own chunk, counted from the first
    real token of its row. padding: (B, T), true for a token and false for padding.
    """
    if direction not in ("causal", "bidirectional", "prefix"):
        raise ValueError(f"a direction is causal, bidirectional or prefix, but got {direction}")
    q, k = queries_S[:, None], keys_T[None, :]
    seen = (k <= q) if direction != "bidirectional" else torch.ones_like(k <= q)
    if direction == "prefix":
        if prefix is None:
            raise ValueError("a prefix mask needs the length of the prefix, but got none")
        first = k < (prefix if isinstance(prefix, int) else prefix[:, None, None, None])
        seen = seen | first
    if window is not None:
        seen = seen & (k > q - window) & (k < q + window)
    if chunk is not None:
        start = 0 if padding_BT is None else _leading(padding_BT)
        seen = seen & ((k - start) // chunk == (q - start) // chunk)
    return seen if padding_BT is None else seen & padding_BT.to(torch.bool)[:, None, None, :]


def build_mask(
    length: int,
    past: int = 0,
    direction: Direction = "causal",
    window: int | None = None,
    attention_mask_BT: Tensor | None = None,
    dropped: int = 0,
    device: torch.device | str | None = None,
    others: int | None = None,
) -> Tensor:
    """The mask of `length` queries that come after `past` keys: (S, T), or (B, 1, S, T) with padding.

    >>> build_mask(2, past=1).int().tolist()
    [[1, 1, 0], [1, 1, 1]]
    >>> build_mask(2, direction="bidirectional", attention_mask_BT=torch.tensor([[0, 1]])).int().tolist()
    [[[[0, 1], [0, 1]]]]

    dropped: how many tokens before those are no longer held; the padding speaks of them, too. others: how many keys
    there are where they are another sequence's, whose places are counted by themselves. ValueError where the padding
    says nothing of some keys.
    """
    total = dropped + past + length if others is None else others
    if attention_mask_BT is not None and attention_mask_BT.shape[-1] != total:
        raise ValueError(f"an attention mask covers {total} keys, but got {attention_mask_BT.shape[-1]}")
    places_T = torch.arange(past + length, device=device)
    keys_T = places_T if others is None else torch.arange(others, device=device)
    padding_BT = None if attention_mask_BT is None else attention_mask_BT[:, dropped:]
    return allowed(places_T[past:], keys_T, direction, window, padding_BT=padding_BT)


def build_masks(
    queries: int,
    keys: int,
    patterns: tuple[tuple[Direction, int | None, int | None], ...],
    attention_mask_BT: Tensor | None = None,
    mutual: bool = False,
) -> tuple[Tensor, ...]:
    """The masks of one forward: for each (direction, window, chunk) who of the last `queries` places sees which key.

    >>> [mask.int().tolist() for mask in build_masks(2, 2, (("causal", None, None), ("bidirectional", None, None)))]
    [[[1, 0], [1, 1]], [[1, 1], [1, 1]]]

    mutual: padding sees nothing either.
    """
    device = None if attention_mask_BT is None else attention_mask_BT.device
    keys_T = torch.arange(keys, device=device)
    queries_S = torch.arange(keys - queries, keys, device=device)
    made = (
        allowed(queries_S, keys_T, direction, window, chunk, padding_BT=attention_mask_BT)
        for direction, window, chunk in patterns
    )
    if not mutual or attention_mask_BT is None:
        return tuple(made)
    real_B1S1 = attention_mask_BT.to(torch.bool)[:, None, keys - queries :, None]
    return tuple(mask & real_B1S1 for mask in made)


def hidden_masks(
    queries: int,
    keys: int,
    patterns: tuple[tuple[Direction, int | None, int | None], ...],
    attention_mask_BT: Tensor | None = None,
    mutual: bool = False,
) -> tuple[Tensor, ...]:
    """As `build_masks`, by what may not be seen.

    >>> hidden_masks(2, 2, (("causal", None, None),))[0].int().tolist()
    [[0, 1], [0, 0]]
    """
    return tuple(~mask for mask in build_masks(queries, keys, patterns, attention_mask_BT, mutual))


def laid_over(
    bias: Tensor,
    length: int,
    past: int = 0,
    direction: Direction = "causal",
    attention_mask_BT: Tensor | None = None,
) -> Tensor:
    """A bias of scores, and −inf where a mask hides: what one kernel takes for both, (H, S, T) or (B, H, S, T).

    >>> laid_over(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 2).tolist()
    [[1.0, -inf], [3.0, 4.0]]
    """
    seen = build_mask(length, past, direction, attention_mask_BT=attention_mask_BT, device=bias.device)
    return torch.where(seen, bias, -math.inf)


def padding_of(lengths_B: Tensor, length: int, side: Literal["left", "right"] = "right") -> Tensor:
    """Which of `length` places hold a token, when each row holds so many and the rest, on `side`, is padding: (B, T).

    >>> padding_of(torch.tensor([1, 3]), 3, "left").int().tolist()
    [[0, 0, 1], [1, 1, 1]]
    """
    places_T = torch.arange(length, device=lengths_B.device)[None, :]
    return places_T < lengths_B[:, None] if side == "right" else places_T >= length - lengths_B[:, None]


def fully_masked_rows(mask: Tensor) -> Tensor:
    """The queries that see no key at all: (..., S). What attention gives them is a convention, not maths.

    >>> fully_masked_rows(torch.tensor([[True, False], [False, False]])).tolist()
    [False, True]
    """
    return ~mask.any(dim=-1)


def _leading(padding_BT: Tensor) -> Tensor:
    """How much padding stands before the first token of each row: (B, 1, 1, 1)."""
    return (padding_BT.to(torch.long).cumsum(dim=-1) == 0).sum(dim=-1)[:, None, None, None]
