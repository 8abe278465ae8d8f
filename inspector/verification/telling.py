"""Whether a stage that passed could have failed: its wrong formulas, measured on what it read."""

from __future__ import annotations

__all__ = ["Telling"]

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from inspector.records import Plain
from inspector.verification.mutants.power import in_all, looks_like, power
from inspector.verification.report import Mutants
from inspector.verification.values import Values

if TYPE_CHECKING:
    from torch import Tensor

Kind = tuple[str, str, tuple[tuple[tuple[str, Plain], ...], ...]]


class Telling:
    """Asks once for each kind of stage: layers that have one function and one set of numbers can be told alike."""

    def __init__(self) -> None:
        self._known: dict[Kind, Mutants] = {}

    def power(self, looks: Sequence[tuple[Values, Tensor]], numbers: Collection[str]) -> Mutants:
        """The wrong formulas that a stage's checks tell, of which each is one look at it.

        numbers: those that are compared besides, by name.
        """
        values, got = looks[0]
        kind = (values.steps[-1].name, str(got.dtype), tuple(step.attributes for step in values.steps))
        if kind not in self._known:
            seen_elsewhere = {"fill"} if len(values.steps) > 1 else set()  # a kernel's mask was checked as it was built
            told = {*numbers, *seen_elsewhere}
            self._known[kind] = in_all([power(values, got.dtype, told) for values, got in looks])
        return self._known[kind]

    @staticmethod
    def looks_like(values: Values, got: Tensor) -> str:
        """The wrong formula that gives what came, or ""."""
        return looks_like(values, got)
