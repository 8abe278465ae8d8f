"""What a cost is, and how shapes become one."""

from __future__ import annotations

__all__ = ["FREE", "UNPRICED", "Cost", "Formula", "Shape", "Shapes"]

from collections.abc import Callable, Sequence
from typing import NamedTuple

from inspector.records import Op


class Cost(NamedTuple):
    """Floating-point operations of one op, or of several.

    >>> total = Cost.sum([Cost(contraction=200, other=10), Cost(other=5), Cost(unpriced=1)])
    >>> total.contraction, total.other, total.unpriced
    (200, 15, 1)

    contraction: 2·m·n·k of every product of matrices, the multiply and the add counted apart.
    other: everything else that computes. unpriced: how many ops have no formula, so that a gap is never a silent zero.
    """

    contraction: int = 0
    other: int = 0
    unpriced: int = 0

    @staticmethod
    def sum(costs: Sequence[Cost]) -> Cost:
        contraction, other, unpriced = (sum(column) for column in zip(Cost(), *costs, strict=True))
        return Cost(contraction, other, unpriced)


FREE = Cost()
"""Data movement: views, casts, copies, look-ups, and tensors made from nothing."""

UNPRICED = Cost(unpriced=1)
"""An op that no formula covers."""

Shape = tuple[int, ...]
Shapes = Sequence[Shape]

Formula = Callable[[Op, Shapes, Shapes], Cost | None]
"""(op, shapes of its operands, shapes of its outputs) -> its cost, or None for a form that it does not cover."""
