"""The numbers of positions, followed through the ops that count them."""

from __future__ import annotations

__all__ = ["ids"]

from typing import NamedTuple

from inspector.records import Op, Plain
from inspector.reference import positions
from inspector.reference.layout import viewed
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Inner, Look, Reading, Said, draft
from inspector.verification.readings.moving import between


class _Counted(NamedTuple):
    """first: the number of the first place, or of the first real token of `real`. padding: where what is none stands.

    unlike: the id that is none, where `real` holds ids. masked: whether padding has been set apart.
    """

    first: int
    padding: int = 0
    real: int | None = None
    unlike: Plain = None
    masked: bool = False
    summed: bool = True


def ids(look: Look, stage: Stage) -> Reading:
    """0, 1, 2 ... from the past on, or counted from the first real token of each row."""
    known = _followed(look, stage)
    told = [value for value in look.told(stage) if value not in stage.inputs]
    found = [known.get(value) for value in told]
    if not found or any(one is None or (one.real is not None and not one.masked) for one in found):
        return "its positions are counted in a way that is not known"
    if len(set(found)) > 1 or len({look.flow.size(value) for value in told}) > 1:
        return "positions of two kinds"
    if len({look.shape(value) for value in told if len(look.shape(value)) > 2}) > 1:
        return "positions in two shapes"
    one = found[0]
    assert one is not None
    return _drafts(look, stage, one, told[0])


def _drafts(look: Look, stage: Stage, one: _Counted, value: int) -> list[Draft]:
    shape = look.shape(value)
    if one.real is not None:
        length = max(shape[1:] or shape)
        first, padding = Said(one.first, claimed=False), Said(one.padding, claimed=False)
        unlike = None if one.unlike is None else Said(one.unlike, claimed=False)
        real = look.read(one.real)
        return [draft(positions.counted, real_BT=real, length=length, first=first, padding=padding, unlike=unlike)]
    axis = _counted_axis(look, stage, value) if len(shape) > 2 else None
    axis = _counting_axis(look, shape) if axis is None else axis
    past = look.usual(one.first, look.graph.trace.scenario.past)
    numbers = [draft(positions.position_ids, length=shape[axis], past=past)]
    if len(shape) < 3:
        return numbers
    lone = tuple(size if place == axis else 1 for place, size in enumerate(shape))
    return [*numbers, draft(viewed, x=Inner(0), shape=lone)]


def _counted_axis(look: Look, stage: Stage, value: int) -> int | None:
    """The axis along which what a stage counts ends up, followed from where it is counted."""
    for op in look.graph.ops(stage):
        found = between(look, stage.ops, op.outputs[0], value) if op.name == "arange" else None
        if found is not None:
            moving = [axis for axis in range(found.dim()) if bool(found.diff(dim=axis).any())]
            return moving[0] if len(moving) == 1 else None
    return None


def _counting_axis(look: Look, shape: tuple[int, ...]) -> int:
    """Where the tokens are: the axis as long as the sequence, behind that of the batch."""
    seq = look.graph.trace.scenario.seq
    fits = [axis for axis in range(len(shape)) if shape[axis] == seq and (axis or len(shape) == 1)]
    return fits[0] if fits else max(range(len(shape)), key=shape.__getitem__)


def _followed(look: Look, stage: Stage) -> dict[int, _Counted]:
    known: dict[int, _Counted] = {}
    for op in look.graph.ops(stage):
        if look.flow.live[op.id] and len(op.outputs) == 1:
            made = _step(look, stage, op, known)
            if made is not None:
                known[op.outputs[0]] = made
    return known


def _step(look: Look, stage: Stage, op: Op, known: dict[int, _Counted]) -> _Counted | None:
    if op.name == "arange":
        return _arange(op)
    if op.name == "cumsum":
        given = _real(look, stage, op.inputs[0])
        return None if given is None else _Counted(1, 0, *given)
    source = known.get(op.inputs[0]) if op.inputs else None
    if source is None:
        return _stored(look, stage, op)
    if op.name == "mul" and len(op.inputs) == 2 and source.real is not None:
        given = _real(look, stage, op.inputs[1])
        return source._replace(padding=0, masked=True) if given == (source.real, source.unlike) else None
    if op.name in ("add", "sub", "add_") and len(op.inputs) == 1:
        number = op.attribute("other")
        shift = number if isinstance(number, int) else None
        shift = -shift if shift is not None and op.name == "sub" else shift
        return None if shift is None else source._replace(first=source.first + shift, padding=source.padding + shift)
    if look.flow.kind[op.id] in ("view", "plumb") or op.name in ("repeat", "expand"):
        return source
    return _cut(look, op, source)


def _arange(op: Op) -> _Counted | None:
    start = op.attribute("arg0") if op.attribute("arg1") is not None else op.attribute("start", 0)
    return _Counted(start) if isinstance(start, int) and op.attribute("arg2") in (None, 1) else None


def _cut(look: Look, op: Op, source: _Counted) -> _Counted | None:
    """A stretch of the last axis: its first number is that of the place where it begins."""
    if op.name != "getitem" or len(op.inputs) != 1:
        return None
    key = op.attribute("key")
    items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
    kept = [item for item in items if item is not None]
    slices = [item for item in kept if isinstance(item, tuple) and item[:1] == ("slice",)]
    if len(slices) + kept.count("...") < len(kept):
        return None
    reaches_last = "..." in kept or len(slices) == len(look.shape(op.inputs[0]))
    last = (slices[-1][1] or 0) if slices and reaches_last else 0
    if not isinstance(last, int) or last < 0:
        return None
    return source if source.real is not None else source._replace(first=source.first + last)


def _stored(look: Look, stage: Stage, op: Op) -> _Counted | None:
    """A stretch of numbers that the model keeps: 0, 1, 2 ... unless they are seen to begin elsewhere."""
    if not op.inputs or op.inputs[0] not in stage.parameters:
        return None
    record = look.values[op.inputs[0]]
    if record.kind == "parameter" or not record.dtype.startswith("int"):
        return None
    made = look.contents(op.outputs[0])
    if made is None:
        return _cut(look, op, _Counted(0)) or (_Counted(0) if look.flow.kind[op.id] in ("view", "plumb") else None)
    row = [int(number) for number in made.flat()[-made.shape[-1] :]] if made.shape else []
    return _Counted(row[0]) if row and row == list(range(row[0], row[0] + len(row))) else None


def _real(look: Look, stage: Stage, value: int) -> tuple[int, Plain] | None:
    """(the input that says which tokens are real, the id that says which is none)."""
    unlike: Plain = None
    while value not in stage.inputs:
        op = look.flow.maker(value)
        if op is None or not op.inputs:
            return None
        if op.name == "ne" and isinstance(op.attribute("other"), int):
            unlike = op.attribute("other")
        elif look.flow.kind[op.id] not in ("view", "plumb"):
            return None
        value = op.inputs[0]
    return value, unlike
