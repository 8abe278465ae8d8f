"""What a mutant is."""

from __future__ import annotations

__all__ = ["Change", "Formula", "Mutant"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from inspector.verification.mutants.apply import Edits
    from inspector.verification.mutants.ground import Target

Formula = Callable[..., Tensor | tuple[Tensor, ...] | None]
"""A wrong formula: operands and numbers as the right one has them. None where there is nothing to get wrong."""

Change = Callable[["Target"], "Edits | None"]
"""How a mistake is made where a formula does not say it: by other calls. None where it cannot be made."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    functions: the reference functions whose stages it is made in (`norms.rms_norm`). says: what is wrong, in a
    sentence. mirrors: where it was made for real, as `seen_in` knows it, or an address. formula: what is computed
    instead. change: how it is put into a model, where that is not by the formula. roles: the only stages that it is
    made in, by the beginning of their names. told_at: stages that rightly tell it before or instead of its own,
    likewise. equivalent: the proof that it is no mistake there, "" where it is one. number: the attribute of the stage
    by which it is told, whatever it changes. halves: it only rounds to half precision. in_theory: without rounding it
    is the same function.
    """

    name: str
    functions: tuple[str, ...]
    says: str
    mirrors: str
    formula: Formula | None = None
    change: Change | None = None
    roles: tuple[str, ...] = ()
    told_at: tuple[str, ...] = ()
    equivalent: Callable[[Target], str] | None = None
    number: str = ""
    halves: bool = False
    in_theory: bool = False

    def belongs_to(self, function: str, stage: str) -> bool:
        """Whether it can be made in a stage of that name, which computes that function."""
        return function in self.functions and (not self.roles or stage.startswith(self.roles))
