"""Which claimed steps each executed stage stands for.

A stage and a step have one name and one layer; a stage that does several parts at once (a fused kernel, `baddbmm`)
stands for the steps of all of them.
"""

from __future__ import annotations

__all__ = ["Matching", "by_stage", "does_nothing", "is_in_kernel", "match", "repeated"]

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from inspector.reference.masks import build_mask
from inspector.reference.steps import Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed

if TYPE_CHECKING:
    from torch import Tensor

_FUSED = ("scores", "scale", "softcap", "position_bias", "mask", "sink", "softmax", "weighted_sum", "repeat_kv")
"""What one attention kernel may do of a layer's attention."""


class Matching(NamedTuple):
    """steps: stage index -> the steps it stands for. stage_of: the other way round. missing: steps without a stage."""

    steps: dict[int, tuple[Step, ...]]
    stage_of: dict[int, int]
    missing: tuple[Step, ...]


def match(stages: Sequence[Stage], steps: Sequence[Step]) -> Matching:
    """Pair stages with steps, the first of a name in a layer with the first, and so on.

    Of several that belong to no layer (a mask for each kind of layer) one may be left out: they go by who reads them.
    """
    waiting: dict[tuple[str, int | None], deque[Step]] = defaultdict(deque)
    parts = _parts(steps)
    inner = {part.index for several in parts.values() for part in several}
    for step in steps:
        if step.index not in inner:
            waiting[step.name, step.layer].append(step)
    found: dict[int, list[Step]] = {}
    readers = _Readers(stages, steps)
    for stage in stages:
        names = [] if readers.is_beside(stage) else [stage.name, *_also(stage)]
        taken = [readers.taken(stage, waiting[name, stage.layer]) for name in names if waiting[name, stage.layer]]
        if taken:
            found[stage.index] = sorted(taken, key=lambda step: step.index)
    for stage in stages:
        if stage.role == "fused":
            left = _left(waiting, stage.layer, stage.section)
            found[stage.index] = sorted((*found.get(stage.index, ()), *left), key=lambda step: step.index)
    for taken in found.values():
        whole = {one.index: one for step in taken for one in (*parts[step.index], step)}
        taken[:] = [whole[index] for index in sorted(whole)]
    stage_of = {step.index: stage for stage, taken in found.items() for step in taken}
    missing = tuple(step for step in steps if step.index not in stage_of)
    pairs = {stage: tuple(taken) for stage, taken in found.items()}
    return Matching({**repeated(stages, steps, pairs), **pairs}, stage_of, missing)


def repeated(
    stages: Sequence[Stage], steps: Sequence[Step], found: Mapping[int, tuple[Step, ...]]
) -> dict[int, tuple[Step, ...]]:
    """Stages that do what another did before, for one layer of those that read it: each may make its own mask."""
    readers = _Readers(stages, steps)
    named = {step.name: step for step in steps if step.layer is None}
    done = [step for taken in found.values() if len(taken) == 1 for step in taken if step.layer is None]
    left = [stage for stage in stages if stage.index not in found and stage.layer is None and stage.name in named]
    again: dict[int, tuple[Step, ...]] = {}
    for stage in left:
        same = next((step for step in done if step.name == stage.name and readers.are_one(stage, step)), None)
        if same is not None and not readers.is_beside(stage):
            again[stage.index] = (same,)
    return again


def _parts(steps: Sequence[Step]) -> dict[int, list[Step]]:
    """Step -> those of its own name and layer that it reads, and that they read: one stage does all of them.

    Axes are arranged by the stage that reads or makes a value, a bias is added by the map that it belongs to.
    """
    found: dict[int, list[Step]] = {step.index: [] for step in steps}
    by_index = {step.index: step for step in steps}
    for step in steps:
        for _, source in step.sources:
            before = by_index.get(int(source.ref)) if source.kind == "step" else None
            if before is not None and (before.name, before.layer) == (step.name, step.layer):
                found[step.index] += [*found[before.index], before]
    return found


def by_stage(claimed: Claimed) -> Matching:
    """The pairing that claims without wiring come with: they were made stage by stage."""
    by_index = {step.index: step for step in claimed.steps}
    steps = {stage: tuple(by_index[index] for index in indices) for stage, indices in claimed.stages.items()}
    stage_of = {step.index: stage for stage, taken in steps.items() for step in taken}
    return Matching(steps, stage_of, ())


def does_nothing(step: Step, claimed: Claimed) -> bool:
    """Whether a step gives back what it gets, so that nothing has to run for it."""
    function = step.function.rpartition(":")[2]
    sources = dict(step.sources)
    if function == "build_mask":
        return True  # who reads it is held against it, with or without
    if function == "laid_over":
        return bool(_seen(step, claimed).all())
    if function == "apply_mask":
        mask = sources["allowed"]
        return bool(claimed.known[int(mask.ref), mask.output].all())
    if function in ("scale", "scale_embedding"):
        return step.attribute("factor") == 1.0
    if function in ("repeat_kv", "append"):
        first = next(iter(sources.values()))
        before = claimed.shapes.get((int(first.ref), first.output)) if first.kind == "step" else None
        return before == claimed.shapes[step.index, 0] and len(sources) == 1
    return False


def _seen(step: Step, claimed: Claimed) -> Tensor:
    """Who may be seen where a mask is laid over a bias, which is of no account for it."""
    padding = next((claimed.inputs[str(source.ref)] for _, source in step.sources if source.kind == "input"), None)
    numbers: dict[str, Any] = {name: value for name, value in step.attributes if name != "attention_mask_BT"}
    return build_mask(**numbers, attention_mask_BT=padding, device=None if padding is None else padding.device)


_Place = tuple[int, str]
"""A layer, and a section of it: one block may look at itself and across."""


class _Readers:
    """In which layers stages and steps are read, and in which sections of those."""

    def __init__(self, stages: Sequence[Stage], steps: Sequence[Step]) -> None:
        self._stages = stages
        self._of_value: dict[int, set[_Place]] = defaultdict(set)
        for stage in stages:
            for value in stage.inputs:
                if stage.layer is not None:
                    self._of_value[value].add((stage.layer, stage.section))
        self._of_step: dict[int | str, set[_Place]] = defaultdict(set)
        for step in steps:
            for _, source in step.sources:
                if source.kind == "step" and step.layer is not None:
                    self._of_step[source.ref].add((step.layer, step.name.partition(".")[0]))

    def are_one(self, stage: Stage, step: Step) -> bool:
        """Whether a stage is read where a step is."""
        return not self._places(stage).isdisjoint(self._of_step[step.index])

    def is_beside(self, stage: Stage) -> bool:
        """Whether it is made of nothing, and what reads it reads another of its name that is made of something.

        A bias of zeros beside a mask is no mask.
        """
        if stage.layer is not None or stage.inputs or stage.parameters:
            return False
        return any(
            other.name == stage.name and other.inputs and self._places(stage) & self._places(other)
            for other in self._stages
        )

    def _places(self, stage: Stage) -> set[_Place]:
        return {place for value in stage.outputs for place in self._of_value[value]}

    def taken(self, stage: Stage, waiting: deque[Step]) -> Step:
        """The first step that is read where the stage is read, the first of all where there is none."""
        if stage.layer is None and len(waiting) > 1:
            found = self._places(stage)
            same = next((step for step in waiting if found & self._of_step[step.index]), waiting[0])
            waiting.remove(same)
            return same
        return waiting.popleft()


def _also(stage: Stage) -> Iterable[str]:
    for role in stage.also:
        yield role if "." in role else f"{stage.section}.{role}"
    if stage.role == "mask" and len(stage.inputs) > 2:  # scores, who may be seen, and what distance adds
        yield f"{stage.section}.position_bias"


def _left(waiting: dict[tuple[str, int | None], deque[Step]], layer: int | None, section: str) -> list[Step]:
    """What a fused kernel of a layer does: the parts of attention for which no stage of their own ran."""
    taken: list[Step] = []
    for (name, where), steps in waiting.items():
        if where == layer and _is_core(name, section):
            taken += steps
            steps.clear()
    return taken


def is_in_kernel(step: Step, other: Step) -> bool:
    """Whether a step may be done by the kernel that does another one, of the same attention."""
    return step.layer == other.layer and _is_core(step.name, other.name.partition(".")[0])


def _is_core(name: str, section: str) -> bool:
    path = name.split(".")
    return path[0] == section and path[1] in _FUSED
