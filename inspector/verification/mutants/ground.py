"""The right model as the first pass shows it: which call belongs to which stage, which value is which operand."""

from __future__ import annotations

__all__ = ["Ground", "Target"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from inspector.reference.steps import Source, Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed, kept_as
from inspector.verification.compare import allowed_of
from inspector.verification.matching import Matching
from inspector.verification.origins import Origins
from inspector.verification.plan import Plan
from inspector.verification.values import function_of
from inspector.vocabulary import EXEMPT


class Ground:
    """The stages that a mistake can be made in: those that stand for one claimed step, and kernels that do several."""

    def __init__(self, plan: Plan, matching: Matching, claimed: Claimed) -> None:
        self.plan, self.claimed, self.matching = plan, claimed, matching
        self.origins = Origins(plan.graph, frozenset(matching.steps))

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        found = [(stage, self.matching.steps.get(stage.index, ())) for stage in self.plan.stages]
        return tuple(Target(self, stage, steps[0]) for stage, steps in found if len(steps) == 1)

    @cached_property
    def kernels(self) -> tuple[Target, ...]:
        """Each step of each stage that does all of attention at once: what it reads from outside stands for its own."""
        several = [(stage, self.matching.steps.get(stage.index, ())) for stage in self.plan.stages]
        fused = [(stage, steps) for stage, steps in several if stage.role == "fused" and len(steps) > 1]
        return tuple(Target(self, stage, _from_outside(step, steps), steps) for stage, steps in fused for step in steps)

    def find(self, name: str, layer: int | None) -> Target | None:
        """What does the step of a name in a layer; None where nothing ran for it."""
        every = (*self.targets, *self.kernels)
        return next((one for one in every if one.step.name == name and one.stage.layer == layer), None)

    def reads(self, stage: Stage, source: Source) -> bool:
        """Whether a stage reads a claimed source."""
        return any(self.comes_from(value, source) for value in stage.inputs)

    def raw(self, value: int) -> int:
        """The watcher's number of a value."""
        return self.plan.raw[value]

    def record(self, op: int) -> int:
        """Which call, in the order they ran, an op was."""
        return self.plan.run.seen.order[op]

    def made_at(self, value: int) -> int:
        """The call that made a value; -1 for what was there before."""
        producer = self.plan.trace.values[value].producer
        return -1 if producer is None else self.record(producer)

    def comes_from(self, value: int, source: Source) -> bool:
        """Whether an executed value is a claimed one."""
        origin = self.origins.of(value)
        if source.kind == "input":
            return origin.stage is None and origin.name == source.ref
        if source.kind == "cache":
            kept = kept_as(origin.name)
            return origin.stage is None and kept is not None and kept.source == source.ref
        if source.kind == "weight":
            return False
        maker = self.matching.stage_of.get(int(source.ref))
        if maker is None:  # nothing ran for it: what it would have read is handed on
            before = dict(self.claimed.steps[int(source.ref)].sources).values()
            return any(self.comes_from(value, one) for one in before if one.kind != "weight")
        stands_for = self.matching.steps.get(-1 if origin.stage is None else origin.stage, ())
        again = any(one.index == source.ref for one in stands_for)  # each layer may make its own
        maker = int(origin.stage or 0) if again else maker
        return origin.stage == maker and self._output(maker, origin.value, int(source.ref)) in (None, source.output)

    def _output(self, stage: int, value: int, step: int) -> int | None:
        """Which output of a step with several it is: the model hands them out in order, perhaps once per layer."""
        several = sum(at == step for at, _ in self.claimed.shapes)
        outputs = self.plan.stages[stage].outputs
        return None if several == 1 or value not in outputs else outputs.index(value) % several


def _from_outside(step: Step, steps: Sequence[Step]) -> Step:
    """A step of a kernel with the sources that the kernel reads: behind those of its steps that read one thing."""
    inside = {one.index: one for one in steps}
    found = []
    for name, source in step.sources:
        at = source
        while at.kind == "step" and int(at.ref) in inside and len(inside[int(at.ref)].sources) == 1:
            at = inside[int(at.ref)].sources[0][1]
        if at.kind != "step" or int(at.ref) not in inside:
            found.append((name, at))
    return replace(step, sources=tuple(found))


@dataclass(frozen=True)
class Target:
    """One stage, and the step that is claimed of it. steps: all that it does, where that is more than one."""

    ground: Ground
    stage: Stage
    step: Step
    steps: tuple[Step, ...] = ()

    @property
    def function(self) -> str:
        return function_of(self.step)

    @property
    def where(self) -> str:
        return self.stage.name if self.stage.layer is None else f"layer {self.stage.layer} {self.stage.name}"

    @cached_property
    def values(self) -> Mapping[str, int]:
        """Argument -> the value that is read for it, weights apart; what nothing tells apart is paired in order."""
        left = list(self.stage.inputs)
        found: dict[str, int] = {}
        moving = [(name, source) for name, source in self.step.sources if source.kind not in ("weight", "own")]
        for name, source in moving:
            same = next((value for value in left if self.ground.comes_from(value, source)), None)
            if same is not None:
                left.remove(same)
                found[name] = same
        for name, _ in moving:
            if name not in found and left:
                found[name] = left.pop(0)
        return found

    @property
    def whole(self) -> bool:
        """Whether every claimed operand is really read."""
        return all(source.kind == "weight" or name in self.values for name, source in self.step.sources)

    @cached_property
    def output(self) -> int:
        """The value that it makes for others than those that are exempt from checks."""
        graph = self.ground.plan.graph
        users = graph.naming.flow.users
        read = [
            value
            for value in self.stage.outputs
            if value in graph.naming.flow.leaving
            or any(graph.stages[graph.stage_of[user]].path not in EXEMPT for user in users[value])
        ]
        return (read or list(self.stage.outputs))[-1]

    @property
    def reads(self) -> list[int]:
        """Its calls, as they ran."""
        return sorted(self.ground.record(op) for op in self.stage.ops)

    def operands(self, seen: Mapping[int, Tensor]) -> dict[str, Tensor]:
        """The arguments of its function. seen: the watcher's number of a value -> the tensor."""
        found = {}
        for name, source in self.step.sources:
            if source.kind == "weight":
                found[name] = self.ground.claimed.weights[str(source.ref)]
            else:
                found[name] = self._shaped(seen[self.ground.raw(self.values[name])], source)
        return found

    def _shaped(self, tensor: Tensor, source: Source) -> Tensor:
        """In the claimed shape; a mask as who may be seen."""
        if source.kind != "step":
            return tensor
        step = self.ground.claimed.steps[int(source.ref)]
        if step.name == "mask.build" and not step.function.endswith(":laid_over"):
            return allowed_of(tensor)
        shape = self.ground.claimed.shapes[int(source.ref), source.output]
        return (
            tensor.reshape(shape) if tensor.shape != shape and tensor.numel() == torch.Size(shape).numel() else tensor
        )

    def tried(self) -> dict[str, Tensor]:
        """Its operands on the meta device: what a formula can be tried on for nothing."""
        values = self.ground.plan.trace.values
        empty = {
            self.ground.raw(value): torch.empty(
                values[value].shape, dtype=getattr(torch, values[value].dtype), device="meta"
            )
            for value in self.values.values()
        }
        return {name: tensor.to("meta") for name, tensor in self.operands(empty).items()}
