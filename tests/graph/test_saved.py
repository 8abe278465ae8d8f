"""A saved graph is read back as it was, and nothing else is taken for one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from jsonschema import Draft202012Validator, ValidationError

import inspector
from inspector.api.graph import Graph
from inspector.api.schemas import schema
from inspector.errors import SchemaError, UsageError
from inspector.records import Scenario
from inspector.stage_graph.export.saved import load_graph
from inspector.stage_graph.record import GraphRecord

MODELS = ("bert", "gpt2", "llama", "gemma3_text")


@pytest.mark.parametrize("model", MODELS)
def test_a_saved_graph_is_read_back_as_it_was(record_for: Any, model: str, tmp_path: Path) -> None:
    record = record_for(model)
    path = tmp_path / "saved.json"
    path.write_text(Graph(record).to_json())

    assert load_graph(path) == record
    assert load_graph(json.loads(path.read_text())) == record
    assert Graph(load_graph(str(path))).to_json() == path.read_text()


def test_decoding_unfolded_and_hostile_graphs_too(record_for: Any, hostile: GraphRecord) -> None:
    decode = record_for("llama", Scenario(past=16, seq=1))
    for record in (decode, Graph(record_for("gpt2")).unfold("all").record, hostile):
        document = json.loads(Graph(record).to_json())

        assert load_graph(document) == record
        Draft202012Validator(schema("graph")).validate(document)


def test_why_a_fact_is_not_as_claimed_is_kept(record_for: Any) -> None:
    """Where nothing is to be explained, nothing is written of it."""
    plain = record_for("llama")
    fact = plain.facts[0]._replace(claim=("config", 3), agrees=False, explained="a reason")
    claims = replace(plain.claims, explained=((fact.id, fact.value, "a reason"),))
    record = replace(plain, facts=(fact, *plain.facts[1:]), claims=claims)
    document = json.loads(Graph(record).to_json())

    assert load_graph(document) == record
    Draft202012Validator(schema("graph")).validate(document)
    assert "explained" not in Graph(plain).to_json()


@pytest.mark.parametrize("model", MODELS)
def test_what_is_saved_is_as_the_schema_says(record_for: Any, model: str) -> None:
    Draft202012Validator(schema("graph")).validate(json.loads(Graph(record_for(model)).to_json()))


def test_networkx_reads_it(record_for: Any) -> None:
    """The document is node-link data, and the graph made directly is the graph that networkx reads."""
    graph = Graph(record_for("gpt2"))
    document = json.loads(graph.to_json())
    read = nx.node_link_graph(document, edges="edges")
    back = nx.node_link_data(graph.networkx(), edges="edges")

    assert type(read) is nx.MultiDiGraph
    assert json.loads(json.dumps(back["nodes"])) == document["nodes"]
    assert dict(read.nodes(data=True)) == json.loads(json.dumps(dict(graph.networkx().nodes(data=True))))
    assert sorted(read.edges(keys=True)) == sorted(graph.networkx().edges(keys=True))
    assert read.number_of_edges() == len(graph.record.edges)


def at(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        *to, last = path
        for step in to:
            document = document[step]
        document[last] = value

    return change


FOREIGN = {
    "a newer version": (at("schema", value="inspector/graph/2"), "is inspector/graph/2, which this inspector does not"),
    "another document": (at("schema", value="inspector/shapes/1"), "is inspector/shapes/1, not a graph"),
    "no schema": (lambda document: document.pop("schema"), "is not a graph that inspector saved"),
    "a foreign schema": (at("schema", value=["x"]), "is not a graph that inspector saved"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_foreign_is_refused(record_for: Any, name: str) -> None:
    change, said = FOREIGN[name]
    document = json.loads(Graph(record_for("gpt2")).to_json())
    change(document)

    with pytest.raises(SchemaError, match=said) as caught:
        load_graph(document)

    assert caught.value.hint
    assert caught.value.exit_code == 3


LAST = -1
BROKEN = {
    "no nodes": (lambda document: document.pop("nodes"), "'nodes' is missing"),
    "nodes of text": (at("nodes", value="n"), "nodes is a str"),
    "two models": (lambda document: document["models"].append({}), "too many values"),
    "a node without a role": (lambda document: document["nodes"][3].pop("role"), r"nodes\[3\]: 'role' is missing"),
    "a node of text": (at("nodes", 1, value="x"), r"nodes\[1\]: "),
    "an id twice": (at("nodes", 1, "id", value="model.embedding.token"), "two nodes have the same id"),
    "a shape of another rank": (at("nodes", 0, "inputs", 0, "shape", value=[2]), r"nodes\[0\]: "),
    "a size of text": (at("nodes", 0, "inputs", 0, "shape", value=["B", "S"]), "is not a number"),
    "a negative count": (at("nodes", 0, "flops", value=-1), "-1 is not a count"),
    "a truth for a count": (at("nodes", 0, "flops", value=True), "True is not a count"),
    "layers in words": (at("nodes", 9, "layers", value="all"), "'all' names no layers"),
    "endless layers": (at("nodes", 9, "layers", value="0-99999999999"), "names no layers"),
    "layers of no block": (at("nodes", 9, "layers", value="0-3"), "has other layers than its block"),
    "a block that is not there": (at("nodes", 9, "block", value=7), "has block 7, which is not there"),
    "an edge to nowhere": (at("edges", 0, "target", value="nowhere"), "ends at nowhere, which is no node"),
    "an edge from an output too far": (at("edges", 0, "output", value=9), "has no output 9"),
    "an edge to an input too far": (at("edges", 0, "input", value=9), "has no input 9"),
    "an edge of other layers": (at("edges", LAST, "source_layers", value="0"), "has layers that .* has not"),
    "an edge of a few layers": (at("edges", 9, "source_layers", value="0"), "ends of different lengths"),
    "a flag of text": (at("edges", 0, "stream", value="no"), "'no' is not true or false"),
    "an output of no node": (at("graph", "outputs", 0, "node", value="x"), "ends at x, which is no node"),
    "a scenario without seed": (lambda document: document["models"][0]["scenario"].pop("seed"), "'seed' is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_with_the_place(record_for: Any, name: str, tmp_path: Path) -> None:
    change, said = BROKEN[name]
    document = json.loads(Graph(record_for("gpt2")).to_json())
    change(document)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))

    with pytest.raises(SchemaError, match=r"mine\.json is not a whole graph") as caught:
        load_graph(path)

    assert pytest.raises(SchemaError, match=said).matches(SchemaError(caught.value.why))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "[" * 100_000, "\ufeff{}"])
def test_what_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SchemaError, match=r"mine\.json is not"):
        load_graph(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"cannot read gone\.json"):
        load_graph(tmp_path / "gone.json")


def test_fields_of_a_later_minor_version_are_passed_over(record_for: Any) -> None:
    document = json.loads(Graph(record_for("gpt2")).to_json())
    later = copy.deepcopy(document)
    later["facts"] = []
    later["nodes"][0]["colour"] = "red"

    assert load_graph(later) == load_graph(document)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema("graph")).validate(later)


def test_a_saved_graph_is_a_model_for_graph(record_for: Any, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(Graph(record_for("gpt2")).to_json())

    assert inspector.graph(str(path)).record == record_for("gpt2")
    assert inspector.graph(str(path), unfold=[0]).record.node("0.mlp.norm").layers == (0,)
    with pytest.raises(UsageError, match=r"saved\.json is a saved graph: it cannot be run in another way"):
        inspector.graph(str(path), seq=3)
