"""Tokens become vectors.

Shapes: B batch, S new tokens, D width, V vocabulary, P positions, N segments.
"""

from __future__ import annotations

__all__ = ["add_embeddings", "first_segment", "position", "scale_embedding", "segment", "token"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def token(ids_BS: Tensor, table_VD: Tensor) -> Tensor:
    """The row of each token: (B, S, D).

    >>> import torch
    >>> token(torch.tensor([[2]]), torch.tensor([[0.0], [1.0], [5.0]])).item()
    5.0
    """
    return table_VD[ids_BS]


def position(position_ids_BS: Tensor, table_PD: Tensor, offset: int = 0) -> Tensor:
    """The row of each position, counted from `offset` (2 in OPT and BART): (B, S, D).

    >>> import torch
    >>> position(torch.tensor([[0]]), torch.tensor([[7.0], [8.0], [9.0]]), offset=2).item()
    9.0

    Source: Gehring et al. 2017 (arXiv 1705.03122), section 3.1.
    """
    return table_PD[position_ids_BS + offset]


def segment(token_type_ids_BS: Tensor, table_ND: Tensor) -> Tensor:
    """The row of each token's segment: (B, S, D).

    >>> import torch
    >>> segment(torch.tensor([[1]]), torch.tensor([[3.0], [4.0]])).item()
    4.0

    Source: Devlin et al. 2018 (arXiv 1810.04805), section 3.
    """
    return table_ND[token_type_ids_BS]


def first_segment(position_ids_BS: Tensor, table_ND: Tensor, batch: int) -> Tensor:
    """The row of segment 0 at every position, for inputs that name no segments: (B, S, D).

    >>> import torch
    >>> first_segment(torch.tensor([[5, 6]]), torch.tensor([[3.0], [4.0]]), batch=1).flatten().tolist()
    [3.0, 3.0]
    """
    return table_ND[0].expand(batch, position_ids_BS.shape[-1], -1)


def scale_embedding(x_BSD: Tensor, factor: float) -> Tensor:
    """The embeddings times a number, sqrt(D) in Gemma and T5's kin.

    >>> import torch
    >>> scale_embedding(torch.ones(1, 1, 1), 8.0).item()
    8.0

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.4.
    """
    return x_BSD * factor


def add_embeddings(token_BSD: Tensor, segment_BSD: Tensor | None = None, position_BSD: Tensor | None = None) -> Tensor:
    """The sum of what there is: (B, S, D).

    >>> import torch
    >>> add_embeddings(torch.tensor([1.0]), position_BSD=torch.tensor([2.0])).item()
    3.0
    """
    total = token_BSD
    for part in (segment_BSD, position_BSD):
        total = total if part is None else total + part
    return total
