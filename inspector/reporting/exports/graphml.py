"""GraphML, for yEd, Gephi, Cytoscape and networkx."""

from __future__ import annotations

__all__ = ["graphml"]

import json
from collections.abc import Mapping
from typing import Any

from inspector.render.escape import visible
from inspector.stage_graph.export.multigraph import multigraph
from inspector.stage_graph.record import GraphRecord

_LEFT_OUT = ("calls",)
"""Too long to be of use in a picture; the saved document has them."""


def graphml(record: GraphRecord) -> str:
    """The graph as XML. Lists of texts are joined by spaces, tensors are their symbolic shapes, the rest is JSON.

    >>> from inspector.records import ModelInfo, Scenario
    >>> graphml(GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (), ())).startswith("<graphml")
    True
    """
    import networkx as nx

    graph = multigraph(record)
    plain = nx.MultiDiGraph(name=visible(record.model.name), pattern=visible(record.pattern))
    plain.add_nodes_from((visible(id), _scalars(data) | {"label": visible(id)}) for id, data in graph.nodes(data=True))
    for source, target, data in graph.edges(data=True):
        # In XML an edge has an id of its own, unique in the whole file.
        plain.add_edge(visible(source), visible(target), f"e{plain.number_of_edges()}", **_scalars(data))
    return "\n".join(nx.generate_graphml(plain)) + "\n"


def _scalars(data: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in data.items() if name not in _LEFT_OUT and value not in (None, "", [], {})}
    return {name: _scalar(value) for name, value in said.items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return visible(" ".join(value))
    if isinstance(value, list) and all(isinstance(item, dict) and "symbolic" in item for item in value):
        return visible(" ".join(f"{item['name']}{item['symbolic']}" for item in value))
    return visible(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
