"""The graph of a model as plain data: what is saved, exported and compared. Knows no trace and no torch."""

from __future__ import annotations

__all__ = ["Call", "GraphBlock", "GraphEdge", "GraphFact", "GraphNode", "GraphOutput", "GraphRecord"]

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from inspector.records import Claims, ModelInfo, Plain, Scenario
from inspector.stage_graph.spans import span
from inspector.stage_graph.tensors import TensorView


class Call(NamedTuple):
    """One call into torch inside a stage, with all that tells its maths.

    name: the function's canonical name (`linear`, `mul`). kind: "contract", "view", "plumb", "select", "join", "other".
    effect: "" fresh memory · "view" · "inplace" · "noop" (gave back what it got: idle dropout, a needless cast).
    operands: (argument, what it is): "input.0", "weight.1" (places in the node), "call.3" or "call.3.1" (an earlier
    call of the node, its second result).
    attributes: (argument, value), sorted, of what is not a tensor. Sizes that only repeat the shape of the result, and
    the device, are left out; a slice that ends with an axis that varies says so (("slice", 0, "S", None)); an infinity
    or NaN is the text "inf", "-inf", "nan".
    outputs: the symbolic shape of each result.
    """

    name: str
    kind: str
    effect: str
    operands: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Plain], ...]
    outputs: tuple[str, ...]

    def attribute(self, name: str, default: Plain = None) -> Plain:
        """One argument, or `default` when it was not given."""
        return next((value for key, value in self.attributes if key == name), default)


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One stage, standing for the equal ones in `layers`.

    id: unique and the same at every batch and sequence: layers, role path, operand ("0-11.attention.split_heads.q"),
        and a number where that is not enough. It is also the id of the row of the shapes table.
    layers: every layer it stands for, () outside the blocks. block: index into `GraphRecord.blocks`, or None.
    also: further roles that the same ops play. op: the functions it calls, without plumbing; calls: all of them.
    module, names of weights: `{}` where the number of the layer stands (see `GraphBlock.numbers`).
    inputs, outputs: tensors that cross its border; `dims` have text ("B", "768", "12·64"), axis letters and size. An
        input's name is where it comes from in the first layer; an output's is the model's own name of it, or "".
    weights: parameters and buffers it reads. parameters, flops: of one stage, not times `repeat`.
    attributes: the numbers that change its maths (`eps`, `factor`, `kind`), sorted by name.
    """

    id: str
    section: str
    role: str
    operand: str
    layers: tuple[int, ...]
    block: int | None
    also: tuple[str, ...]
    op: str
    module: str
    calls: tuple[Call, ...]
    inputs: tuple[TensorView, ...]
    outputs: tuple[TensorView, ...]
    weights: tuple[TensorView, ...]
    parameters: int
    flops: int
    attributes: tuple[tuple[str, Plain], ...] = ()

    @property
    def repeat(self) -> int:
        return max(len(self.layers), 1)

    @property
    def span(self) -> str:
        """The layers as text: "0-11", "0-40:2", "" outside the blocks."""
        return span(self.layers)

    @property
    def path(self) -> str:
        """`attention.rope`; `unknown` for ops without a role."""
        return self.section if self.role == self.section else f"{self.section}.{self.role}"

    @property
    def name(self) -> str:
        """Role path with its operand: `attention.rope.k`."""
        return f"{self.path}.{self.operand}" if self.operand else self.path

    def attribute(self, name: str, default: Plain = None) -> Plain:
        """One of the numbers that change its maths."""
        return next((value for key, value in self.attributes if key == name), default)


class GraphEdge(NamedTuple):
    """Output `output` of node `source` is input `input` of node `target`.

    stream: it is the residual stream. between: it goes from a layer to a later one; only these can close a cycle.
    source_layers, target_layers: for which layers of the two nodes it holds, pair by pair: () for a node outside the
    blocks. The stream from block to block of 12 layers has source_layers (0..10) and target_layers (1..11).
    """

    source: str
    target: str
    output: int
    input: int
    stream: bool
    between: bool
    source_layers: tuple[int, ...]
    target_layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphBlock:
    """One kind of block. name: what tells it from other kinds ("sliding"), "" when there is one kind.

    text: the pattern it repeats in ("x12", "[5 sliding, full] x8"). numbers: per layer, what `{}` stands for in
    module paths and names of weights; () where nothing carries a number.
    """

    name: str
    text: str
    layers: tuple[int, ...]
    numbers: tuple[str, ...] = ()


class GraphOutput(NamedTuple):
    """A tensor that the model returns: output `output` of `node` in `layers`. `{}` in the name as in modules."""

    name: str
    node: str
    output: int
    layers: tuple[int, ...]


class GraphFact(NamedTuple):
    """A fact that was found of the model, as it is kept with the graph.

    id, value, unit, layers, formula, claim, agrees, explained: as of a fact of the fact sheet. nodes: ids of those that
    show it.
    """

    id: str
    value: Plain
    unit: str = ""
    layers: str = ""
    nodes: tuple[str, ...] = ()
    formula: str = ""
    claim: tuple[str, Plain] | None = None
    agrees: bool | None = None
    explained: str = ""


@dataclass(frozen=True)
class GraphRecord:
    """The stages of one model in one scenario and what flows between them, equal blocks folded: the comparable object.

    >>> from inspector.records import ModelInfo, Scenario
    >>> info = ModelInfo("mine", None, "Mine", 0, 0)
    >>> up = GraphNode("mlp.up_proj", "mlp", "up_proj", "", (), None, (), "linear", "up", (), (), (), (), 0, 0)
    >>> act = GraphNode("mlp.activation", "mlp", "activation", "", (), None, (), "gelu", "act", (), (), (), (), 0, 0)
    >>> edge = GraphEdge("mlp.up_proj", "mlp.activation", 0, 0, False, False, (), ())
    >>> record = GraphRecord(info, Scenario(), (up, act), (edge,))
    >>> record.node("mlp.activation").op, [edge.source for edge in record.incoming["mlp.activation"]]
    ('gelu', ['mlp.up_proj'])

    nodes: in reading order. edges: by place of the target, its input, place of the source, its output.
    outputs: what the model returns, by place of the node.
    axes: (letter, size) of the constants found, as named by provenance. pattern: all blocks in words.
    facts: in reading order; None where nobody looked for them, which is not the same as none found.
    """

    model: ModelInfo
    scenario: Scenario
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    blocks: tuple[GraphBlock, ...] = ()
    outputs: tuple[GraphOutput, ...] = ()
    axes: tuple[tuple[str, int], ...] = ()
    pattern: str = ""
    claims: Claims = field(default_factory=Claims)
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()
    facts: tuple[GraphFact, ...] | None = None

    def node(self, id: str) -> GraphNode:
        """The node of that id. KeyError when there is none."""
        return self._by_id[id]

    @cached_property
    def place(self) -> dict[str, int]:
        """Node id -> its place in reading order."""
        return {node.id: place for place, node in enumerate(self.nodes)}

    @cached_property
    def incoming(self) -> dict[str, tuple[GraphEdge, ...]]:
        """Node id -> the edges that end there, in order of its inputs."""
        return self._grouped(edge.target for edge in self.edges)

    @cached_property
    def outgoing(self) -> dict[str, tuple[GraphEdge, ...]]:
        """Node id -> the edges that begin there."""
        return self._grouped(edge.source for edge in self.edges)

    @property
    def layers(self) -> int:
        """How many blocks the model has."""
        return sum(len(block.layers) for block in self.blocks)

    @cached_property
    def _by_id(self) -> dict[str, GraphNode]:
        return {node.id: node for node in self.nodes}

    def _grouped(self, ends: Iterable[str]) -> dict[str, tuple[GraphEdge, ...]]:
        found: dict[str, list[GraphEdge]] = {node.id: [] for node in self.nodes}
        for end, edge in zip(ends, self.edges, strict=True):
            found[end].append(edge)
        return {id: tuple(edges) for id, edges in found.items()}
