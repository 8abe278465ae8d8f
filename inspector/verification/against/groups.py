"""Which stages of two implementations do the same job: layer by layer, by the rules of the diff."""

from __future__ import annotations

__all__ = ["Group", "groups_of", "ordered"]

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inspector.alignment.align import align
from inspector.alignment.parts import Part as Plain
from inspector.alignment.parts import Scope
from inspector.alignment.parts import Side as Sheet
from inspector.stage_graph.stages import Stage
from inspector.verification.against.sides import Side

_CORE = frozenset(
    "scores scale softcap position_bias mask sink softmax dropout weighted_sum fused repeat_kv temperature".split()
)
"""What one attention kernel may do."""

_ESSENTIAL = frozenset({"scores", "softmax", "weighted_sum", "fused"})


class Group(NamedTuple):
    """Stages of A and of B that do one job. form: "kernel" where all of attention is compared in one."""

    a: tuple[Stage, ...]
    b: tuple[Stage, ...]
    form: str = ""
    reason: str = ""

    @property
    def first(self) -> Stage:
        return (self.a or self.b)[0]


def groups_of(a: Side, b: Side) -> list[Group]:
    """Every stage of both sides in one group, in topological order: that of A, what B has alone after what feeds it."""
    found: list[Group] = []
    for layer in (None, *range(max(a.graph.layers, b.graph.layers))):
        found += _layer(a, b, layer)
    return ordered(found, b)


def _layer(a: Side, b: Side, layer: int | None) -> list[Group]:
    """Stages of one layer are matched with those of the same layer, and those outside the blocks with one another."""
    sheets = [_sheet(side, layer, mark) for side, mark in ((a, "a"), (b, "b"))]
    matches = [match for _, _, found in align(*sheets) for match in found]
    groups = [Group(_stages(a, match.a), _stages(b, match.b), match.form, match.reason) for match in matches]
    for section in ("attention", "cross_attention"):
        groups = _one_kernel(groups, section)
    return _joined(groups, a, b)


def _sheet(side: Side, layer: int | None, mark: str) -> Sheet:
    stages = [stage for stage in side.graph.stages if stage.layer == layer]
    info, scenario = side.running.info, side.running.scenario
    parts = tuple(_part(side, stage, mark) for stage in stages)
    return Sheet(info, scenario, (Scope("block", parts),) if parts else ())


def _part(side: Side, stage: Stage, mark: str) -> Plain:
    """mark: tells the stages of the two sides apart, which are both counted from 0."""
    graph = side.graph
    feeds = {graph.stages[graph.maker[value]].name for value in stage.inputs if value in graph.maker}
    users = {user for value in stage.outputs for user in graph.naming.flow.users[value]} - set(stage.ops)
    return Plain(
        id=f"{mark}{stage.index}",
        path=stage.path,
        operand=stage.operand,
        also=stage.also,
        spelling=graph.op_text(stage),
        feeds=tuple(sorted(feeds)),
        readers=tuple(sorted({graph.stages[graph.stage_of[user]].name for user in users})),
        idle=all(op.effect == "noop" for op in graph.ops(stage)),
        ops=stage.ops,
    )


def _stages(side: Side, parts: Iterable[Plain]) -> tuple[Stage, ...]:
    return tuple(side.graph.stages[int(part.id[1:])] for part in parts)


def _one_kernel(groups: list[Group], section: str) -> list[Group]:
    """All of attention in one group, where the two sides cut it at other places."""
    core = [group for group in groups if _is_core(group, section)]
    if not _cut_otherwise(core):
        return groups
    a = tuple(sorted((stage for group in core for stage in group.a), key=lambda stage: stage.index))
    b = tuple(sorted((stage for group in core for stage in group.b), key=lambda stage: stage.index))
    rest = [group for group in groups if group not in core]
    return [*rest, Group(a, b, "kernel", "all of attention, which the two sides cut at other places")]


def _is_core(group: Group, section: str) -> bool:
    return all(stage.section == section and stage.role in _CORE for stage in (*group.a, *group.b)) and not (
        {stage.role for stage in (*group.a, *group.b)} <= {"dropout"}  # one stands after the output projection too
    )


def _cut_otherwise(core: Sequence[Group]) -> bool:
    """Whether a job of the one side is spread otherwise over stages of the other; one that is missing is not that."""
    sides = {stage.role for group in core for stage in group.a}, {stage.role for group in core for stage in group.b}
    if not all(_ESSENTIAL & roles for roles in sides):
        return False
    if ("fused" in sides[0]) != ("fused" in sides[1]):
        return True
    if any(
        {stage.role for stage in (*group.a, *group.b)} == {"repeat_kv"} for group in core if not (group.a and group.b)
    ):
        return True
    several = any(stage.also for group in core for stage in (*group.a, *group.b) if stage.role != "fused")
    alone = any(not group.a or not group.b for group in core)
    return any(group.form == "scale" for group in core) or (several and alone)


def _joined(groups: list[Group], a: Side, b: Side) -> list[Group]:
    """Data movement that one side does in a stage of its own belongs to what it moves."""
    found = list(groups)
    for group in groups:
        side, stages = (a, group.a) if group.a else (b, group.b)
        if (group.a and group.b) or not all(_moves(side, stage) for stage in stages):
            continue
        makers = {side.graph.maker.get(value) for value in side.entering(stages)}
        home = next(
            (g for g in found if g is not group and makers & {s.index for s in (g.a if group.a else g.b)}), None
        )
        if home is not None and len(makers) == 1:
            found[found.index(home)] = _with(home, group)
            found.remove(group)
    return found


def _moves(side: Side, stage: Stage) -> bool:
    return stage.role in _MOVING and not all(op.effect == "noop" for op in side.graph.ops(stage))


_MOVING = frozenset({"split_heads", "merge_heads", "split_qkv", "split_up_gate"})


def _with(home: Group, group: Group) -> Group:
    a, b = (
        tuple(sorted((*one, *two), key=lambda stage: stage.index)) for one, two in zip(home[:2], group[:2], strict=True)
    )
    return home._replace(a=a, b=b, reason="data movement that one side does in a stage of its own")


def ordered(groups: Iterable[Group], b: Side) -> list[Group]:
    """In topological order; what the two sides have at two places stands at the first of them."""
    groups = list(groups)
    place = {stage.index: _last(group) for group in groups if group.a for stage in group.b}
    moved = {stage.index for group in groups if _is_moved(group) for stage in group.b}
    before: dict[int, float] = {}
    for stage in b.graph.stages:  # in reading order: what feeds a stage has its place
        makers = {b.graph.maker[value] for value in stage.inputs if value in b.graph.maker}
        before[stage.index] = max((place[maker] for maker in makers if maker in place), default=-1.0) + 0.001
        if stage.index in moved:
            place[stage.index] = min(place[stage.index], before[stage.index])
        place.setdefault(stage.index, before[stage.index])
    return sorted(groups, key=lambda group: _key(group, place))


def _last(group: Group) -> float:
    return float(max(stage.index for stage in group.a))


def _is_moved(group: Group) -> bool:
    return len(group.a) == len(group.b) == 1 and group.a[0].path != group.b[0].path


def _key(group: Group, place: dict[int, float]) -> tuple[float, int]:
    if group.a and not _is_moved(group):
        return _last(group), 0
    return max(place[stage.index] for stage in group.b), group.b[0].index
