"""Mistakes in masks: how they are built, and how they are put on the scores.

Shapes: B batch, S new tokens (queries), T keys, H heads.
"""

from __future__ import annotations

__all__ = ["MASKS"]

from functools import partial
from typing import Any

import torch
from torch import Tensor

from inspector.reference.masks import build_mask
from inspector.verification.mutants.ground import Target
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.seen import seen_in


def _hides_too_little(scores_BHST: Tensor, allowed: Tensor) -> Tensor:
    return scores_BHST + torch.where(allowed, 0.0, -8.0).to(scores_BHST.dtype)


def _inverted(scores_BHST: Tensor, allowed: Tensor) -> Tensor:
    return scores_BHST + allowed.to(scores_BHST.dtype) * torch.finfo(scores_BHST.dtype).min


_APPLIED = (
    Mutant(
        "mask-not-applied",
        ("attention.apply_mask",),
        "the mask is built and then not used",
        seen_in(38),
        lambda scores_BHST, allowed: scores_BHST,
    ),
    Mutant(
        "mask-fill-too-small",
        ("attention.apply_mask",),
        "8 is taken off a hidden score instead of a number that hides it",
        seen_in(25),
        _hides_too_little,
        number="fill",
    ),
    Mutant(
        "mask-multiplied",
        ("attention.apply_mask",),
        "hidden scores become 0 instead of minus infinity",
        seen_in(37),
        lambda scores_BHST, allowed: scores_BHST * allowed,
    ),
    Mutant(
        "mask-applied-inverted",
        ("attention.apply_mask",),
        "what may be seen is hidden, and the other way round",
        seen_in(38),
        _inverted,
    ),
)


def _shifted(shift: int, attention_mask_BT: Tensor | None = None, **numbers: Any) -> Tensor | None:
    """Each query stands `shift` places further on than it does."""
    if numbers["direction"] != "causal":
        return None
    right = build_mask(**numbers, attention_mask_BT=attention_mask_BT)
    queries, keys = torch.arange(right.shape[-2]), torch.arange(right.shape[-1])
    reach = len(keys) - len(queries) + queries[:, None] + shift
    seen = keys[None] <= reach
    return seen if attention_mask_BT is None else seen & (attention_mask_BT[:, None, None, :] > 0)


def _without_padding(attention_mask_BT: Tensor | None = None, **numbers: Any) -> Tensor | None:
    if attention_mask_BT is None:
        return None
    return build_mask(**numbers).expand(attention_mask_BT.shape[0], 1, -1, -1)


def _of_both_directions(attention_mask_BT: Tensor | None = None, **numbers: Any) -> Tensor | None:
    if numbers["direction"] != "causal":
        return None
    return build_mask(**{**numbers, "direction": "bidirectional"}, attention_mask_BT=attention_mask_BT)


def _of_no_direction(attention_mask_BT: Tensor | None = None, **numbers: Any) -> Tensor | None:
    if numbers["direction"] != "bidirectional":
        return None
    return build_mask(**{**numbers, "direction": "causal"}, attention_mask_BT=attention_mask_BT)


def _windowed(attention_mask_BT: Tensor | None = None, **numbers: Any) -> Tensor:
    return build_mask(**{**numbers, "window": 4}, attention_mask_BT=attention_mask_BT)


def _padding_backwards(attention_mask_BT: Tensor | None = None, **numbers: Any) -> Tensor | None:
    if attention_mask_BT is None:
        return None
    return build_mask(**numbers, attention_mask_BT=attention_mask_BT.flip(1))


def _one_query(target: Target) -> str:
    """A single query that comes last."""
    length = target.ground.claimed.shapes[target.step.index, 0][-2]
    return "there is one query, after all keys: nothing stands later that it could see" if length == 1 else ""


def _short(target: Target) -> str:
    keys = target.ground.claimed.shapes[target.step.index, 0][-1]
    return "no key is further away than the window reaches" if keys <= 4 else ""


_BUILT = (
    Mutant(
        "mask-sees-the-next-key",
        ("masks.build_mask",),
        "each query sees one key too many",
        seen_in(21),
        partial(_shifted, 1),
        equivalent=_one_query,
    ),
    Mutant(
        "mask-hides-itself",
        ("masks.build_mask",),
        "each query sees one key too few",
        seen_in(21),
        partial(_shifted, -1),
    ),
    Mutant(
        "mask-ignores-padding", ("masks.build_mask",), "padding is seen like any token", seen_in(27), _without_padding
    ),
    Mutant(
        "mask-ignores-causality",
        ("masks.build_mask",),
        "later keys are seen too",
        seen_in(26, 38),
        _of_both_directions,
        equivalent=_one_query,
    ),
    Mutant(
        "mask-hides-later-keys",
        ("masks.build_mask",),
        "a model that looks both ways sees no later keys",
        seen_in(26),
        _of_no_direction,
    ),
    Mutant(
        "mask-has-a-window",
        ("masks.build_mask",),
        "only four keys are seen",
        seen_in(21, 23),
        _windowed,
        equivalent=_short,
    ),
    Mutant(
        "mask-pads-the-other-side",
        ("masks.build_mask",),
        "padding on the left is taken for padding on the right",
        seen_in(34),
        _padding_backwards,
    ),
)

MASKS = (*_BUILT, *_APPLIED)
