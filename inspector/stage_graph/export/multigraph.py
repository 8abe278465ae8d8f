"""A graph record as a graph of networkx."""

from __future__ import annotations

__all__ = ["multigraph"]

from typing import Any

from inspector.stage_graph.export.node_link import edge_data, graph_data, keyed, node_data
from inspector.stage_graph.record import GraphRecord


def multigraph(record: GraphRecord) -> Any:
    """A `networkx.MultiDiGraph`; its nodes and edges carry what the saved document says of them.

    >>> from inspector.records import ModelInfo, Scenario
    >>> multigraph(GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (), ())).graph["name"]
    'mine'
    """
    import networkx as nx

    graph = nx.MultiDiGraph(**graph_data(record))
    graph.add_nodes_from((node.id, node_data(node)) for node in record.nodes)
    graph.add_edges_from((edge.source, edge.target, key, edge_data(edge)) for edge, key in keyed(record))
    return graph
