"""A graph record as node-link data, the form that networkx reads and that is saved."""

from __future__ import annotations

__all__ = ["SCHEMA", "edge_data", "graph_data", "node_data", "to_document"]

from collections import Counter
from collections.abc import Iterator
from typing import Any

from inspector.axes import AXES
from inspector.records import Claims
from inspector.stage_graph.fields import model_fields, tensor_fields
from inspector.stage_graph.record import Call, GraphEdge, GraphFact, GraphNode, GraphRecord
from inspector.stage_graph.spans import span

SCHEMA = "inspector/graph/1"


def to_document(record: GraphRecord) -> dict[str, Any]:
    """The record as JSON-ready data: an envelope, and in it what `networkx.node_link_graph(..., edges="edges")` reads.

    >>> from inspector.records import ModelInfo, Scenario
    >>> to_document(GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (), ()))["multigraph"]
    True
    """
    return {
        "schema": SCHEMA,
        "tool": dict(record.tool),
        "models": [_model(record)],
        "directed": True,
        "multigraph": True,
        "graph": graph_data(record),
        "nodes": [{"id": node.id, **node_data(node)} for node in record.nodes],
        "edges": [
            {"source": edge.source, "target": edge.target, "key": key, **edge_data(edge)} for edge, key in keyed(record)
        ],
        "summary": {
            "nodes": len(record.nodes),
            "edges": len(record.edges),
            "stages": sum(node.repeat for node in record.nodes),
            "parameters": record.model.parameters,
            "flops": sum(node.flops * node.repeat for node in record.nodes),
        },
    }


def graph_data(record: GraphRecord) -> dict[str, Any]:
    """What belongs to the graph as a whole."""
    return {
        "name": record.model.name,
        "pattern": record.pattern,
        "axes": [
            {"axis": letter, "name": AXES[letter].name if letter in AXES else "", "size": size}
            for letter, size in record.axes
        ],
        "blocks": [
            {"name": block.name, "text": block.text, "layers": span(block.layers), "numbers": list(block.numbers)}
            for block in record.blocks
        ],
        "outputs": [
            {"name": output.name, "node": output.node, "output": output.output, "layers": span(output.layers)}
            for output in record.outputs
        ],
        "claims": _claims(record.claims),
        "facts": None if record.facts is None else [_fact(fact) for fact in record.facts],
    }


def node_data(node: GraphNode) -> dict[str, Any]:
    """A node without its id."""
    return {
        "section": node.section,
        "role": node.role,
        "operand": node.operand,
        "layers": node.span,
        "repeat": node.repeat,
        "block": node.block,
        "also": list(node.also),
        "op": node.op,
        "module": node.module,
        "calls": [_call(call) for call in node.calls],
        "inputs": [tensor_fields(view) for view in node.inputs],
        "outputs": [tensor_fields(view) for view in node.outputs],
        "weights": [tensor_fields(view) for view in node.weights],
        "parameters": node.parameters,
        "flops": node.flops,
        "attributes": dict(node.attributes),
    }


def edge_data(edge: GraphEdge) -> dict[str, Any]:
    """An edge without its ends."""
    return {
        "output": edge.output,
        "input": edge.input,
        "stream": edge.stream,
        "between": edge.between,
        "source_layers": span(edge.source_layers),
        "target_layers": span(edge.target_layers),
    }


def keyed(record: GraphRecord) -> Iterator[tuple[GraphEdge, int]]:
    """Every edge with its number among those between the same two nodes."""
    seen: Counter[tuple[str, str]] = Counter()
    for edge in record.edges:
        yield edge, seen[edge.source, edge.target]
        seen[edge.source, edge.target] += 1


def _model(record: GraphRecord) -> dict[str, Any]:
    return {
        **model_fields(record.model, record.scenario),
        "source": record.model.source,
        "notes": list(record.notes),
    }


def _claims(claims: Claims) -> dict[str, Any]:
    explained = [{"id": fact, "value": value, "why": why} for fact, value, why in claims.explained]
    return {
        "facts": [{"id": fact, "value": value, "where": where} for fact, value, where in claims.facts],
        "unread": list(claims.unread),
        **({"explained": explained} if explained else {}),
    }


def _fact(fact: GraphFact) -> dict[str, Any]:
    claim = None if fact.claim is None else {"where": fact.claim[0], "value": fact.claim[1]}
    row = {**fact._asdict(), "nodes": list(fact.nodes), "claim": claim}
    return row if fact.explained else {name: value for name, value in row.items() if name != "explained"}


def _call(call: Call) -> dict[str, Any]:
    return {
        "name": call.name,
        "kind": call.kind,
        "effect": call.effect,
        "operands": [{"name": name, "from": source} for name, source in call.operands],
        "attributes": dict(call.attributes),
        "outputs": list(call.outputs),
    }
