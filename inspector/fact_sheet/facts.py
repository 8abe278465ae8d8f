"""A fact: what was found out about a model, what shows it, and what the model claims of the same thing."""

from __future__ import annotations

__all__ = ["Evidence", "Fact", "FactSheet"]

from dataclasses import dataclass
from typing import NamedTuple

from inspector.records import ModelInfo, Plain, Scenario


class Evidence(NamedTuple):
    """What shows a fact: ids of ops in the trace, and results of experiments as (name, result) pairs."""

    ops: tuple[int, ...] = ()
    probes: tuple[tuple[str, Plain], ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact.

    id: an id of the vocabulary (`attention.heads`). layers: which blocks it is about ("0-10:2"), "" for all of them.
    claim: (where the same thing is claimed, its value), None where nothing claims it.
    agrees: whether execution and claim agree; None without a claim.
    """

    id: str
    value: Plain
    unit: str = ""
    layers: str = ""
    evidence: Evidence = Evidence()
    claim: tuple[str, Plain] | None = None
    agrees: bool | None = None


@dataclass(frozen=True, slots=True)
class FactSheet:
    """All facts of one model, in the order of the vocabulary. `unanswered`: (fact id, reason) of what stayed open."""

    model: ModelInfo
    scenario: Scenario
    facts: tuple[Fact, ...]
    unanswered: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()

    def get(self, fact: str, layers: str = "") -> Plain:
        """The value of a fact, None when it is not there."""
        return next((found.value for found in self.facts if (found.id, found.layers) == (fact, layers)), None)

    @property
    def conflicts(self) -> tuple[Fact, ...]:
        """Facts that are not as claimed."""
        return tuple(fact for fact in self.facts if fact.agrees is False)
