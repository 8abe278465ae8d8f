"""The JSON that Google's Model Explorer opens: a graph of nodes in nested namespaces."""

from __future__ import annotations

__all__ = ["model_explorer"]

import json
from typing import Any

from inspector.render.escape import visible
from inspector.reporting.exports.words import block_title, leads_back, node_title
from inspector.stage_graph.record import GraphEdge, GraphNode, GraphRecord
from inspector.stage_graph.tensors import TensorView


def model_explorer(record: GraphRecord) -> str:
    """One collection with one graph: blocks and sections are namespaces, shapes are metadata of the outputs.

    Its layout wants a graph without cycles: an edge that leads back, from a folded block to itself, is said as an
    attribute of its source instead.

    >>> from inspector.records import ModelInfo, Scenario
    >>> json.loads(model_explorer(GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (), ())))["label"]
    'mine'
    """
    name = visible(record.model.name)
    graph = {"id": name, "nodes": [_node(record, node) for node in record.nodes]}
    return json.dumps({"label": name, "graphs": [graph]}, indent=2) + "\n"


def _node(record: GraphRecord, node: GraphNode) -> dict[str, Any]:
    return {
        "id": visible(node.id),
        "label": node_title(node),
        "namespace": _namespace(record, node),
        "attrs": _attrs(_facts(record, node)),
        "incomingEdges": [_edge(edge) for edge in record.incoming[node.id] if not leads_back(record, edge)],
        "inputsMetadata": [_tensor(place, view) for place, view in enumerate(node.inputs)],
        "outputsMetadata": [_tensor(place, view) for place, view in enumerate(node.outputs)],
    }


def _namespace(record: GraphRecord, node: GraphNode) -> str:
    """`layers 0-11, x12/attention`. A slash opens a new level, so none may come from a name."""
    parts = [] if node.block is None else [block_title(record.blocks[node.block])]
    return "/".join(part.replace("/", "|") for part in (*parts, visible(node.section)))


def _facts(record: GraphRecord, node: GraphNode) -> dict[str, object]:
    back = [edge for edge in record.outgoing[node.id] if leads_back(record, edge)]
    return {
        "role": node.path,
        "operand": node.operand,
        "also": " ".join(node.also),
        "layers": node.span,
        "op": node.op,
        "module": node.module,
        "weights": " ".join(f"{view.name}{view.symbolic}" for view in node.weights),
        "parameters": node.parameters or "",
        "flops": node.flops or "",
        **{f"attribute {name}": value for name, value in node.attributes},
        "feeds the next block": " ".join(dict.fromkeys(edge.target for edge in back)),
    }


def _attrs(facts: dict[str, object]) -> list[dict[str, str]]:
    return [{"key": visible(name), "value": visible(str(value))} for name, value in facts.items() if value != ""]


def _edge(edge: GraphEdge) -> dict[str, str]:
    return {
        "sourceNodeId": visible(edge.source),
        "sourceNodeOutputId": str(edge.output),
        "targetNodeInputId": str(edge.input),
    }


def _tensor(place: int, view: TensorView) -> dict[str, Any]:
    facts: dict[str, object] = {"tensor_shape": view.symbolic, "dtype": view.dtype, "name": view.name}
    facts["axes"] = " ".join(dim.axis or "-" for dim in view.dims)
    return {"id": str(place), "attrs": _attrs(facts)}
