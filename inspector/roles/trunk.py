"""The residual stream: the adds that bring a sublayer's input back, the regions between them, and the layers they form.

An add is a residual add when one operand is an ancestor of the other and a weighted contraction or an attention lies
between. Everything is decided on short backward walks that stop at the trunk, so the cost grows with the model.
"""

from __future__ import annotations

__all__ = ["Residual", "find_residuals"]

from dataclasses import dataclass, field

from inspector.records import Op
from inspector.roles.flow import ACT, FUSED_ATTENTION, Flow


@dataclass(slots=True)
class Residual:
    """One residual add.

    skip: the value that is brought back (scalings stripped); branch: what is added to it; result: the sum.
    region: ops of the branch, in order, back to the trunk. parent: the residual that `skip` comes from.
    scaled: the trunk's own scalings between the skip and the add.
    """

    op: int
    skip: int
    branch: int
    result: int
    region: list[int] = field(default_factory=list)
    parent: Residual | None = None
    nested: bool = False


def find_residuals(flow: Flow, norm_sources: dict[int, int]) -> list[Residual]:
    """Every residual add in order. `norm_sources`: result of each norm -> the value it normalises."""
    found: list[Residual] = []
    trunk: dict[int, Residual] = {}
    claimed: set[int] = set()
    for op in flow.ops:
        if not _may_be(flow, op):
            continue
        residual = _as_residual(flow, op, trunk, claimed)
        if residual is None:
            continue
        residual.parent = _parent(flow, residual.skip, trunk, norm_sources)
        _mark_nested(residual, found)
        claimed.update(residual.region)
        found.append(residual)
        trunk[residual.result] = residual
    return found


def _may_be(flow: Flow, op: Op) -> bool:
    if op.name != "add" or len(op.operands) != 2 or not flow.live[op.id]:
        return False
    left, right = (flow.values[value] for value in op.inputs)
    if not all(map(flow.on_act, op.inputs)) or left.shape[-1:] != right.shape[-1:]:
        return False
    return bool(left.shape) and left.shape[-1] > 1 and left.dtype.startswith(("float", "bfloat"))


def _as_residual(flow: Flow, op: Op, trunk: dict[int, Residual], claimed: set[int]) -> Residual | None:
    one, two = op.inputs
    first, second = (one, two) if flow.strip(one) < flow.strip(two) else (two, one)
    for skip, branch in ((first, second), (second, first)):
        point = _branching_point(flow, skip, branch, trunk)
        if point is not None and not _is_look_alike(flow, skip, branch):
            region = _region(flow, branch, point, trunk, claimed)
            return Residual(op.id, point, branch, op.outputs[0], region)
    return None


def _branching_point(flow: Flow, skip: int, branch: int, trunk: dict[int, Residual]) -> int | None:
    """Where the branch left the stream: the skip as it is, or what it was before it was scaled."""
    for point in dict.fromkeys((skip, flow.through(skip), flow.strip(skip))):
        if _works_between(flow, branch, point) or _works_from_earlier(flow, branch, point, trunk):
            return point
    return None


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
    return flow.weighted[op.id] or op.name in (FUSED_ATTENTION, "softmax", "fft") or flow.kind[op.id] == "contract"


def _works_from_earlier(flow: Flow, branch: int, point: int, trunk: dict[int, Residual]) -> bool:
    """Two sublayers that read the same input and are added one after the other: `(x + f(x)) + g(x)`."""
    residual = trunk.get(point)
    return residual is not None and _works_between(flow, branch, residual.skip) and branch != residual.branch


def _region(flow: Flow, branch: int, point: int, trunk: dict[int, Residual], claimed: set[int]) -> list[int]:
    """Ops from the trunk to the end of the branch."""
    stop = trunk[point].skip if point in trunk and branch < point else point
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


def _is_look_alike(flow: Flow, skip: int, branch: int) -> bool:
    """A feed-through in a mixer (`y + D * x`): a parameter scales the skip, and the branch ends in no projection."""
    op = flow.maker(skip)
    scaled = op is not None and op.name == "mul" and any(flow.weight(value) is not None for value in op.inputs)
    end = flow.maker(flow.through(branch, ("plumb", "view")))
    return scaled and (end is None or not flow.weighted[end.id])


def _parent(flow: Flow, skip: int, trunk: dict[int, Residual], norm_sources: dict[int, int]) -> Residual | None:
    """The residual whose sum the skip is, through norms, views and scalings."""
    for _ in range(8):
        if skip in trunk:
            return trunk[skip]
        before = skip
        skip = norm_sources.get(skip, flow.strip(flow.through(skip, ("plumb", "view"))))
        if skip == before:
            return None
    return None


def _mark_nested(residual: Residual, found: list[Residual]) -> None:
    """An add inside another's branch is no layer of its own."""
    inside, first = set(residual.region), min(residual.region, default=0)
    for other in reversed(found):
        if other.op < first:
            break
        if other.op in inside:
            other.nested = True
