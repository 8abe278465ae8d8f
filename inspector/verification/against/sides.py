"""One of two implementations: watched once, named, and kept so that its stages can be run again."""

from __future__ import annotations

__all__ = ["Side", "axis_sizes", "watched"]

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch

from inspector.records import Op
from inspector.stage_graph.stages import Stage, StageGraph
from inspector.tracing.tape import Tape, Taping
from inspector.verification.against.report import Part
from inspector.verification.against.source import source_of
from inspector.verification.plan import Plan, plan
from inspector.verification.verify import Running


@dataclass(frozen=True)
class Side:
    """A run, its stages, and its calls. Values are canonical ids."""

    running: Running
    plan: Plan
    tape: Tape

    @property
    def graph(self) -> StageGraph:
        return self.plan.graph

    @cached_property
    def concrete(self) -> frozenset[int]:
        """Values that need no weights."""
        concrete = self.tape.concrete
        return frozenset(value for value, raw in self.plan.raw.items() if concrete[raw])

    @cached_property
    def arithmetic(self) -> tuple[torch.dtype, torch.device]:
        """The number format and the place of the weights."""
        owned = chain(self.running.module.parameters(), self.running.module.buffers())
        found = next((tensor for tensor in owned if tensor.is_floating_point()), torch.empty(0))
        return found.dtype, found.device

    def shape(self, value: int) -> tuple[int, ...]:
        return self.plan.trace.values[value].shape

    def ops(self, stages: Iterable[Stage]) -> list[Op]:
        """What the stages do, in the order of the trace."""
        return [self.plan.trace.ops[op] for op in sorted(op for stage in stages for op in stage.ops)]

    def records(self, stages: Iterable[Stage]) -> list[int]:
        """Places on the tape."""
        return sorted(self.plan.run.seen.order[op] for stage in stages for op in stage.ops)

    def is_idle(self, stages: Iterable[Stage]) -> bool:
        """Whether they return what they were given: dropout where nothing is trained."""
        return all(op.effect == "noop" for op in self.ops(stages))

    def part(self, stage: Stage) -> Part:
        module = self.graph.module(stage)
        return Part(stage.name, module, source_of(self.running.module, module))

    def entering(self, stages: Iterable[Stage]) -> list[int]:
        """Activations that the stages read from outside, in reading order."""
        stages = tuple(stages)
        made = {value for op in self.ops(stages) if op.effect != "noop" for value in op.outputs}
        read = dict.fromkeys(value for stage in stages for value in stage.inputs)
        empty = {value for value in read if 0 in self.shape(value)}
        return [value for value in read if value not in made | self.concrete | empty]

    def leaving(self, stages: Iterable[Stage]) -> list[int]:
        """What others read of what the stages make, or the model returns."""
        stages = tuple(stages)
        inside = {op for stage in stages for op in stage.ops}
        flow = self.graph.naming.flow
        values = dict.fromkeys(value for stage in stages for value in stage.outputs)
        read = [
            value
            for value in values
            if value in flow.leaving or any(user not in inside and self._works(user) for user in flow.users[value])
        ]
        return read or list(values)[-1:]

    def _works(self, op: int) -> bool:
        return self.graph.stages[self.graph.stage_of[op]].section != "control"

    def weights(self, stages: Iterable[Stage]) -> list[int]:
        """The parameters that the stages read."""
        read = dict.fromkeys(value for stage in stages for value in stage.parameters)
        return [value for value in read if self.plan.trace.values[value].kind == "parameter"]

    def name(self, value: int) -> str:
        return self.plan.trace.values[value].name or "?"

    def origin(self, value: int) -> str:
        """What made a value, as a reader calls it."""
        maker = self.graph.maker.get(value)
        if maker is None:
            leaf = self.plan.trace.values[value]
            return f"{leaf.kind} {leaf.name or ''}".strip()
        stage = self.graph.stages[maker]
        return stage.name if stage.layer is None else f"layer {stage.layer} {stage.name}"


def watched(running: Running) -> Side:
    """Run a model once."""
    found = plan(running.module, running.inputs(), running.scenario, running.info, running.claims, by=Taping)
    watcher = found.run.watcher
    assert isinstance(watcher, Taping)
    return Side(running, found, Tape(watcher))


def axis_sizes(*sides: Side) -> tuple[int, ...]:
    """Sizes that an axis may be made of: batch, tokens, heads, head width."""
    found: set[int] = set()
    for side in sides:
        found |= {side.running.scenario.batch, side.running.scenario.seq}
        split = [stage for stage in side.graph.stages if stage.role == "split_heads"]
        found |= {size for stage in split for value in stage.outputs for size in side.shape(value)}
    return tuple(sorted(found - {0, 1}))
