"""Stages: the connected ops that play one part in one layer. The unit of tables, graphs, diffs and checks."""

from __future__ import annotations

__all__ = ["Edge", "Stage", "StageGraph", "build"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from inspector.records import Op, Trace
from inspector.roles import Naming
from inspector.roles.flow import Flow
from inspector.vocabulary import SECTIONS

if TYPE_CHECKING:
    from inspector.roles.norms import Norm
    from inspector.roles.rope import Rope
    from inspector.stage_graph.lanes import Turned

_BEFORE_BLOCKS = ("embedding", "positions", "mask", "control")


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of one layer.

    index: its place in reading order. inputs, outputs: value ids that cross its border, weights apart.
    parameters: value ids of the weights it reads, buffers among them.
    """

    index: int
    path: str
    operand: str
    layer: int | None
    also: tuple[str, ...]
    ops: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: tuple[int, ...]

    @property
    def section(self) -> str:
        return self.path.partition(".")[0]

    @property
    def role(self) -> str:
        return self.path.partition(".")[2] or self.path

    @property
    def name(self) -> str:
        """Role path with its operand: `attention.rope.k`."""
        return f"{self.path}.{self.operand}" if self.operand else self.path


class Edge(NamedTuple):
    """Value `value` flows from stage `source` to stage `target`."""

    source: int
    target: int
    value: int


@dataclass(frozen=True)
class StageGraph:
    """The stages of one trace in reading order, and what flows between them."""

    trace: Trace
    naming: Naming
    stages: tuple[Stage, ...]
    stage_of: dict[int, int]  # op id -> index of its stage

    @cached_property
    def maker(self) -> dict[int, int]:
        """Value id -> index of the stage that makes it."""
        return {value.id: self.stage_of[value.producer] for value in self.trace.values if value.producer is not None}

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        return tuple(
            Edge(self.maker[value], stage.index, value)
            for stage in self.stages
            for value in stage.inputs
            if value in self.maker
        )

    @cached_property
    def recipes(self) -> dict[int, int]:
        """What is known of how values off the activation plane are made; filled as it is asked for."""
        return {}

    @cached_property
    def norm_of(self) -> dict[int, Norm]:
        """Op id -> the norm that it is part of."""
        return {op: norm for norm in self.naming.norms for op in norm.ops}

    @cached_property
    def rope_of(self) -> dict[int, Rope]:
        """Op id -> the rotation that it is part of."""
        return {op: rope for rope in self.naming.ropes for op in rope.ops}

    @cached_property
    def turns(self) -> dict[object, Turned | None]:
        """What rotations do that are written alike; filled as it is asked for."""
        return {}

    @property
    def layers(self) -> int:
        return max((stage.layer + 1 for stage in self.stages if stage.layer is not None), default=0)

    def ops(self, stage: Stage) -> list[Op]:
        return [self.trace.ops[index] for index in stage.ops]

    def ops_around(self, shown: Iterable[Stage]) -> list[int]:
        """The ops of these stages, and of a layer not among them where nothing else reads what one of them makes.

        A block may build its mask for itself: what its axes are is told by the block that reads it.
        """
        stages = list(shown)
        layers = {stage.layer for stage in stages}
        readers: dict[int, set[int]] = {}
        for edge in self.edges:
            if (layer := self.stages[edge.target].layer) is not None:
                readers.setdefault(edge.source, set()).add(layer)
        read_by = (readers.get(stage.index, set()) for stage in stages if stage.layer is None)
        beside = {min(read) for read in read_by if read and read.isdisjoint(layers)}
        stages += [stage for stage in self.stages if stage.layer in beside]
        return list(dict.fromkeys(op for stage in stages for op in stage.ops))

    def op_text(self, stage: Stage) -> str:
        """The functions it calls, in order, without plumbing: `addmm`; `view transpose` where views are all it does."""
        kind = self.naming.flow.kind
        live = [op for op in self.ops(stage) if op.effect != "noop"]
        names = [op.name for op in live if kind[op.id] not in ("plumb", "view")]
        names = names or [op.name for op in live if kind[op.id] == "view"] or [op.name for op in self.ops(stage)]
        return " ".join(name for name, _ in groupby(names))

    def module(self, stage: Stage) -> str:
        """Where the work of a stage is done: the module of its weights' ops, else what all its ops share."""
        ops = [op for op in self.ops(stage) if op.effect == "" or len(stage.ops) == 1] or self.ops(stage)
        return _common([op.module for op in ops])


def _common(paths: Sequence[str]) -> str:
    """The longest path that all of `paths` lie under."""
    if len(set(paths)) == 1:
        return paths[0]
    split = [path.split(".") for path in paths]
    shared = 0
    while all(len(parts) > shared for parts in split) and len({parts[shared] for parts in split}) == 1:
        shared += 1
    return ".".join(split[0][:shared])


def build(trace: Trace, naming: Naming) -> StageGraph:
    """Gather the ops of `trace` into stages."""
    groups = _connected(trace, naming)
    reads = [_read(naming.flow, group) for group in groups]
    weights = {value.id for value in trace.values if value.kind in ("parameter", "buffer", "constant")}
    order = _reading_order(naming, groups, reads)
    stages = tuple(_stage(naming, index, groups[place], reads[place], weights) for index, place in enumerate(order))
    stage_of = {op: stage.index for stage in stages for op in stage.ops}
    return StageGraph(trace, naming, stages, stage_of)


def _reading_order(naming: Naming, groups: Sequence[list[int]], reads: Sequence[list[int]]) -> list[int]:
    """What feeds a stage comes before it; of what is ready, embeddings, tables and masks first, then what ran first."""
    home = {op: place for place, group in enumerate(groups) for op in group}
    producer = naming.flow.producer
    feeds: list[set[int]] = [set() for _ in groups]
    waits = [0] * len(groups)
    for place, read in enumerate(reads):
        for value in read:
            made = producer[value]
            if made is not None and place not in feeds[home[made]]:
                feeds[home[made]].add(place)
                waits[place] += 1
    priorities = [_priority(naming, group[0]) for group in groups]
    ready = [(priority, place) for place, priority in enumerate(priorities) if not waits[place]]
    heapify(ready)
    left = dict.fromkeys(sorted(range(len(groups)), key=priorities.__getitem__))
    order: list[int] = []
    while left:
        # Two stages may wait for each other where their ops are interleaved; the one that began first goes first.
        place = heappop(ready)[1] if ready else next(iter(left))
        if place not in left:
            continue
        del left[place]
        order.append(place)
        for after in feeds[place]:
            waits[after] -= 1
            if not waits[after]:
                heappush(ready, (priorities[after], after))
    return order


def _priority(naming: Naming, first: int) -> tuple[int, int, int]:
    part = naming.parts[first]
    if part.layer is None and part.section in _BEFORE_BLOCKS:
        return (0, list(SECTIONS).index(part.section), first)
    return (1, 0, first)


def _connected(trace: Trace, naming: Naming) -> list[list[int]]:
    """Ops with one part that hang together, in order of their first op."""
    root = list(range(len(trace.ops)))
    keys = [_key(naming, op) for op in range(len(trace.ops))]

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    def join(one: int, two: int) -> None:
        one, two = find(one), find(two)
        root[max(one, two)] = min(one, two)

    flow = naming.flow
    for op in trace.ops:
        for value in flow.inputs[op.id]:
            producer = flow.producer[value]
            if producer is None and op.effect == "noop":  # an idle call on a leaf hangs on to whoever reads the leaf
                producer = next((user for user in flow.users[value] if keys[user] == keys[op.id]), None)
            if producer is not None and keys[producer] == keys[op.id]:
                join(producer, op.id)
    first: dict[tuple[str, str, int | None], int] = {}
    for index, key in enumerate(keys):
        if key[0].startswith("control."):  # odds and ends: one stage for all of a kind
            join(first.setdefault(key, index), index)
    groups: dict[int, list[int]] = {}
    for index in range(len(trace.ops)):
        groups.setdefault(find(index), []).append(index)
    return list(groups.values())


def _key(naming: Naming, op: int) -> tuple[str, str, int | None]:
    part = naming.parts[op]
    return part.path, part.operand, part.layer


def _stage(naming: Naming, index: int, group: list[int], read: list[int], weights: set[int]) -> Stage:
    """read: values that enter from outside. weights: all parameters, buffers and constants of the model."""
    part = naming.parts[group[0]]
    also = tuple(dict.fromkeys([role for op in group for role in naming.parts[op].also]))
    return Stage(
        index=index,
        path=part.path,
        operand=part.operand,
        layer=part.layer,
        also=also,
        ops=tuple(group),
        inputs=tuple([value for value in read if value not in weights]),
        outputs=_leaving(naming, group),
        parameters=tuple([value for value in read if value in weights]),
    )


def _read(flow: Flow, group: list[int]) -> list[int]:
    """Values that enter from outside, in the order in which the last op reads them: queries before keys."""
    inputs = flow.inputs
    makers = {value: index for index in group if flow.live[index] for value in flow.ops[index].outputs}
    found: list[int] = []
    seen: set[int] = set()
    for last in reversed(group):
        stack = [*reversed(inputs[last])]
        while stack:
            value = stack.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in makers:
                stack.extend(reversed(inputs[makers[value]]))
            else:
                found.append(value)
    return found


def _leaving(naming: Naming, group: list[int]) -> tuple[int, ...]:
    """Values that are read outside the stage, or that the model returns; a stage of idle calls hands on what it got."""
    flow, inside = naming.flow, set(group)
    values = dict.fromkeys([value for index in group for value in flow.ops[index].outputs])
    left = [value for value in values if value in flow.leaving or not inside.issuperset(flow.users[value])]
    return tuple(left or list(values)[-1:])
