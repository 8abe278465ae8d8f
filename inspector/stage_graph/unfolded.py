"""Layers of a folded graph one by one."""

from __future__ import annotations

__all__ = ["unfold"]

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from inspector.errors import UsageError
from inspector.stage_graph.patterns import filled
from inspector.stage_graph.record import GraphBlock, GraphEdge, GraphFact, GraphNode, GraphOutput, GraphRecord
from inspector.stage_graph.spans import span
from inspector.stage_graph.tensors import TensorView

OUTSIDE = -1


def unfold(record: GraphRecord, layers: Iterable[int] | Literal["all"] = "all") -> GraphRecord:
    """The same graph with the given layers as nodes of their own; what is left of their blocks stays folded.

    >>> from inspector.records import ModelInfo, Scenario
    >>> node = GraphNode("0-2.mlp.norm", "mlp", "norm", "", (0, 1, 2), 0, (), "", "h.{}", (), (), (), (), 0, 0)
    >>> block = GraphBlock("", "x3", (0, 1, 2), ("0", "1", "2"))
    >>> record = GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (node,), (), (block,))
    >>> [(node.id, node.module) for node in unfold(record, [1]).nodes]
    [('0-2/2.mlp.norm', 'h.{}'), ('1.mlp.norm', 'h.1')]
    """
    chosen = _chosen(record, layers)
    return _Unfolding(record, chosen).record() if chosen else record


def _chosen(record: GraphRecord, layers: Iterable[int] | Literal["all"]) -> frozenset[int]:
    """The layers to take out; those that stand alone already are left as they are."""
    there = {layer for block in record.blocks for layer in block.layers}
    asked = there if layers == "all" else {int(layer) for layer in layers}
    if missing := sorted(asked - there):
        has = f"it has {span(sorted(there))}" if there else "it has none"
        raise UsageError(f"{record.model.name} has no layer {span(missing)}", why=has)
    folded = (block.layers for block in record.blocks if len(block.layers) > 1)
    return frozenset(layer for layers in folded for layer in layers if layer in asked)


@dataclass(frozen=True)
class _Piece:
    """A part of a block of the folded graph: one layer taken out, or all that were not."""

    home: int
    layers: tuple[int, ...]
    block: GraphBlock


class _Unfolding:
    def __init__(self, record: GraphRecord, chosen: frozenset[int]) -> None:
        self._record, self._chosen = record, chosen

    def record(self) -> GraphRecord:
        edges = self._edges()
        first = {(edge.target, edge.input): edge for edge in sorted(edges, key=_first_target, reverse=True)}
        sources = {id: node.name for id, node in self._copies.items()}
        nodes = tuple(self._wired(node, first, sources) for node in self._copies.values())
        return replace(
            self._record,
            nodes=nodes,
            edges=edges,
            blocks=tuple(piece.block for piece in self._pieces),
            outputs=tuple(sorted(self._outputs(), key=lambda output: (self._place[output.node], output.output))),
            facts=self._facts(),
        )

    # blocks and nodes

    @cached_property
    def _pieces(self) -> list[_Piece]:
        return sorted(self._cut(), key=lambda piece: piece.layers)

    def _cut(self) -> Iterator[_Piece]:
        for home, block in enumerate(self._record.blocks):
            alone = [layer for layer in block.layers if layer in self._chosen]
            left = tuple(layer for layer in block.layers if layer not in self._chosen)
            for layers in [*((layer,) for layer in alone), left]:
                if layers == block.layers:
                    yield _Piece(home, layers, block)
                elif layers:
                    numbers = dict(zip(block.layers, block.numbers, strict=False))
                    kept = tuple(numbers[layer] for layer in layers) if numbers and len(layers) > 1 else ()
                    text = f"{block.name} x{len(layers)}".strip()
                    yield _Piece(home, layers, replace(block, text=text, layers=layers, numbers=kept))

    @cached_property
    def _copies(self) -> dict[str, GraphNode]:
        """New id -> node, in reading order: what stands outside stays before the block that it stood before."""
        ordered = []
        upcoming = float("inf")
        for place, node in reversed(list(enumerate(self._record.nodes))):
            if node.block is None:
                ordered.append(((upcoming, OUTSIDE, place), node))
                continue
            upcoming = node.layers[0]
            for index, piece in enumerate(self._pieces):
                if piece.home == node.block:
                    ordered.append(((piece.layers[0], index, place), self._copy(node, index, piece)))
        return {node.id: node for _, node in sorted(ordered, key=lambda entry: entry[0])}

    def _copy(self, node: GraphNode, index: int, piece: _Piece) -> GraphNode:
        made = replace(node, id=_id(node, piece.layers), layers=piece.layers, block=index)
        if len(piece.layers) > 1 or piece.layers == node.layers:
            return made
        number = self._number(piece)
        return replace(
            made,
            module=filled(node.module, number),
            inputs=tuple(view._replace(name=filled(view.name, number)) for view in node.inputs),
            weights=tuple(view._replace(name=filled(view.name, number)) for view in node.weights),
        )

    def _number(self, piece: _Piece) -> str | None:
        block = self._record.blocks[piece.home]
        return dict(zip(block.layers, block.numbers, strict=False)).get(piece.layers[0])

    def _wired(self, node: GraphNode, first: dict[tuple[str, int], GraphEdge], sources: dict[str, str]) -> GraphNode:
        """The node with its inputs named after what they come from in its own first layer."""
        inputs: list[TensorView] = []
        for place, view in enumerate(node.inputs):
            edge = first.get((node.id, place))
            inputs.append(view._replace(name=sources[edge.source]) if edge else view)
        return replace(node, inputs=tuple(inputs))

    # edges and outputs

    @cached_property
    def _place(self) -> dict[str, int]:
        return {id: number for number, id in enumerate(self._copies)}

    @cached_property
    def _ends(self) -> dict[tuple[str, int], str]:
        """(old id, layer) -> id of the node that now stands for it in that layer."""
        ends: dict[tuple[str, int], str] = {}
        for node in self._record.nodes:
            if node.block is None:
                ends[node.id, OUTSIDE] = node.id
            for piece in self._pieces:
                if piece.home == node.block:
                    ends |= dict.fromkeys(((node.id, layer) for layer in piece.layers), _id(node, piece.layers))
        return ends

    def _edges(self) -> tuple[GraphEdge, ...]:
        found: dict[tuple[str, str, int, int, bool, bool], list[tuple[int, int]]] = {}
        for edge in self._record.edges:
            for source, target in _pairs(edge):
                ends = self._ends[edge.source, source], self._ends[edge.target, target]
                found.setdefault((*ends, *edge[2:6]), []).append((source, target))
        place = self._place
        edges = [GraphEdge(*key, *_layers(pairs)) for key, pairs in found.items()]
        return tuple(sorted(edges, key=lambda edge: (place[edge.target], edge.input, place[edge.source], edge.output)))

    def _outputs(self) -> Iterator[GraphOutput]:
        for output in self._record.outputs:
            node = self._record.node(output.node)
            if node.block is None:
                yield output
                continue
            numbers = dict(zip(node.layers, self._record.blocks[node.block].numbers, strict=False))
            for piece in self._pieces:
                held = tuple(layer for layer in output.layers if layer in piece.layers and piece.home == node.block)
                if held:
                    number = numbers.get(held[0]) if len(piece.layers) == 1 else None
                    yield GraphOutput(filled(output.name, number), _id(node, piece.layers), output.output, held)

    def _facts(self) -> tuple[GraphFact, ...] | None:
        """The same facts, shown by the nodes that now stand for those that showed them."""
        if self._record.facts is None:
            return None
        now: dict[str, dict[str, None]] = {}
        for (id, _), copy in self._ends.items():
            now.setdefault(id, {})[copy] = None
        return tuple(fact._replace(nodes=tuple(n for id in fact.nodes for n in now[id])) for fact in self._record.facts)


def _id(node: GraphNode, layers: tuple[int, ...]) -> str:
    local = node.id.removeprefix(node.span.replace(":", "/"))
    return span(layers).replace(":", "/") + local


def _first_target(edge: GraphEdge) -> int:
    return edge.target_layers[0] if edge.target_layers else OUTSIDE


def _pairs(edge: GraphEdge) -> list[tuple[int, int]]:
    count = max(len(edge.source_layers), len(edge.target_layers), 1)
    sources = edge.source_layers or (OUTSIDE,) * count
    return list(zip(sources, edge.target_layers or (OUTSIDE,) * count, strict=True))


def _layers(pairs: list[tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ordered = sorted(pairs, key=lambda pair: pair[::-1])
    return tuple(s for s, _ in ordered if s != OUTSIDE), tuple(t for _, t in ordered if t != OUTSIDE)
