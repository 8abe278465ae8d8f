"""A model that makes one mistake, for as long as a `with` lasts.

The mistake is made from outside, above the watcher: each call into torch comes here first and is handed on changed, so
that the watcher records what really ran. Which call it is is known by its place in the order of execution.
"""

from __future__ import annotations

__all__ = ["Call", "Edit", "Edits", "after", "edits_of", "mutated", "rebound", "replaced", "rewired", "unseen"]

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, handle_torch_function

from inspector.tracing.names import spec_of
from inspector.tracing.watcher import Raw, Ref, Watcher
from inspector.verification.mutants.ground import Ground, Target
from inspector.verification.mutants.mutant import Formula, Mutant


class Call(NamedTuple):
    """One call as the model makes it. seen: the watcher's number of a wanted value -> the tensor."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    seen: Mapping[int, Tensor]

    def made(self) -> Any:
        """Its result, and the watcher sees it."""
        return self.function(*self.args, **self.kwargs)

    def giving(self, wrong: Callable[[], Any]) -> Any:
        """The call as the watcher sees it, and another result: what goes wrong does so below whoever watches."""

        @functools.wraps(self.function)
        def broken(*args: Any, **kwargs: Any) -> Any:
            return _like(self.function(*args, **kwargs), wrong())

        relevant = tuple(_tensors((self.args, self.kwargs)))
        return handle_torch_function(broken, relevant, *self.args, **self.kwargs)  # type: ignore[no-untyped-call]

    def hidden(self) -> Any:
        """Its result, and nobody sees it."""
        with unseen():
            return self.function(*self.args, **self.kwargs)


Edit = Callable[[Call], Any]
"""What is done instead of a call."""


@dataclass(frozen=True)
class Edits:
    """What is changed in one forward: number of a call -> what is done instead. wanted: the values that this needs."""

    at: Mapping[int, Edit]
    wanted: frozenset[int] = field(default_factory=frozenset)

    def __or__(self, other: Edits) -> Edits:
        return Edits({**self.at, **other.at}, self.wanted | other.wanted)


def unseen() -> Any:
    """For as long as it lasts no mode sees a call: what runs leaves no trace."""
    return torch._C.DisableTorchFunction()  # type: ignore[no-untyped-call]  # noqa: SLF001 - there is no public name


@contextmanager
def mutated(module: nn.Module, ground: Ground, edits: Edits) -> Iterator[set[int]]:
    """Every watched forward of `module` makes the mistake; afterwards the module is as it was, whatever was raised.

    A forward that nobody watches stays right: what a decode step continues from is made by one. Yields the numbers of
    the calls that the mistake is made of, as the last forward had them.
    """
    made: set[int] = set()
    right = module.forward
    records = ground.plan.run.watcher.records

    @functools.wraps(right)
    def wrong(*args: Any, **kwargs: Any) -> Any:
        watcher = torch.overrides._get_current_function_mode()  # noqa: SLF001 - there is no public name
        if not isinstance(watcher, Watcher):
            return right(*args, **kwargs)
        made.clear()
        with Meddling(records, edits, watcher, made):
            return right(*args, **kwargs)

    had = "forward" in vars(module)
    module.forward = wrong
    try:
        yield made
    finally:
        if had:
            module.forward = right
        else:
            del module.forward


class Meddling(TorchFunctionMode):
    """Counts calls as the watcher counted them in the first pass, and makes some of them differently."""

    def __init__(self, records: list[Raw], edits: Edits, watcher: Watcher, made: set[int]) -> None:
        super().__init__()
        self._watcher, self._made = watcher, made
        self._records = [(index, raw) for index, raw in enumerate(records) if raw.spec.name != "sync"]
        self._edits = edits
        self._seen: dict[int, Tensor] = {}
        self._at = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        index, raw = self._records[self._at] if self._at < len(self._records) else (-1, None)
        if raw is None or spec_of(func) != raw.spec:
            return func(*args, **kwargs)  # tells about tensors, or is not about any: the watcher did not count it
        self._at += 1
        self._note(_refs((raw.args, raw.kwargs)), _tensors((args, kwargs)))
        edit = self._edits.at.get(index)
        out = func(*args, **kwargs) if edit is None else self._edited(edit, Call(func, args, kwargs, self._seen))
        if raw.effect != "inplace":
            self._note(raw.outputs, _tensors(out))
        return out

    def _edited(self, edit: Edit, call: Call) -> Any:
        before = len(self._watcher.records)
        out = edit(call)
        self._made.update(range(before, len(self._watcher.records)))
        return out

    def _note(self, values: Iterable[int], tensors: Iterable[Tensor]) -> None:
        for value, tensor in zip(values, tensors, strict=False):
            if value in self._edits.wanted:
                self._seen[value] = tensor


def _refs(value: Any) -> Iterator[int]:
    """Value ids among recorded arguments, in order."""
    if isinstance(value, Ref):
        yield int(value)
    elif isinstance(value, (tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _refs(item)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors among arguments as they are given, in the same order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
    elif isinstance(value, slice):
        yield from _tensors((value.start, value.stop, value.step))


# how mistakes are made


def replaced(target: Target, formula: Formula) -> Edits | None:
    """The stage computes another formula: its own calls run unseen, and the last of them hands on the wrong result.

    None where its outputs are made by several calls, and there is no last one.
    """
    ground, output = target.ground, target.output
    last = ground.made_at(output)
    if not target.whole or last not in target.reads:
        return None
    others = [value for value in target.stage.outputs if ground.made_at(value) not in (last, -1)]
    if any(_is_told(target, value) for value in others):
        return None
    open_ = _behind(target, others)
    numbers = dict(target.step.attributes)

    def wrong(call: Call) -> Any:
        right = call.hidden()
        with _device(right):
            made = formula(**target.operands(call.seen), **numbers)
        return call.made() if made is None else _like(right, made)  # here there may be nothing to get wrong

    before: dict[int, Edit] = dict.fromkeys(
        (index for index in target.reads if index < last and index not in open_), Call.hidden
    )
    return Edits({**before, last: wrong}, frozenset(ground.raw(value) for value in target.values.values()))


def _device(made: Any) -> torch.device:
    return next(_tensors(made)).device


def _is_told(target: Target, value: int) -> bool:
    """Whether somebody reads it who is checked: a branch of Python is not."""
    graph = target.ground.plan.graph
    users = [graph.stages[graph.stage_of[user]] for user in graph.naming.flow.users[value]]
    return any(stage.index != target.stage.index and stage.section != "control" for stage in users)


def _behind(target: Target, values: Iterable[int]) -> set[int]:
    """The calls of a stage that some of its outputs need."""
    trace, inside = target.ground.plan.trace, set(target.stage.ops)
    found: set[int] = set()
    todo = [trace.values[value].producer for value in values]
    while todo:
        op = todo.pop()
        if op is not None and op in inside and op not in found:
            found.add(op)
            todo += [trace.values[value].producer for value in trace.ops[op].inputs]
    return {target.ground.record(op) for op in found}


def _like(right: Any, wrong: Any) -> Any:
    """In the layout and the format of what the model makes there."""
    if isinstance(right, (tuple, list)):
        return type(right)(_like(one, other) for one, other in zip(right, wrong, strict=True))
    if wrong.dtype == torch.bool and right.is_floating_point():
        hidden = torch.full((), torch.finfo(right.dtype).min, dtype=right.dtype, device=right.device)
        wrong = torch.where(wrong, torch.zeros_like(hidden), hidden)
    wrong = wrong if wrong.dtype == right.dtype else wrong.to(right.dtype)
    if wrong.shape == right.shape:
        return wrong
    return wrong.reshape(right.shape) if wrong.numel() == right.numel() else wrong.expand(right.shape)


def after(target: Target, function: Callable[[Call, Tensor], Tensor]) -> Edits | None:
    """Something more is done to what the stage makes."""
    last = target.ground.made_at(target.output)
    if last not in target.reads:
        return None
    wanted = frozenset(target.ground.raw(value) for value in target.values.values())
    return Edits({last: lambda call: function(call, call.made())}, wanted)


def rewired(target: Target, argument: str, value: int | None) -> Edits | None:
    """One operand is another tensor, which was there before. None where it was not."""
    ground = target.ground
    if value is None or argument not in target.values or ground.made_at(value) >= target.reads[0]:
        return None
    old = target.values[argument]
    if value == old or ground.plan.trace.values[value].shape != ground.plan.trace.values[old].shape:
        return None
    return _exchanged(target, ground.raw(old), lambda seen: seen[ground.raw(value)], {ground.raw(value)})


def rebound(target: Target, weight: str, other: str) -> Edits | None:
    """One weight is another one, by name."""
    ground = target.ground
    weights = ground.claimed.weights
    if other not in weights or weights[weight].shape != weights[other].shape or weights[weight] is weights[other]:
        return None
    old = next((value for value in target.stage.parameters if ground.plan.trace.values[value].name == weight), None)
    return None if old is None else _exchanged(target, ground.raw(old), lambda _: weights[other], set())


def _exchanged(target: Target, old: int, new: Callable[[Mapping[int, Tensor]], Tensor], wanted: set[int]) -> Edits:
    """Wherever the stage reads a value, another one. Both are numbered as the watcher does."""

    def edit(call: Call) -> Any:
        gone, instead = call.seen[old], new(call.seen)
        return call._replace(args=_with(call.args, gone, instead), kwargs=_with(call.kwargs, gone, instead)).made()

    records = target.ground.plan.run.watcher.records
    reading = [index for index in target.reads if old in set(_refs((records[index].args, records[index].kwargs)))]
    return Edits(dict.fromkeys(reading, edit), frozenset({old, *wanted}))


def _with(value: Any, gone: Tensor, instead: Tensor) -> Any:
    if value is gone:
        return instead
    if isinstance(value, dict):
        return {key: _with(item, gone, instead) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_with(item, gone, instead) for item in value)
    return value


def edits_of(target: Target, mutant: Mutant) -> Edits | None:
    """How a mutant is made in a stage; None where it cannot be, or where there is nothing to get wrong."""
    if mutant.halves and target.ground.plan.trace.scenario.dtype == "bfloat16":
        return None
    if mutant.change is not None:
        return mutant.change(target)
    if mutant.formula is None or not target.whole:
        return None
    with torch.device("meta"):
        if mutant.formula(**target.tried(), **dict(target.step.attributes)) is None:
            return None
    return replaced(target, mutant.formula)
