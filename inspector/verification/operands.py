"""The tensors that a stage really read, as the arguments of the reference functions that are claimed for it."""

from __future__ import annotations

__all__ = ["Bound", "Reader", "Taker", "entering", "word"]

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inspector.records import Value
from inspector.reference.steps import Source, Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed, kept_as
from inspector.verification.compare import allowed_of, fitted, hides_nothing
from inspector.verification.matching import Matching
from inspector.verification.origins import Origins
from inspector.verification.plan import Plan
from inspector.verification.report import Link


class Bound(NamedTuple):
    """operands: what enters the steps of a stage, as it was read. links: where it came from."""

    operands: dict[Source, Tensor]
    links: tuple[Link, ...]


class Reader:
    """Finds the executed input for each claimed one, by where both come from; what is left over is paired in order.

    outputs: value -> which output of which step it was found to be; filled by the checks as they go.
    """

    def __init__(self, plan: Plan, claimed: Claimed, matching: Matching) -> None:
        self._plan, self._claimed, self._matching = plan, claimed, matching
        self._origins = Origins(plan.graph, frozenset(matching.steps), masks=True)
        self.outputs: dict[int, tuple[int, int]] = {}
        self._namesakes: dict[tuple[str, int | None], list[int]] = defaultdict(list)
        for stage in plan.stages:
            self._namesakes[stage.name, stage.layer].append(stage.index)
        self._held: Callable[[int], Tensor] = _nothing

    def read(
        self, stage: Stage, steps: Sequence[Step], held: Callable[[int], Tensor], intact: Callable[[int], bool]
    ) -> Bound:
        """The operands of `steps`. held: value -> its tensor. intact: whether it still is what it was."""
        self._held = held
        needed = list(entering(steps))
        weights = self._weights(stage, needed)
        moving = [(name, source) for name, source in needed if source.kind not in ("weight", "own")]
        pairs = self._paired(stage, moving)
        operands = {source: self._claimed.weights[str(source.ref)] for _, source in needed if source.kind == "weight"}
        operands |= self._decided(stage, needed, held)
        links = [*weights]
        for (name, source), value in pairs:
            links.append(Link(word(name), self.said(source), self._from(value, source), value is None or intact(value)))
            if value is not None:
                operands[source] = self._shaped(held(value), source)
        links += [Link("", "nothing", self._origin_text(value)) for value in self._surplus(stage, pairs)]
        return Bound(operands, tuple(links))

    # weights

    def _weights(self, stage: Stage, entering: Sequence[tuple[str, Source]]) -> list[Link]:
        """The claimed weights against those that were read: by the tensor, for tied ones have several names."""
        named = {str(source.ref) for _, source in entering if source.kind == "weight"}
        read = dict(self._read_weights(stage, named))
        links: list[Link] = []
        for argument, source in entering:
            if source.kind == "weight":
                wanted = self._claimed.weights[str(source.ref)]
                same = next((name for name, tensor in read.items() if tensor is wanted), None)
                read.pop(same or "", None)
                links.append(Link(word(argument), str(source.ref), str(source.ref) if same else "nothing"))
        left = list(read)
        for place, link in enumerate(links):
            if link.broken and left:
                links[place] = link._replace(executed=left.pop(0))
        return links + [Link("", "nothing", name) for name in left]

    def _read_weights(self, stage: Stage, named: Collection[str]) -> Iterable[tuple[str, Tensor]]:
        """Of buffers those that are claimed as weights: a model may keep a bias so."""
        values = self._plan.trace.values
        for value in stage.parameters:
            name, kind = values[value].name, values[value].kind
            if name is not None and (kind == "parameter" or (kind == "buffer" and name in named)):
                yield name, self._claimed.weights[name]

    # what flows

    def _decided(
        self, stage: Stage, needed: Sequence[tuple[str, Source]], held: Callable[[int], Tensor]
    ) -> dict[Source, Tensor]:
        """What the stage decided for itself: the last whole numbers that it gives, behind those they are made of."""
        own = [source for _, source in needed if source.kind == "own"]
        given = [value for value in stage.outputs if self._plan.trace.values[value].dtype == "int64"]
        return {source: held(given[-1]) for source in own if given}

    def _paired(
        self, stage: Stage, moving: Sequence[tuple[str, Source]]
    ) -> list[tuple[tuple[str, Source], int | None]]:
        left = list(stage.inputs)
        found: dict[Source, int | None] = {}
        for _, source in moving:
            same = self._same(left, source)
            if same is not None:
                left.remove(same)
                found[source] = same
        for _, source in moving:
            if source not in found:
                found[source] = left.pop(0) if left else None
        return [(item, found[item[1]]) for item in moving]

    def _same(self, left: Sequence[int], source: Source) -> int | None:
        """What comes from where it should: of several in the same words, what that very stage made."""
        same = [value for value in left if self._from(value, source) == self.said(source)]
        stage = self._matching.stage_of.get(int(source.ref)) if source.kind == "step" else None
        return next((value for value in same if self._origins.of(value).stage == stage), next(iter(same), None))

    def _surplus(self, stage: Stage, pairs: Sequence[tuple[tuple[str, Source], int | None]]) -> list[int]:
        used = {value for _, value in pairs}
        values = self._plan.trace.values
        left = [value for value in stage.inputs if value not in used and 0 not in values[value].shape]
        return [value for value in left if not self._is_idle_mask(value)]

    def _is_idle_mask(self, value: int) -> bool:
        """Whether it is a mask that nothing claims, and hides nothing: to read it is to read none."""
        origin = self._origins.of(value).stage
        if origin is None or origin in self._matching.steps or self._plan.stages[origin].path != "mask.build":
            return False
        return hides_nothing(self._held(value))

    def said(self, source: Source) -> str:
        """A claimed source as text; behind steps for which nothing ran."""
        if source.kind == "input":
            return f"input {source.ref}"
        if source.kind == "cache":
            return _past_text(str(source.ref))
        index = int(source.ref)
        stage = self._matching.stage_of.get(index)
        step = self._step(index)
        if stage is None:
            before = next((origin for _, origin in step.sources if origin.kind != "weight"), None)
            return "nothing" if before is None else self.said(before)
        several = len([1 for at, _ in self._claimed.shapes if at == index]) > 1
        return self._stage_text(stage) + (f" [{source.output}]" if several else "")

    def _step(self, index: int) -> Step:
        return self._claimed.steps[index]

    def _stage_text(self, index: int) -> str:
        steps = self._matching.steps.get(index, ())
        index = self._matching.stage_of.get(steps[0].index, index) if len(steps) == 1 else index  # done once more here
        stage = self._plan.stages[index]
        text = stage.name if stage.layer is None else f"layer {stage.layer} {stage.name}"
        place = self._namesakes.get((stage.name, stage.layer), [index]).index(index)
        return f"{text} ({place + 1})" if place else text

    def _from(self, value: int | None, wanted: Source) -> str:
        """An executed input as text, in the words of `said`."""
        return "nothing" if value is None else self._origin_text(value, wanted)

    def _origin_text(self, value: int, wanted: Source | None = None) -> str:
        origin = self._origins.of(value)
        if origin.stage is not None:
            step = self._matching.steps.get(origin.stage, ())
            several = bool(step) and len([1 for at, _ in self._claimed.shapes if at == step[-1].index]) > 1
            text = self._stage_text(origin.stage)
            if not several:
                return text
            found = self._output(origin.value, step[-1].index)
            return f"{text} [{'?' if found is None else found}]"
        kept = kept_as(origin.name)
        return f"{origin.kind} {origin.name}".strip() if kept is None else _past_text(kept.source)

    def _output(self, value: int, step: int) -> int | None:
        """Which output of a step a value is; of tables that need no weights, the one that it is closest to."""
        if value in self.outputs:
            return self.outputs[value][1]
        known = {output: tensor for (index, output), tensor in self._claimed.known.items() if index == step}
        if not known:
            return self._by_kind(value, step)
        got = self._held(value)
        far = {}
        for output, tensor in known.items():
            expected = fitted(tensor, got.shape)
            if expected is not None:
                far[output] = float((got.to(torch.float64) - expected).abs().max())
        return min(far, key=far.__getitem__) if far else None

    def _by_kind(self, value: int, step: int) -> int | None:
        """The same before the stage that made it was judged, which ends behind some that read it: by size and kind.

        Those that are alike in both are handed out in order.
        """
        made = self._plan.stages[self._matching.stage_of[step]].outputs
        if value not in made or not self.outputs.keys().isdisjoint(made):
            return None
        kinds = {one: _kind(self._plan.trace.values[one]) for one in made}
        place = [one for one in made if kinds[one] == kinds[value]].index(value)
        alike = [at for at, tensor in enumerate(self._step(step).outputs) if _kind(tensor) == kinds[value]]
        return alike[place] if place < len(alike) else None

    def _shaped(self, tensor: Tensor, source: Source) -> Tensor:
        """In the claimed shape, where it holds as many elements; a mask as who may be seen."""
        if source.kind != "step":
            return tensor
        index = int(source.ref)
        if self._step(index).name == "mask.build" and not self._step(index).function.endswith(":laid_over"):
            return allowed_of(tensor)
        shape = self._claimed.shapes[index, source.output]
        return tensor.reshape(shape) if tensor.numel() == torch.Size(shape).numel() else tensor


class Taker:
    """Takes the executed inputs as they are, where nothing claims where they come from.

    The sources of such steps are values of the run itself: `Source("input", 12)`.
    """

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed
        self.outputs: dict[int, tuple[int, int]] = {}

    def read(
        self, stage: Stage, steps: Sequence[Step], held: Callable[[int], Tensor], intact: Callable[[int], bool]
    ) -> Bound:
        """See Reader."""
        operands, links = {}, []
        for name, source in entering(steps):
            if source.kind == "weight":
                operands[source] = self._claimed.weights[str(source.ref)]
            else:
                value = int(source.ref)
                operands[source] = allowed_of(held(value)) if name == "allowed" else held(value)
                links.append(Link(word(name), "", "", intact(value)))
        return Bound(operands, tuple(link for link in links if link.broken))


def entering(steps: Sequence[Step]) -> Iterable[tuple[str, Source]]:
    """(argument, source) of what comes from outside the steps, each source once."""
    inside = {step.index for step in steps}
    seen: set[Source] = set()
    for step in steps:
        for name, source in step.sources:
            if (source.kind != "step" or source.ref not in inside) and source not in seen:
                seen.add(source)
                yield name, source


def word(argument: str) -> str:
    """An argument of a reference function as a reader knows it.

    >>> word("past_BGPK"), word("weight")
    ('past', 'weight')
    """
    name, _, axes = argument.rpartition("_")
    return name if name and axes.isupper() else argument


def _kind(value: Value | Tensor) -> tuple[int, bool]:
    """How many elements it has, and whether they are whole numbers."""
    return math.prod(value.shape), str(value.dtype).removeprefix("torch.").startswith("int")


def _past_text(source: str) -> str:
    """What a cache keeps, in words: `0.k` and `0.k across`, which is of the sequence that a decoder looks across to."""
    layer, _, what = source.partition(".")
    operand, _, across = what.partition(" ")
    return f"past {'keys' if operand == 'k' else 'values'} of layer {layer}{' of the other sequence' if across else ''}"


def _nothing(value: int) -> Tensor:
    raise KeyError(value)
