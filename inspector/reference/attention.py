"""Attention, one function per stage from scores to the weighted sum, and `attend` for the whole.

Shapes: B batch, S new tokens (queries), T keys, H heads, K head width.
"""

from __future__ import annotations

__all__ = [
    "add_bias",
    "add_terms",
    "apply_mask",
    "attend",
    "contract",
    "drop_sink",
    "hide",
    "scale",
    "scores",
    "softcap",
    "softmax",
    "weighted_sum",
    "with_sink",
]

import math
from typing import Literal

import torch
from torch import Tensor

Empty = Literal["uniform", "zero", "nan"]


def scores(q_BHSK: Tensor, k_BHTK: Tensor) -> Tensor:
    """q·k of every query and key of a head: (B, H, S, T), not scaled.

    >>> scores(torch.ones(1, 1, 2, 3), torch.ones(1, 1, 4, 3)).shape
    torch.Size([1, 1, 2, 4])

    Source: Vaswani et al. 2017 (arXiv 1706.03762), equation 1.
    """
    return torch.einsum("...sk,...tk->...st", q_BHSK, k_BHTK)


def scale(scores_BHST: Tensor, factor: float) -> Tensor:
    """The scores times a number, usually 1/sqrt(K).

    >>> scale(torch.tensor([2.0]), 0.5)
    tensor([1.])
    """
    return scores_BHST * factor


def softcap(x: Tensor, cap: float) -> Tensor:
    """cap·tanh(x/cap): nothing exceeds the cap, and what is far below it hardly changes.

    >>> softcap(torch.tensor([0.0, 1000.0]), 30.0)
    tensor([ 0., 30.])

    Source: Gemma 2 (arXiv 2408.00118), section 2.
    """
    return torch.tanh(x / cap) * cap


def add_bias(scores_BHST: Tensor, bias: Tensor) -> Tensor:
    """A position bias, (H, S, T) or wider, added to the scores.

    >>> add_bias(torch.zeros(1, 1, 1, 2), torch.tensor([[[-1.0, 0.0]]])).flatten().tolist()
    [-1.0, 0.0]
    """
    return scores_BHST + bias


def add_terms(scores_BHST: Tensor, first: Tensor, second: Tensor | None = None) -> Tensor:
    """A bias and a mask of numbers added to the scores: what hides is a large negative number, and stays one.

    >>> add_terms(torch.zeros(1), torch.tensor([-2.0]), torch.tensor([0.5])).item()
    -1.5
    """
    total = scores_BHST + first
    return total if second is None else total + second


def contract(x: Tensor, y: Tensor, equation: str) -> Tensor:
    """A product of two tensors by its equation, where heads or keys stand at other axes.

    >>> contract(torch.ones(2, 3), torch.ones(4, 3), "sk,tk->ts").shape
    torch.Size([4, 2])
    """
    return torch.einsum(equation, x, y)


def with_sink(scores_BHST: Tensor, sinks_H: Tensor) -> Tensor:
    """The scores and behind them one logit per head, which no value belongs to: (B, H, S, T + 1).

    >>> with_sink(torch.zeros(1, 1, 1, 2), torch.tensor([3.0])).flatten().tolist()
    [0.0, 0.0, 3.0]

    Source: Xiao et al. 2023 (arXiv 2309.17453); gpt-oss (arXiv 2508.10925), section 2.2.
    """
    sink = sinks_H.reshape(1, -1, 1, 1).to(scores_BHST.dtype).expand(*scores_BHST.shape[:-1], 1)
    return torch.cat((scores_BHST, sink), dim=-1)


def drop_sink(weights_BHST: Tensor) -> Tensor:
    """The probabilities of the keys alone, which add up to less than one.

    >>> drop_sink(torch.tensor([0.25, 0.75])).tolist()
    [0.25]
    """
    return weights_BHST[..., :-1]


def apply_mask(scores_BHST: Tensor, allowed: Tensor) -> Tensor:
    """Scores of what may not be seen become −inf, so that its probability is exactly 0.

    >>> apply_mask(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    tensor([1., -inf])

    `allowed` is boolean, (S, T) or (B, 1, S, T).
    """
    return torch.where(allowed, scores_BHST, -math.inf)


def hide(scores_BHST: Tensor, hidden: Tensor) -> Tensor:
    """As `apply_mask`, by what may not be seen.

    >>> hide(torch.tensor([1.0, 2.0]), torch.tensor([False, True]))
    tensor([1., -inf])
    """
    return torch.where(hidden, -math.inf, scores_BHST)


def softmax(scores_BHST: Tensor, sinks_H: Tensor | None = None, empty: Empty = "uniform") -> Tensor:
    """exp(s) over its sum along the keys: (B, H, S, T).

    >>> softmax(torch.tensor([[[[0.0, -torch.inf]]]])).flatten().tolist()
    [1.0, 0.0]
    >>> softmax(torch.zeros(1, 1, 1, 2), torch.tensor([0.0])).sum()
    tensor(0.6667)

    sinks: a logit per head that takes part in the sum and is then dropped, (H,) (arXiv 2309.17453; gpt-oss). empty:
    the probabilities of a query that sees no key, 0/0 in the formula: all keys alike ("uniform", what adding a large
    negative number gives), none ("zero", what fused kernels give), or NaN. With a sink there is no such query.
    """
    if empty not in ("uniform", "zero", "nan"):
        raise ValueError(f"a query that sees no key gets uniform, zero or nan, but got {empty}")
    most = scores_BHST.amax(dim=-1, keepdim=True)
    sink = None if sinks_H is None else sinks_H[:, None, None].to(most.dtype)
    most = most if sink is None else torch.maximum(most, sink)
    weights = torch.exp(scores_BHST - most)
    total = weights.sum(dim=-1, keepdim=True)
    if sink is not None:
        return weights / (total + torch.exp(sink - most))
    unseen = (scores_BHST == -math.inf).all(dim=-1, keepdim=True)
    instead = {"uniform": 1.0 / scores_BHST.shape[-1], "zero": 0.0, "nan": math.nan}[empty]
    return torch.where(unseen, instead, weights / total)


def weighted_sum(weights_BHST: Tensor, v_BHTK: Tensor) -> Tensor:
    """The values, weighed by the probabilities: (B, H, S, K).

    >>> weighted_sum(torch.tensor([[[[0.5, 0.5]]]]), torch.tensor([[[[1.0], [3.0]]]])).item()
    2.0
    """
    return torch.einsum("...st,...tk->...sk", weights_BHST, v_BHTK)


def attend(
    q_BHSK: Tensor,
    k_BHTK: Tensor,
    v_BHTK: Tensor,
    allowed: Tensor | None = None,
    factor: float | None = None,
    cap: float | None = None,
    sinks_H: Tensor | None = None,
    empty: Empty = "uniform",
) -> Tensor:
    """The whole, as one kernel computes it: (B, H, S, K).

    >>> attend(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 3, 2), torch.arange(6.0).reshape(1, 1, 3, 2)).flatten().tolist()
    [2.0, 3.0]

    Without a factor, 1/sqrt(K). Keys and values have as many heads as the queries: see `heads.repeat_kv`.
    """
    s = scale(scores(q_BHSK, k_BHTK), q_BHSK.shape[-1] ** -0.5 if factor is None else factor)
    if cap is not None:
        s = softcap(s, cap)
    if allowed is not None:
        s = apply_mask(s, allowed)
    return weighted_sum(softmax(s, sinks_H, empty), v_BHTK)
