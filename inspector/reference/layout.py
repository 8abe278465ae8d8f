"""Elements moved, never changed: axes renamed, joined and split by a pattern, and parts cut out.

Shapes: any; a pattern names the axes by letters.
"""

from __future__ import annotations

__all__ = [
    "arrange",
    "join",
    "padded",
    "pieces",
    "repeated",
    "rounded",
    "spread",
    "taken",
    "tiled",
    "together",
    "viewed",
]

import math
import re
from itertools import chain

import torch
from torch import Tensor

_SIGNS = re.compile(r"[()A-Za-z]")


def arrange(x: Tensor, pattern: str, **sizes: int) -> Tensor:
    """Axes by letters, joined ones in brackets with the slowest first: "B S (H K) -> B H S K".

    >>> import torch
    >>> arrange(torch.arange(4).reshape(1, 1, 4), "B S (H K) -> B H S K", H=2)[0, 1, 0].tolist()
    [2, 3]

    sizes: of letters in brackets, all but one of each bracket. Source of the notation: einops (Rogozhnikov 2022,
    ICLR). ValueError for a pattern that does not fit.
    """
    left, right = (_axes(side) for side in pattern.split("->"))
    names, order = list(chain(*left)), list(chain(*right))
    if len(left) != x.dim() or sorted(names) != sorted(order):
        raise ValueError(f"the pattern {pattern} does not fit a tensor of {x.dim()} axes")
    known = dict(sizes)
    for letters, size in zip(left, x.shape, strict=True):
        rest = [letter for letter in letters if letter not in known]
        taken = math.prod(known[letter] for letter in letters if letter in known)
        if len(rest) > 1 or size % taken or (not rest and size != taken):
            raise ValueError(f"the pattern {pattern} does not fit {tuple(x.shape)}")
        known |= dict.fromkeys(rest, size // taken)
    moved = x.reshape([known[name] for name in names]).permute([names.index(name) for name in order])
    return moved.reshape([math.prod(known[letter] for letter in letters) for letters in right])


def _axes(side: str) -> list[list[str]]:
    axes: list[list[str]] = []
    inside = False
    for sign in _SIGNS.findall(side):
        if sign in "()":
            inside = sign == "("
            axes += [[]] if inside else []
        elif inside:
            axes[-1].append(sign)
        else:
            axes.append([sign])
    return axes


def viewed(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements in the same order, in another shape.

    >>> import torch
    >>> viewed(torch.zeros(2, 3), (6,)).shape
    torch.Size([6])
    """
    return x.reshape(shape)


def pieces(
    x: Tensor, bounds: tuple[tuple[int, int, int], ...], axis: int = -1, shape: tuple[int, ...] | None = None
) -> tuple[Tensor, ...]:
    """Parts of one axis, each from, up to, and in steps of; of `x` seen in `shape`.

    >>> import torch
    >>> [part.tolist() for part in pieces(torch.arange(4), ((0, 3, 1), (1, 4, 2)))]
    [[0, 1, 2], [1, 3]]
    """
    x = x if shape is None else x.reshape(shape)
    return tuple(x.movedim(axis, 0)[start:stop:step].movedim(0, axis) for start, stop, step in bounds)


def repeated(x: Tensor, times: int, axis: int) -> Tensor:
    """Each part of one axis so many times, one after the other.

    >>> import torch
    >>> repeated(torch.tensor([1, 2]), times=2, axis=0).tolist()
    [1, 1, 2, 2]
    """
    return x.repeat_interleave(times, dim=axis)


def rounded(x: Tensor) -> Tensor:
    """The same numbers; a model may round them to a narrower format here, and is allowed to.

    >>> import torch
    >>> rounded(torch.tensor([1.0]))
    tensor([1.])
    """
    return x


def together(
    first: Tensor, second: Tensor, third: Tensor | None = None, fourth: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Several results of one stage, as they are.

    >>> import torch
    >>> len(together(torch.zeros(1), torch.ones(2)))
    2
    """
    return tuple(one for one in (first, second, third, fourth) if one is not None)


def join(first: Tensor, second: Tensor, axis: int = -1) -> Tensor:
    """One behind the other.

    >>> import torch
    >>> join(torch.tensor([1]), torch.tensor([2])).tolist()
    [1, 2]
    """
    return torch.cat((first, second), dim=axis)


def padded(x: Tensor, widths: tuple[tuple[int, int], ...]) -> Tensor:
    """Zeros before and behind each of the last axes: (before, behind), the last axis last. Fewer than none cuts off.

    >>> import torch
    >>> padded(torch.tensor([[1, 2]]), ((0, 1), (1, -1))).tolist()
    [[0, 1], [0, 0]]
    """
    kept = x
    for axis, (before, behind) in zip(range(-len(widths), 0), widths, strict=True):
        size = kept.shape[axis]
        kept = kept.movedim(axis, 0)[max(-before, 0) : size + min(behind, 0)].movedim(0, axis)
    for axis, (before, behind) in zip(range(-len(widths), 0), widths, strict=True):
        shapes = [[*kept.shape], [*kept.shape]]
        shapes[0][axis], shapes[1][axis] = max(before, 0), max(behind, 0)
        kept = torch.cat((kept.new_zeros(shapes[0]), kept, kept.new_zeros(shapes[1])), dim=axis)
    return kept


def spread(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements again and again along axes of one.

    >>> import torch
    >>> spread(torch.tensor([[1], [2]]), (2, 3)).tolist()
    [[1, 1, 1], [2, 2, 2]]
    """
    return x.broadcast_to(shape)


def tiled(x: Tensor, times: tuple[int, ...]) -> Tensor:
    """The whole of it again and again, so many times along each axis.

    >>> import torch
    >>> tiled(torch.tensor([1, 2]), (2,)).tolist()
    [1, 2, 1, 2]
    """
    return x.repeat(times)


def taken(x: Tensor, index: Tensor) -> Tensor:
    """What stands at the places of the first axis that an index names.

    >>> import torch
    >>> taken(torch.tensor([5, 6, 7]), torch.tensor(1)).tolist()
    6
    """
    return x[index]
