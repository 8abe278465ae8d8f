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

    A stage that nothing claims is judged by itself, and what reads it is not blamed for it. masks: what hides scores
    is seen through, too; not before it is settled which stages are claimed.
    """

    def __init__(self, graph: StageGraph, claimed: frozenset[int], *, masks: bool = False) -> None:
        self._graph = graph
        self._claimed = claimed
        self._masks = masks
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
            source = None if stage.index in self._claimed else self._handed_on(stage)
            if source is None:
                return Origin(value, stage.index)
            value = source
        leaf = graph.trace.values[value]
        return Origin(value, None, leaf.kind, leaf.name or "")

    def _handed_on(self, stage: Stage) -> int | None:
        """What an unclaimed stage would hand on if it did nothing: its one input, or the scores that it masks."""
        moving = self._graph.naming.flow.on_act
        masks = self._masks and stage.role == "mask"
        inputs = [value for value in stage.inputs if not masks or moving(value)]
        return inputs[0] if len(inputs) == 1 else None


def hands_on(stage: Stage) -> bool:
    """Whether a stage only hands on its input: dropout in eval mode, layout."""
    return len(stage.inputs) == 1 and (stage.role in _IDLE_ROLES or stage.section == "layout")
