"""Which values of two implementations are one quantity: what leaves a pair of stages, and what enters it."""

from __future__ import annotations

__all__ = ["Flow", "Wire", "flow_of"]

from collections.abc import Sequence
from typing import NamedTuple

from inspector.stage_graph.stages import Stage
from inspector.verification.against.groups import Group, groups_of, ordered
from inspector.verification.against.reordered import reordered
from inspector.verification.against.sides import Side


class Wire(NamedTuple):
    """An input of a group: the value on each side, None where a side has none. crossed: they come from other places."""

    a: int | None
    b: int | None
    crossed: str = ""


class Flow:
    """Pairs values by structure alone; no number is looked at, so that none can hide that two were exchanged."""

    def __init__(self, a: Side, b: Side, groups: Sequence[Group]) -> None:
        self.sides = a, b
        self._groups = groups
        self._home: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for number, group in enumerate(groups):
            for side, stages in enumerate((group.a, group.b)):
                self._home[side].update({stage.index: number for stage in stages})
        self.partner: dict[int, int] = {}
        """Value of B -> the value of A that it stands for."""
        for group in groups:
            if group.a and group.b and not (a.is_idle(group.a) and b.is_idle(group.b)):
                self.partner |= {two: one for one, two in self.outputs(group)}
        for group in groups:
            self._through(group)

    def outputs(self, group: Group) -> list[tuple[int, int]]:
        """(value of A, value of B) of what the group hands on: by who reads it, else in order."""
        left = [side.leaving(stages) for side, stages in zip(self.sides, group[:2], strict=True)]
        found: list[tuple[int, int]] = []
        for key in (self._readers, None):
            for one in list(left[0]):
                mates = [two for two in left[1] if key is None or key(0, one) == key(1, two)]
                alike = [other for other in left[0] if key is None or key(0, other) == key(0, one)]
                if mates and (key is None or len(mates) == len(alike) == 1):
                    found.append((one, mates[0]))
                    left[0].remove(one)
                    left[1].remove(mates[0])
        return found

    def inputs(self, group: Group) -> list[Wire]:
        """What enters the group, paired by where it comes from."""
        a, b = (side.entering(stages) for side, stages in zip(self.sides, group[:2], strict=True))
        left = list(a)
        pairs: dict[int, int | None] = {}
        wanted = {two: self.partner.get(self.behind(1, two)) for two in b}
        for two in b:
            one = next((one for one in left if self.behind(0, one) == wanted[two]), None)
            if one is not None:
                left.remove(one)
                pairs[two] = one
        wires = []
        for two in b:
            if two in pairs:
                wires.append(Wire(pairs[two], two))
                continue
            one = left.pop(0) if left else None
            wires.append(Wire(one, two, self._crossed(one, two, wanted[two])))
        return wires + [Wire(one, None, self._crossed(one, None, None)) for one in left]

    def behind(self, side: int, value: int) -> int:
        """The value behind stages that the other side does without: what stands alone is judged by itself."""
        of = self.sides[side]
        while value in of.graph.maker:
            stage = of.graph.stages[of.graph.maker[value]]
            group = self._groups[self._home[side][stage.index]]
            read = of.entering((stage,))
            if (group.a and group.b) or len(read) != 1 or value in of.concrete:
                break
            value = read[0]
        return value

    def _through(self, group: Group) -> None:
        """What a group hands on as it got it has the partner of what it got."""
        if not group.b or group.a:
            return
        for value in self.sides[1].leaving(group.b):
            behind = self.behind(1, value)
            if behind in self.partner:
                self.partner.setdefault(value, self.partner[behind])

    def _readers(self, side: int, value: int) -> frozenset[int]:
        """The groups that read a value; those of layout do not tell."""
        of = self.sides[side]
        inside = of.graph.maker.get(value)
        homes = {of.graph.stage_of[user] for user in of.graph.naming.flow.users[value]} - {inside}
        return frozenset(self._home[side][stage] for stage in homes)

    def _crossed(self, one: int | None, two: int | None, wanted: int | None) -> str:
        """What to say of inputs that do not come from the same place; "" where that was said elsewhere."""
        a, b = self.sides
        if two is None:
            behind = self.behind(0, one) if one is not None else None
            known = behind in self.partner.values()
            return f"B does not read {a.origin(one)}" if one is not None and known else ""
        if wanted is None:
            return ""  # its maker has no partner, and is named for that
        expected = "nothing" if one is None else a.origin(self.behind(0, one))
        return f"it reads {b.origin(self.behind(1, two))} where A reads {expected}"


_NORMS = frozenset({"norm", "post_norm"})


def flow_of(a: Side, b: Side) -> tuple[list[Group], Flow]:
    """The stages of both sides in groups, and what flows between them.

    Two stages that were left over do one job where they read one and the same value: a norm stays that norm when what
    follows it makes it count to another block.
    """
    groups = ordered(reordered(groups_of(a, b), a, b), b)
    flow = Flow(a, b, groups)
    alone = [[group for group in groups if not group.b], [group for group in groups if not group.a]]
    for one in alone[0]:
        mate = next((two for two in alone[1] if two in groups and _same_job(flow, one.a[0], two.b[0])), None)
        if mate is not None:
            groups = [group for group in groups if group not in (one, mate)]
            groups.append(Group(one.a, mate.b, "", "the same job, on the same value"))
    groups = ordered(_settled(a, b, ordered(groups, b)), b)
    return groups, Flow(a, b, groups)


def _settled(a: Side, b: Side, groups: list[Group]) -> list[Group]:
    """Joined heads together with who reads them, where one side puts batch and tokens into one axis.

    In which order it does shows only when they are apart again.
    """
    flow = Flow(a, b, groups)
    for group in groups:
        if not (group.a and group.b) or not all(stage.role == "merge_heads" for stage in (*group.a, *group.b)):
            continue
        pairs = flow.outputs(group)
        if len(pairs) == 1 and _is_flat(a, pairs[0][0]) != _is_flat(b, pairs[0][1]):
            reader = next(
                (
                    other
                    for other in groups
                    if other.first.path == f"{group.first.section}.o_proj" and other.first.layer == group.first.layer
                ),
                None,
            )
            if reader is not None and reader.a and reader.b:
                both = Group(
                    (*group.a, *reader.a), (*group.b, *reader.b), "", "batch and tokens are one axis on one side"
                )
                groups = [other for other in groups if other not in (group, reader)] + [both]
    return groups


def _is_flat(side: Side, value: int) -> bool:
    """Whether batch and tokens are one axis."""
    scenario = side.running.scenario
    return scenario.batch * scenario.seq in side.shape(value)[:1]


def _same_job(flow: Flow, one: Stage, two: Stage) -> bool:
    alike = one.path == two.path or {one.role, two.role} <= _NORMS
    if not alike or one.section in ("control", "layout", "mask"):
        return False
    read = [side.entering((stage,)) for side, stage in zip(flow.sides, (one, two), strict=True)]
    if [len(values) for values in read] != [1, 1]:
        return False
    return flow.partner.get(flow.behind(1, read[1][0])) == flow.behind(0, read[0][0])
