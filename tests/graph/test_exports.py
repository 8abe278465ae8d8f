"""Every export is read back by a reader of its format, with names that try to break it too."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import networkx as nx
import pydot
import pytest
from jsonschema import Draft202012Validator, ValidationError

from inspector.api.graph import Graph
from inspector.errors import UsageError
from inspector.render.escape import visible
from inspector.reporting.exports.mermaid import MOST_CHARACTERS, MOST_EDGES
from inspector.source.catalogue import presets
from inspector.stage_graph.record import GraphRecord

Graphs = Callable[[str], Graph]

NAMES = ("bert", "gpt2", "gemma3_text", "hostile")


@pytest.fixture
def graph_of(record_for: Any, hostile: GraphRecord) -> Graphs:
    return lambda name: Graph(hostile if name == "hostile" else record_for(name))


def ends(record: GraphRecord) -> list[tuple[str, str]]:
    return sorted((edge.source, edge.target) for edge in record.edges)


@pytest.mark.parametrize("name", NAMES)
def test_graphml_is_read_back(graph_of: Graphs, name: str) -> None:
    graph = graph_of(name)
    read = nx.read_graphml(io.BytesIO(graph.to_graphml().encode()), force_multigraph=True)

    assert list(read.nodes) == [node.id for node in graph.record.nodes]
    assert sorted(read.edges()) == ends(graph.record)
    for node in graph.record.nodes:
        said = read.nodes[node.id]
        assert (said["role"], said["repeat"], said["parameters"]) == (node.role, node.repeat, node.parameters)
        assert said.get("module", "") == visible(node.module)
        assert said.get("layers", "") == node.span
    assert sum(data["stream"] for *_, data in read.edges(data=True)) == sum(e.stream for e in graph.record.edges)


def test_graphml_has_one_id_for_each_edge(graph_of: Graphs) -> None:
    """networkx reads two edges with one id without a word; other programs do not."""
    graph = graph_of("gemma3_text")
    found = [edge.get("id") for edge in ET.fromstring(graph.to_graphml()).iter() if edge.tag.endswith("}edge")]

    assert len(found) == len(graph.record.edges) == len(set(found))


reads_dot = pytest.mark.filterwarnings("ignore:.* deprecated - use:DeprecationWarning")
"""pydot 4.0 calls its parser by old names."""


def drawn(text: str) -> pydot.Dot:
    graphs = pydot.graph_from_dot_data(text)
    assert graphs is not None
    assert len(graphs) == 1
    return graphs[0]


def unquoted(text: str) -> str:
    """What a string of DOT says."""
    assert text[:1] == text[-1:] == '"'
    return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")


@reads_dot
@pytest.mark.parametrize("name", NAMES)
def test_dot_is_read_back(graph_of: Graphs, name: str) -> None:
    graph = graph_of(name)
    record, read = graph.record, drawn(graph.to_dot())
    clusters = read.get_subgraphs()
    nodes = {
        unquoted(node.get_name()): node
        for part in (read, *clusters)
        for node in part.get_nodes()
        if '"' in node.get_name()
    }

    assert set(nodes) == {node.id for node in record.nodes}
    assert sorted((unquoted(e.get_source()), unquoted(e.get_destination())) for e in read.get_edges()) == ends(record)
    assert [len(part.get_nodes()) for part in clusters] == [
        sum(node.block == index for node in record.nodes) for index in range(len(record.blocks))
    ]
    assert unquoted(read.get_name()) == visible(record.model.name)
    for node in record.nodes:
        assert unquoted(nodes[node.id].get("module") or '""') == visible(node.module)


@reads_dot
def test_dot_that_is_not_escaped_is_refused() -> None:
    """The reader of the tests is strict enough to notice."""
    assert not pydot.graph_from_dot_data('digraph "a "b"" { x; }')


NODE = re.compile(r'(n\d+)\["([^"<]*(?:<br>[^"<]*)?)"\]')
EDGE = re.compile(r"(n\d+) (?:-->|==>|-\. next block \.->) (n\d+)")
SUBGRAPH = re.compile(r'subgraph (b\d+)\["[^"<>]*"\]')


def read_mermaid(text: str) -> tuple[list[str], list[tuple[str, str]], int]:
    """Labels by node, edges, subgraphs. Any other line, and any character that Mermaid might act on, is refused."""
    first, *lines = text.splitlines()
    assert first == "flowchart TD"
    labels: list[str] = []
    edges: list[tuple[str, str]] = []
    depth = blocks = 0
    for line in map(str.strip, lines):
        if match := NODE.fullmatch(line):
            labels.append(match[1])
        elif match := EDGE.fullmatch(line):
            edges.append((match[1], match[2]))
        elif SUBGRAPH.fullmatch(line):
            depth, blocks = depth + 1, blocks + 1
        else:
            assert line == "end", line
            depth -= 1
        assert depth in (0, 1)
    assert {end for edge in edges for end in edge} <= set(labels)
    assert len(set(labels)) == len(labels)
    return labels, edges, blocks


@pytest.mark.parametrize("name", NAMES)
def test_mermaid_is_read_back(graph_of: Graphs, name: str) -> None:
    record = graph_of(name).record
    text = Graph(record).to_mermaid()
    labels, edges, blocks = read_mermaid(text)
    ids = {f"n{place}": node.id for place, node in enumerate(record.nodes)}

    assert sorted(labels) == sorted(ids)
    assert sorted((ids[source], ids[target]) for source, target in edges) == ends(record)
    assert blocks == len(record.blocks)
    assert not re.search(r"[`;]|</?[a-z]+>", re.sub(r"#\d+;|<br>", "", text))


@pytest.mark.parametrize("line", ['n0["a"b"]', 'n0["a<c>"]', "n0[a]", 'click n0 "javascript:x"', "n0 --> n1 --> n2"])
def test_mermaid_that_is_not_escaped_is_refused(line: str) -> None:
    with pytest.raises(AssertionError):
        read_mermaid(f"flowchart TD\n{line}\n")


def test_mermaid_stays_within_what_github_draws(record_for: Any) -> None:
    unfolded = Graph(record_for("preset:llama-3-8b")).unfold("all")

    assert len(unfolded.record.edges) > MOST_EDGES
    with pytest.raises(UsageError, match=r"1251 edges .* is too large for Mermaid") as caught:
        unfolded.to_mermaid()

    assert "folded" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("name", [preset.name for preset in presets()])
def test_every_model_of_the_catalogue_can_be_drawn(record_for: Any, name: str) -> None:
    record = record_for(f"preset:{name}")

    assert len(record.edges) <= MOST_EDGES
    assert len(Graph(record).to_mermaid()) <= MOST_CHARACTERS


KEYED = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": {"type": "string"}},
        "required": ["key", "value"],
        "additionalProperties": False,
    },
}
METADATA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"id": {"type": "string"}, "attrs": KEYED},
        "required": ["id", "attrs"],
        "additionalProperties": False,
    },
}
INCOMING = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("sourceNodeId", "sourceNodeOutputId", "targetNodeInputId")},
    "required": ["sourceNodeId", "sourceNodeOutputId", "targetNodeInputId"],
    "additionalProperties": False,
}
EXPLORER_NODE = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("id", "label", "namespace")},
        "attrs": KEYED,
        "incomingEdges": {"type": "array", "items": INCOMING},
        "inputsMetadata": METADATA,
        "outputsMetadata": METADATA,
    },
    "required": ["id", "label"],
    "additionalProperties": False,
}
EXPLORER = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "graphs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "nodes": {"type": "array", "items": EXPLORER_NODE}},
                "required": ["id", "nodes"],
                "additionalProperties": False,
            },
            "minItems": 1,
        },
    },
    "required": ["label", "graphs"],
    "additionalProperties": False,
}
"""The data classes of `model_explorer.graph_builder` 0.1.34, and what its page asks of a file (`label` and `graphs`).

The package itself takes 660 MB, most of it compiled readers of other formats: too much for a suite. Its own classes
read a file of ours strictly (`dacite.from_dict(GraphCollection, ...)`) on the day this was written.
"""


@pytest.mark.parametrize("name", NAMES)
def test_model_explorer_gets_what_it_reads(graph_of: Graphs, name: str) -> None:
    graph = graph_of(name)
    document = json.loads(graph.to_model_explorer())
    Draft202012Validator(EXPLORER).validate(document)
    nodes = {node["id"]: node for node in document["graphs"][0]["nodes"]}
    flow = nx.MultiDiGraph()
    for id, node in nodes.items():
        for edge in node["incomingEdges"]:
            source = nodes[edge["sourceNodeId"]]
            flow.add_edge(edge["sourceNodeId"], id)
            assert edge["sourceNodeOutputId"] in [entry["id"] for entry in source["outputsMetadata"]]
            assert edge["targetNodeInputId"] in [entry["id"] for entry in node["inputsMetadata"]]

    assert list(nodes) == [node.id for node in graph.record.nodes]
    assert nx.is_directed_acyclic_graph(flow)
    assert all(
        len(node["namespace"].split("/")) == (1 if graph.record.node(id).block is None else 2)
        for id, node in nodes.items()
    )
    back = [fact for node in nodes.values() for fact in node["attrs"] if fact["key"] == "feeds the next block"]
    place = graph.record.place
    assert len(back) == len({e.source for e in graph.record.edges if place[e.target] <= place[e.source]}) > 0


def test_another_form_is_refused_by_the_schema_of_model_explorer(graph_of: Graphs) -> None:
    document = json.loads(graph_of("gpt2").to_model_explorer())
    document["graphs"][0]["nodes"][0]["incomingEdges"] = [{"sourceNodeId": 1}]

    with pytest.raises(ValidationError):
        Draft202012Validator(EXPLORER).validate(document)


@pytest.mark.parametrize("form", ["json", "graphml", "dot", "mermaid", "model_explorer", "text", "csv", "html"])
def test_no_format_lets_a_name_act(hostile: GraphRecord, form: str) -> None:
    """No control character, no mark that turns the reading direction, nothing that ends a script."""
    text = getattr(Graph(hostile), f"to_{form}")()

    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert "</script>" not in text or form in ("json", "model_explorer", "dot", "text", "csv")


def test_the_text_says_who_reads_what(record_for: Any) -> None:
    text = Graph(record_for("gpt2")).to_text()

    assert "layers 0-1, x2" in text
    assert re.search(r"attention\.norm +embedding\.add, mlp\.residual \(block before\) ", text)
    assert re.search(r"attention\.split_heads k +attention\.split_qkv #1 ", text)
    assert re.search(r"embedding\.token +input_ids ", text)


def test_repr_and_frame(record_for: Any) -> None:
    graph = Graph(record_for("gpt2"))
    frame = graph.to_frame()

    assert repr(graph) == "<Graph of tiny gpt2, eager: 33 nodes, 37 edges>"
    assert list(frame["id"]) == [node.id for node in graph.record.nodes]
    assert (
        frame["parameters"] * frame["repeat"]
    ).sum() == graph.record.model.parameters + 99 * 64  # the tied table twice
