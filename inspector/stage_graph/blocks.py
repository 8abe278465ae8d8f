"""Blocks that are equal as graphs, and the pattern they repeat in."""

from __future__ import annotations

__all__ = ["Block", "FoldedGraph", "fold_graph"]

from collections.abc import Sequence
from dataclasses import dataclass

from inspector.folding import Group, fold, text
from inspector.stage_graph.masks import describe
from inspector.stage_graph.stages import Stage, StageGraph


@dataclass(frozen=True, slots=True)
class Block:
    """One kind of block inside one folded group. layers: the numbers of all blocks of that kind in the group."""

    kind: int
    name: str
    layers: tuple[int, ...]

    @property
    def span(self) -> str:
        """`3`, `0-11` or, with a step, `0-40:2`."""
        first, last = self.layers[0], self.layers[-1]
        if first == last:
            return str(first)
        step = self.layers[1] - first
        return f"{first}-{last}" if step == 1 else f"{first}-{last}:{step}"


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
    return ("outside", source.name, graph.naming.flow.through(value, ("plumb", "view")), graph.trace.symbols[value])


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
    for stage in stages:
        if stage.path in ("attention.mask", "attention.fused"):
            known = (graph.trace.concrete.get(value) for value in stage.inputs)
            kinds = [describe(contents).kind for contents in known if contents is not None and len(contents.shape) > 2]
            if kinds:
                return kinds[0]
    return ""
