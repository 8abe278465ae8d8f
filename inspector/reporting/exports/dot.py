"""DOT, for Graphviz."""

from __future__ import annotations

__all__ = ["dot"]

from collections.abc import Iterator

from inspector.render.escape import visible
from inspector.reporting.exports.words import block_title, leads_back, node_title, shapes
from inspector.stage_graph.record import GraphEdge, GraphNode, GraphRecord

NEXT = "next block"


def dot(record: GraphRecord) -> str:
    r"""The graph as DOT, one cluster per block; the residual stream is drawn thick, from a folded block
    to itself dashed.

    >>> from inspector.records import ModelInfo, Scenario
    >>> print(dot(GraphRecord(ModelInfo('my "own"', None, "Mine", 0, 0), Scenario(), (), ())).splitlines()[0])
    digraph "my \"own\"" {
    """
    return "\n".join(_lines(record)) + "\n"


def _lines(record: GraphRecord) -> Iterator[str]:
    yield f"digraph {quoted(record.model.name)} {{"
    yield '  graph [rankdir="TB", fontname="Helvetica"];'
    yield '  node [shape="box", style="rounded", fontname="Helvetica", fontsize="10"];'
    yield '  edge [fontname="Helvetica", fontsize="9"];'
    yield from (f"  {_node(node)}" for node in record.nodes if node.block is None)
    for index, block in enumerate(record.blocks):
        yield f"  subgraph cluster_{index} {{"
        yield f"    label={quoted(block_title(block))};"
        yield from (f"    {_node(node)}" for node in record.nodes if node.block == index)
        yield "  }"
    yield from (f"  {_edge(edge, leads_back(record, edge))}" for edge in record.edges)
    yield "}"


def _node(node: GraphNode) -> str:
    label = "\\n".join(escaped(line) for line in (node_title(node), shapes(node.outputs)) if line)
    facts = {"role": node.path, "operand": node.operand, "layers": node.span, "op": node.op, "module": node.module}
    said = ", ".join(f"{name}={quoted(value)}" for name, value in facts.items() if value)
    return f'{quoted(node.id)} [label="{label}", {said}];'


def _edge(edge: GraphEdge, back: bool) -> str:
    style = {"penwidth": "2.5"} if edge.stream else {}
    if back:
        style |= {"style": "dashed", "constraint": "false", "label": NEXT}
    style |= {"output": str(edge.output), "input": str(edge.input)}
    said = ", ".join(f"{name}={quoted(value)}" for name, value in style.items())
    return f"{quoted(edge.source)} -> {quoted(edge.target)} [{said}];"


def quoted(text: str) -> str:
    r"""A string of DOT.

    >>> print(quoted('a "b" \\ c'))
    "a \"b\" \\ c"
    """
    return f'"{escaped(visible(text))}"'


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
