"""What a reading sees of a stage, and what it makes: calls of reference functions, each number with who claims it."""

from __future__ import annotations

__all__ = ["TURNING", "Draft", "Flowing", "Inner", "Leaf", "Look", "Reading", "Said", "alike", "draft"]

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from inspector.records import Claims, Concrete, Op, Plain
from inspector.roles.flow import Flow
from inspector.stage_graph.attributes import attribute
from inspector.stage_graph.stages import Stage, StageGraph
from inspector.vocabulary import EXEMPT

TURNING = frozenset({"transpose", "permute", "t", "mT", "movedim", "adjoint"})
"""Views that change the order of the elements."""


_EXACT = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Number format -> its significant bits."""


class Flowing(NamedTuple):
    """A value of the run, as it was read."""

    value: int


class Leaf(NamedTuple):
    """A parameter, by its name."""

    name: str


class Inner(NamedTuple):
    """What an earlier call of the same stage gave."""

    place: int
    output: int = 0


class Said(NamedTuple):
    """A number that a reference function is called with. claimed: whether anybody but the run itself says it."""

    value: Plain
    claimed: bool


class Draft(NamedTuple):
    """One call of a reference function. numbers that are no `Said` follow from the shapes alone."""

    function: Callable[..., Any]
    tensors: dict[str, Flowing | Leaf | Inner]
    numbers: dict[str, Said]


Reading = list[Draft] | str
"""The calls that a stage stands for, or why there are none."""


def draft(function: Callable[..., Any], /, **arguments: Flowing | Leaf | Inner | Said | Plain) -> Draft:
    """A call of a reference function by name; an argument that is None is not given.

    >>> from inspector.reference.attention import softcap
    >>> draft(softcap, x=Flowing(3), cap=Said(30.0, True)).numbers
    {'cap': Said(value=30.0, claimed=True)}
    """
    tensors: dict[str, Flowing | Leaf | Inner] = {}
    numbers: dict[str, Said] = {}
    for name, value in arguments.items():
        if isinstance(value, (Flowing, Leaf, Inner)):
            tensors[name] = value
        elif isinstance(value, Said):
            numbers[name] = value
        elif value is not None:
            numbers[name] = Said(value, claimed=True)
    return Draft(function, tensors, numbers)


class Look:
    """One graph and the facts that are claimed of it."""

    def __init__(self, graph: StageGraph, facts: Claims) -> None:
        self.graph = graph
        self.facts = facts
        self.flow: Flow = graph.naming.flow
        self.values = graph.trace.values

    # claims

    def said(self, fact: str, executed: Plain, convention: Plain = None) -> Said:
        """What is claimed; else what is usual, where that is what ran; else what ran, which nobody claims."""
        claim = self.facts.get(fact)
        if isinstance(claim, (bool, int, float, str)):
            return Said(claim, claimed=True)
        return self.usual(executed, convention)

    def claim(self, fact: str, layer: int | None) -> Plain:
        """What is claimed; where a config lists a value for each layer, the one of this layer."""
        claim = self.facts.get(fact)
        if isinstance(claim, tuple) and layer is not None and len(claim) == self.graph.layers:
            return claim[layer]
        return claim

    def usual(self, executed: Plain, convention: Plain) -> Said:
        """A convention that is written down counts as a claim where execution agrees with it."""
        return Said(executed, claimed=convention is not None and alike(executed, convention))

    def kinds(self, layers: Iterable[int | None]) -> set[str] | None:
        """What a config's list calls these layers; None where there is no list, or it counts other layers."""
        pattern = self.facts.get("model.layer_pattern")
        if not isinstance(pattern, tuple) or len(pattern) != len(self._attending):
            return None
        return {str(pattern[self._attending.index(layer)]) for layer in layers if layer in self._attending}

    @cached_property
    def _attending(self) -> list[int]:
        """The layers in which tokens look at one another, or that mix them in another way."""
        mixing = {stage.layer for stage in self.graph.stages if stage.section in ("attention", "ssm")}
        return sorted(layer for layer in mixing if layer is not None)

    # values

    def shape(self, value: int) -> tuple[int, ...]:
        return self.values[value].shape

    def read(self, value: int) -> Flowing | Leaf:
        """A parameter by its name, and all else as it was read."""
        record = self.values[value]
        return Leaf(record.name) if record.kind == "parameter" and record.name else Flowing(value)

    def contents(self, value: int) -> Concrete | None:
        found = self.graph.trace.concrete.get(value)
        return found if found is not None and found.kept else None

    def acts(self, stage: Stage) -> list[int]:
        """The activations that enter."""
        return [value for value in stage.inputs if self.flow.on_act(value)]

    def others(self, stage: Stage) -> list[int]:
        """What else enters, weights and what holds nothing apart."""
        return [value for value in stage.inputs if not self.flow.on_act(value) and 0 not in self.shape(value)]

    def told(self, stage: Stage) -> list[int]:
        """The outputs that somebody outside reads who is not exempt from checks himself."""
        flow, inside, graph = self.flow, set(stage.ops), self.graph
        return [
            value
            for value in stage.outputs
            if value in flow.leaving
            or any(
                flow.live[user] and graph.stages[graph.stage_of[user]].path not in EXEMPT
                for user in flow.users[value]
                if user not in inside
            )
        ]

    def border(self, stage: Stage, value: int) -> int | None:
        """The value at the stage's border that `value` is a view of, in the same order."""
        border = {*stage.inputs, *stage.parameters}
        while value not in border:
            op = self.flow.maker(value)
            if op is None or self.flow.kind[op.id] not in ("view", "plumb") or op.name in TURNING:
                return None
            value = op.inputs[0]
        return value

    def border_of_weight(self, stage: Stage, value: int) -> int | None:
        """The value at the border that stands for a weight, whichever way it is turned."""
        border = {*stage.inputs, *stage.parameters}
        while value not in border:
            op = self.flow.maker(value)
            if op is None or self.flow.kind[op.id] not in ("view", "plumb") or not op.inputs:
                return None
            value = op.inputs[0]
        return value

    def narrowed(self, stage: Stage, value: int) -> bool:
        """Whether the first thing that happens to an input is that it is rounded to a narrower format."""
        flow, inside = self.flow, set(stage.ops)
        before = _EXACT.get(self.values[value].dtype, 0)
        stack, casts, others = [value], 0, 0
        while stack:
            for user in flow.consumers(stack.pop()):
                if user.id not in inside:
                    continue
                after = _EXACT.get(self.values[user.outputs[0]].dtype, before) if user.outputs else before
                casts += after < before
                passes = after >= before and flow.kind[user.id] in ("view", "plumb")
                stack += user.outputs if passes else ()
                others += after >= before and not passes
        return casts > 0 and not others

    # ops

    def live(self, stage: Stage) -> list[Op]:
        """The ops that do more than hand on or look at their operand in another way."""
        kind = self.flow.kind
        return [op for op in self.graph.ops(stage) if self.flow.live[op.id] and kind[op.id] not in ("plumb", "view")]

    def turns(self, stage: Stage) -> bool:
        """Whether axes of an activation change places inside."""
        return any(
            op.name in TURNING and self.flow.live[op.id] and self.flow.act_inputs(op) for op in self.graph.ops(stage)
        )

    def number(self, stage: Stage, name: str) -> Plain:
        """One of the numbers that the stage was executed with."""
        return attribute(self.graph, stage, name)

    def beside(self, stage: Stage, *paths: str) -> list[Stage]:
        """The stages of the same layer with one of these roles, in their order."""
        return [other for other in self._layer(stage.layer) if other.path in paths]

    @cached_property
    def orientation(self) -> str | None:
        """How the model stores the weights whose shape tells: one way for all of them, or None."""
        found = set()
        for op in self.graph.trace.ops:
            if not self.flow.weighted[op.id] or op.name not in ("linear", "matmul", "addmm", "mm", "bmm"):
                continue
            factors = self.flow.factors(op)
            roots = [root for value in factors if (root := self.flow.weight(value)) is not None]
            entering = next((value for value in factors if self.flow.weight(value) is None), None)
            if len(roots) == 1 and entering is not None and len(self.shape(roots[0])) == 2:
                out, into = self.shape(roots[0])
                if out != into:
                    found.add("out_in" if self.shape(entering)[-1] == into else "in_out")
        return found.pop() if len(found) == 1 else None

    def _layer(self, layer: int | None) -> Iterable[Stage]:
        return self._layers.get(layer, ())

    @cached_property
    def _layers(self) -> Mapping[int | None, list[Stage]]:
        found: dict[int | None, list[Stage]] = {}
        for stage in self.graph.stages:
            found.setdefault(stage.layer, []).append(stage)
        return found

    def readers(self, value: int) -> Iterable[Stage]:
        """The stages on the activation plane that a value ends up in."""
        seen, stack = {value}, [value]
        while stack:
            for user in self.flow.consumers(stack.pop()):
                if any(map(self.flow.on_act, user.outputs)):
                    yield self.graph.stages[self.graph.stage_of[user.id]]
                    continue
                fresh = [out for out in user.outputs if out not in seen]
                seen.update(fresh)
                stack.extend(fresh)


def alike(one: Plain, two: Plain) -> bool:
    """Equal, but for the last digits of a single-precision number.

    >>> alike(0.125, 64**-0.5), alike(1e-5, 1e-6), alike("half", "half")
    (True, False, True)
    """
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(two, numbers):
        return abs(one - two) <= 1e-6 * max(abs(one), abs(two))
    return one == two
