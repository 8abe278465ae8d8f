"""`twin=True`: the verbs that show a model show a small copy of it, and say so."""

from __future__ import annotations

import pytest

import inspector
from inspector.errors import UsageError


def test_facts_of_a_twin_keep_what_the_config_says_of_its_kind():
    found = inspector.facts("llama-3-8b", twin=True, probes=False)

    assert found.sheet.model.name == "llama-3-8b (twin)"
    assert (found.get("attention.kind"), found.get("position.rope.theta")) == ("gqa", 500_000.0)
    assert found.get("model.width") == 64
    assert found.conflicts == ()


def test_a_graph_of_a_twin_is_small_and_folds():
    assert inspector.graph("llama-3-8b", twin=True).record.model.parameters < 100_000


def test_two_twins_differ_in_what_their_models_differ():
    found = inspector.diff("llama-2-7b", "llama-3-8b", twin=True)

    assert {"attention.kind", "position.rope.theta"} <= {finding.rule for finding in found.findings}
    assert all(name.endswith("(twin)") for name in found.comparison.names)


def test_a_saved_graph_has_no_twin(tmp_path):
    (tmp_path / "gpt2.json").write_text(inspector.graph("gpt2", twin=True).to_json())

    with pytest.raises(UsageError, match="as it is"):
        inspector.graph(str(tmp_path / "gpt2.json"), twin=True)
