"""Mermaid, which GitHub draws where it stands in Markdown."""

from __future__ import annotations

__all__ = ["MOST_CHARACTERS", "MOST_EDGES", "mermaid"]

import re
from collections.abc import Iterator

from inspector.errors import UsageError
from inspector.messages import say
from inspector.reporting.exports.words import block_title, leads_back, node_title, shapes
from inspector.stage_graph.record import GraphNode, GraphRecord

MOST_CHARACTERS, MOST_EDGES = 50_000, 500
"""Mermaid's own limits (`maxTextSize`, `maxEdges`), which a page cannot raise: beyond them nothing is drawn."""

_ACTS = re.compile(r"[^\w .,:()+·×-]")


def mermaid(record: GraphRecord) -> str:
    r"""The graph as a flowchart, one subgraph per block; the residual stream is drawn thick, from a folded block
    to itself dotted.

    >>> from inspector.records import ModelInfo, Scenario
    >>> mermaid(GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (), ()))
    'flowchart TD\n'
    """
    text = "\n".join(_lines(record)) + "\n"
    if len(record.edges) > MOST_EDGES or len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"a graph with {len(record.edges)} edges in {len(text):,} characters is too large for Mermaid",
            why=f"it draws {MOST_EDGES} edges and {MOST_CHARACTERS:,} characters at most",
            hint="leave the layers folded, or use the formats dot or graphml",
        )
    return text


def _lines(record: GraphRecord) -> Iterator[str]:
    names = {node.id: f"n{place}" for place, node in enumerate(record.nodes)}
    yield "flowchart TD"
    yield from (f"  {names[node.id]}{_label(node)}" for node in record.nodes if node.block is None)
    for index, block in enumerate(record.blocks):
        yield f'  subgraph b{index}["{harmless(block_title(block))}"]'
        yield from (f"    {names[node.id]}{_label(node)}" for node in record.nodes if node.block == index)
        yield "  end"
    for edge in record.edges:
        arrow = f"-. {say('graph.next block')} .->" if leads_back(record, edge) else "==>" if edge.stream else "-->"
        yield f"  {names[edge.source]} {arrow} {names[edge.target]}"


def _label(node: GraphNode) -> str:
    lines = (node_title(node), shapes(node.outputs))
    return '["' + "<br>".join(harmless(line) for line in lines if line) + '"]'


def harmless(text: str) -> str:
    """The text with every character that Mermaid or HTML might act on as its number.

    >>> harmless('a "b" <c>')
    'a #34;b#34; #60;c#62;'
    """
    return _ACTS.sub(lambda match: f"#{ord(match[0])};", text)
