"""Where the inputs of executed stages come from."""

from __future__ import annotations

__all__ = ["Origin", "Origins", "hands_on"]

from typing import NamedTuple

from inspector.stage_graph.stages import Stage, StageGraph

_IDLE_ROLES = frozenset({"dropout", "drop_path"})


class Origin(NamedTuple):
    """A value, and what made it: a stage, or a leaf of the forward (`stage` None).

    kind: of a leaf, as in `Value.kind`. name: of the leaf, or of the stage's output.
    """

    value: int
    stage: int | None
    kind: str = ""
    name: str = ""


class Origins:
    """Asks where values of one graph come from. claimed: the stages that are ends; others are seen through.

    A stage that nothing claims is judged by itself, and what reads it is not blamed for it.
    """

    def __init__(self, graph: StageGraph, claimed: frozenset[int]) -> None:
        self._graph = graph
        self._claimed = claimed
        self._known: dict[int, Origin] = {}

    def of(self, value: int) -> Origin:
        """What made `value`, behind dropout, casts and other layout."""
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self._find(value)
        return found

    def _find(self, value: int) -> Origin:
        graph = self._graph
        while value in graph.maker:
            stage = graph.stages[graph.maker[value]]
            if stage.index in self._claimed or len(stage.inputs) != 1:
                return Origin(value, stage.index)
            value = stage.inputs[0]
        leaf = graph.trace.values[value]
        return Origin(value, None, leaf.kind, leaf.name or "")


def hands_on(stage: Stage) -> bool:
    """Whether a stage only hands on its input: dropout in eval mode, layout."""
    return len(stage.inputs) == 1 and (stage.role in _IDLE_ROLES or stage.section == "layout")
