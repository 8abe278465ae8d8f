"""From readings to claims: one or several steps for each stage, with the numbers that nobody claims."""

from __future__ import annotations

__all__ = ["claimed_from"]

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from inspector.records import Claims
from inspector.reference.layout import rounded
from inspector.reference.steps import Source, Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed
from inspector.verification.plan import Plan
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, draft
from inspector.verification.readings.table import reading_of
from inspector.vocabulary import EXEMPT, UNKNOWN


def claimed_from(plan: Plan, module: nn.Module, inputs: Mapping[str, Any], facts: Claims) -> Claimed:
    """What is claimed of a model that has no whole reference forward: stage by stage, without where inputs come from.

    The last step of a stage has the stage's number; steps before it, where it stands for several, come after all of
    those.
    """
    weights = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    look = Look(plan.graph, facts)
    maker = _Maker(len(plan.stages))
    for stage in plan.stages:
        maker.take(look, stage)
    tensors = {name: tensor for name, tensor in inputs.items() if isinstance(tensor, Tensor)}
    return Claimed(
        steps=tuple(maker.steps[index] for index in sorted(maker.steps)),
        shapes={},
        weights=weights,
        inputs=tensors,
        where="the config" if facts != Claims() else "nothing: there is no config",
        wired=False,
        open=maker.open,
        stages=maker.stages,
        reasons=maker.reasons,
    )


class _Maker:
    """Numbers the steps, and keeps what is open and what has no reading."""

    def __init__(self, count: int) -> None:
        self.steps: dict[int, Step] = {}
        self.stages: dict[int, tuple[int, ...]] = {}
        self.open: dict[int, tuple[str, ...]] = {}
        self.reasons: dict[int, str] = {}
        self._next = count

    def take(self, look: Look, stage: Stage) -> None:
        """One stage. Idle calls and what is exempt need no reading."""
        if stage.path in EXEMPT or stage.path == UNKNOWN or stage.section == "layout" or not stage.outputs:
            return
        if not any(look.flow.live[op] for op in stage.ops) or set(stage.outputs) <= set(stage.inputs):
            return
        found = reading_of(look, stage)
        if isinstance(found, str):
            self.reasons[stage.index] = found
        else:
            self._number(stage, _with_casts(look, stage, found))

    def _number(self, stage: Stage, drafts: Sequence[Draft]) -> None:
        indices = [*range(self._next, self._next + len(drafts) - 1), stage.index]
        self._next += len(drafts) - 1
        for index, one in zip(indices, drafts, strict=True):
            self.steps[index] = _step(index, stage, one, indices)
            open_ = tuple(name for name, said in one.numbers.items() if not said.claimed)
            if open_:
                self.open[index] = open_
        self.stages[stage.index] = tuple(indices)


def _with_casts(look: Look, stage: Stage, drafts: Sequence[Draft]) -> list[Draft]:
    """What a stage rounds to a narrower format before it does anything with it is rounded in a call of its own."""
    entering = dict.fromkeys(
        tensor.value for one in drafts for tensor in one.tensors.values() if isinstance(tensor, Flowing)
    )
    narrow = [value for value in entering if look.narrowed(stage, value)]
    if not narrow:
        return list(drafts)
    casts = [draft(rounded, x=Flowing(value)) for value in narrow]

    def moved(tensor: Flowing | Leaf | Inner) -> Flowing | Leaf | Inner:
        if isinstance(tensor, Flowing) and tensor.value in narrow:
            return Inner(narrow.index(tensor.value))
        return Inner(tensor.place + len(casts), tensor.output) if isinstance(tensor, Inner) else tensor

    return [
        *casts,
        *(one._replace(tensors={name: moved(tensor) for name, tensor in one.tensors.items()}) for one in drafts),
    ]


def _step(index: int, stage: Stage, one: Draft, indices: Sequence[int]) -> Step:
    sources = tuple((name, _source(tensor, indices)) for name, tensor in one.tensors.items())
    numbers = tuple((name, said.value) for name, said in one.numbers.items())
    function = f"{one.function.__module__}:{one.function.__qualname__}"
    return Step(index, stage.name, stage.layer, sources, numbers, function)


def _source(tensor: Flowing | Leaf | Inner, indices: Sequence[int]) -> Source:
    if isinstance(tensor, Flowing):
        return Source("input", str(tensor.value))
    if isinstance(tensor, Leaf):
        return Source("weight", tensor.name)
    return Source("step", indices[tensor.place], tensor.output)
