"""Which tensor is which value: identity, shared memory, and writes through views.

A value is one version of one tensor. Python reuses `id()`s and torch reuses memory, so both are checked against a
live reference. When a tensor is read after somebody wrote into its memory through another view, what it holds is a
new value: a `sync` op joins the old value with everything that was written since.
"""

from __future__ import annotations

__all__ = ["Book"]

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Region(NamedTuple):
    """Which elements of its memory a tensor covers."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @staticmethod
    def of(tensor: Tensor) -> Region:
        try:
            return Region(int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
        except (NotImplementedError, RuntimeError):  # no layout to speak of: it may be anywhere
            return Region(0, (), ())

    def may_overlap(self, other: Region) -> bool:
        """False only where no element can be shared: the halves of a `chunk` are told apart."""
        if self.stride != other.stride or not self.stride:
            return True
        reach = [(step, max(one, two)) for step, one, two in zip(self.stride, self.shape, other.shape, strict=True)]
        return _reachable(abs(self.offset - other.offset), sorted(reach, reverse=True))


def _reachable(distance: int, axes: list[tuple[int, int]]) -> bool:
    """Whether `distance` is a sum of steps, fewer along each axis than it has elements, forwards or backwards."""
    if not axes:
        return distance == 0
    (step, size), rest = axes[0], axes[1:]
    if not step:
        return _reachable(distance, rest)
    nearest = distance // step
    return any(abs(count) < size and _reachable(abs(distance - count * step), rest) for count in (nearest, nearest + 1))


class Write(NamedTuple):
    """A value that was written in place, and where."""

    value: int
    region: Region


class Book:
    """Value ids of tensors, in order of appearance.

    keep: hold every tensor alive (free on meta, and makes identity certain). Otherwise only weak references are kept,
    so that watching a real forward needs no more memory than the forward itself.
    """

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._values: dict[int, tuple[Any, int]] = {}
        self._storage: list[int] = []
        self._version: list[int] = []
        self._writes: dict[int, list[Write]] = {}
        self._named: dict[int, tuple[Tensor, str, str]] = {}
        self._hold: list[Tensor] = []
        self.kinds: list[str] = []
        self.names: list[str | None] = []
        self.shapes: list[torch.Size] = []
        self.dtypes: list[torch.dtype] = []
        self.devices: list[torch.device] = []
        self.syncs: list[tuple[int, tuple[int, ...], int]] = []  # (old value, written values, new value)

    def name(self, tensor: Tensor, kind: str, name: str) -> None:
        """Say what `tensor` is before it is seen. The first name wins: tied parameters have one value."""
        self._named.setdefault(id(tensor), (tensor, kind, name))

    def read(self, tensor: Tensor) -> int:
        """The value that `tensor` holds now."""
        found = self._values.get(id(tensor))
        if found is None or (found[0] if self._keep else found[0]()) is not tensor:
            return self._first_seen(tensor)
        value = found[1]
        if self._writes:
            written = self._writes.get(self._storage[value])
            if written is not None and len(written) > self._version[value]:
                return self._after_writes(tensor, value, written)
        return value

    def storage(self, value: int) -> int:
        """The memory that `value` lives in."""
        return self._storage[value]

    def produce(self, tensor: Tensor, shared: set[int] | None) -> int:
        """A new value for `tensor`. `shared`: the memory of the operands; other memory is fresh."""
        storage = _storage(tensor)
        if shared is None or storage not in shared:
            self._writes.pop(storage, None)  # the memory of something long gone
        return self._add(tensor, "op", None, storage)

    def write(self, tensor: Tensor) -> int:
        """A new value for `tensor`, which was written in place."""
        storage = _storage(tensor)
        writes = self._writes.setdefault(storage, [])
        value = self._add(tensor, "op", None, storage)
        writes.append(Write(value, Region.of(tensor)))
        self._version[value] = len(writes)
        return value

    def _first_seen(self, tensor: Tensor) -> int:
        named = self._named.get(id(tensor))
        kind, name = ("orphan", None) if named is None else (named[1], named[2])
        return self._add(tensor, kind, name, _storage(tensor))

    def _after_writes(self, tensor: Tensor, old: int, written: list[Write]) -> int:
        """The value of `tensor` now that its memory was written: another one where a write could have reached it."""
        region = Region.of(tensor)
        since = tuple(write.value for write in written[self._version[old] :] if region.may_overlap(write.region))
        self._version[old] = len(written)
        if not since:
            return old
        new = self._add(tensor, "op", None, self._storage[old])
        self.syncs.append((old, since, new))
        return new

    def _add(self, tensor: Tensor, kind: str, name: str | None, storage: int) -> int:
        value = len(self.kinds)
        self._values[id(tensor)] = (tensor if self._keep else weakref.ref(tensor), value)
        self._storage.append(storage)
        writes = self._writes.get(storage) if self._writes else None
        self._version.append(len(writes) if writes else 0)
        self.kinds.append(kind)
        self.names.append(name)
        self.shapes.append(tensor.shape)
        self.dtypes.append(tensor.dtype)
        self.devices.append(tensor.device)
        if kind != "op":
            self._hold.append(tensor)  # an orphan must not share its id with something later
        return value


def _storage(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and wrapped tensors have no storage of their own
        return -id(tensor)
