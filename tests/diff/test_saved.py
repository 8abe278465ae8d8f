"""A saved graph as a side of a diff."""

from __future__ import annotations

import json

import pytest

from inspector.api.diff import diff
from inspector.errors import InspectorError, SchemaError
from inspector.fact_sheet.recorded import recorded
from inspector.fact_sheet.sheet import fact_sheet
from inspector.stage_graph.export.node_link import to_document
from inspector.stage_graph.export.saved import from_document
from inspector.stage_graph.folded import folded_record
from inspector.stage_graph.unfolded import unfold

PAIRS = [
    *(("bert", "gpt2"), ("gpt2", "llama"), ("gemma2", "llama"), ("olmo2", "llama"), ("cohere", "llama")),
    *(("roberta", "bert"), ("gpt_neox", "llama"), ("qwen2_moe", "llama")),
]


@pytest.fixture
def saved(tmp_path, traced):
    def write(name: str) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(to_document(recorded(traced(name)))))
        return str(path)

    return write


@pytest.mark.parametrize("model", ["bert", "gpt2", "llama", "gemma2", "gpt_neox", "t5"])
def test_a_model_does_not_differ_from_its_saved_graph(saved, traced, model):
    found = diff(saved(model), traced(model))

    assert {row.status for row in found.rows} == {"same"}
    assert found.findings == ()
    assert found.comparison.a.notes == found.comparison.b.notes == traced(model).notes


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_the_same_findings_as_between_models(saved, traced, names):
    """Rotary bases, the numbering of positions and bytes of cache among them: what they show is in the graph."""
    one, two = names
    live = diff(traced(one), traced(two))
    written = diff(saved(one), traced(two))

    assert written.findings == live.findings
    assert written.comparison.a.figures == live.comparison.a.figures


def test_a_graph_holds_the_facts_of_the_sheet(traced):
    trace = traced("gemma2")
    record = recorded(trace)
    sheet = fact_sheet(trace)

    assert [(f.id, f.value, f.layers, f.agrees) for f in record.facts] == [
        (f.id, f.value, f.layers, f.agrees) for f in sheet.facts
    ]
    assert from_document(json.loads(json.dumps(to_document(record)))).facts == record.facts


def test_facts_are_shown_by_nodes_however_they_are_unfolded(traced):
    record = recorded(traced("gemma2"))
    for graph in (record, unfold(record, [1]), unfold(record, "all")):
        shown = {fact.id: [graph.node(id).path for id in fact.nodes] for fact in graph.facts}

        assert set(shown["attention.qkv"]) == {"attention.q_proj", "attention.k_proj", "attention.v_proj"}
        assert shown["norm.final"] == ["head.norm"]


def test_evidence_that_is_no_node_is_refused(traced):
    document = json.loads(json.dumps(to_document(recorded(traced("llama")))))
    document["graph"]["facts"][-1]["nodes"] = ["nowhere"]

    with pytest.raises(SchemaError) as caught:
        from_document(document)
    assert caught.value.why.endswith("is shown by nowhere, which is no node")


def test_a_graph_without_facts_is_read_but_no_side(tmp_path, traced):
    """As an older inspector saved it: to be drawn, but not to be compared, for half of it would be missing."""
    document = json.loads(json.dumps(to_document(recorded(traced("llama")))))
    del document["graph"]["facts"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))

    assert from_document(document).facts is None
    assert folded_record(traced("llama")).facts is None
    with pytest.raises(InspectorError, match="holds no facts") as caught:
        diff(str(path), traced("llama"))
    assert caught.value.exit_code == 3


def test_a_foreign_document_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"schema": "inspector/graph/9", "nodes": []}))

    with pytest.raises(SchemaError) as caught:
        diff(str(path), "gpt2")
    assert caught.value.exit_code == 3
