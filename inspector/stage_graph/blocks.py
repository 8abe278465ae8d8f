"""Blocks that are equal as graphs, and the pattern they repeat in."""

from __future__ import annotations

__all__ = ["Block", "FoldedGraph", "fold_graph"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from inspector.folding import Group, fold, text
from inspector.stage_graph.mask_stage import mask_kind
from inspector.stage_graph.spans import span
from inspector.stage_graph.stages import Stage, StageGraph


@dataclass(frozen=True)
class Block:
    """One kind of block inside one folded group. layers: the numbers of all blocks of that kind in the group."""

    kind: int
    name: str
    layers: tuple[int, ...]

    @cached_property
    def span(self) -> str:
        """`3`, `0-11`, with a step `0-40:2`, in several runs `0-4,6-10`."""
        return span(self.layers)


@dataclass(frozen=True)
class FoldedGraph:
    """A stage graph with its equal blocks folded.

    groups: runs and patterns in order; blocks: for each group its distinct positions. pattern: all of it in words.
    """

    graph: StageGraph
    groups: tuple[Group, ...]
    blocks: tuple[tuple[Block, ...], ...]
    pattern: str

    def stages(self, layer: int | None) -> list[Stage]:
        return [stage for stage in self.graph.stages if stage.layer == layer]


def fold_graph(graph: StageGraph) -> FoldedGraph:
    """Fold blocks with equal stages, shapes, numbers and wiring; nothing else tells two blocks apart."""
    layers: list[list[Stage]] = [[] for _ in range(graph.layers)]
    for stage in graph.stages:
        if stage.layer is not None:
            layers[stage.layer].append(stage)
    classes, groups = fold([_signature(graph, stages) for stages in layers])
    names = _names(graph, layers, classes)
    blocks = tuple(tuple(_blocks(group, names)) for group in groups)
    return FoldedGraph(graph, tuple(groups), blocks, text(groups, names))


def _blocks(group: Group, names: Sequence[str]) -> list[Block]:
    """One `Block` per place in the pattern; equal neighbours in it are one."""
    found: list[tuple[int, list[int]]] = []
    for place, kind in enumerate(group.pattern):
        layers = [group.start + place + turn * len(group.pattern) for turn in range(group.repeats)]
        if found and found[-1][0] == kind:
            found[-1][1].extend(layers)
        else:
            found.append((kind, layers))
    return [Block(kind, names[kind], tuple(sorted(layers))) for kind, layers in found]


def _signature(graph: StageGraph, stages: Sequence[Stage]) -> tuple[object, ...]:
    place = {stage.index: number for number, stage in enumerate(stages)}
    return tuple([_stage_signature(graph, stage, place) for stage in stages])


def _stage_signature(graph: StageGraph, stage: Stage, place: dict[int, int]) -> tuple[object, ...]:
    trace = graph.trace
    calls = tuple([(op.name, op.attributes) for op in graph.ops(stage)])
    shapes = tuple([trace.symbols[value] for value in (*stage.parameters, *stage.outputs)])
    sources = tuple([_source(graph, value, place) for value in stage.inputs])
    return stage.path, stage.operand, stage.also, calls, shapes, sources


def _source(graph: StageGraph, value: int, place: dict[int, int]) -> tuple[object, ...]:
    """Where an input comes from, in terms that are the same for equal blocks."""
    if value in graph.naming.trunk:
        maker = graph.maker.get(value)
        return ("stream",) if maker is None or maker not in place else ("inside", place[maker])
    maker = graph.maker.get(value)
    if maker is None:
        return ("input", graph.trace.values[value].kind)
    if maker in place:
        return ("inside", place[maker])
    source = graph.stages[maker]
    if source.layer is not None:
        return ("earlier", source.name)
    return ("outside", source.name, _origin(graph, value), graph.trace.symbols[value])


def _origin(graph: StageGraph, value: int) -> tuple[object, ...]:
    """What a value from outside the blocks is: its contents where they are known, and how it was computed.

    A table that every block computes for itself, or keeps a copy of, is the same table; a sliding and a full mask that
    happen to hide the same few tokens are not the same mask.
    """
    known = graph.trace.concrete.get(value)
    return (known.digest if known else "", _recipe(graph, value, graph.recipes))


def _recipe(graph: StageGraph, value: int, seen: dict[int, int]) -> int:
    """A hash of the calls that make a value, for comparison within one process."""
    if value not in seen:
        record = graph.trace.values[value]
        op = graph.naming.flow.maker(value)
        if op is None or graph.naming.flow.on_act(value):
            seen[value] = hash((record.kind, record.shape, record.dtype))
        else:
            inputs = tuple([_recipe(graph, item, seen) for item in op.inputs])
            seen[value] = hash((op.name, op.attributes, inputs))
    return seen[value]


def _names(graph: StageGraph, layers: Sequence[Sequence[Stage]], classes: Sequence[int]) -> list[str]:
    """What each class of block is called: by what tells the classes apart, and only that."""
    examples = [layers[classes.index(kind)] for kind in range(max(classes, default=-1) + 1)]
    words = [_words(graph, stages) for stages in examples]
    telling = [column for column in range(len(words[0]) if words else 0) if len({row[column] for row in words}) > 1]
    return [" ".join(word for column in telling if (word := row[column])) for row in words]


def _words(graph: StageGraph, stages: Sequence[Stage]) -> tuple[str, str, str, str]:
    """(how tokens are mixed, which mask, whether positions enter, which feed-forward) of a block."""
    sections = {stage.section for stage in stages}
    rope = "rope" if any(stage.role == "rope" for stage in stages) else "nope"
    mixer = "ssm" if "ssm" in sections else "attention" if "attention" in sections else "none"
    feed = "moe" if "moe" in sections else "dense" if "mlp" in sections else ""
    return mixer, _mask_word(graph, stages), rope, feed


def _mask_word(graph: StageGraph, stages: Sequence[Stage]) -> str:
    kinds = [mask_kind(graph, stage) for stage in stages if stage.path in ("attention.mask", "attention.fused")]
    return next((kind.kind for kind in kinds if kind is not None), "")
