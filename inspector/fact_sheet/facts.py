"""A fact: what was found out about a model, what shows it, and what the model claims of the same thing."""

from __future__ import annotations

__all__ = ["Evidence", "Fact", "FactSheet"]

from dataclasses import dataclass
from typing import NamedTuple

from inspector.records import ModelInfo, Plain, Scenario


class Evidence(NamedTuple):
    """What shows a fact: ids of ops in the trace, and results of experiments as (name, result) pairs.

    shown: the same for a reader: the parts those ops play and their names (`attention.scale: mul`).
    """

    ops: tuple[int, ...] = ()
    probes: tuple[tuple[str, Plain], ...] = ()
    shown: str = ""


_NOTHING = Evidence()


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact.

    >>> Fact("attention.scale", 0.125, formula="1/sqrt(64)", claim=("config attention_multiplier", 1.0), agrees=False)
    ... # doctest: +ELLIPSIS
    Fact(id='attention.scale', value=0.125, ...)

    id: an id of the vocabulary (`attention.heads`). layers: which blocks it is about ("0-10:2"), "" for all of them;
    a part outside the blocks by its section ("head"), where that differs from the blocks.
    formula: what the value is made of, where a formula fits. claim: (where the same thing is claimed, its value), None
    where nothing claims it. agrees: whether execution and claim agree; None without a claim, or where the two cannot be
    held against each other. probed: whether experiments on a small twin agree with what the graph shows; None without.
    explained: why the value is not the claimed one, where that is known.
    """

    id: str
    value: Plain
    unit: str = ""
    layers: str = ""
    evidence: Evidence = _NOTHING
    claim: tuple[str, Plain] | None = None
    agrees: bool | None = None
    formula: str = ""
    probed: bool | None = None
    explained: str = ""

    @property
    def conflict(self) -> bool:
        """Whether it is not as claimed for no known reason, or the graph and an experiment say different things."""
        return (self.agrees is False and not self.explained) or self.probed is False


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

    def all(self, fact: str) -> dict[str, Plain]:
        """Layers -> value, for a fact that differs from layer to layer."""
        return {found.layers: found.value for found in self.facts if found.id == fact}

    @property
    def conflicts(self) -> tuple[Fact, ...]:
        """Facts that are not as claimed, or on which graph and experiment disagree."""
        return tuple(fact for fact in self.facts if fact.conflict)

    @property
    def explained(self) -> tuple[Fact, ...]:
        """Facts that are not as claimed for a known reason."""
        return tuple(fact for fact in self.facts if fact.explained and not fact.conflict)
