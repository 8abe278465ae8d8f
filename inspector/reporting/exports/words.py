"""What all formats say of a node, a block and an edge, as text that does not act."""

from __future__ import annotations

__all__ = ["block_title", "leads_back", "node_title", "shapes"]

from collections.abc import Iterable

from inspector.render.escape import visible
from inspector.stage_graph.record import GraphBlock, GraphEdge, GraphNode, GraphRecord
from inspector.stage_graph.spans import span
from inspector.stage_graph.tensors import TensorView

_LONG = 32


def node_title(node: GraphNode) -> str:
    """The role, with its section outside the blocks' own: `attention.rope k`."""
    return visible(f"{node.path} {node.operand}".strip())


def block_title(block: GraphBlock) -> str:
    """`layers 0-11, x12`; with the kind of block where there are several.

    >>> block_title(GraphBlock("sliding", "[sliding, full] x2", (0, 2)))
    'sliding: layers 0-2:2, x2'
    """
    layers = span(block.layers)
    if len(layers) > _LONG:
        layers = f"{layers[:_LONG].rpartition(',')[0]}, ..."
    one = len(block.layers) == 1
    said = f"layer {layers}" if one else f"layers {layers}, x{len(block.layers)}"
    return visible(f"{block.name}: {said}" if block.name else said)


def shapes(views: Iterable[TensorView]) -> str:
    """The symbolic shapes, each once: `(B, S, 768)`."""
    return visible(" ".join(dict.fromkeys(view.symbolic for view in views)))


def leads_back(record: GraphRecord, edge: GraphEdge) -> bool:
    """Whether an edge goes up the page: from a folded block to itself, or to one that stands before it."""
    return edge.between and record.place[edge.target] <= record.place[edge.source]
