"""The residual stream: the adds that bring a sublayer's input back, the regions between them, and the layers they form.

An add is a residual add when one operand is an ancestor of the other and a weighted contraction or an attention lies
between. Everything is decided on short backward walks that stop at the trunk, so the cost grows with the model.
"""

from __future__ import annotations

__all__ = ["Residual", "find_residuals", "rows_of"]

from dataclasses import dataclass, field

from inspector.records import Op
from inspector.roles.decided import is_decided, is_scores
from inspector.roles.flow import ACT, FUSED_ATTENTION, WRITES, Flow
from inspector.roles.wide import mixed_source

_MOST_SUMS = 4
"""How many sums may lie between where a branch leaves the stream and where it comes back."""


@dataclass(slots=True)
class Residual:
    """One residual add.

    skip: the value that is brought back (scalings stripped); branch: what is added to it; result: the sum.
    region: ops of the branch, in order, back to the trunk. parent: the residual that `skip` comes from.
    shortcut: ops that make `skip` of the stream, where a projection brings it to the width of the branch.
    """

    op: int
    skip: int
    branch: int
    result: int
    region: list[int] = field(default_factory=list)
    parent: Residual | None = None
    nested: bool = False
    shortcut: list[int] = field(default_factory=list)


def find_residuals(flow: Flow, norm_sources: dict[int, int]) -> list[Residual]:
    """Every residual add in order. `norm_sources`: result of each norm -> the value it normalises."""
    found: list[Residual] = []
    trunk: dict[int, Residual] = {}
    claimed: set[int] = set()
    for op in flow.ops:
        if not _may_be(flow, op):
            continue
        residual = _as_residual(flow, op, trunk, claimed) or _on_rows(flow, op, trunk, claimed)
        if residual is None:
            continue
        residual.parent = _parent(flow, residual.skip, trunk, norm_sources)
        _mark_nested(residual, found)
        claimed.update(residual.region)
        found.append(residual)
        trunk[residual.result] = residual
    _part_streams(flow, found, trunk)
    return found


def _part_streams(flow: Flow, found: list[Residual], trunk: dict[int, Residual]) -> None:
    """Where two streams look at each other, a region ends where the other stream begins: that was not known before."""
    skips = {residual.skip for residual in found if not residual.nested}
    for residual in found:
        inside = {value for index in residual.region for value in flow.ops[index].outputs}
        others = (skips & inside) - {residual.skip}
        if others and not residual.nested:
            residual.region = _region(
                flow, residual.branch, residual.skip, trunk | dict.fromkeys(others, residual), set()
            )


def _may_be(flow: Flow, op: Op) -> bool:
    if op.name != "add" or len(op.operands) != 2 or not flow.live[op.id]:
        return False
    if _is_of_scores(flow, op):
        return False
    left, right = (flow.values[value] for value in op.inputs)
    if not all(map(flow.on_act, op.inputs)) or left.shape[-1:] != right.shape[-1:]:
        return False
    numbers = bool(left.shape) and left.shape[-1] > 1 and left.dtype.startswith(("float", "bfloat"))
    return numbers and not is_scores(flow, op) and not any(is_decided(flow, value) for value in op.inputs)


_ON_SCORES = frozenset({"add", "mul", "div", "where", "masked_fill", "tanh"})
_MOST_ON_SCORES = 8


def _is_of_scores(flow: Flow, op: Op) -> bool:
    """Whether a softmax takes the sum: scores, and a bias or mask made of activations that earlier scores had too."""
    value = op.outputs[0]
    for _ in range(_MOST_ON_SCORES):
        users = flow.consumers(value)
        if any(user.name == "softmax" for user in users):
            return True
        after = next((user for user in users if flow.kind[user.id] == "plumb" or user.name in _ON_SCORES), None)
        if after is None:
            return False
        value = after.outputs[0]
    return False


def _as_residual(flow: Flow, op: Op, trunk: dict[int, Residual], claimed: set[int]) -> Residual | None:
    one, two = op.inputs
    first, second = (one, two) if flow.strip(one) < flow.strip(two) else (two, one)
    for skip, branch in ((first, second), (second, first)):
        found = _branching_point(flow, skip, branch, trunk)
        if found is not None and not _is_look_alike(flow, skip, branch, found[0], trunk):
            region = _region(flow, branch, found[1], trunk, claimed)
            return Residual(op.id, found[0], branch, op.outputs[0], region)
        shortcut, start = _shortcut(flow, skip)
        if shortcut and _is_from_attention(flow, branch, start):
            region = _region(flow, branch, start, trunk, claimed)
            return Residual(op.id, skip, branch, op.outputs[0], region, shortcut=shortcut)
    return None


def _shortcut(flow: Flow, skip: int) -> tuple[list[int], int]:
    """The projection that `skip` is, with its scalings, and the value that is projected; nothing where it is none."""
    values = flow.stripping(skip)
    op = flow.maker(values[-1])
    if op is None or not flow.weighted[op.id]:
        return [], skip
    ops, source, _ = flow.unit(op)
    scalings = [made for value in values[:-1] if (made := flow.producer[value]) is not None]
    return sorted({*ops, *scalings}), source


def _is_from_attention(flow: Flow, branch: int, start: int) -> bool:
    """Whether a projection makes `branch` of what an attention over `start` gave."""
    last = flow.maker(flow.strip(branch))
    if last is None or not flow.weighted[last.id] or not _works_between(flow, branch, start):
        return False
    between = (flow.maker(value) for value in _between(flow, branch, start))
    return any(op is not None and op.name in (FUSED_ATTENTION, "softmax") for op in between)


def _on_rows(flow: Flow, op: Op, trunk: dict[int, Residual], claimed: set[int]) -> Residual | None:
    """A sum of some tokens only, written back to where they were taken from: each kind of token has its sublayer.

    The branch may have left the stream before the other kind's tokens were written.
    """
    write = flow.only_consumer(op.outputs[0])
    if write is None or write.name not in WRITES or len(write.inputs) != 3:
        return None
    for skip, branch in (op.inputs, op.inputs[::-1]):
        cut = flow.maker(skip)
        if cut is None or flow.kind[cut.id] != "select" or cut.inputs[0] != write.inputs[0]:
            continue
        point: int | None = cut.inputs[0]
        while point is not None and not _works_between(flow, branch, point):
            before = flow.maker(point)
            point = before.inputs[0] if before is not None and before.name in WRITES else None
        if point is not None:
            region = _region(flow, branch, point, trunk, claimed)
            return Residual(op.id, cut.inputs[0], branch, write.outputs[0], region)
    return None


def _branching_point(flow: Flow, skip: int, branch: int, trunk: dict[int, Residual]) -> tuple[int, int] | None:
    """What the branch is added to (the skip as it is, or before it was scaled), and where it left the stream."""
    mixed = mixed_source(flow, skip)
    points = [skip, flow.through(skip), *flow.stripping(skip)] if mixed is None else [mixed]
    for point in dict.fromkeys(points):
        if _works_between(flow, branch, point):
            return point, point
        both = _doubled(flow, point)
        if both is not None and _works_between(flow, branch, both):
            return point, both
        earlier = _earlier_point(flow, branch, point, trunk)
        if earlier is not None:
            return point, earlier
    return None


def _doubled(flow: Flow, point: int) -> int | None:
    """The value that `point` is one of two copies of: a reversible stack begins with its stream twice."""
    cut = flow.maker(point)
    joined = flow.maker(cut.inputs[0]) if cut is not None and flow.kind[cut.id] == "select" else None
    if cut is None or joined is None or joined.name != "cat" or len(set(joined.inputs)) != 1:
        return None
    return cut.inputs[0]


def _works_between(flow: Flow, value: int, point: int) -> bool:
    """Whether `point` is an ancestor of `value` with work (a weighted contraction, attention) on the way."""
    if value <= point:
        return False
    worked = {point: False}  # value -> whether work lies between it and the point
    for current in sorted(_between(flow, value, point)):
        op = flow.maker(current)
        if op is None or current == point:
            continue
        from_point = [worked[item] for item in flow.inputs[op.id] if item in worked]
        if from_point:
            worked[current] = any(from_point) or _is_work(flow, op)
    return worked.get(value, False)


def _between(flow: Flow, value: int, point: int) -> set[int]:
    """Values on the activation plane at or above `point` that `value` depends on."""
    producer, inputs, taint = flow.producer, flow.inputs, flow.taint
    seen, stack = {value}, [value]
    while stack:
        made = producer[stack.pop()]
        if made is None:
            continue
        for item in inputs[made]:
            if item >= point and item not in seen and taint[item] & ACT:
                seen.add(item)
                stack.append(item)
    return seen


def _is_work(flow: Flow, op: Op) -> bool:
    return (
        flow.weighted[op.id]
        or op.name in (FUSED_ATTENTION, "softmax")
        or op.name.startswith("fft")
        or flow.kind[op.id] == "contract"
    )


def _earlier_point(flow: Flow, branch: int, point: int, trunk: dict[int, Residual]) -> int | None:
    """Where a branch left the stream that is added only after others were: `(x + f(x)) + g(x)`."""
    residual = trunk.get(point)
    for _ in range(_MOST_SUMS):
        if residual is None or residual.branch == branch:
            return None
        if _works_between(flow, branch, residual.skip):
            return residual.skip
        residual = residual.parent
    return None


def _region(flow: Flow, branch: int, stop: int, trunk: dict[int, Residual], claimed: set[int]) -> list[int]:
    """Ops from the trunk to the end of the branch."""
    ops: set[int] = set()
    stack = [branch]
    while stack:
        value = stack.pop()
        op = flow.maker(value)
        if op is None or value <= stop or value in trunk or not flow.on_act(value):
            continue
        if op.id in ops or op.id in claimed or flow.through(value, ("view",)) in trunk:
            continue
        ops.add(op.id)
        stack.extend(flow.inputs[op.id])
    return sorted(ops)


def _is_look_alike(flow: Flow, skip: int, branch: int, point: int, trunk: dict[int, Residual]) -> bool:
    """A feed-through in a mixer (`y + D * x`): a parameter scales the skip, and the branch ends in no projection.

    A short convolution added to what it convolves (`x + conv(x)`) is no sublayer either.
    """
    last = flow.maker(flow.through(branch, ("plumb", "view", "select")))
    if last is not None and flow.is_depthwise(last):
        return True
    op = flow.maker(skip)
    scaled = (
        skip != point
        and point not in trunk
        and op is not None
        and op.name == "mul"
        and any(flow.weight(value) is not None for value in op.inputs)
    )
    end = flow.maker(flow.through(flow.strip(branch), ("plumb", "view")))
    return scaled and (end is None or not flow.weighted[end.id])


def _parent(flow: Flow, skip: int, trunk: dict[int, Residual], norm_sources: dict[int, int]) -> Residual | None:
    """The residual whose sum the skip is, through norms, views and scalings."""
    for _ in range(8):
        if skip in trunk:
            return trunk[skip]
        before = skip
        skip = norm_sources.get(skip, flow.strip(rows_of(flow, skip)))
        if skip == before:
            return None
    return None


def rows_of(flow: Flow, value: int) -> int:
    """Back through views, and through what takes some of the tokens and all of each."""
    value = flow.through(value, ("plumb", "view"))
    op = flow.maker(value)
    if op is None or op.name != "getitem" or len(op.inputs) != 1:
        return value
    whole, part = flow.values[op.inputs[0]].shape, flow.values[value].shape
    return op.inputs[0] if len(whole) == len(part) and whole[-1] == part[-1] else value


def _mark_nested(residual: Residual, found: list[Residual]) -> None:
    """An add inside another's branch is no layer of its own."""
    inside, first = set(residual.region), min(residual.region, default=0)
    for other in reversed(found):
        if other.op < first:
            break
        if other.op in inside:
            other.nested = True
