"""What all fact functions look at: one trace as a folded graph, with each kind of block looked at once."""

from __future__ import annotations

__all__ = ["Kind", "Scene", "Seen", "Unseen"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from inspector.records import Op, Plain, Trace
from inspector.roles import infer
from inspector.roles.norms import Norm
from inspector.roles.rope import Rope
from inspector.stage_graph import FoldedGraph, Stage, build, fold_graph


class Seen(NamedTuple):
    """One thing that one kind of block (or a part outside the blocks) shows.

    place: the kind of block, or the section of a part outside of them, or None for the model as a whole.
    """

    id: str
    value: Plain
    ops: tuple[int, ...] = ()
    place: Kind | str | None = None
    formula: str = ""
    unit: str = ""


class Unseen(NamedTuple):
    """A fact that stays open, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of block: what its first block is made of stands for all of them."""

    number: int
    layers: tuple[int, ...]
    stages: tuple[Stage, ...]


class Scene:
    """One trace, ready to be asked."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.graph = build(trace, infer(trace))
        self.folded: FoldedGraph = fold_graph(self.graph)
        self.naming, self.flow = self.graph.naming, self.graph.naming.flow
        self.kinds = _kinds(self.folded)
        self.outside = tuple(stage for stage in self.graph.stages if stage.layer is None)

    # stages

    def stages(self, place: Kind | None, *paths: str) -> list[Stage]:
        """The stages of a kind (None: outside the blocks) that play one of these parts."""
        among = self.outside if place is None else place.stages
        return [stage for stage in among if stage.path in paths]

    def has(self, place: Kind | None, *paths: str) -> bool:
        return bool(self.stages(place, *paths))

    def sections(self, kind: Kind) -> set[str]:
        return {stage.section for stage in kind.stages}

    def where(self, section: str) -> Iterator[Kind]:
        """The kinds that have this section."""
        return (kind for kind in self.kinds if section in self.sections(kind))

    def ops(self, stages: Iterable[Stage]) -> list[Op]:
        """The ops that work, without idle calls."""
        return [op for stage in stages for op in self.graph.ops(stage) if op.effect != "noop"]

    def ids(self, stages: Iterable[Stage]) -> tuple[int, ...]:
        return tuple(op.id for op in self.ops(stages))

    # idioms

    @cached_property
    def _norm_at(self) -> dict[int, Norm]:
        return {op: norm for norm in self.naming.norms for op in norm.ops}

    @cached_property
    def _rope_at(self) -> dict[int, Rope]:
        return {op: rope for rope in self.naming.ropes for op in rope.ops}

    def norms(self, stages: Iterable[Stage]) -> list[Norm]:
        found = (self._norm_at.get(op) for stage in stages for op in stage.ops)
        return list(dict.fromkeys(norm for norm in found if norm is not None))

    def ropes(self, stages: Iterable[Stage]) -> list[Rope]:
        found = (self._rope_at.get(op) for stage in stages for op in stage.ops)
        return list(dict.fromkeys(rope for rope in found if rope is not None))

    def rotates(self, op: int) -> bool:
        return op in self._rope_at

    # values

    def shape(self, value: int) -> tuple[int, ...]:
        return self.trace.values[value].shape

    def channels(self, value: int) -> int:
        """The size of the axis that holds the features of one token: the last one that follows no input."""
        shape = self.shape(value)
        symbols = self.trace.symbols[value] if self.trace.symbols else ()
        fixed = [size for size, symbol in zip(shape, symbols, strict=False) if symbol.isdigit()]
        return fixed[-1] if fixed else shape[-1]

    def number(self, value: int) -> float | None:
        """The one number that a tensor holds, where it is known."""
        known = self.trace.concrete.get(value)
        return float(known.values[0]) if known is not None and known.kept and len(known.values) == 1 else None

    def weighed_behind(self, value: int) -> set[int]:
        """The nearest products with weights that a value on the activation plane is made of."""
        found, seen, todo = set[int](), {value}, [value]
        while todo:
            maker = self.flow.maker(todo.pop())
            if maker is None:
                continue
            if self.flow.weighted[maker.id]:
                found.add(maker.id)
                continue
            new = [item for item in self.flow.act_inputs(maker) if item not in seen]
            seen.update(new)
            todo.extend(new)
        return found

    def control(self, start: Iterable[int], most: int = 200) -> Iterator[int]:
        """Values off the activation plane that `start` is made of, nearest first."""
        todo = [value for value in start if not self.flow.on_act(value)]
        seen = set(todo)
        for value in todo[:]:
            yield value
        while todo and len(seen) < most:
            maker = self.flow.maker(todo.pop(0))
            for value in maker.inputs if maker is not None else ():
                if value not in seen and not self.flow.on_act(value):
                    seen.add(value)
                    todo.append(value)
                    yield value

    def said(self, ops: Sequence[int], most: int = 3) -> str:
        """Which parts the ops play, and which functions they are: `attention.scale: mul`."""
        calls: dict[str, dict[str, None]] = {}
        for index in ops:
            kind = self.flow.kind[index]
            path = self.naming.parts[index].path
            names = calls.setdefault(path, {})
            if kind not in ("plumb", "view") or self.naming.parts[index].section == "layout":
                names[self.trace.ops[index].name] = None
        texts = [f"{path}: {' '.join(_short(list(names)))}" if names else path for path, names in calls.items()]
        return ", ".join(_short(texts, most))


def _short(items: list[str], most: int = 6) -> list[str]:
    return items if len(items) <= most else [*items[:most], "..."]


_WORKING = frozenset({"attention", "cross_attention", "mlp", "moe", "ssm"})
"""What a block does. Code that does it without a residual stream is looked at as one block of no layer."""


def _kinds(folded: FoldedGraph) -> tuple[Kind, ...]:
    layers: dict[int, list[int]] = {}
    for blocks in folded.blocks:
        for block in blocks:
            layers.setdefault(block.kind, []).extend(block.layers)
    if not layers and any(stage.section in _WORKING for stage in folded.graph.stages):
        return (Kind(0, (), folded.graph.stages),)
    inside: dict[int, list[Stage]] = {}
    for stage in folded.graph.stages:
        if stage.layer is not None:
            inside.setdefault(stage.layer, []).append(stage)
    return tuple(
        Kind(kind, tuple(sorted(numbers)), tuple(inside.get(min(numbers), ())))
        for kind, numbers in sorted(layers.items())
    )
