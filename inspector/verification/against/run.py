"""Two implementations, stage by stage: what the one gives on what the other was given."""

from __future__ import annotations

__all__ = ["against", "compare"]

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from inspector.errors import InspectorError, UsageError
from inspector.tracing.again import Again, run_again, wanted
from inspector.verification.against.flow import flow_of
from inspector.verification.against.groups import Group
from inspector.verification.against.judge import Judge
from inspector.verification.against.layout import Cutting
from inspector.verification.against.report import AgainstReport, AgainstRow
from inspector.verification.against.sides import Side, watched
from inspector.verification.against.transfer import Transfer, transfer
from inspector.verification.against.whole import answers_apart
from inspector.verification.verify import Running

Weights = Literal["copy", "keep"]


def against(a: Running, b: Running, *, weights: Weights = "copy", window: Cutting | None = None) -> AgainstReport:
    """Compare B with A, stage by stage.

    weights: "copy" writes those of A into B, through the stages that they share, and ModelAtFault says all that does
    not fit; "keep" leaves B as it is. window: which of A's tokens are those that B reads. InspectorError where the two
    have no stage in common. The modules have to be in eval mode. Batch, tokens, heads and head width should be of
    different sizes: the axes of two layouts are told apart by them.
    """
    one, two = watched(a), watched(b)
    if window is None:
        _require_equal_inputs(a, b)
    groups, flow = flow_of(one, two)
    _require_common(groups, a, b)
    moved = transfer(one, two, groups, flow) if weights == "copy" else Transfer((), (), (), ())
    moved.apply(one, two)
    judge = Judge(one, two, flow, flip=_coarser(two, one), window=window)
    rows = _rows(judge, groups)
    return AgainstReport(
        a=a.info,
        b=b.info,
        scenarios=(a.scenario, b.scenario),
        rows=tuple(rows),
        replayed="a" if judge.flip else "b",
        elements=judge.elements,
        whole=answers_apart(one, two, flow, window),
        ungiven=moved.ungiven,
        unused=moved.unused,
        notes=judge.notes,
        tool=one.plan.trace.tool,
    )


def compare(a: Running, b: Running) -> AgainstReport:
    """The same model under two settings: kinds of attention, number formats, devices. Each keeps its own weights.

    Of two number formats the coarser one gives the inputs, and the finer one is run on them with the coarser weights:
    only so both compute the same thing.
    """
    return against(a, b, weights="keep")


def _require_equal_inputs(a: Running, b: Running) -> None:
    """Tokens of one name are the same ones, or the first stage would be blamed."""
    one, two = dict(a.inputs()), dict(b.inputs())
    for name in one.keys() & two.keys():
        mine, theirs = one[name], two[name]
        if isinstance(mine, Tensor) and isinstance(theirs, Tensor) and not torch.equal(mine.cpu(), theirs.cpu()):
            raise UsageError(f"A and B are given different {name}", hint="both have to read the same")


def _require_common(groups: Sequence[Group], a: Running, b: Running) -> None:
    if not any(group.a and group.b and group.first.section not in ("control", "layout") for group in groups):
        raise InspectorError(
            f"{b.info.name} has no stage in common with {a.info.name}",
            why="nothing can be compared",
            hint="`inspector shapes` shows which stages each of them has",
        )


def _coarser(one: Side, two: Side) -> bool:
    return torch.finfo(one.arithmetic[0]).eps > torch.finfo(two.arithmetic[0]).eps


def _rows(judge: Judge, groups: Sequence[Group]) -> list[AgainstRow]:
    """Run the side that gives the inputs once more, and judge each group as soon as its tensors are there."""
    side = judge.held_side
    raw, records = side.plan.raw, []
    rows: dict[int, AgainstRow] = {}
    live: list[int] = []
    for number, group in enumerate(groups):
        values = judge.needed(group)
        if not values:
            rows[number] = judge.row(group, {})
            continue
        ends = [side.plan.run.seen.order[op] for op in judge.after(group, values)]
        records.append((ends, [raw[value] for value in values]))
        live.append(number)

    def whole(place: int, held: Mapping[int, Tensor]) -> None:
        group = groups[live[place]]
        rows[live[place]] = judge.row(group, {value: held[raw[value]] for value in judge.needed(group)})

    watcher = Again(side.running.module, side.plan.run.watcher, wanted(side.plan.run.watcher, records), whole)
    with torch.no_grad():
        run_again(side.running.module, side.running.inputs(), watcher)
    return [rows[number] for number in sorted(rows)]
