"""The values that a stage gave, held against the reference; and how much was held against it."""

from __future__ import annotations

__all__ = ["Held", "StageValues"]

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspector.reference.steps import Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed
from inspector.verification.compare import Outcome, as_sets, exactly, joined
from inspector.verification.operands import Bound, entering, word
from inspector.verification.plan import Plan
from inspector.verification.probe import Probe
from inspector.verification.values import Judged, Values, function_of, judged, pieces, values_of
from inspector.vocabulary import EXEMPT

Held = Callable[[int], Tensor]
"""Value id -> its tensor, read only."""


class StageValues:
    """Judges values, one stage after the other.

    outputs: value -> which output of which step it was found to be; filled as stages are judged. calls, elements: how
    often the reference ran, and how many values it judged. last: the stage judged last, as mutants need it.
    """

    def __init__(self, plan: Plan, claimed: Claimed, outputs: dict[int, tuple[int, int]]) -> None:
        self._plan, self._claimed, self._outputs = plan, claimed, outputs
        self.calls = 0
        self.elements = 0
        self.probe = Probe()
        self.asides: dict[str, None] = {}
        self.last: tuple[Values, Tensor] | None = None

    def of(self, stage: Stage, steps: Sequence[Step], bound: Bound, held: Held) -> list[Judged]:
        """Each output of a stage that is claimed, judged."""
        self.last = None
        missing = [(name, source) for name, source in entering(steps) if source not in bound.operands]
        if missing:
            names = ", ".join(dict.fromkeys(word(name) for name, _ in missing))
            decided = missing[0][1].kind == "own"
            return [Judged(None, None, f"it does not give {names}" if decided else f"it does not read {names}")]
        try:
            found = self._in_pieces(stage, steps, bound, held)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            first = str(error).partition("\n")[0]
            return [Judged(None, None, f"the reference cannot be applied to what it read: {first}")]
        self.calls += len(steps)
        outputs = [key for key in self._claimed.shapes if key[0] == steps[-1].index]
        lost = [key for key in outputs if key not in {one.key for one in found}]
        if lost and len(outputs) > 1:
            found.append(Judged(None, None, f"{len(lost)} of its {len(outputs)} outputs are missing"))
        return found

    def _in_pieces(self, stage: Stage, steps: Sequence[Step], bound: Bound, held: Held) -> list[Judged]:
        """Each output of the stage, judged; of a large projection some columns at a time."""
        told = self._told(stage)
        parts: dict[int, list[Judged]] = {value: [] for value in told}
        starts: list[int] = []
        for columns, operands in pieces(steps, bound.operands):
            values = values_of(steps, operands, self._claimed.known, composite=self._is_composite(stage))
            starts.append(columns.start or 0)
            self._look(values)
            for value in told:
                got = self._wide_enough(held(value))
                got = got[..., columns] if columns.start is not None else got
                parts[value].append(judged(values, got))
                self.last = self.last or (values, got)
        return [self._joined(value, parts[value], starts, held(value)) for value in told]

    def _wide_enough(self, got: Tensor) -> Tensor:
        """What is computed in less than the model's format is held to the model's."""
        wide = getattr(torch, self._plan.trace.scenario.dtype)
        is_narrow = got.is_floating_point() and torch.finfo(got.dtype).eps > torch.finfo(wide).eps
        return got.to(wide) if is_narrow else got

    def _look(self, values: Values) -> None:
        for step in values.steps:
            if function_of(step) == "attention.softmax":
                self.probe.see(values.expected[step.index, 0])

    def _joined(self, value: int, parts: Sequence[Judged], starts: Sequence[int], got: Tensor) -> Judged:
        self.elements += got.numel()
        first = parts[0]
        if first.key is not None:
            self._outputs[value] = first.key
        outcomes = [part.outcome for part in parts if part.outcome is not None]
        self.asides |= dict.fromkeys(outcome.aside for outcome in outcomes if outcome.aside)
        if len(parts) == 1 or len(outcomes) < len(parts):
            return next((part for part in parts if part.outcome is None), first)
        whole = joined(outcomes, starts)
        return Judged(first.key, whole, whole.said)

    def _told(self, stage: Stage) -> list[int]:
        """The outputs that somebody reads who is not exempt from checks himself."""
        graph, flow = self._plan.graph, self._plan.graph.naming.flow
        inside = set(stage.ops)
        read = [
            value
            for value in stage.outputs
            if value not in stage.inputs  # what it only hands on
            and (
                value in flow.leaving
                or any(
                    flow.live[user] and graph.stages[graph.stage_of[user]].path not in EXEMPT
                    for user in flow.users[value]
                    if user not in inside
                )
            )
        ]
        return read or list(stage.outputs[:1])

    def _is_composite(self, stage: Stage) -> bool:
        kind = self._plan.graph.naming.flow.kind
        return (
            sum(op.effect != "noop" and kind[op.id] not in ("plumb", "view") for op in self._plan.graph.ops(stage)) > 1
        )

    # stages that nothing claims

    def is_identity(self, stage: Stage, held: Held) -> bool:
        """Whether an unclaimed stage gives what it gets; beside scores it may get a mask."""
        if set(stage.outputs) <= {*stage.inputs, *stage.parameters}:
            return bool(stage.outputs)  # idle calls: they returned what they were given
        flow = self._plan.graph.naming.flow
        inputs = [value for value in stage.inputs if stage.role != "mask" or flow.on_act(value)]
        if len(inputs) != 1 or not stage.outputs:
            return False
        source, outputs = held(inputs[0]), [held(value) for value in stage.outputs]
        self.calls += 1
        self.elements += source.numel()
        return all(out.shape == source.shape and exactly(out, source).check.rho == 0 for out in outputs)

    def hidden(self, stage: Stage, held: Held) -> Outcome | None:
        """What a mask hides that nothing claims: hiding nothing, it claims what no mask claims."""
        if stage.path != "mask.build" or not stage.outputs or not self._claimed.wired:
            return None
        masks = [held(value) for value in self._told(stage)]
        self.calls += 1
        self.elements += sum(mask.numel() for mask in masks)
        found = [as_sets(mask, torch.ones_like(mask, dtype=torch.bool)) for mask in masks]
        return max(found, key=lambda one: one.check.rho)
