"""Masks, positions and tables of two implementations: they need no weights, so that what they hold is compared."""

from __future__ import annotations

__all__ = ["judge_fixed"]

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspector.verification.against.groups import Group
from inspector.verification.against.sides import Side
from inspector.verification.bounds import SINGLE, arithmetic_of
from inspector.verification.compare import Outcome, against_bound, exactly

Fit = Callable[[Tensor, Sequence[int]], Tensor | None]
"""A tensor of A in a shape of B."""

_HIDDEN = -1e3
"""What is added to a score that must not count is below this in every format."""


def judge_fixed(a: Side, b: Side, group: Group, fit: Fit) -> Outcome | None:
    """None where the two hold other things, so that only their use can be compared."""
    if group.first.section == "mask":
        return _masks(a, b, group, fit)
    pairs = [(_contents(a, one), _contents(b, two)) for one, two in _outputs(a, b, group)]
    found = [_one(a, one, two, fit) for one, two in pairs]
    known = [outcome for outcome in found if outcome is not None]
    return max(known, key=lambda outcome: outcome.check.rho, default=None)


def _outputs(a: Side, b: Side, group: Group) -> list[tuple[int, int]]:
    """In order; where there are more on one side they are copies."""
    return list(zip(a.leaving(group.a), b.leaving(group.b), strict=False))


def _contents(side: Side, value: int) -> Tensor:
    return side.tape.fixed[side.plan.raw[value]]


def _one(a: Side, mine: Tensor, theirs: Tensor, fit: Fit) -> Outcome | None:
    shaped = theirs.to(mine.device)
    other = fit(mine, shaped.shape)
    if other is None:  # one of the two has copies for the rows of a batch
        other, back = mine, fit(shaped, mine.shape)
        if back is None:
            return None
        shaped = back
    mine = other
    if not mine.is_floating_point():
        return exactly(shaped, mine)
    scenario = a.running.scenario
    y = mine.to(torch.float64).abs()
    rounding = sum(arithmetic_of(tensor.dtype, tensor.device).u for tensor in (mine, theirs))
    angles = 2 * SINGLE * (4 * (scenario.past + scenario.seq) + 2) * max(1.0, float(y.max()))
    return against_bound(shaped, mine.to(torch.float64), rounding * y + angles)


def _masks(a: Side, b: Side, group: Group, fit: Fit) -> Outcome | None:
    """Which keys each query may see; a mask that nobody applies is not looked at."""
    seen = [_allowed(side, stages) for side, stages in ((a, group.a), (b, group.b))]
    if any(mask is None for mask in seen):
        return None
    one, two = (mask for mask in seen if mask is not None)
    fitted = fit(one, two.shape)
    try:
        one, two = torch.broadcast_tensors(one if fitted is None else fitted, two.to(one.device))
    except RuntimeError:
        return None
    outcome = exactly(two, one)
    return Outcome(outcome.check._replace(kind="set"))


def _allowed(side: Side, stages: Sequence[object]) -> Tensor | None:
    graph = side.graph
    for stage in stages:
        for value in stage.outputs:  # type: ignore[attr-defined]
            for user in graph.naming.flow.users[value]:
                if graph.stages[graph.stage_of[user]].role in ("mask", "fused", "scores"):
                    return _as_allowed(_contents(side, value), graph.trace.ops[user].name)
    return None


def _as_allowed(mask: Tensor, reader: str) -> Tensor | None:
    """A boolean says what is hidden to `masked_fill`, and what may be seen to all others."""
    if mask.is_floating_point():
        return mask > _HIDDEN
    if mask.dtype != torch.bool:
        return None
    return ~mask if reader == "masked_fill" else mask
