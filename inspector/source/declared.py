"""Inputs that are declared in words: `x:BxSx64:float32`, or `ids:1x16:int64<100`."""

from __future__ import annotations

__all__ = ["Declared", "declared", "is_declared"]

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple, TypeGuard

import torch

from inspector.errors import UsageError

_HINT = (
    "write NAME:SHAPE:DTYPE, such as ids:1x16:int64 or x:BxSx64:float32; B, S, P and T follow --batch, --seq and --past"
)
_SHAPE = re.compile(r"(\d+|[BSPT])(x(\d+|[BSPT]))*|scalar")
_DTYPE = re.compile(r"(?P<name>[a-z]+\d*)(<(?P<limit>\d+))?")
_MOST = 1 << 28
"""Elements of one input: they are made one by one."""

_BELOW = 100
"""Whole numbers that are drawn where no table says how many there are."""


class Item(NamedTuple):
    """One tensor. name: "" where it has a place only. shape: numbers and letters. limit: of whole numbers, or None."""

    name: str
    shape: tuple[str, ...]
    dtype: torch.dtype
    limit: int | None


@dataclass(frozen=True)
class Declared:
    """Makes the declared tensors at any size.

    >>> made = declared(["x:BxSx4:float32", "ids:BxS:int64<7"])
    >>> {name: tuple(tensor.shape) for name, tensor in made(2, 3, 0).items()}
    {'x': (2, 3, 4), 'ids': (2, 3)}

    rows: of the smallest table of the module that reads them.
    """

    items: tuple[Item, ...]
    rows: int = _BELOW

    @property
    def follows(self) -> bool:
        """Whether a size is a letter; otherwise the tensors follow nothing."""
        return any(not size.isdigit() for item in self.items for size in item.shape)

    def __call__(self, batch: int, seq: int, past: int) -> Any:
        sizes = {"B": batch, "S": seq, "P": past, "T": past + seq}
        made = [self._tensor(place, item, sizes) for place, item in enumerate(self.items)]
        named = {item.name: tensor for item, tensor in zip(self.items, made, strict=True) if item.name}
        return named or tuple(made)

    def read_by(self, module: torch.nn.Module) -> Declared:
        """The same for `module`: ids are drawn from what its smallest table holds."""
        tables = [child.num_embeddings for child in module.modules() if isinstance(child, torch.nn.Embedding)]
        return replace(self, rows=min(tables, default=_BELOW))

    def _tensor(self, place: int, item: Item, sizes: Mapping[str, int]) -> torch.Tensor:
        """Lists become tensors: on meta their contents are then followed, and no random state of torch moves."""
        shape = tuple(int(size) if size.isdigit() else sizes[size] for size in item.shape)
        count, random = math.prod(shape), Random(f"{place}/{item.name}")
        if count > _MOST:
            raise UsageError(
                f"the input {item.name or place + 1} would have {count:,} elements", hint="declare it smaller"
            )
        values: list[Any]
        if item.dtype is torch.bool:
            values = [number % 2 == 0 for number in range(count)]  # no row of all True, and none of all False
        elif item.dtype.is_floating_point:
            if str(torch.get_default_device()) == "meta":
                with torch._C.DisableTorchFunction():  # noqa: SLF001 - numbers that are drawn are not to be known
                    return torch.empty(shape, dtype=item.dtype, device="meta")
            values = [random.gauss(0.0, 1.0) for _ in range(count)]
        else:
            limit = self.rows if item.limit is None else item.limit
            values = [random.randrange(limit) for _ in range(count)]
        return torch.tensor(values, dtype=item.dtype).reshape(shape)


def is_declared(inputs: Any) -> TypeGuard[str | Sequence[str]]:
    """Whether inputs are words.

    >>> is_declared("x:BxSx64"), is_declared(["1x16:int64"]), is_declared(()), is_declared({"x": 1})
    (True, True, False, False)
    """
    if isinstance(inputs, str):
        return True
    return isinstance(inputs, (list, tuple)) and bool(inputs) and all(isinstance(item, str) for item in inputs)


def declared(inputs: str | Sequence[str]) -> Declared:
    """The tensors that `inputs` declare; UsageError for what declares none."""
    items = tuple(map(_item, [inputs] if isinstance(inputs, str) else inputs))
    names = [item.name for item in items]
    if any(names) and not all(names):
        raise UsageError("some inputs have a name and some have not", hint="name all of them, or none")
    if twice := next((name for name in names if name and names.count(name) > 1), ""):
        raise UsageError(f"the input {twice} is given twice")
    return Declared(items)


def _item(text: str) -> Item:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) < 3 and _SHAPE.fullmatch(parts[0]) and not (len(parts) == 2 and _SHAPE.fullmatch(parts[1])):
        parts = ["", *parts]
    name, shape, dtype = (*parts, "float32")[:3] if len(parts) == 2 else (*parts, "", "")[:3]
    if len(parts) not in (2, 3) or not _SHAPE.fullmatch(shape):
        raise UsageError(f"{text!r} declares no tensor", why=f"{shape!r} is no shape" if shape else "", hint=_HINT)
    sizes = () if shape == "scalar" else tuple(shape.split("x"))
    return Item(name, sizes, *_dtype(text, dtype))


def _dtype(text: str, said: str) -> tuple[torch.dtype, int | None]:
    match = _DTYPE.fullmatch(said)
    dtype = getattr(torch, match["name"], None) if match else None
    if match is None or not isinstance(dtype, torch.dtype):
        raise UsageError(f"{text!r} declares no tensor", why=f"torch has no dtype {said!r}", hint=_HINT)
    limit = int(match["limit"]) if match["limit"] else None
    if limit is not None and (limit < 1 or dtype.is_floating_point or dtype is torch.bool):
        raise UsageError(f"{text!r} declares no tensor", why="a limit is for whole numbers, and at least 1", hint=_HINT)
    return dtype, limit
