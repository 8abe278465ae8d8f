"""The calls of one forward pass, kept so that any part of it can be run again on other tensors.

What is kept of a call is the function and its arguments, with value ids where tensors stood. So whatever torch can do
can be done again, in the model's own number format and on its own device, and no table of functions is needed.
"""

from __future__ import annotations

__all__ = ["Tape", "Taping"]

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inspector.tracing.names import spec_of
from inspector.tracing.watcher import Ref, Watcher


class Taped(NamedTuple):
    """One call: its arguments, tensors as `Ref`."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Taping(Watcher):
    """Watches, and keeps the calls.

    calls: one for each record; None where the record is no call (memory that was written through another view).
    leaves: every tensor that came from outside the forward, inputs as copies, for a cache is written by the forward.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[Taped | None] = []
        self.leaves: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        spec = spec_of(func)
        if spec.ignored or spec.expanded:
            return super().__torch_function__(func, types, args, kwargs)
        taped = Taped(func, self._kept(tuple(args)), self._kept(kwargs or {}))
        self.calls += [None] * (len(self.records) - len(self.calls))
        out = super().__torch_function__(func, types, args, kwargs)
        if len(self.records) > len(self.calls):
            self.calls += [None] * (len(self.records) - len(self.calls) - 1)
            self.calls.append(taped)
        return out

    def _kept(self, value: Any) -> Any:
        """Arguments with value ids for tensors, all else as it was given."""
        if isinstance(value, Tensor):
            return Ref(self._read(value))
        if isinstance(value, dict):
            return {key: self._kept(item) for key, item in value.items()}
        if type(value) in (list, tuple) or isinstance(value, torch.Size):
            return type(value)(map(self._kept, value)) if type(value) is list else tuple(map(self._kept, value))
        if isinstance(value, slice):
            return slice(*map(self._kept, (value.start, value.stop, value.step)))
        return value

    def _read(self, tensor: Tensor) -> int:
        value = super()._read(tensor)
        kind = self.book.kinds[value]
        if kind != "op" and value not in self.leaves:
            self.leaves[value] = tensor.detach().clone() if kind == "input" else tensor.detach()
        return value


class Tape:
    """Plays the calls of a forward that was watched by `Taping`."""

    def __init__(self, watcher: Taping) -> None:
        self._watcher = watcher
        self._records = watcher.records
        self._calls = [*watcher.calls, *[None] * (len(watcher.records) - len(watcher.calls))]
        self.leaves = watcher.leaves

    @property
    def concrete(self) -> list[bool]:
        """Whether a value needs no weights, by its id."""
        return self._watcher.concrete

    @cached_property
    def fixed(self) -> dict[int, Tensor]:
        """All values that need no weights: ids, masks, positions, tables."""
        concrete = self.concrete
        known = {value: leaf for value, leaf in self.leaves.items() if concrete[value]}
        needs = (index for index, raw in enumerate(self._records) if all(concrete[value] for value in raw.outputs))
        return self.play([index for index in needs if self._records[index].outputs], known)

    def play(
        self,
        records: Iterable[int],
        known: Mapping[int, Tensor],
        leaf: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        dtype: torch.dtype | None = None,
    ) -> dict[int, Tensor]:
        """The calls at these places on other tensors: value id -> tensor, of all that is known in the end.

        known: what enters. leaf: what a tensor from outside the forward, a weight for one, is replaced by. dtype: the
        number format of all that is not whole numbers, whatever the calls ask for. KeyError where a call reads what
        neither is known nor was made.
        """
        known, order = dict(known), sorted(records)
        if dtype is not None:
            known = {value: _in(tensor, dtype) for value, tensor in known.items()}
        if any(self._records[index].effect == "inplace" for index in order):
            known = {value: tensor.clone() for value, tensor in known.items()}

        def find(value: int) -> Tensor:
            if value not in known:
                known[value] = leaf(self.leaves[value])
                if dtype is not None:
                    known[value] = _in(known[value], dtype)
            return known[value]

        with torch.no_grad():
            for index in order:
                self._play(index, known, find, dtype)
        return known

    def _play(
        self, index: int, known: dict[int, Tensor], find: Callable[[int], Tensor], dtype: torch.dtype | None
    ) -> None:
        raw, call = self._records[index], self._calls[index]
        if call is None:  # what was written through other views stands in the same memory
            known[raw.outputs[0]] = find(int(raw.args[0]))
            return
        out = call.function(*_given(call.args, find, dtype), **_given(call.kwargs, find, dtype))
        made = _written(call, find) if raw.effect == "inplace" and not isinstance(out, Tensor) else _flat(out)
        if dtype is not None:
            made = [_in(tensor, dtype) for tensor in made]
        known |= dict(zip(raw.outputs, made, strict=False))


def _given(value: Any, find: Callable[[int], Tensor], dtype: torch.dtype | None) -> Any:
    """Arguments as they were given, with tensors for ids and the format that is asked for."""
    if isinstance(value, Ref):
        return find(int(value))
    if isinstance(value, torch.dtype):
        return dtype if dtype is not None and value.is_floating_point else value
    if isinstance(value, dict):
        return {key: _given(item, find, dtype) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_given(item, find, dtype) for item in value)
    if isinstance(value, slice):
        return slice(*(_given(item, find, dtype) for item in (value.start, value.stop, value.step)))
    return value


def _in(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _written(call: Taped, find: Callable[[int], Tensor]) -> list[Tensor]:
    """What a call that returns nothing wrote into: `x[0] = y`."""
    return [find(int(call.args[0]))]


def _flat(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    return [tensor for item in out for tensor in _flat(item)] if isinstance(out, (tuple, list)) else []
