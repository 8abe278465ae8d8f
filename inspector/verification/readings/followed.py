"""What moves elements, as calls of reference functions: op by op, each on what is known by then."""

from __future__ import annotations

__all__ = ["Followed", "Unknown"]

from inspector.records import Op, Plain
from inspector.reference.layout import arrange, join, padded, pieces, rounded, spread, taken, tiled, viewed
from inspector.verification.readings.look import TURNING, Draft, Flowing, Inner, Leaf, Look, Said, draft
from inspector.verification.readings.moving import order_of

Tensorlike = Flowing | Leaf | Inner


class Unknown(Exception):
    """An op for which there is no call here."""


class Followed:
    """drafts: the calls so far. known: value -> what stands for it in a call."""

    def __init__(self, look: Look, drafts: list[Draft], known: dict[int, Tensorlike]) -> None:
        self._look, self._drafts, self._known = look, drafts, known

    def _last(self) -> Inner:
        return Inner(len(self._drafts) - 1)

    def _give(self, value: int, one: Draft) -> None:
        self._drafts.append(one)
        self._known[value] = self._last()

    def _at(self, value: int) -> Tensorlike:
        if value not in self._known:
            raise Unknown("a value that was not followed")
        return self._known[value]

    def _moves(self, op: Op) -> bool:
        """Take `op` where it only moves elements. Returns whether it does."""
        special = {
            "cat": self._join,
            "pad": self._pad,
            "copy": self._copy,
            "sync": self._assembled,
            "stack": self._stack,
        }
        if op.name in special:
            special[op.name](op)
        elif self._look.flow.kind[op.id] in ("view", "plumb", "select") or op.name == "repeat":
            self._move(op)
        else:
            return False
        return True

    def _move(self, op: Op) -> None:
        look, x = self._look, self._at(op.inputs[0])
        before, after = look.shape(op.inputs[0]), look.shape(op.outputs[0])
        if op.name in ("to", "contiguous", "clone", "dropout", "detach") or (
            before == after and look.flow.kind[op.id] == "view" and op.name not in TURNING
        ):
            self._known[op.outputs[0]] = x
        elif op.name in ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"):
            self._give(op.outputs[0], draft(viewed, x=x, shape=after))
        elif op.name in ("chunk", "split"):
            self._split(op, x)
        elif op.name == "getitem" and len(op.inputs) == 1 and look.flow.kind[op.id] == "view":
            self._give(op.outputs[0], draft(viewed, x=x, shape=after))
        elif op.name == "getitem" and len(op.inputs) == 1:
            self._pick(op, x)
        elif op.name in TURNING:
            self._turn(op, x, before)
        elif op.name in ("expand", "expand_as", "broadcast_to") and len(before) == len(after):
            self._give(op.outputs[0], draft(spread, x=x, shape=after))
        elif op.name == "repeat":
            times = tuple(now // then for now, then in zip(after[-len(before) :], before, strict=True))
            self._give(op.outputs[0], draft(tiled, x=x, times=(*after[: len(after) - len(before)], *times)))
        elif op.name in ("getitem", "index_select") and len(op.inputs) == 2 and self._names_rows(op):
            self._give(op.outputs[0], draft(taken, x=x, index=self._at(op.inputs[1])))
        else:
            raise Unknown(op.name)

    def _names_rows(self, op: Op) -> bool:
        """Whether whole numbers choose places of the first axis, and nothing else is chosen."""
        index = self._look.values[op.inputs[1]]
        alone = op.attribute("key") is None and op.attribute("dim", 0) == 0
        return alone and index.dtype.startswith("int") and len(index.shape) <= 1

    def _pad(self, op: Op) -> None:
        """Zeros at the ends of the last axes; torch counts from the last axis."""
        ends = op.attribute("pad")
        if not isinstance(ends, tuple) or not all(type(end) is int for end in ends) or len(ends) % 2:
            raise Unknown("pad")
        if op.attribute("mode", "constant") != "constant" or op.attribute("value"):
            raise Unknown("padding with other things than zeros")
        widths = tuple((ends[place], ends[place + 1]) for place in range(len(ends) - 2, -1, -2))
        one = draft(padded, x=self._at(op.inputs[0]), widths=Said(widths, claimed=False))
        self._give(op.outputs[0], one)

    def _copy(self, op: Op) -> None:
        """What is written over the whole of some fresh memory is what is there then."""
        look, (into, written) = self._look, op.inputs
        cut = look.flow.maker(into)
        if cut is not None and cut.name == "getitem" and self._is_fresh(cut.inputs[0]):
            return  # a part: the memory is known when all its parts are written
        if look.shape(into) != look.shape(written) or look.flow.on_act(into):
            raise Unknown("copy")
        self._give(op.outputs[0], draft(rounded, x=self._at(written)))

    def _is_fresh(self, value: int) -> bool:
        """Whether `value` is memory in which nothing stands but what is written into its parts."""
        op = self._look.flow.maker(value)
        while op is not None and op.name == "sync":
            op = self._look.flow.maker(op.inputs[0])
        return op is not None and not op.operands

    def _assembled(self, op: Op) -> None:
        """Memory whose parts have been written one after another: their join, once all are there."""
        parts: dict[tuple[int, int, int], int] = {}
        step: Op | None = op
        whole = self._look.shape(op.outputs[0])
        while step is not None and step.name == "sync" and len(step.inputs) == 2:
            try:
                place, value = self._written(step.inputs[1], whole)
            except Unknown:
                return
            if value not in self._known:
                return
            parts.setdefault(place, value)
            step = self._look.flow.maker(step.inputs[0])
        order = sorted(parts)
        axis = order[0][0]
        ends = [0, *(end for _, _, end in order)]
        if [start for _, start, _ in order] != ends[:-1] or ends[-1] != whole[axis] or {p[0] for p in order} != {axis}:
            return  # not whole yet
        self._known[op.outputs[0]] = self._at(parts[order[0]])
        for place in order[1:]:
            one = draft(join, first=self._known[op.outputs[0]], second=self._at(parts[place]), axis=axis)
            self._give(op.outputs[0], one)

    def _written(self, value: int, whole: tuple[int, ...]) -> tuple[tuple[int, int, int], int]:
        """Where a part of fresh memory lies, (axis, from, up to), and what was written there."""
        flow, shape = self._look.flow, self._look.shape
        copy = flow.maker(value)
        cut = flow.maker(copy.inputs[0]) if copy is not None and copy.name == "copy" else None
        if copy is None or cut is None or cut.name != "getitem" or len(shape(value)) != len(whole):
            raise Unknown("memory that is written in another way")
        items = _items(cut.attribute("key"), len(whole))
        axes = [axis for axis, item in enumerate(items) if item != _ALL]
        if len(axes) != 1 or shape(copy.inputs[1]) != shape(value):
            raise Unknown("memory that is written in another way")
        start, stop, step = _slice(items[axes[0]], whole[axes[0]])
        if step != 1:
            raise Unknown("memory that is written in steps")
        return (axes[0], start, stop), copy.inputs[1]

    def _stack(self, op: Op) -> None:
        """Side by side along an axis of their own."""
        shape = self._look.shape(op.outputs[0])
        axis = op.attribute("dim", 0)
        if not isinstance(axis, int):
            raise Unknown("stack")
        axis %= len(shape)
        single = (*shape[:axis], 1, *shape[axis + 1 :])
        for place, value in enumerate(op.inputs):
            before = self._known.get(op.outputs[0])
            self._give(op.outputs[0], draft(viewed, x=self._at(value), shape=single))
            if place and before is not None:
                self._give(op.outputs[0], draft(join, first=before, second=self._last(), axis=axis))

    def _join(self, op: Op) -> None:
        """One behind the other; what holds nothing joins nothing."""
        full = [value for value in op.inputs if 0 not in self._look.shape(value)]
        axis = op.attribute("dim", 0)
        if not full or not isinstance(axis, int):
            raise Unknown("cat")
        self._known[op.outputs[0]] = self._at(full[0])
        for value in full[1:]:
            self._give(op.outputs[0], draft(join, first=self._known[op.outputs[0]], second=self._at(value), axis=axis))

    def _split(self, op: Op, x: Tensorlike) -> None:
        axis = op.attribute("dim", 0)
        if not isinstance(axis, int):
            raise Unknown(op.name)
        bounds, start = [], 0
        for value in op.outputs:
            size = self._look.shape(value)[axis]
            bounds.append((start, start + size, 1))
            start += size
        self._drafts.append(draft(pieces, x=x, bounds=Said(tuple(bounds), claimed=False), axis=axis))
        for output, value in enumerate(op.outputs):
            self._known[value] = Inner(len(self._drafts) - 1, output)

    def _pick(self, op: Op, x: Tensorlike) -> None:
        """One place of one axis, or a stretch of it."""
        before = self._look.shape(op.inputs[0])
        items = _items(op.attribute("key"), len(before))
        cut = [(axis, item) for axis, item in enumerate(items) if item != _ALL]
        if not cut or (len(cut) > 1 and any(type(item) is not int for _, item in cut)):
            raise Unknown("getitem")
        for axis, item in cut:
            place = item % before[axis] if type(item) is int else -1
            start, stop, step = (place, place + 1, 1) if place >= 0 else _slice(item, before[axis])
            x = self._part(op, draft(pieces, x=x, bounds=Said(((start, stop, step),), claimed=True), axis=axis))
        if any(type(item) is int for _, item in cut):
            self._give(op.outputs[0], draft(viewed, x=x, shape=self._look.shape(op.outputs[0])))

    def _part(self, op: Op, one: Draft) -> Inner:
        self._give(op.outputs[0], one)
        return self._last()

    def _turn(self, op: Op, x: Tensorlike, before: tuple[int, ...]) -> None:
        order = order_of(op, len(before))
        if order is None:
            raise Unknown(op.name)
        letters = "ABCDEFG"[: len(before)]
        pattern = f"{' '.join(letters)} -> {' '.join(letters[axis] for axis in order)}"
        self._give(op.outputs[0], draft(arrange, x=x, pattern=Said(pattern, claimed=False)))


_ALL = ("slice", None, None, None)


def _items(key: Plain, rank: int) -> tuple[Plain, ...]:
    """What an indexing says of each axis."""
    items = key if isinstance(key, tuple) and key[:1] != ("slice",) else (key,)
    if None in items:
        raise Unknown("getitem")
    if "..." in items:
        place = items.index("...")
        return (*items[:place], *[_ALL] * (rank - len(items) + 1), *items[place + 1 :])
    return (*items, *[_ALL] * (rank - len(items)))


def _slice(item: object, size: int) -> tuple[int, int, int]:
    if not isinstance(item, tuple) or item[:1] != ("slice",) or "tensor" in item:
        raise Unknown("getitem")
    start, stop, step = slice(*item[1:]).indices(size)
    return start, stop, step
