"""Mixtures of experts: the routers, and the weighted sum of what the experts say.

Shapes: N tokens, E experts, A active experts, D width.
"""

from __future__ import annotations

__all__ = [
    "choose",
    "chosen",
    "chosen_linear",
    "combine",
    "combine_sorted",
    "copies",
    "expert_linear",
    "grouped_linear",
    "mixture",
    "of_chosen",
    "places_by_expert",
    "probabilities",
    "score_of_groups",
    "scores_of",
    "shares",
    "sigmoid_router",
    "softmax_then_topk",
    "sorted_by_expert",
    "spread",
    "topk_then_softmax",
    "within_groups",
]

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from inspector.reference.activations import activate


class Route(NamedTuple):
    """The weights of the chosen experts and their numbers, (N, A) each, the best first."""

    weights: Tensor
    experts: Tensor


def softmax_then_topk(logits_NE: Tensor, active: int, normalised: bool = False) -> Route:
    """Probabilities over all experts, of which the largest are kept: they add up to less than 1.

    >>> softmax_then_topk(torch.tensor([[0.0, 0.0, -torch.inf]]), active=1).weights.tolist()
    [[0.5]]

    `normalised`: divided by their sum. Source: Fedus et al. 2021 (arXiv 2101.03961), equation 1; Mixtral normalises.
    """
    weights, experts = torch.topk(_softmax(logits_NE), active, dim=-1)
    return Route(weights / weights.sum(dim=-1, keepdim=True) if normalised else weights, experts)


def topk_then_softmax(logits_NE: Tensor, active: int) -> Route:
    """The largest logits, and probabilities among these alone: they add up to 1.

    >>> topk_then_softmax(torch.tensor([[1.0, 5.0, 5.0]]), active=2).weights.tolist()
    [[0.5, 0.5]]

    Source: Shazeer et al. 2017 (arXiv 1701.06538), equations 3 to 5; gpt-oss.
    """
    logits, experts = torch.topk(logits_NE, active, dim=-1)
    return Route(_softmax(logits), experts)


def sigmoid_router(
    logits_NE: Tensor, active: int, bias_E: Tensor | None = None, normalised: bool = True, factor: float = 1.0
) -> Route:
    """Every expert scored by itself. `bias` decides who is chosen, never by how much.

    >>> route = sigmoid_router(torch.zeros(1, 3), active=1, bias_E=torch.tensor([0.0, 0.0, 9.0]), normalised=False)
    >>> route.weights.tolist(), route.experts.tolist()
    ([[0.5]], [[2]])

    `factor` multiplies the weights at the end. Source: DeepSeek-V3 (arXiv 2412.19437), equations 13 to 16.
    """
    affinity = activate(logits_NE, "sigmoid")
    experts = torch.topk(affinity if bias_E is None else affinity + bias_E, active, dim=-1).indices
    weights = torch.gather(affinity, -1, experts)
    return Route((weights / weights.sum(dim=-1, keepdim=True) if normalised else weights) * factor, experts)


def spread(route: Route, experts: int) -> Tensor:
    """The weight of every expert for every token, (N, E): 0 where it is not visited.

    >>> spread(Route(torch.tensor([[0.75, 0.25]]), torch.tensor([[2, 0]])), 3).tolist()
    [[0.25, 0.0, 0.75]]
    """
    chosen_NAE = route.experts[..., None] == torch.arange(experts, device=route.experts.device)
    return torch.where(chosen_NAE, route.weights[..., None], torch.zeros_like(route.weights[..., None])).sum(dim=-2)


def mixture(x_ND: Tensor, weights_NE: Tensor, experts: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """The sum over the experts of weight times answer, (N, D): every expert sees every token.

    >>> mixture(torch.ones(1, 2), torch.tensor([[0.25, 0.75]]), [lambda x: x * 4, lambda x: x * 8]).tolist()
    [[7.0, 7.0]]

    Dispatching only saves work; the definition is this sum (Shazeer et al. 2017, arXiv 1701.06538, equation 1), and
    it needs no value, so it runs on the meta device.
    """
    total = torch.zeros_like(x_ND)
    for number, expert in enumerate(experts):
        total = total + weights_NE[:, number, None] * expert(x_ND)
    return total


def _softmax(x: Tensor) -> Tensor:
    weights = torch.exp(x - x.amax(dim=-1, keepdim=True))
    return weights / weights.sum(dim=-1, keepdim=True)


# stage by stage


def probabilities(logits_NE: Tensor) -> Tensor:
    """Scores become probabilities over the last axis.

    >>> probabilities(torch.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    return _softmax(logits_NE)


def shares(weights_NA: Tensor, eps: float = 0.0, factor: float = 1.0) -> Tensor:
    """Weights divided by their sum, so that they add up to `factor`.

    >>> shares(torch.tensor([[1.0, 3.0]])).tolist()
    [[0.25, 0.75]]
    """
    return weights_NA / (weights_NA.sum(dim=-1, keepdim=True) + eps) * factor


def choose(scores_NE: Tensor, active: int) -> Route:
    """The largest scores and whose they are, the best first.

    >>> choose(torch.tensor([[1.0, 5.0, 3.0]]), 2)
    Route(weights=tensor([[5., 3.]]), experts=tensor([[1, 2]]))
    """
    return Route(*torch.topk(scores_NE, active, dim=-1))


def chosen(scores_NE: Tensor, experts_NA: Tensor, active: int) -> Route:
    """The scores of the experts that were chosen, which are the best ones, in the order in which they were given.

    >>> chosen(torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([[2, 1]]), 2)
    Route(weights=tensor([[3., 5.]]), experts=tensor([[2, 1]]))

    Which comes first decides nothing, nor which of two equal ones it is. ValueError where others are better; on the
    meta device, where there are no values, nothing is refused.
    """
    if experts_NA.shape[-1] != active:
        raise ValueError(f"{experts_NA.shape[-1]} are chosen, and {active} should be")
    experts_NA = experts_NA.reshape(*scores_NE.shape[:-1], active)
    weights = torch.gather(scores_NE, -1, experts_NA)
    if weights.is_meta:
        return Route(weights, experts_NA)
    if bool((experts_NA.sort(dim=-1).values.diff(dim=-1) == 0).any()):
        raise ValueError("one is chosen twice")
    if not torch.equal(weights.sort(dim=-1).values, torch.topk(scores_NE, active, dim=-1).values.flip(-1)):
        raise ValueError("others have higher scores than the chosen ones")
    return Route(weights, experts_NA)


def scores_of(scores_NE: Tensor, experts_NA: Tensor) -> Tensor:
    """The scores of the chosen experts: (N, A).

    >>> scores_of(torch.tensor([[1.0, 5.0]]), torch.tensor([[1]])).tolist()
    [[5.0]]
    """
    return torch.gather(scores_NE, -1, experts_NA)


def score_of_groups(best_NGA: Tensor) -> Tensor:
    """The score of each group of experts, (N, G): the sum of its best ones.

    >>> score_of_groups(torch.tensor([[[3.0, 1.0], [2.0, 0.5]]])).tolist()
    [[4.0, 2.5]]

    Source: DeepSeek-V3 (arXiv 2412.19437), section 2.1.2, and its published code.
    """
    return best_NGA.sum(dim=-1)


def within_groups(scores_NE: Tensor, groups_NA: Tensor, count: int, hidden: float = -math.inf) -> Tensor:
    """The scores of experts whose group is among the chosen ones; of the others `hidden`. count: of groups.

    >>> within_groups(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[1]]), count=2).tolist()
    [[-inf, -inf, 3.0, 4.0]]

    Groups are neighbouring experts. DeepSeek's code first wrote zeros, which a negative score loses against.
    """
    size = scores_NE.shape[-1] // count
    open_NG = (groups_NA[..., None] == torch.arange(count, device=groups_NA.device)).any(dim=-2)
    return scores_NE.masked_fill(~open_NG.repeat_interleave(size, dim=-1), hidden)


def copies(x_ND: Tensor, active: int) -> Tensor:
    """Each token once for each of its experts, one after the other: (N·A, D).

    >>> copies(torch.tensor([[1.0], [2.0]]), 2).flatten().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    return x_ND.reshape(-1, x_ND.shape[-1]).repeat_interleave(active, 0)


def of_chosen(
    experts_NA: Tensor,
    first_E: Tensor,
    second_E: Tensor | None = None,
    third_E: Tensor | None = None,
    fourth_E: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """What belongs to each chosen expert, be it matrices or biases: (N·A, ...) of each table.

    >>> of_chosen(torch.tensor([[1, 0]]), torch.tensor([7.0, 8.0]))[0].tolist()
    [8.0, 7.0]
    """
    tables = [table for table in (first_E, second_E, third_E, fourth_E) if table is not None]
    return tuple(table[experts_NA.reshape(-1)] for table in tables)


def expert_linear(
    x_MI: Tensor, weight_MOI: Tensor, bias_MO: Tensor | None = None, layout: Literal["out_in", "in_out"] = "out_in"
) -> Tensor:
    """y = Wx + b, each row by a matrix of its own: (M, I) -> (M, O).

    >>> expert_linear(torch.ones(2, 3), torch.ones(2, 4, 3)).shape
    torch.Size([2, 4])
    """
    y = torch.einsum("mi,moi->mo" if layout == "out_in" else "mi,mio->mo", x_MI, weight_MOI)
    return y if bias_MO is None else y + bias_MO


def chosen_linear(
    x_MI: Tensor, weight_EOI: Tensor, experts_M: Tensor, layout: Literal["out_in", "in_out"] = "out_in"
) -> Tensor:
    """y = Wx, each row by the matrix of its expert: (M, I) -> (M, O).

    >>> weights = torch.tensor([[[1.0]], [[10.0]]])
    >>> chosen_linear(torch.ones(3, 1), weights, torch.tensor([1, 0, 1])).flatten().tolist()
    [10.0, 1.0, 10.0]
    """
    back = places_by_expert(experts_M)
    order = torch.argsort(back)
    return grouped_linear(x_MI[order], weight_EOI, _ends(experts_M, len(weight_EOI)), layout=layout)[back]


def places_by_expert(experts_NA: Tensor) -> Tensor:
    """Where each of the N·A copies goes, when those of one expert come after those of the one before it.

    >>> places_by_expert(torch.tensor([[1, 0], [0, 2]])).tolist()
    [2, 0, 1, 3]
    """
    return torch.argsort(torch.argsort(experts_NA.reshape(-1), stable=True))


def _ends(experts_NA: Tensor, count: int) -> Tensor:
    """Where the rows of each expert end, when they are in the order of the experts. It runs on the meta device."""
    numbers = torch.arange(count, device=experts_NA.device)
    return (experts_NA.reshape(-1, 1) == numbers).sum(dim=0).cumsum(0)


def combine(
    answers_MD: Tensor,
    weights_M: Tensor,
    active: int,
    shared_ND: Tensor | None = None,
    length: int | None = None,
) -> Tensor:
    """The answers of each token's experts, weighed and added up, (N, D); and what the shared expert says.

    >>> combine(torch.tensor([[1.0], [3.0]]), torch.tensor([0.5, 0.5]), active=2).tolist()
    [[2.0]]

    length: S, of tokens that stand in rows: (B, S, D).
    """
    weighed = answers_MD * weights_M.reshape(-1, 1)
    total: Tensor = weighed.unflatten(0, (-1, active)).sum(dim=1)
    total = total if length is None else total.unflatten(0, (-1, length))
    return total if shared_ND is None else total + shared_ND.reshape(total.shape)


def sorted_by_expert(
    x_ND: Tensor,
    weights_NA: Tensor,
    experts_NA: Tensor,
    back_M: Tensor,
    count: int,
    first_E: Tensor | None = None,
    second_E: Tensor | None = None,
    whose: bool = False,
) -> tuple[Tensor, ...]:
    """Tokens in the order of their experts: (N·A, D), their weights, where each expert's end, and the way back.

    >>> rows, weights, ends, back = sorted_by_expert(
    ...     torch.tensor([[1.0], [2.0]]),
    ...     torch.tensor([[0.5], [0.25]]),
    ...     experts_NA=torch.tensor([[1], [0]]),
    ...     back_M=torch.tensor([1, 0]),
    ...     count=2,
    ... )
    >>> rows.flatten().tolist(), weights.tolist(), ends.tolist(), back.tolist()
    ([2.0, 1.0], [0.25, 0.5], [1, 2], [1, 0])

    back: where each of the N·A copies went: of the tokens of one expert any may come first, so which did is taken as
    given. ValueError where it is no order by experts. Behind the weights stands what tables hold for the expert of each
    row; whose: and which expert that is.
    """
    chosen = experts_NA.reshape(-1)
    order = torch.argsort(back_M)
    if not order.is_meta and not torch.equal(back_M[order], torch.arange(len(order), device=order.device)):
        raise ValueError("two tokens have gone to one place")
    if not order.is_meta and bool((chosen[order].diff() < 0).any()):
        raise ValueError("the tokens are not in the order of their experts")
    ends = _ends(chosen, count)
    tables = tuple(table[chosen[order]] for table in (first_E, second_E) if table is not None)
    more = (*tables, chosen[order]) if whose else tables
    rows = x_ND.reshape(-1, x_ND.shape[-1])[order // experts_NA.shape[-1]]
    return rows, weights_NA.reshape(-1)[order], *more, ends, back_M


def grouped_linear(
    x_MI: Tensor,
    weight_EOI: Tensor,
    ends_E: Tensor,
    bias_MO: Tensor | None = None,
    layout: Literal["out_in", "in_out"] = "out_in",
) -> Tensor:
    """y = Wx + b, the rows up to each expert's end by its matrix: (M, I) -> (M, O).

    >>> weights = torch.tensor([[[1.0]], [[10.0]]])
    >>> grouped_linear(torch.ones(3, 1), weights, torch.tensor([1, 3])).flatten().tolist()
    [1.0, 10.0, 10.0]
    """
    ends = [0, *(len(x_MI) if end.is_meta else int(end) for end in ends_E)]  # without values all are the first one's
    rows = [x_MI[start:end] for start, end in pairwise(ends)]
    equation = "mi,oi->mo" if layout == "out_in" else "mi,io->mo"
    y = torch.cat([torch.einsum(equation, part, weight) for part, weight in zip(rows, weight_EOI, strict=True)])
    return y if bias_MO is None else y + bias_MO


def combine_sorted(
    answers_MD: Tensor,
    weights_M: Tensor,
    back_M: Tensor,
    active: int,
    shared_ND: Tensor | None = None,
    length: int | None = None,
) -> Tensor:
    """As `combine`, for answers that stand in the order of the experts.

    >>> answers, weights = torch.tensor([[3.0], [1.0]]), torch.tensor([0.5, 0.5])
    >>> combine_sorted(answers, weights, torch.tensor([1, 0]), active=2).tolist()
    [[2.0]]
    """
    back = back_M.to(torch.long)
    return combine(answers_MD[back], weights_M.reshape(-1)[back], active, shared_ND, length)
