"""What became of the mutants of one model. Plain values, no torch."""

from __future__ import annotations

__all__ = ["MutantReport", "MutantRow"]

from dataclasses import dataclass

from inspector.records import ModelInfo, Scenario


@dataclass(frozen=True, slots=True)
class MutantRow:
    """One wrong formula in one stage, and what the checker said of it.

    >>> MutantRow("scale-missing", "layer 1 attention.scale", caught=True, at="layer 1 attention.scale").survived
    False

    says: what is wrong. mirrors: where the mistake was made for real. at: the first stage that failed, "" where none
    did. culprit: what was said of it. localised: `at` is where the mistake is, or where its reader rightly tells it.
    equivalent: the proof that this is no mistake in this model, "" where it is one. error: what the mutated model
    raised, which counts as caught only where `caught` says so.
    """

    name: str
    stage: str
    says: str = ""
    mirrors: str = ""
    caught: bool = False
    at: str = ""
    culprit: str = ""
    localised: bool = False
    equivalent: str = ""
    error: str = ""

    @property
    def survived(self) -> bool:
        """Whether a mistake went unnoticed."""
        return not self.caught and not self.equivalent


@dataclass(frozen=True)
class MutantReport:
    """Every mutant that applies to one model. absent: the names of those that do not."""

    model: ModelInfo
    scenario: Scenario
    rows: tuple[MutantRow, ...]
    absent: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return len(self.rows)

    @property
    def equivalent(self) -> int:
        return sum(bool(row.equivalent) for row in self.rows)

    @property
    def caught(self) -> int:
        return sum(row.caught for row in self._mistakes)

    @property
    def localised(self) -> int:
        return sum(row.caught and row.localised for row in self._mistakes)

    @property
    def survivors(self) -> tuple[MutantRow, ...]:
        return tuple(row for row in self.rows if row.survived)

    @property
    def verdict(self) -> str:
        """pass: every mutant that is a mistake is caught at its stage. fail: one is not. incomplete: there was none."""
        if not self._mistakes:
            return "incomplete"
        return "pass" if self.localised == len(self._mistakes) else "fail"

    @property
    def _mistakes(self) -> tuple[MutantRow, ...]:
        return tuple(row for row in self.rows if not row.equivalent)
