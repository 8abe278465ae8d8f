"""A saved graph as a side of a diff."""

from __future__ import annotations

import json

import pytest

from inspector.api.diff import diff
from inspector.errors import SchemaError
from inspector.stage_graph.export.node_link import to_document
from inspector.stage_graph.folded import folded_record

PAIRS = [("bert", "gpt2"), ("gpt2", "llama"), ("gemma2", "llama"), ("olmo2", "llama"), ("cohere", "llama")]

FROM_CONTENTS = {"position.rope.theta", "position.rope.fraction", "position.rope.scaling", "graph.position_ids"}


@pytest.fixture
def saved(tmp_path, traced):
    def write(name: str) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(to_document(folded_record(traced(name)))))
        return str(path)

    return write


@pytest.mark.parametrize("model", ["bert", "gpt2", "llama", "gemma2", "gpt_neox"])
def test_a_model_does_not_differ_from_its_saved_graph(saved, traced, model):
    found = diff(saved(model), traced(model))

    assert {row.status for row in found.rows} == {"same"}
    assert found.findings == ()
    assert any("holds no contents of tensors" in note for note in found.comparison.a.notes)


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_the_same_rules_fire_as_between_models(saved, traced, names):
    """But for what only the contents of tensors show."""
    one, two = names
    live = {finding.rule for finding in diff(traced(one), traced(two)).findings}
    written = {finding.rule for finding in diff(saved(one), traced(two)).findings}

    assert live - FROM_CONTENTS == written


def test_a_foreign_document_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"schema": "inspector/graph/9", "nodes": []}))

    with pytest.raises(SchemaError) as caught:
        diff(str(path), "gpt2")
    assert caught.value.exit_code == 3
