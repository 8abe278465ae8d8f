"""From a trace to the comparable graph: nodes of the folded stages, and every edge of every layer laid on them."""

from __future__ import annotations

__all__ = ["folded_record", "record_of"]

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import prod

from inspector.costs import total_flops
from inspector.folding import text
from inspector.records import Trace
from inspector.roles import infer
from inspector.stage_graph.attributes import attributes
from inspector.stage_graph.axes import AxisNames
from inspector.stage_graph.blocks import Block, FoldedGraph, fold_graph
from inspector.stage_graph.calls import calls, exact
from inspector.stage_graph.patterns import numbers, pattern
from inspector.stage_graph.record import GraphBlock, GraphEdge, GraphNode, GraphOutput, GraphRecord
from inspector.stage_graph.stages import Stage, build
from inspector.stage_graph.tensors import TensorView, Views


def folded_record(trace: Trace) -> GraphRecord:
    """The graph of a trace, equal blocks folded.

    >>> from inspector.records import ModelInfo, Scenario
    >>> folded_record(Trace(ModelInfo("none", None, "None", 0, 0), Scenario(), (), (), (), ())).nodes
    ()
    """
    return record_of(fold_graph(build(trace, infer(trace))))


def record_of(folded: FoldedGraph) -> GraphRecord:
    """The same of a graph that is folded already."""
    maker = _Maker(folded)
    trace = folded.graph.trace
    nodes = maker.nodes()
    return GraphRecord(
        model=trace.model,
        scenario=trace.scenario,
        nodes=nodes,
        edges=maker.edges(),
        blocks=maker.blocks,
        outputs=maker.outputs(),
        axes=maker.views.constants(),
        pattern=folded.pattern,
        claims=trace.claims,
        notes=trace.notes,
        tool=trace.tool,
    )


class _Maker:
    """Which stage stands for which, and what is read off them."""

    def __init__(self, folded: FoldedGraph) -> None:
        self._folded, self._graph = folded, folded.graph
        self._blocks = [(block, group) for group, blocks in enumerate(folded.blocks) for block in blocks]
        self._home = {layer: index for index, (block, _) in enumerate(self._blocks) for layer in block.layers}
        self._layers: dict[int, list[Stage]] = {}
        for stage in self._graph.stages:
            if stage.layer is not None:
                self._layers.setdefault(stage.layer, []).append(stage)
        self._shown = [stage for stage in self._graph.stages if self._is_first(stage)]
        self._ids = self._named()
        self.views = Views(self._graph, AxisNames(self._graph, self._graph.ops_around(self._shown)))
        self._places: dict[tuple[str, int], dict[int, int]] = {}

    # which stage stands for which

    def _is_first(self, stage: Stage) -> bool:
        return stage.layer is None or stage.layer == self._block(stage.layer).layers[0]

    def _block(self, layer: int) -> Block:
        return self._blocks[self._home[layer]][0]

    def _mates(self, stage: Stage) -> list[Stage]:
        """The stage in every layer of its block: equal blocks have equal stages in equal order."""
        if stage.layer is None:
            return [stage]
        place = self._layers[stage.layer].index(stage)
        return [self._layers[layer][place] for layer in self._block(stage.layer).layers]

    def _named(self) -> dict[int, str]:
        """Index of every stage, folded away or not -> id of its node."""
        seen: Counter[str] = Counter()
        ids: dict[int, str] = {}
        for stage in self._shown:
            layers = self._block(stage.layer).span if stage.layer is not None else ""
            name = f"{layers.replace(':', '/') or 'model'}.{stage.section}.{stage.role}"
            name += f".{stage.operand}" if stage.operand else ""
            seen[name] += 1
            id = name if seen[name] == 1 else f"{name}.{seen[name]}"
            ids |= {mate.index: id for mate in self._mates(stage)}
        return ids

    @cached_property
    def _place(self) -> dict[str, int]:
        """Node id -> its place in reading order."""
        return {self._ids[stage.index]: number for number, stage in enumerate(self._shown)}

    # nodes

    @cached_property
    def blocks(self) -> tuple[GraphBlock, ...]:
        return tuple(
            GraphBlock(block.name, self._text(group), block.layers, self._numbers(block))
            for block, group in self._blocks
        )

    def _text(self, index: int) -> str:
        group, blocks = self._folded.groups[index], self._folded.blocks[index]
        if len(group.pattern) == 1:
            return f"{blocks[0].name} x{group.repeats}".strip()
        names = {block.kind: block.name for block in blocks}
        return text([group], [names.get(kind, "") for kind in range(max(names) + 1)])

    def _numbers(self, block: Block) -> tuple[str, ...]:
        """What numbers the layers of a block in the names of its modules: not the layer itself in every model."""
        first = self._layers[block.layers[0]]
        return numbers([self._graph.module(mate) for mate in self._mates(stage)] for stage in first)

    def nodes(self) -> tuple[GraphNode, ...]:
        return tuple(map(self._node, self._shown))

    def _node(self, stage: Stage) -> GraphNode:
        graph, mates = self._graph, self._mates(stage)
        home = None if stage.layer is None else self._home[stage.layer]
        numbered = () if home is None else self.blocks[home].numbers
        inputs = self._slots(stage, "inputs")
        return GraphNode(
            id=self._ids[stage.index],
            section=stage.section,
            role=stage.role,
            operand=stage.operand,
            layers=() if home is None else self.blocks[home].layers,
            block=home,
            also=stage.also,
            op=graph.op_text(stage),
            module=pattern([graph.module(mate) for mate in mates], numbered),
            calls=calls(graph, stage, inputs),
            inputs=self._renamed(self.views.inputs(stage.inputs), mates, inputs, numbered),
            outputs=tuple(view._replace(name="") for view in self.views.outputs(stage.outputs)),
            weights=self._weights(mates, numbered),
            parameters=self._elements(stage),
            flops=total_flops(graph.ops(stage), graph.trace).contraction,
            attributes=exact(attributes(graph, stage)),
        )

    def _renamed(
        self, views: Sequence[TensorView], mates: Sequence[Stage], slots: dict[int, int], numbered: Sequence[str]
    ) -> tuple[TensorView, ...]:
        """The views with `{}` for the layer in names of what enters the model: `past_key_values.layers.{}.keys`."""
        made = list(views)
        for position, value in enumerate(mates[0].inputs):
            view = made[slots[value]]
            if value not in self._graph.maker and view.name:
                names = [self.views.entered(mate.inputs[position]) for mate in mates]
                made[slots[value]] = view._replace(name=pattern(names, numbered))
        return tuple(made)

    def _weights(self, mates: Sequence[Stage], numbered: Sequence[str]) -> tuple[TensorView, ...]:
        values = self._graph.trace.values
        return tuple(
            view._replace(name=pattern([values[mate.parameters[index]].name or "" for mate in mates], numbered))
            for index, view in enumerate(self.views.weights(mates[0].parameters))
        )

    def _elements(self, stage: Stage) -> int:
        values = [self._graph.trace.values[value] for value in stage.parameters]
        return sum(prod(value.shape) for value in values if value.kind == "parameter")

    # edges

    def _slots(self, stage: Stage, side: str) -> dict[int, int]:
        """Value -> place among the inputs or outputs of the node."""
        key = (side, stage.index)
        if key not in self._places:
            self._places[key] = self.views.slots(getattr(stage, side))
        return self._places[key]

    def edges(self) -> tuple[GraphEdge, ...]:
        """What flows between the stages of every layer, laid on the nodes that stand for them."""
        found: dict[tuple[str, str, int, int, bool, bool], list[tuple[int | None, int | None]]] = {}
        stages, trunk = self._graph.stages, self._graph.naming.trunk
        for edge in self._graph.edges:
            source, target = stages[edge.source], stages[edge.target]
            ends = (self._ids[source.index], self._ids[target.index])
            slots = (self._slots(source, "outputs")[edge.value], self._slots(target, "inputs")[edge.value])
            between = None not in (source.layer, target.layer) and source.layer != target.layer
            pairs = found.setdefault((*ends, *slots, edge.value in trunk, between), [])
            if (source.layer, target.layer) not in pairs[-1:]:
                pairs.append((source.layer, target.layer))
        place = self._place
        edges = [GraphEdge(*key, *_ends(pairs)) for key, pairs in found.items()]
        return tuple(sorted(edges, key=lambda edge: (place[edge.target], edge.input, place[edge.source], edge.output)))

    def outputs(self) -> tuple[GraphOutput, ...]:
        """What the model returns; the same tensor of every layer of a block under one name."""
        found: dict[tuple[str, int, int], list[tuple[int, str]]] = {}
        stages, turns = self._graph.stages, Counter[tuple[str, int, int | None]]()
        for name, value in self._graph.trace.outputs:
            if (index := self._graph.maker.get(value)) is None:
                continue
            stage = stages[index]
            node, slot = self._ids[index], self._slots(stage, "outputs")[value]
            turn = turns[node, slot, stage.layer]  # a tensor may be returned under several names
            turns[node, slot, stage.layer] += 1
            found.setdefault((node, slot, turn), []).append((-1 if stage.layer is None else stage.layer, name))
        made = [output for key, returned in found.items() for output in self._returned(*key[:2], returned)]
        return tuple(sorted(made, key=lambda output: (self._place[output.node], output.output)))

    def _returned(self, node: str, slot: int, returned: list[tuple[int, str]]) -> Iterable[GraphOutput]:
        layers = tuple(layer for layer, _ in returned if layer >= 0)
        if not layers:
            return [GraphOutput(name, node, slot, ()) for _, name in returned]
        block = self.blocks[self._home[layers[0]]]
        common = pattern([name for _, name in returned], block.numbers)
        if layers == block.layers and "{}" in common:
            return [GraphOutput(common, node, slot, layers)]
        return [GraphOutput(name, node, slot, (layer,)) for layer, name in returned]


def _ends(pairs: Iterable[tuple[int | None, int | None]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Layers of the sources and of the targets, in order of the targets."""
    ordered = sorted(pairs, key=lambda pair: tuple(-1 if layer is None else layer for layer in reversed(pair)))
    sources, targets = zip(*ordered, strict=True)
    return tuple(s for s in sources if s is not None), tuple(t for t in targets if t is not None)
