"""Mistakes in attention: scores, scale, softmax, weighted sum, heads, cache.

Shapes: B batch, S new tokens (queries), T keys, H heads, G kv heads, K head width, D width.
"""

from __future__ import annotations

__all__ = ["ATTENTION"]

from typing import Any

import torch
from torch import Tensor

from inspector.reference.masks import fully_masked_rows
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in


def _half(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16)


# scale


def _of_model_width(scores_BHST: Tensor, factor: float) -> Tensor | None:
    heads = scores_BHST.shape[1]
    return scores_BHST * (factor / heads**0.5) if heads > 1 else None


_SCALE = (
    Mutant(
        "scale-missing",
        ("attention.scale",),
        "the scores are not scaled at all",
        seen_in(11, 12),
        lambda scores_BHST, factor: scores_BHST if factor != 1.0 else None,
    ),
    Mutant(
        "scale-squared",
        ("attention.scale",),
        "the scores are divided by the head width instead of its root",
        seen_in(11),
        lambda scores_BHST, factor: scores_BHST * factor**2 if factor != 1.0 else None,
    ),
    Mutant(
        "scale-twice",
        ("attention.scale",),
        "the scores are scaled twice over",
        seen_in(14),
        lambda scores_BHST, factor: scores_BHST * factor * factor if factor != 1.0 else None,
    ),
    Mutant(
        "scale-inverted",
        ("attention.scale",),
        "the scores are divided by the factor that they should be multiplied with",
        seen_in(12),
        lambda scores_BHST, factor: scores_BHST / factor if factor != 1.0 else None,
    ),
    Mutant(
        "scale-one-percent-off",
        ("attention.scale",),
        "the factor is 1.01 times too large",
        seen_in(13),
        lambda scores_BHST, factor: scores_BHST * (factor * 1.01),
        number="factor",
    ),
    Mutant(
        "scale-of-model-width",
        ("attention.scale",),
        "the root is taken of the model's width instead of a head's",
        seen_in(13),
        _of_model_width,
    ),
    Mutant(
        "scale-over-layer-number",
        ("attention.scale",),
        "the factor is divided by the number of the layer, as the second one's is where a config asks for it",
        seen_in(11),
        lambda scores_BHST, factor: scores_BHST * (factor / 2),
    ),
)


# scores and weighted sum


def _rolled(x: Tensor) -> Tensor | None:
    """Each head its neighbour's; None where all are one, as where all heads share one key."""
    other = x.roll(1, 1)
    return None if x.shape[1] < 2 or (not x.is_meta and torch.equal(other, x)) else other


def _is_shared_by_all(target: Target) -> str:
    """Keys and values that were repeated from one head."""
    repeats = [stage for stage in target.ground.plan.stages if stage.name.startswith("attention.repeat_kv")]
    values = target.ground.plan.trace.values
    shapes = [values[value].shape for stage in repeats if stage.layer == target.stage.layer for value in stage.inputs]
    one = bool(shapes) and all(len(shape) == 4 and shape[1] == 1 for shape in shapes)
    return "all heads share one head of keys and values, so every head's is its neighbour's" if one else ""


def _scores_of_other_heads(q_BHSK: Tensor, k_BHTK: Tensor) -> Tensor | None:
    other = _rolled(k_BHTK)
    return None if other is None else torch.matmul(q_BHSK, other.transpose(2, 3))


def _values_of_other_heads(weights_BHST: Tensor, v_BHTK: Tensor) -> Tensor | None:
    other = _rolled(v_BHTK)
    return None if other is None else torch.matmul(weights_BHST, other)


def _weights_turned(weights_BHST: Tensor, v_BHTK: Tensor) -> Tensor | None:
    if weights_BHST.shape[-1] != weights_BHST.shape[-2] or weights_BHST.shape[-1] == 1:
        return None
    return torch.matmul(weights_BHST.transpose(2, 3), v_BHTK)


_PRODUCTS = (
    Mutant(
        "scores-of-another-head",
        ("attention.scores",),
        "the queries of a head meet the keys of its neighbour",
        seen_in(29),
        _scores_of_other_heads,
        equivalent=_is_shared_by_all,
    ),
    Mutant(
        "scores-in-half-precision",
        ("attention.scores",),
        "queries and keys are rounded to bfloat16 before they are multiplied",
        seen_in(7),
        lambda q_BHSK, k_BHTK: torch.matmul(_half(q_BHSK), _half(k_BHTK).transpose(2, 3)).to(q_BHSK.dtype),
        halves=True,
    ),
    Mutant(
        "scores-without-last-element",
        ("attention.scores",),
        "the last element of each head is left out of the product",
        seen_in(40),
        lambda q_BHSK, k_BHTK: torch.matmul(q_BHSK[..., :-1], k_BHTK[..., :-1].transpose(2, 3)),
    ),
    Mutant(
        "values-of-another-head",
        ("attention.weighted_sum",),
        "the probabilities of a head weigh the values of its neighbour",
        seen_in(29),
        _values_of_other_heads,
        equivalent=_is_shared_by_all,
    ),
    Mutant(
        "weights-transposed",
        ("attention.weighted_sum",),
        "the probabilities are read with queries and keys exchanged",
        seen_in(37),
        _weights_turned,
    ),
    Mutant(
        "weighted-sum-in-half-precision",
        ("attention.weighted_sum",),
        "probabilities and values are rounded to bfloat16 before they are multiplied",
        seen_in(7),
        lambda weights_BHST, v_BHTK: torch.matmul(_half(weights_BHST), _half(v_BHTK)).to(v_BHTK.dtype),
        halves=True,
    ),
)


# softmax


def _not_shifted(scores_BHST: Tensor, **_: Any) -> Tensor:
    weights = torch.exp(scores_BHST)
    return weights / weights.sum(-1, keepdim=True)


def _sees_all_something(target: Target) -> str:
    """The shift cancels; without it a row of hidden scores is 0/0, which of a kernel is not compared."""
    masks = [tensor for (step, _), tensor in target.ground.claimed.known.items() if _builds(target, step)]
    if target.stage.role != "fused" and any(bool(fully_masked_rows(mask).any()) for mask in masks):
        return ""
    return "exp(s-m)/sum exp(s-m) = exp(s)/sum exp(s) for any m, and no score here is large enough to overflow"


def _builds(target: Target, step: int) -> bool:
    return target.ground.claimed.steps[step].name == "mask.build"


_SOFTMAX = (
    Mutant(
        "softmax-over-queries",
        ("attention.softmax",),
        "the probabilities of a key add up to 1, not those of a query",
        seen_in(29),
        lambda scores_BHST, **_: torch.nn.functional.softmax(scores_BHST, -2) if scores_BHST.shape[-2] > 1 else None,
        told_at=("attention.split_qkv",),  # whoever's probabilities add up to 1 are the queries
    ),
    Mutant(
        "softmax-in-half-precision",
        ("attention.softmax",),
        "the softmax is computed in bfloat16",
        seen_in(6),
        lambda scores_BHST, **_: torch.nn.functional.softmax(_half(scores_BHST), -1).to(scores_BHST.dtype),
        halves=True,
    ),
    Mutant(
        "softmax-too-warm",
        ("attention.softmax",),
        "a temperature of 1.1 was left in",
        seen_in(14),
        lambda scores_BHST, **_: torch.nn.functional.softmax(scores_BHST / 1.1, -1),
        told_at=("attention.scale",),
    ),
    Mutant(
        "softmax-with-a-sink",
        ("attention.softmax",),
        "a logit of 0 takes part in the sum",
        seen_in(31),
        lambda scores_BHST, **_: torch.nn.functional.softmax(
            torch.cat((scores_BHST, torch.zeros_like(scores_BHST[..., :1])), -1), -1
        )[..., :-1],
    ),
    Mutant(
        "softmax-not-shifted",
        ("attention.softmax",),
        "the largest score is not subtracted before the exponential",
        seen_in(24),
        _not_shifted,
        told_at=("attention.", "positions."),  # a softmax that is written out is no attention to the roles
        equivalent=_sees_all_something,
        in_theory=True,
    ),
)


# heads and cache


def _tiled(x_BGTK: Tensor, heads: int) -> Tensor | None:
    groups = x_BGTK.shape[1]
    return None if groups in (1, heads) else x_BGTK.repeat(1, heads // groups, 1, 1)


def _other_groups(x_BGTK: Tensor, heads: int) -> Tensor | None:
    groups = x_BGTK.shape[1]
    return None if groups == 1 else x_BGTK.roll(1, 1).repeat_interleave(heads // groups, 1)


def _width_first(x_BSD: Tensor, heads: int) -> Tensor | None:
    width = x_BSD.shape[-1] // heads
    return None if 1 in (heads, width) else x_BSD.view(*x_BSD.shape[:-1], width, heads).permute(0, 3, 1, 2)


def _not_transposed(x_BSD: Tensor, heads: int) -> Tensor | None:
    batch, length = x_BSD.shape[:2]
    return None if 1 in (heads, length) else x_BSD.reshape(batch, heads, length, -1)


def _pairs_beside(x_BSD: Tensor, heads: int) -> Tensor | None:
    """The columns of a head as a checkpoint of interleaved pairs has them."""
    x = x_BSD.view(*x_BSD.shape[:-1], heads, -1)
    return torch.cat((x[..., 0::2], x[..., 1::2]), -1).transpose(1, 2) if x.shape[-1] > 2 else None


def _joined_as_it_lies(x_BHSK: Tensor) -> Tensor | None:
    return x_BHSK.reshape(x_BHSK.shape[0], x_BHSK.shape[2], -1) if x_BHSK.shape[2] > 1 else None


_HEADS = (
    Mutant(
        "kv-heads-tiled", ("heads.repeat_kv",), "kv heads are repeated as a whole, not one by one", seen_in(29), _tiled
    ),
    Mutant(
        "kv-heads-of-another-group",
        ("heads.repeat_kv",),
        "each group reads its neighbour's kv head",
        seen_in(29),
        _other_groups,
    ),
    Mutant(
        "heads-and-width-swapped",
        ("heads.split_heads",),
        "the width is cut into (K, H) instead of (H, K)",
        seen_in(29),
        _width_first,
    ),
    Mutant(
        "split-not-transposed",
        ("heads.split_heads",),
        "heads are cut out of the sequence, not of the width",
        seen_in(29),
        _not_transposed,
    ),
    Mutant(
        "split-not-permuted",
        ("heads.split_heads",),
        "a checkpoint's interleaved pairs are read as halves",
        seen_in(1, 2),
        _pairs_beside,
    ),
    Mutant(
        "merge-not-transposed",
        ("heads.merge_heads",),
        "heads are joined along the sequence",
        seen_in(29),
        _joined_as_it_lies,
    ),
    Mutant(
        "merge-heads-and-width-swapped",
        ("heads.merge_heads",),
        "elements of all heads are joined by turns",
        seen_in(29),
        lambda x_BHSK: x_BHSK.permute(0, 2, 3, 1).flatten(2) if x_BHSK.shape[1] > 1 else None,
    ),
)


def _shifted(x_BGTK: Tensor) -> Tensor | None:
    return x_BGTK.roll(1, 2) if x_BGTK.shape[2] > 1 else None


_CACHE = (
    Mutant(
        "cache-in-front",
        ("cache.append",),
        "new keys and values are put before the old ones",
        seen_in(16),
        lambda new_BGSK, past_BGPK=None: None if past_BGPK is None else torch.cat((new_BGSK, past_BGPK), 2),
    ),
    Mutant(
        "cache-slots-shifted",
        ("cache.append",),
        "every key and value stands one slot too far, and the last in front",
        seen_in(27),
        lambda new_BGSK, past_BGPK=None: _shifted(
            new_BGSK if past_BGPK is None else torch.cat((past_BGPK, new_BGSK), 2)
        ),
    ),
    Mutant(
        "cache-last-token-lost",
        ("cache.append",),
        "the last old token is overwritten by the one before it",
        seen_in(16),
        lambda new_BGSK, past_BGPK=None: (
            None if past_BGPK is None else torch.cat((past_BGPK[:, :, :1], past_BGPK[:, :, :-1], new_BGSK), 2)
        ),
    ),
    Mutant(
        "cache-slot-empty",
        ("cache.append",),
        "the slot of the last old token was never written",
        seen_in(27),
        lambda new_BGSK, past_BGPK=None: (
            None
            if past_BGPK is None
            else torch.cat((past_BGPK[:, :, :-1], torch.zeros_like(past_BGPK[:, :, :1]), new_BGSK), 2)
        ),
    ),
)

ATTENTION = (*_SCALE, *_PRODUCTS, *_SOFTMAX, *_HEADS, *_CACHE)
