"""What a stage that only moves elements does with each of them: its ops again, on the numbers of the places."""

from __future__ import annotations

__all__ = ["between", "handed_on", "moves", "order_of", "places"]

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from inspector.records import Op, Plain
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Look

_MOST = 1 << 24
"""Elements beyond which places are not followed."""


def moves(look: Look, stage: Stage, source: int) -> dict[int, Tensor] | None:
    """For each output the places of `source` that its elements come from; None where an op does more than move."""
    if math.prod(look.shape(source)) > _MOST:
        return None
    known = {source: torch.arange(math.prod(look.shape(source))).reshape(look.shape(source))}
    for op in look.graph.ops(stage):
        if look.flow.live[op.id] and op.outputs and not _step(look, op, known):
            return None
    found = {value: known[value] for value in stage.outputs if value in known}
    return found if len(found) == len(stage.outputs) else None


def places(look: Look, stage: Stage, source: int, target: int) -> Tensor | None:
    """The places of `source` that `target`, a value inside the stage, is made of."""
    return between(look, stage.ops, source, target)


def between(look: Look, ops: Iterable[int], source: int, target: int) -> Tensor | None:
    """The same, over some ops."""
    if math.prod(look.shape(source)) > _MOST:
        return None
    known = {source: torch.arange(math.prod(look.shape(source))).reshape(look.shape(source))}
    for op in map(look.flow.ops.__getitem__, ops):
        if target in known:
            break
        if look.flow.live[op.id]:
            _step(look, op, known)
    return known.get(target)


def handed_on(found: Tensor) -> bool:
    """Whether all elements are there, once each and in order.

    >>> handed_on(torch.arange(6).reshape(2, 3)), handed_on(torch.tensor([1, 0]))
    (True, False)
    """
    return torch.equal(found.reshape(-1), torch.arange(found.numel()))


def order_of(op: Op, rank: int) -> list[int] | None:
    """The axes of an operand, which has `rank` of them, in their order in the result; None where it is not known."""
    if op.name not in _RULES or rank == 0:
        return None
    try:  # axes of as many different sizes tell themselves apart
        (made,) = _RULES[op.name](op, [torch.empty(tuple(range(1, rank + 1)), device="meta")], [])
    except (RuntimeError, IndexError, TypeError, ValueError, AssertionError):
        return None
    return [size - 1 for size in made.shape]


def _step(look: Look, op: Op, known: dict[int, Tensor]) -> bool:
    """Note what `op` gives, where its operands are known; whether it could be followed."""
    operands = [known[value] for value in op.inputs if value in known]
    if not operands:
        return not any(map(look.flow.on_act, op.inputs))
    rule = _RULES.get(op.name)
    full = [value for value in op.inputs if 0 not in look.shape(value)]
    if rule is None or (len(full) > len(operands) and op.name != "cat"):
        return False
    if op.name == "cat" and len(full) != len(operands):
        return False
    try:
        made = rule(op, operands, [look.shape(value) for value in op.outputs])
    except (RuntimeError, IndexError, TypeError, ValueError):
        return False
    known.update(zip(op.outputs, made, strict=False))
    return True


Shapes = Sequence[tuple[int, ...]]


def _same(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [operands[0]]


def _viewed(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [operands[0].reshape(shapes[0])]


def _expanded(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [operands[0].expand(shapes[0])]


def _transposed(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [operands[0].transpose(_whole(op.attribute("dim0")), _whole(op.attribute("dim1")))]


def _turned(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [operands[0].mT if operands[0].dim() > 1 else operands[0]]


def _permuted(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    order = op.attribute("dim", op.attribute("dims"))
    assert isinstance(order, tuple)
    return [operands[0].permute([_whole(axis) for axis in order])]


def _picked(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [operands[0][_index(op.attribute("key"))]]


def _cut(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    axis = _whole(op.attribute("dim", -1 if op.name == "unflatten" else 0))
    return list(operands[0].split([shape[axis] for shape in shapes], axis))


def _unbound(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return list(operands[0].unbind(_whole(op.attribute("dim", 0))))


def _joined(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [torch.cat([part for part in operands if part.numel()], _whole(op.attribute("dim", 0)))]


def _stacked(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    return [torch.stack(operands, _whole(op.attribute("dim", 0)))]


def _interleaved(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    axis = _whole(op.attribute("dim"))
    return [operands[0].repeat_interleave(shapes[0][axis] // operands[0].shape[axis], axis)]


def _repeated(op: Op, operands: list[Tensor], shapes: Shapes) -> list[Tensor]:
    x = operands[0].reshape((1,) * (len(shapes[0]) - operands[0].dim()) + tuple(operands[0].shape))
    return [x.repeat([after // before for after, before in zip(shapes[0], x.shape, strict=True)])]


def _whole(value: Plain) -> int:
    if not isinstance(value, int):
        raise TypeError("an axis is a number")
    return value


def _index(key: Plain) -> Any:
    items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
    return tuple(_item(item) for item in items)


def _item(item: Plain) -> Any:
    if isinstance(item, tuple) and item[:1] == ("slice",):
        return slice(*item[1:])
    if item == "...":
        return Ellipsis
    if item is None or type(item) is int:
        return item
    raise TypeError("an index by a tensor")


Rule = Callable[[Op, list[Tensor], Shapes], list[Tensor]]

_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("to", "contiguous", "clone", "detach", "dropout", "identity"), _same),
    **dict.fromkeys("view reshape unsqueeze squeeze flatten unflatten view_as reshape_as ravel".split(), _viewed),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), _expanded),
    **dict.fromkeys(("t", "mT", "adjoint"), _turned),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split"), _cut),
    "transpose": _transposed,
    "permute": _permuted,
    "getitem": _picked,
    "unbind": _unbound,
    "cat": _joined,
    "stack": _stacked,
    "repeat_interleave": _interleaved,
    "repeat": _repeated,
}
"""Op -> what it does with the places. Of a view the shape of its result says all."""
