"""The same forward pass a second time, with the tensors in hand.

The first pass says what runs; from that it is known which values are wanted and when they are no longer. So the second
holds a few tensors at a time, and each call must be the one that was seen at its place before: another is an error,
never a guess.
"""

from __future__ import annotations

__all__ = ["Again", "Wanted", "wanted"]

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C import _functorch as functorch

from inspector.errors import TraceFailed
from inspector.source.compiled import uncompiled
from inspector.tracing.shadows import Shadows
from inspector.tracing.tensors import name_leaves, named_tensors
from inspector.tracing.watcher import Raw, Watcher


class Wanted(NamedTuple):
    """Which values to hold, and for how long.

    uses: value id -> in how many groups it is wanted. groups: index of a record -> the groups that are whole once it
    has run. members: group -> its values. copied: values whose memory is written later; they are kept as copies.
    """

    uses: Counter[int]
    groups: dict[int, list[int]]
    members: tuple[tuple[int, ...], ...]
    copied: frozenset[int]


def wanted(first: Watcher, groups: Iterable[tuple[Iterable[int], Iterable[int]]]) -> Wanted:
    """What to hold for `groups` of (records, values), as the first pass numbered them."""
    ends: dict[int, list[int]] = {}
    members: list[tuple[int, ...]] = []
    for number, (records, values) in enumerate(groups):
        ends.setdefault(max(records), []).append(number)
        members.append(tuple(dict.fromkeys(values)))
    uses = Counter(value for values in members for value in values)
    book = first.book
    written = {book.storage(value) for raw in first.records if raw.effect == "inplace" for value in raw.outputs}
    copied = frozenset(value for value in uses if book.storage(value) in written)
    return Wanted(uses, ends, tuple(members), copied)


class Again(Watcher):
    """Watches the pass that must be equal to `first`, and calls `whole(group, tensors)` as each group is complete.

    The tensors that `whole` gets are the model's own: they are read, never written.
    """

    def __init__(
        self, module: nn.Module, first: Watcher, wanted: Wanted, whole: Callable[[int, Mapping[int, Tensor]], None]
    ) -> None:
        super().__init__(module, Shadows(), keep=False)
        self.held: dict[int, Tensor] = {}
        self.made: dict[int, tuple[int, str]] = {}
        self._first = first.records
        self._wanted = wanted
        self._uses = Counter(wanted.uses)
        self._whole = whole
        self._done = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = super().__torch_function__(func, types, args, kwargs)
        while self._done < len(self.records):  # what ran inside an expanded function has come by already
            index, self._done = self._done, self._done + 1
            raw = self.records[index]
            self._same(index, raw)
            if index == len(self.records) - 1:
                self._hold_made(raw, args, kwargs or {}, out)
            for group in self._wanted.groups.get(index, ()):
                self._whole(group, self.held)
                self._let_go(group)
        return out

    def intact(self, value: int) -> bool:
        """Whether a held value is what it was when it was made: not so if something wrote where no call was seen."""
        return self.made[value] == _digest(self.held[value])

    def _read(self, tensor: Tensor) -> int:
        value = super()._read(tensor)
        self._hold(value, tensor)
        return value

    def _hold_made(self, raw: Raw, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        made = self._written(raw.spec, args, kwargs, out) if raw.effect == "inplace" else _flat(out)
        for value, tensor in zip(raw.outputs, made, strict=True):
            self._hold(value, tensor)

    def _hold(self, value: int, tensor: Tensor) -> None:
        if self._uses.get(value) and value not in self.held:
            tensor = _whole(tensor)
            self.held[value] = tensor.detach().clone() if value in self._wanted.copied else tensor.detach()
            self.made[value] = _digest(self.held[value])  # a copy may lie otherwise, and add up otherwise

    def _let_go(self, group: int) -> None:
        for value in self._wanted.members[group]:
            self._uses[value] -= 1
            if not self._uses[value]:
                self.held.pop(value, None)
                self.made.pop(value, None)

    def _same(self, index: int, raw: Raw) -> None:
        if index >= len(self._first) or self._first[index] != raw:
            seen = self._first[index].spec.call if index < len(self._first) else "nothing"
            raise TraceFailed(
                "the model did not run the same way twice",
                why=f"call {index} was {seen}, and the second time {raw.spec.call} in {self.modules[raw.module][0]}",
                hint="it may depend on what ran before it, or draw random numbers",
            )


def _whole(tensor: Tensor) -> Tensor:
    """What lies under the rows that a `vmap` hands out one by one: those cannot be read, and end with it."""
    while functorch.is_batchedtensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def _flat(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    return [tensor for item in out for tensor in _flat(item)] if isinstance(out, (tuple, list)) else []


def _digest(tensor: Tensor) -> tuple[int, str]:
    """The exclusive or of all elements, and their sum: equal elements cancel in the one, small changes in the other."""
    if not tensor.numel():
        return 0, ""
    tensor = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return int(torch.hash_tensor(tensor).item()), repr(tensor.sum().item())


def run_again(module: nn.Module, inputs: Mapping[str, Any], watcher: Again) -> Any:
    """The second pass. What the model returns, untouched."""
    name_leaves(watcher.book, module, inputs)
    for _, tensor in named_tensors(dict(inputs)):
        watcher.value(tensor)
    with torch.no_grad(), uncompiled(), watcher:
        return module(**inputs)
