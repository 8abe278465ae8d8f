"""Every mutant, by section. A new one is an entry in its section's file: its name, its formula, the bug it mirrors."""

from __future__ import annotations

__all__ = ["CATALOGUE", "formulas_of"]

from functools import cache

from inspector.verification.mutants.attention import ATTENTION
from inspector.verification.mutants.feedforward import FEEDFORWARD
from inspector.verification.mutants.kernel import KERNEL
from inspector.verification.mutants.masks import MASKS
from inspector.verification.mutants.mutant import Mutant
from inspector.verification.mutants.norms import NORMS
from inspector.verification.mutants.positions import POSITIONS
from inspector.verification.mutants.projections import PROJECTIONS
from inspector.verification.mutants.tables import TABLES
from inspector.verification.mutants.wiring import WIRING

CATALOGUE: tuple[Mutant, ...] = (
    *POSITIONS,
    *TABLES,
    *MASKS,
    *NORMS,
    *PROJECTIONS,
    *ATTENTION,
    *KERNEL,
    *FEEDFORWARD,
    *WIRING,
)
"""In the order of a forward."""


@cache
def formulas_of(function: str, stage: str) -> tuple[Mutant, ...]:
    """The wrong formulas of one stage: those that can be computed from what it reads.

    >>> [mutant.name for mutant in formulas_of("feedforward.multiply", "mlp.multiply")]
    ['gate-not-multiplied', 'gate-added', 'gate-squared']
    """
    return tuple(one for one in CATALOGUE if one.formula is not None and one.belongs_to(function, stage))
