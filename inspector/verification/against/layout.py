"""One tensor in the layout that another implementation gives it: heads before tokens, batch and tokens in one axis.

Sizes tell the axes apart, so they have to differ; where two are equal the order of the axes is kept.
"""

from __future__ import annotations

__all__ = ["Cutting", "Room", "Window", "relaid"]

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Cutting(Protocol):
    """Which part of what A has stands for all that B has."""

    def cut(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """The part of a tensor of A that is of a shape of B; the whole where they are alike."""
        ...


class Room(NamedTuple):
    """The tokens in a cache that has room for so many.

    >>> import torch
    >>> Room(3).cut(torch.arange(6).reshape(2, 3), (2, 2)).tolist()
    [[0, 1], [3, 4]]
    """

    size: int

    def cut(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """The first slots, as many as another shape has, on each axis of slots."""
        if tensor.dim() == len(shape):
            for axis, size in enumerate(shape):
                if tensor.shape[axis] == self.size and size < self.size:
                    tensor = tensor.narrow(axis, 0, size)
        return tensor


class Window(NamedTuple):
    """The new tokens of a decode step among all tokens of a full forward.

    >>> import torch
    >>> Window(past=3, new=1, total=4).cut(torch.arange(8).reshape(2, 4), (2, 1)).flatten().tolist()
    [3, 7]
    """

    past: int
    new: int
    total: int

    def cut(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """What stands for the new tokens, on the axes on which another shape has only those."""
        wanted = math.prod(shape)
        if tensor.dim() == len(shape):
            for axis, size in enumerate(shape):
                if tensor.shape[axis] == self.total and size in (self.new, self.past):
                    tensor = tensor.narrow(axis, *((self.past, self.new) if size == self.new else (0, self.past)))
        for axis, size in enumerate(tensor.shape):  # the other side may have its axes elsewhere
            if size == self.total and tensor.numel() // size * self.new == wanted:
                return tensor.narrow(axis, self.past, self.new)
        return tensor


def relaid(tensor: Tensor, shape: Sequence[int], sizes: Sequence[int] = ()) -> Tensor | None:
    """The same elements in another shape, axes in its order; None where no order of axes gives it.

    >>> import torch
    >>> relaid(torch.zeros(3, 31, 64), (31, 12, 16), sizes=(4, 16)).shape
    torch.Size([31, 12, 16])
    >>> relaid(torch.zeros(3, 31), (31, 4)) is None
    True

    sizes: those that an axis may be made of (heads, head width, batch, tokens).
    """
    shape = tuple(shape)
    if tuple(tensor.shape) == shape:
        return tensor
    if tensor.numel() != math.prod(shape):
        return _spread(tensor, shape)
    if [size for size in tensor.shape if size != 1] == [size for size in shape if size != 1]:
        return tensor.reshape(shape)
    found = min(
        _cuts(tuple(tensor.shape), shape, sorted({*sizes, *tensor.shape, *shape} - {1})), key=_pieces, default=None
    )
    if found is None:
        return None
    mine, theirs = found
    flat = [size for pieces in mine for size in pieces]
    order = _order(flat, [size for pieces in theirs for size in pieces])
    return tensor.reshape(flat).permute(order).reshape(shape).contiguous()


def _spread(tensor: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Copies along axes of size one, where nothing else is missing: positions that all rows of a batch share."""
    try:
        return tensor.broadcast_to(shape).contiguous()
    except RuntimeError:
        return None


Cut = tuple[tuple[int, ...], ...]


def _pieces(cut: tuple[Cut, Cut]) -> int:
    """Axes that stay whole are the likelier reading; of equal ones the first, which keeps their order."""
    return sum(len(pieces) for side in cut for pieces in side)


def _cuts(mine: tuple[int, ...], theirs: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[Cut, Cut]]:
    """Both shapes cut into the same pieces."""
    others: dict[tuple[int, ...], list[Cut]] = {}
    for cut in product(*(list(_cut(size, sizes)) for size in theirs)):
        others.setdefault(_bag(cut), []).append(cut)
    for cut in product(*(list(_cut(size, sizes)) for size in mine)):
        for other in others.get(_bag(cut), ()):
            yield cut, other


def _bag(cut: Cut) -> tuple[int, ...]:
    return tuple(sorted(size for pieces in cut for size in pieces))


def _cut(size: int, sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """An axis whole, or as a product of two known sizes."""
    if size == 1:
        yield ()
        return
    yield (size,)
    for part in sizes:
        if size % part == 0 and part < size and size // part in sizes:
            yield (part, size // part)


def _order(mine: Sequence[int], theirs: Sequence[int]) -> list[int]:
    """For each piece of theirs the first of mine of its size that is still free."""
    left = list(range(len(mine)))
    order = []
    for size in theirs:
        place = next(place for place in left if mine[place] == size)
        left.remove(place)
        order.append(place)
    return order
