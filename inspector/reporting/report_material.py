"""What a report is made of: each model's graph, the comparisons of neighbours, and what only values show."""

from __future__ import annotations

__all__ = ["Material", "Portrait", "Values", "material", "slug"]

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from inspector.alignment.parts import Scope, Side
from inspector.comparison.judge import Comparison, compare
from inspector.comparison.saved import side_of_record
from inspector.comparison.sides import STEM
from inspector.stage_graph.record import GraphFact, GraphNode, GraphRecord
from inspector.verification.report import Report


@dataclass(frozen=True, slots=True)
class Values:
    """What a run's numbers show and its graph does not keep.

    masks: layers -> for each query the first and last key that it sees, (1, 0) for none, (0, -1) where there are
    holes. turns: layers -> radians per position of each pair of elements that is rotated, fastest first.
    """

    masks: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()
    turns: tuple[tuple[str, tuple[float, ...]], ...] = ()


@dataclass(frozen=True)
class Portrait:
    """One model of a report. name: what tells it from the others. parity: what came of checking it, if it was."""

    name: str
    record: GraphRecord
    side: Side
    values: Values = field(default_factory=Values)
    parity: Report | None = None

    @property
    def facts(self) -> tuple[GraphFact, ...]:
        return self.record.facts or ()

    def fact(self, name: str) -> GraphFact | None:
        """The first answer to a question, whichever layers it is about."""
        return next((fact for fact in self.facts if fact.id == name), None)

    def number(self, name: str) -> int | None:
        fact = self.fact(name)
        return fact.value if fact is not None and isinstance(fact.value, int) else None

    @cached_property
    def nodes(self) -> dict[str, GraphNode]:
        """Part id -> the node it was made of: a scope's parts are the nodes of its place, in their order."""
        return {
            part.id: node for scope in self.side.scopes for part, node in zip(scope.parts, self._at(scope), strict=True)
        }

    def _at(self, scope: Scope) -> list[GraphNode]:
        if scope.place != "block":
            stem = scope.place == "stem"
            return [node for node in self.record.nodes if node.block is None and (node.section in STEM) == stem]
        blocks = [index for index, block in enumerate(self.record.blocks) if block.layers == scope.layers]
        return [node for node in self.record.nodes if node.block in blocks]

    @cached_property
    def shown_by(self) -> dict[str, tuple[GraphFact, ...]]:
        """Node id -> the facts that it shows."""
        found: dict[str, list[GraphFact]] = {}
        for fact in self.facts:
            for node in fact.nodes if not fact.id.startswith("cost.") else ():
                found.setdefault(node, []).append(fact)
        return {node: tuple(facts) for node, facts in found.items()}


@dataclass(frozen=True)
class Material:
    """All that a report says, before it is said. comparisons: of each model with the one after it."""

    portraits: tuple[Portrait, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(portrait.name for portrait in self.portraits)

    @property
    def tool(self) -> dict[str, str]:
        return dict(self.portraits[0].record.tool)


def material(found: Sequence[tuple[GraphRecord, Values]], parity: Sequence[Report | None] | None = None) -> Material:
    """The material of these models, in the order given. InspectorError where two cannot be compared.

    parity: what came of checking each, None for one that could not be run.
    """
    sides = [side_of_record(record) for record, _ in found]
    names = _names(sides)
    portraits = [
        Portrait(name, record, side, values, checked)
        for name, side, (record, values), checked in zip(
            names, sides, found, parity or [None] * len(found), strict=True
        )
    ]
    return Material(tuple(portraits), tuple(compare(one, two) for one, two in pairwise(sides)))


def _names(sides: Sequence[Side]) -> list[str]:
    """What tells the models apart: the name, else the attention, else a letter."""
    names = [side.model.name or side.model.class_name for side in sides]
    if len(set(names)) < len(names):
        kinds = [f"{name} ({side.scenario.attention})" for name, side in zip(names, sides, strict=True)]
        letters = [f"{name} ({chr(ord('A') + place)})" for place, name in enumerate(names)]
        names = kinds if len(set(kinds)) == len(kinds) else letters
    return names


def slug(text: str) -> str:
    """The text as a part of a file name.

    >>> slug("meta-llama/Llama-2 (A)"), slug("../..")
    ('meta-llama-llama-2-a', 'x')
    """
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60] or "x"
