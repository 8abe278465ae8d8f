"""How a composition of reference functions says what it is made of.

A forward calls every stage through a `Composition`, which notes where each tensor came from and every number that was
given. On the meta device this costs nothing, and yields the wiring and the attributes that are claimed; on real
tensors it yields the same steps, and values.
"""

from __future__ import annotations

__all__ = ["Composition", "Dispatch", "Source", "Step", "replay"]

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from inspector.records import Plain

Result = TypeVar("Result")
Kind = Literal["step", "input", "weight", "cache", "own"]
Dispatch = Literal["copied", "sorted", "other"]
"""How tokens get to their experts: each once for each of its experts, or these copies in the order of the experts."""


class Source(NamedTuple):
    """Where a tensor comes from.

    >>> Source("step", 3), Source("weight", "wte.weight")
    (Source(kind='step', ref=3, output=0), Source(kind='weight', ref='wte.weight', output=0))

    kind: "step", "input", "weight", "cache", or "own". ref: the index of the step, or the name. output: which of its
    outputs. Own is what a stage may decide as it likes (which of two equal scores is the better one), so that its
    decision is taken from what it gave: the function refuses one that it may not make.
    """

    kind: Kind
    ref: int | str
    output: int = 0


@dataclass(frozen=True)
class Step:
    """One stage of a forward as the reference has it.

    name: the stage with its operand (`attention.rope.q`). sources: argument -> where its tensor comes from.
    attributes: argument -> number, word or None, defaults included: no bias and no window are claims too.
    function: `module:name` of the reference function. outputs: kept only when asked for, and not compared.
    """

    index: int
    name: str
    layer: int | None
    sources: tuple[tuple[str, Source], ...]
    attributes: tuple[tuple[str, Plain], ...]
    function: str
    outputs: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)

    def attribute(self, name: str) -> Plain:
        """The value of one attribute; KeyError where the function has none of that name."""
        return dict(self.attributes)[name]


class Composition:
    """Calls reference functions, and notes each call as a step.

    >>> from inspector.reference.norms import rms_norm
    >>> run = Composition()
    >>> x = run.enter("input", "x", torch.tensor([3.0, 4.0]))
    >>> y = run("attention.norm", rms_norm, layer=0, x=x, eps=0.0)
    >>> run.steps[0].sources, run.steps[0].attributes
    ((('x', Source(kind='input', ref='x', output=0)),), (('weight', None), ('eps', 0.0), ('offset', 0.0)))

    A tensor that neither entered by name nor came out of a step is refused: nothing reaches a stage unseen. Where and
    in which precision a function computes (`device`, `dtype`) is no claim, and is not noted. Tensors are held weakly,
    unless `keep` asks for the outputs. dispatch: changes no value, only what the stages between are.
    """

    def __init__(self, *, keep: bool = False, dispatch: Dispatch = "copied") -> None:
        self.dispatch = dispatch
        self.steps: list[Step] = []
        self.calls: Counter[str] = Counter()
        """How often each reference function really ran: a check without calls has checked nothing."""
        self.spared: set[str] = set()
        """Weights that take no part, by name: what they gave in an earlier forward is remembered."""
        self._keep = keep
        self._origins: Any = WeakTensorKeyDictionary()

    def enter(self, kind: Kind, name: str, tensor: Tensor) -> Tensor:
        """The tensor under a name of its own: one that has two names (tied weights) becomes two."""
        alias = tensor.detach()
        self._origins[alias] = Source(kind, name)
        return alias

    def __call__(
        self, name: str, function: Callable[..., Result], /, *, layer: int | None = None, **arguments: Any
    ) -> Result:
        """What the function returns, a tensor or a tuple of them; ValueError for a tensor of unknown origin."""
        sources, attributes = self._sorted(name, _bound(function, arguments))
        qualified = f"{function.__module__}:{function.__qualname__}"
        self.calls[qualified] += 1
        result = function(**arguments)
        given = {id(value) for value in arguments.values() if isinstance(value, Tensor)}
        outputs = tuple(_fresh(tensor, given) for tensor in _tensors(result))
        index = len(self.steps)
        for number, tensor in enumerate(outputs):
            self._origins[tensor] = Source("step", index, number)
        kept = outputs if self._keep else ()
        self.steps.append(Step(index, name, layer, sources, attributes, qualified, kept))
        return outputs if isinstance(result, tuple) else outputs[0]  # type: ignore[return-value]

    def _sorted(
        self, name: str, arguments: Mapping[str, Any]
    ) -> tuple[tuple[tuple[str, Source], ...], tuple[tuple[str, Plain], ...]]:
        sources, attributes = [], []
        for key, value in arguments.items():
            if isinstance(value, Tensor):
                if value not in self._origins:
                    raise ValueError(f"{name}: {key} is a tensor of unknown origin")
                sources.append((key, self._origins[value]))
            elif not isinstance(value, (torch.dtype, torch.device)) and key not in ("dtype", "device"):
                attributes.append((key, value))
        return tuple(sources), tuple(attributes)


def replay(step: Step, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The step again, with its own numbers, on other tensors: one for each name in `step.sources`.

    >>> step = Step(0, "attention.scale", 0, (), (("factor", 0.5),), "inspector.reference.attention:scale")
    >>> replay(step, {"scores_BHST": torch.tensor([2.0])})
    (tensor([1.]),)
    """
    module, _, name = step.function.partition(":")
    function = getattr(import_module(module), name)
    return _tensors(function(**tensors, **dict(step.attributes)))


@cache
def _signature(function: Callable[..., object]) -> inspect.Signature:
    return inspect.signature(function)


def _bound(function: Callable[..., object], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name with defaults filled in, those of a `**` among the others."""
    bound = _signature(function).bind(**arguments)
    bound.apply_defaults()
    flat: dict[str, Any] = {}
    for key, value in bound.arguments.items():
        many = _signature(function).parameters[key].kind is inspect.Parameter.VAR_KEYWORD
        flat |= value if many else {key: value}
    return flat


def _tensors(result: object) -> tuple[Tensor, ...]:
    return tuple(result) if isinstance(result, tuple) else (result,)  # type: ignore[return-value]


def _fresh(tensor: Tensor, given: set[int]) -> Tensor:
    """An argument that is handed back is another step's tensor still: only an alias can be this step's."""
    return tensor.view_as(tensor) if id(tensor) in given else tensor
