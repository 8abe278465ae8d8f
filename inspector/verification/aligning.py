"""Which stage stands for which step where a model is so wrong that its parts are no longer recognised.

Roles are found by structure, and a mistake may take that structure away: without a residual connection a layer is no
layer. What is left tells the stages all the same: which weights they read, and which stages they read from. So the
mistake is told where it is, and not wherever names first go astray.
"""

from __future__ import annotations

__all__ = ["aligned"]

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from inspector.reference.steps import Source, Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed, kept_as
from inspector.verification.matching import Matching, is_in_kernel, match, repeated
from inspector.verification.operands import entering
from inspector.verification.origins import Origins
from inspector.verification.plan import Plan

_Origin = tuple[int | str, int]
"""Index of a stage and which of its outputs; or the name of a leaf, and 0."""


def aligned(first: Plan, claimed: Claimed) -> tuple[Plan, Matching]:
    """The stages under the names of the steps that they stand for, and which those are.

    By name alone where every step has a stage that reads its weights. Else weights go before names, and where inputs
    come from before operand and layer.
    """
    matching = match(first.stages, claimed.steps)
    pairing = _Pairing(first, claimed, matching)
    if not matching.missing and pairing.is_as_named():
        return first, matching
    pairs = pairing.pairs()
    steps = {**pairing.several, **{stage: (claimed.steps[step],) for step, stage in pairs.items()}}
    stage_of = {step.index: stage for stage, taken in steps.items() for step in taken}
    missing = tuple(step for step in claimed.steps if step.index not in stage_of)
    steps |= repeated(first.stages, claimed.steps, steps)
    renamed = tuple(_named(stage, steps.get(stage.index, ())) for stage in first.stages)
    return Plan(replace(first.graph, stages=renamed), first.run), Matching(steps, stage_of, missing)


def _named(stage: Stage, steps: tuple[Step, ...]) -> Stage:
    if len(steps) > 1:
        return replace(stage, layer=steps[0].layer)
    if not steps or (stage.name, stage.layer) == (steps[0].name, steps[0].layer):
        return stage
    section, role, *operand = steps[0].name.split(".")
    return replace(stage, path=f"{section}.{role}", operand=".".join(operand), layer=steps[0].layer)


def _may_be_claimed(stage: Stage) -> bool:
    """What ran and is read by nobody is a step whose reader reads something else."""
    return stage.section != "control" or stage.role == "unused"


def _is_idle(stage: Stage) -> bool:
    """Whether its calls returned what they were given: a weight that is cast to its own format is not read yet."""
    return set(stage.outputs) <= {*stage.inputs, *stage.parameters}


class _Pairing:
    """Stages that do several parts at once stay with what their names say; a kernel without, with what it reads.

    several: stage -> the steps it does at once.
    """

    def __init__(self, first: Plan, claimed: Claimed, matching: Matching) -> None:
        self._graph, self._claimed = first.graph, claimed
        ones = [(steps[0].index, stage) for stage, steps in matching.steps.items() if len(steps) == 1]
        self._by_name = {step: stage for step, stage in ones if matching.stage_of[step] == stage}
        self.several = {stage: steps for stage, steps in matching.steps.items() if len(steps) > 1}
        self._several = {step.index: stage for stage, steps in self.several.items() for step in steps}
        self._free = {stage.index: stage for stage in first.stages if stage.index not in self._several.values()}
        self._free = {index: stage for index, stage in self._free.items() if _may_be_claimed(stage)}
        self.found: dict[int, int] = {}

    def is_as_named(self) -> bool:
        """Whether no stage reads weights that are those of a step of another name."""
        return all(self._by_name.get(step) == stage for step, stage in self._anchors())

    def pairs(self) -> dict[int, int]:
        """Step -> stage, one of each."""
        for step, stage in list(self._anchors()):
            self._take(step, stage)
        for one in self._claimed.steps:
            if one.index not in self.found and one.index not in self._several:
                self._place(one)
            if one.index not in self.found and one.index not in self._several and "scores" in one.name:
                self._place_kernel(one)
            if one.index not in self.found and one.index not in self._several and "position_bias" in one.name:
                self._place_with_mask(one)
        return self.found

    def _take(self, step: int, stage: int) -> None:
        self.found[step] = stage
        self._free.pop(stage, None)

    # by weights

    def _anchors(self) -> Iterator[tuple[int, int]]:
        """Steps whose weights one stage reads, and no other step claims."""
        claimed = Counter(weight for step in self._claimed.steps for weight in self._wanted(step))
        readers: dict[int, list[int]] = {}
        for stage in self._free.values():
            for weight in set() if _is_idle(stage) else self._read(stage):
                readers.setdefault(weight, []).append(stage.index)
        homes = {
            step.index: {at for weight in self._wanted(step) for at in readers.get(weight, ())}
            for step in self._claimed.steps
        }
        crowded = Counter(at for found in homes.values() for at in found)
        for step in self._claimed.steps:
            alone = all(claimed[weight] == 1 for weight in self._wanted(step))
            if alone and len(homes[step.index]) == 1 and crowded[min(homes[step.index])] == 1:
                yield step.index, min(homes[step.index])

    def _wanted(self, step: Step) -> set[int]:
        weights = self._claimed.weights
        return {id(weights[str(source.ref)]) for _, source in step.sources if source.kind == "weight"}

    def _read(self, stage: Stage) -> set[int]:
        values, weights = self._graph.trace.values, self._claimed.weights
        names = [values[value].name or "" for value in stage.parameters if values[value].kind == "parameter"]
        return {id(weights[name]) for name in names if name in weights}

    # by where inputs come from

    def _place(self, step: Step) -> None:
        named = self._free.get(self._by_name.get(step.index, -1))
        path = ".".join(step.name.split(".")[:2])
        taken_by_name = set(self._by_name.values())
        candidates = [
            *([named] if named is not None else []),
            *(stage for stage in self._free.values() if stage.path == path),
            *(stage for stage in self._free.values() if stage.index not in taken_by_name and stage.section != "layout"),
        ]
        right = next((stage for stage in candidates if self._agrees(stage, step)), named)
        if right is not None and not (right is named and self._is_anothers(right, step)):
            self._take(step.index, right.index)

    def _is_anothers(self, stage: Stage, step: Step) -> bool:
        """Whether what reads a stage is what should read another step of that name, of which it is the only one."""
        read_by = {other.index for other in self._graph.stages if not set(stage.outputs).isdisjoint(other.inputs)}
        same = [one for one in self._claimed.steps if (one.name, one.layer) == (step.name, step.layer)]
        others = [one for one in same if one.index != step.index and one.index not in self.found]
        if not others or not read_by.isdisjoint(self._readers(step)):
            return False
        return any(not read_by.isdisjoint(self._readers(one)) for one in others)

    def _readers(self, step: Step) -> set[int]:
        """The stages that are known to stand for steps that read this one."""
        source = {
            other.index
            for other in self._claimed.steps
            for _, one in other.sources
            if one == Source("step", step.index, one.output)
        }
        return {self.found[index] for index in source if index in self.found}

    def _place_kernel(self, scores: Step) -> None:
        """What is left of a layer's attention, in one stage that reads what all of it together would."""
        left = [one for one in self._claimed.steps if is_in_kernel(one, scores)]
        left = [one for one in left if one.index not in self.found and one.index not in self._several]
        wanted = {
            self._said(source) for name, source in entering(left) if source.kind != "weight" and name != "allowed"
        }
        origins = Origins(self._graph, frozenset({*self.found.values(), *self._several.values()}))
        kernels = [stage for stage in self._free.values() if stage.role == "fused"]
        stage = next((one for one in kernels if wanted <= {self._seen(origins, value) for value in one.inputs}), None)
        if stage is not None and len(left) > 1:
            self._take_all(stage, tuple(left))

    def _place_with_mask(self, bias: Step) -> None:
        """A bias and a mask that are added in one stage."""
        readers = (one for one in self._claimed.steps if Source("step", bias.index) in dict(one.sources).values())
        mask = next((one for one in readers if one.name.endswith(".mask")), None)
        if mask is None:
            return
        wanted = {self._said(source) for _, source in entering([bias, mask])}
        origins = Origins(self._graph, frozenset({*self.found.values(), *self._several.values()}))
        masks = [stage for stage in self._free.values() if stage.role == "mask"]
        stage = next((one for one in masks if wanted == {self._seen(origins, value) for value in one.inputs}), None)
        if stage is not None:
            self._take_all(stage, (bias, mask))

    def _take_all(self, stage: Stage, steps: tuple[Step, ...]) -> None:
        self.several[stage.index] = steps
        self._several |= dict.fromkeys((one.index for one in steps), stage.index)
        self._free.pop(stage.index)

    def _agrees(self, stage: Stage, step: Step) -> bool:
        sources = [source for _, source in step.sources if source.kind not in ("weight", "own")]
        origins = Origins(self._graph, frozenset({*self.found.values(), *self._several.values()}))
        wanted = {self._said(source) for source in sources}
        return bool(wanted) and {self._seen(origins, value) for value in stage.inputs} == wanted

    def _said(self, source: Source) -> _Origin | None:
        """A claimed source; behind steps for which nothing ran."""
        if source.kind != "step":
            return str(source.ref), 0
        step = self._claimed.steps[int(source.ref)]
        stage = self.found.get(step.index, self._several.get(step.index))
        if stage is not None:
            return stage, source.output
        before = next((one for _, one in step.sources if one.kind != "weight"), None)
        return None if before is None else self._said(before)

    def _seen(self, origins: Origins, value: int) -> _Origin:
        origin = origins.of(value)
        if origin.stage is None:
            return _of_past(origin.name), 0
        outputs = self._graph.stages[origin.stage].outputs
        several = self._outputs(origin.stage)
        place = outputs.index(origin.value) % several if origin.value in outputs else 0
        return origin.stage, place

    def _outputs(self, stage: int) -> int:
        """How many outputs the step of a stage has."""
        step = next((step for step, at in self.found.items() if at == stage), None)
        return len(_of(step, self._claimed.shapes)) or 1


def _of_past(name: str) -> str:
    """A leaf as the steps call it: `past_key_values.layers.1.keys` is `1.k`."""
    kept = kept_as(name)
    return name if kept is None else kept.source


def _of(step: int | None, shapes: Iterable[tuple[int, int]]) -> list[int]:
    return [output for at, output in shapes if at == step]
