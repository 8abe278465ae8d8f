"""A stage's value against the reference: elementwise within a bound, bit by bit, or as a set of indices."""

from __future__ import annotations

__all__ = ["Outcome", "against_bound", "allowed_of", "as_sets", "exactly", "fitted", "hides_nothing", "joined"]

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inspector.verification.report import Check, Worst


class Outcome(NamedTuple):
    """What a comparison found.

    said: what is wrong beyond numbers, "" where nothing is. finding: what is true and worth saying, and no failure.
    aside: what was not compared, and how it is.
    """

    check: Check
    said: str = ""
    finding: str = ""
    aside: str = ""


def joined(parts: Sequence[Outcome], starts: Sequence[int]) -> Outcome:
    """One outcome for a value that was compared in pieces of its last axis. starts: where each piece begins."""
    worst = max(range(len(parts)), key=lambda place: parts[place].check.rho)
    check = parts[worst].check
    wheres = [part.check.worst for part in parts if part.check.worst is not None]
    if check.worst is not None:
        *front, last = check.worst.place
        place = (*front, last + starts[worst])
        over, elements = sum(one.over for one in wheres), sum(one.elements for one in wheres)
        check = check._replace(worst=check.worst._replace(place=place, over=over, elements=elements))
    largest = max(part.check.max_abs_error for part in parts)
    said = next((part.said for part in parts if part.said), "")
    return Outcome(check._replace(max_abs_error=largest), said)


def fitted(expected: Tensor, shape: torch.Size) -> Tensor | None:
    """The expected tensor in the shape that ran: the same elements in the same order, or copies of them."""
    if expected.shape == shape:
        return expected
    if expected.numel() == math.prod(shape):
        return expected.reshape(shape)
    try:
        return expected.broadcast_to(shape)
    except RuntimeError:
        return None


def against_bound(got: Tensor, expected: Tensor, bound: Tensor, skip: Tensor | None = None) -> Outcome:
    """Within the bound everywhere, and finite where the reference is. skip: elements that are not compared.

    Every bound is above zero. NaN and infinity spoil the largest share, so that looking for them costs nothing when
    there are none.
    """
    got = got.to(torch.float64)
    error = (got - expected).abs_()
    if skip is not None:
        error = error.masked_fill_(skip, 0.0)
    share = error / bound
    check = _check("bound", share, error, got, expected, bound)
    return Outcome(check) if math.isfinite(check.rho) else _not_finite(got, expected, bound, skip)


def _not_finite(got: Tensor, expected: Tensor, bound: Tensor, skip: Tensor | None) -> Outcome:
    """The same where something is NaN or infinite: it is right where the reference has just that."""
    same = _same(got, expected)
    same = same if skip is None else same | skip
    odd = ~got.isfinite() & ~same
    error = (got - expected).abs().masked_fill(same, 0.0).nan_to_num(math.inf, math.inf)
    check = _check(
        "bound",
        torch.where(error == 0, 0.0, (error / bound).nan_to_num(math.inf, math.inf)),
        error,
        got,
        expected,
        bound,
    )
    return Outcome(check, f"{int(odd.sum())} values are not finite where they should be" if bool(odd.any()) else "")


def _same(got: Tensor, expected: Tensor) -> Tensor:
    return (got == expected) | (got.isnan() & expected.isnan())


def exactly(got: Tensor, expected: Tensor) -> Outcome:
    """Not a bit may differ: nothing is computed here, only moved or counted."""
    if torch.equal(got, expected.to(got.dtype)) and got.numel():
        first = float(got[(0,) * got.dim()])
        return Outcome(Check("exact", 0.0, 0.0, Worst((0,) * got.dim(), first, first, 0.0, 0, got.numel())))
    got, expected = got.to(torch.float64), expected.to(torch.float64)
    same = _same(got, expected)
    error = (got - expected).abs().masked_fill(same, 0.0).nan_to_num(math.inf, math.inf)
    return Outcome(_check("exact", torch.where(same, 0.0, math.inf), error, got, expected, torch.zeros_like(error)))


def allowed_of(mask: Tensor) -> Tensor:
    """Who may be seen, of a mask as the model has it: booleans, or numbers that are added to the scores."""
    return mask > _hidden(mask) if mask.is_floating_point() else mask.to(torch.bool)


def _hidden(mask: Tensor) -> float:
    """What is added to a score that must not count: at most half of the most negative number."""
    return float(torch.finfo(mask.dtype).min / 2)


def as_sets(mask: Tensor, allowed: Tensor) -> Outcome:
    """A mask against the index formula: the same pairs of query and key, and no number that is neither 0 nor hidden."""
    got = allowed_of(mask)
    wrong = got != allowed
    said = ""
    if mask.is_floating_point():
        between = ~((mask == 0) | (mask <= _hidden(mask)))
        wrong = wrong | between
        said = f"{int(between.sum())} entries are neither 0 nor hidden" if bool(between.any()) else ""
    share = torch.where(wrong, math.inf, 0.0)
    pair = got.to(torch.float64), allowed.to(torch.float64)
    return Outcome(_check("set", share, wrong.to(torch.float64), *pair, torch.zeros_like(pair[0])), said)


def hides_nothing(mask: Tensor) -> bool:
    """Whether every query sees every key: then a mask claims what no mask claims.

    >>> hides_nothing(torch.tensor([True, True])), hides_nothing(torch.tensor([0.0, -torch.inf]))
    (True, False)
    """
    return as_sets(mask, torch.ones_like(mask, dtype=torch.bool)).check.rho == 0


def _check(kind: str, share: Tensor, error: Tensor, got: Tensor, expected: Tensor, allowed: Tensor) -> Check:
    if not share.numel():
        return Check(kind, 0.0, 0.0)
    place = int(share.argmax())  # a NaN counts as the largest
    index = _unravelled(place, share.shape)
    rho = float(share[index])
    over = 0 if rho <= 1 else int((share > 1).sum())
    came, wanted, may = (float(tensor.broadcast_to(share.shape)[index]) for tensor in (got, expected, allowed))
    return Check(kind, rho, float(error.max()), Worst(index, came, wanted, may, over, share.numel()))


def _unravelled(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The index of an element, of its place among all in order (torch's own function takes a hundred times as long)."""
    index: list[int] = []
    for size in reversed(shape):
        place, last = divmod(place, size)
        index.append(last)
    return tuple(reversed(index))
