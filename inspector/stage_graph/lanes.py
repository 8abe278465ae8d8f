"""Which element of a vector is turned with which: one rotation, followed element by element.

The ops of a rotation are replayed on the places of the elements instead of on numbers, so a layout is read from what
was computed and not from how it was written.
"""

from __future__ import annotations

__all__ = ["Turned", "turned", "written"]

from collections.abc import Callable, Iterable
from math import prod
from typing import NamedTuple

from inspector.records import Op, Plain
from inspector.roles.flow import Flow
from inspector.roles.rope import Rope

Lane = tuple[int, ...]
"""The places in the source that one element of a result is made of."""


class Turned(NamedTuple):
    """size: how many elements of a head are turned, of `width` that enter. layout: half, interleaved, or another."""

    size: int
    width: int
    layout: str


class Lanes(NamedTuple):
    """The trailing axes of a value, from the one on that holds the elements of the source."""

    shape: tuple[int, ...]
    flat: tuple[Lane, ...]


def turned(flow: Flow, rope: Rope) -> Turned | None:
    """What `rope` does to the last axis of its source; None when its ops cannot be followed."""
    for source in _starts(flow, rope.source):
        try:
            result = _replay(flow, source, rope)
        except LookupError:
            continue
        return _judge(result.flat, flow.values[source].shape[-1])
    return None


def written(flow: Flow, rope: Rope) -> object:
    """All that `turned` depends on, without numbers of ops and values: equal for rotations that are written alike."""
    starts = _starts(flow, rope.source)
    place = {value: -1 - at for at, value in enumerate(starts)}
    calls = []
    for op in _between(flow, starts[0], rope.result):
        inputs = tuple((place.get(value), flow.values[value].shape, flow.on_act(value)) for value in op.inputs)
        calls.append((op.name, op.attributes, inputs, tuple(flow.values[value].shape for value in op.outputs)))
        place.update({value: len(place) for value in op.outputs})
    return tuple(flow.values[value].shape for value in starts), place.get(rope.result), tuple(calls)


def _starts(flow: Flow, source: int) -> list[int]:
    """Views of one vector before it is turned may already pair its elements anew: furthest back first."""
    found, width = [source], flow.values[source].shape[-1]
    while (maker := flow.maker(found[0])) is not None and flow.kind[maker.id] in ("view", "plumb"):
        found.insert(0, maker.inputs[0])
    return [value for value in found if flow.values[value].shape[-1] == width]


def _judge(lanes: tuple[Lane, ...], width: int) -> Turned | None:
    pairs = {lane for lane in lanes if len(lane) == 2}
    if not pairs or any(len(lane) > 2 for lane in lanes):
        return None
    count, distances = 2 * len(pairs), {high - low for low, high in pairs}
    layout = "interleaved" if distances == {1} else "half" if distances == {len(pairs)} else "other"
    return Turned(count, width, layout)


def _replay(flow: Flow, source: int, rope: Rope) -> Lanes:
    width = flow.values[source].shape[-1]
    known = {source: Lanes((width,), tuple((place,) for place in range(width)))}
    for op in _between(flow, source, rope.result):
        made = _step(flow, op, known)
        known.update(zip(op.outputs, made, strict=False))
    return known[rope.result]


def _between(flow: Flow, source: int, result: int) -> Iterable[Op]:
    """Live ops on the way from one value to the other, in order."""
    seen: set[int] = set()
    todo = [result]
    while todo:
        value = todo.pop()
        op = flow.maker(value)
        if value == source or op is None or op.id in seen or not flow.on_act(value) or value < source:
            continue
        seen.add(op.id)
        todo.extend(op.inputs)
    return (flow.ops[index] for index in sorted(seen))


def _step(flow: Flow, op: Op, known: dict[int, Lanes]) -> list[Lanes]:
    inputs = [known[value] for value in op.inputs if flow.on_act(value)]
    shapes = [flow.values[value].shape for value in op.outputs]
    if op.name in ("mul", "neg", "to", "contiguous", "clone"):
        return [_joined(inputs, shapes[0])]
    if op.name in ("add", "sub", "rsub"):
        return [_joined(inputs, shapes[0])]
    rule = _RULES.get(op.name)
    if rule is None:
        raise LookupError(op.name)
    return rule(op, inputs, flow.values[op.inputs[0]].shape, shapes)


def _joined(inputs: list[Lanes], shape: tuple[int, ...]) -> Lanes:
    first = inputs[0]
    if any(other.shape != first.shape for other in inputs) or shape[-len(first.shape) :] != first.shape:
        raise LookupError("not element by element")
    columns = zip(*(lanes.flat for lanes in inputs), strict=True)
    return Lanes(first.shape, tuple(tuple(sorted({place for lane in lanes for place in lane})) for lanes in columns))


def _indexed(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    key = op.attribute("key")
    items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
    (lanes,) = inputs
    picks = _aligned(items, len(before))[-len(lanes.shape) :]
    for axis in reversed(range(len(lanes.shape))):
        lanes = _pick(lanes, axis, picks[axis])
    return [lanes]


def _aligned(items: tuple[Plain, ...], rank: int) -> list[Plain]:
    """One item per axis of what is indexed; new axes are left out."""
    given: list[Plain] = [item for item in items if item is not None]
    full: Plain = ("slice", None, None, None)
    if "..." in given:
        place = given.index("...")
        given[place : place + 1] = [full] * (rank - len(given) + 1)
    return given + [full] * (rank - len(given))


def _pick(lanes: Lanes, axis: int, item: Plain) -> Lanes:
    size = lanes.shape[axis]
    if isinstance(item, int):
        return _take(lanes, axis, [item % size], drop=True)
    if isinstance(item, tuple) and item[:1] == ("slice",) and "tensor" not in item:
        places = range(size)[slice(*item[1:])]  # type: ignore[arg-type]
        return lanes if len(places) == size else _take(lanes, axis, list(places))
    raise LookupError("an index of another form")


def _take(lanes: Lanes, axis: int, places: list[int], *, drop: bool = False) -> Lanes:
    inner = prod(lanes.shape[axis + 1 :])
    size = lanes.shape[axis]
    outer = prod(lanes.shape[:axis])
    flat = [lanes.flat[(o * size + p) * inner + i] for o in range(outer) for p in places for i in range(inner)]
    shape = (*lanes.shape[:axis], *(() if drop else (len(places),)), *lanes.shape[axis + 1 :])
    return Lanes(shape, tuple(flat))


def _axis(op: Op, lanes: Lanes, rank: int, default: int) -> int:
    """The axis among those that are followed."""
    dim = op.attribute("dim", default)
    place = (dim % rank if isinstance(dim, int) else rank) - (rank - len(lanes.shape))
    if not 0 <= place < len(lanes.shape):
        raise LookupError("another axis")
    return place


def _parted(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    """chunk, split, unbind."""
    (lanes,) = inputs
    axis, start, parts = _axis(op, lanes, len(before), 0), 0, []
    drop = op.name == "unbind"
    offset = len(before) - len(lanes.shape)
    for shape in after:
        size = 1 if drop else shape[offset + axis]
        parts.append(_take(lanes, axis, list(range(start, start + size)), drop=drop))
        start += size
    return parts


def _catenated(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    axis = _axis(op, inputs[0], len(before), 0)
    parts = [_slices(lanes, axis) for lanes in inputs]
    pieces = [piece for part in parts for piece in part]
    return [_stacked_at(pieces, axis, (*inputs[0].shape[:axis], len(pieces), *inputs[0].shape[axis + 1 :]))]


def _slices(lanes: Lanes, axis: int) -> list[Lanes]:
    return [_take(lanes, axis, [place], drop=True) for place in range(lanes.shape[axis])]


def _stacked_at(pieces: list[Lanes], axis: int, shape: tuple[int, ...]) -> Lanes:
    inner = prod(shape[axis + 1 :])
    outer = prod(shape[:axis])
    return Lanes(shape, tuple(p.flat[o * inner + i] for o in range(outer) for p in pieces for i in range(inner)))


def _stacked(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    rank = len(after[0])
    dim = op.attribute("dim", 0)
    axis = (dim % rank if isinstance(dim, int) else 0) - (rank - len(inputs[0].shape) - 1)
    if axis < 0:
        raise LookupError("another axis")
    shape = inputs[0].shape
    return [_stacked_at(inputs, axis, (*shape[:axis], len(inputs), *shape[axis:]))]


def _viewed(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    """Any view that keeps the order of the elements."""
    (lanes,), shape = inputs, after[0]
    for axis in reversed(range(len(shape))):
        if prod(shape[axis:]) == len(lanes.flat):
            return [Lanes(shape[axis:], lanes.flat)]
    raise LookupError("axes of other vectors are mixed in")


def _turned_axes(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    rank, (lanes,) = len(before), inputs
    order = list(range(rank))
    if op.name == "permute":
        given = op.attribute("dim", op.attribute("dims"))
        order = [item % rank for item in given if isinstance(item, int)] if isinstance(given, tuple) else order
    else:
        one, two = (op.attribute(name) for name in ("dim0", "dim1"))
        if not (isinstance(one, int) and isinstance(two, int)):
            raise LookupError("axes")
        order[one % rank], order[two % rank] = order[two % rank], order[one % rank]
    outer = rank - len(lanes.shape)
    if any(axis >= outer for axis in order[:outer]):
        raise LookupError("the axis of the elements leaves the end")
    return [_permuted(lanes, [axis - outer for axis in order[outer:]])]


def _permuted(lanes: Lanes, order: list[int]) -> Lanes:
    shape = tuple(lanes.shape[axis] for axis in order)
    strides = [prod(lanes.shape[axis + 1 :]) for axis in order]
    flat = []
    for index in range(len(lanes.flat)):
        place, rest = 0, index
        for size, stride in zip(reversed(shape), reversed(strides), strict=True):
            place, rest = place + rest % size * stride, rest // size
        flat.append(lanes.flat[place])
    return Lanes(shape, tuple(flat))


def _complex(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    """Two numbers become one complex number: from here on they are turned together."""
    (lanes,) = inputs
    pairs = [tuple(sorted({*lanes.flat[i], *lanes.flat[i + 1]})) for i in range(0, len(lanes.flat), 2)]
    return [Lanes(lanes.shape[:-1], tuple(pairs))]


def _real(op: Op, inputs: list[Lanes], before: tuple[int, ...], after: list[tuple[int, ...]]) -> list[Lanes]:
    (lanes,) = inputs
    return [Lanes((*lanes.shape, 2), tuple(lane for lane in lanes.flat for _ in range(2)))]


Rule = Callable[[Op, list[Lanes], tuple[int, ...], list[tuple[int, ...]]], list[Lanes]]

_RULES: dict[str, Rule] = {
    "getitem": _indexed,
    **dict.fromkeys(("chunk", "split", "unbind", "tensor_split", "split_with_sizes"), _parted),
    "cat": _catenated,
    "stack": _stacked,
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "view_as", "reshape_as"), _viewed
    ),
    **dict.fromkeys(("transpose", "permute"), _turned_axes),
    "view_as_complex": _complex,
    "view_as_real": _real,
}
"""Op name -> how it moves elements."""
