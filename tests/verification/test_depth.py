"""Random weights of a deep model: tokens stay apart, so that faults in its last layers show as well as in its first."""

from __future__ import annotations

import pytest

from inspector.api.checking import checked, set_up
from inspector.records import Scenario
from inspector.source.tiny import randomise
from inspector.verification.depth import SHALLOW, keep_apart, writers
from inspector.verification.plan import plan
from inspector.verification.probe import LEAST_SPREAD, MOST_ENTROPY

DEEP = {
    "bert": {"num_hidden_layers": 16},
    "gpt2": {"n_layer": 16},
    "llama": {"num_hidden_layers": 16},
}


def graph_of(run):
    return plan(run.module, run.inputs(), run.scenario, run.info, run.claims).graph


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_model_shows_faults_in_every_layer(ready, report_of, name):
    run = ready(name, DEEP[name])
    keep_apart(graph_of(run), run.module)
    power = dict(report_of(run).power)
    assert power["score_spread"] > LEAST_SPREAD
    assert power["attention_entropy"] < MOST_ENTROPY


def test_without_it_the_tokens_of_a_post_norm_model_become_alike(ready, report_of):
    run = ready("bert", DEEP["bert"])
    assert dict(report_of(run).power)["attention_entropy"] > 0.999


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("bert", ("attention.output.dense.weight", "output.dense.weight")),
        ("gpt2", ("attn.c_proj.weight", "mlp.c_proj.weight")),
        ("llama", ("self_attn.o_proj.weight", "mlp.down_proj.weight")),
    ],
)
def test_what_writes_into_the_stream(ready, name, written):
    run = ready(name)
    matrices = {key for key, value in run.module.named_parameters() if value.dim() > 1}
    assert set(writers(graph_of(run))) == {key for key in matrices if key.endswith(written)}


def test_a_shallow_model_keeps_its_weights(ready):
    run = ready("bert")
    graph = graph_of(run)
    assert sum(stage.role == "residual" for stage in graph.stages) <= SHALLOW
    before = {key: value.clone() for key, value in run.module.named_parameters()}
    keep_apart(graph, run.module)
    assert all(value.equal(before[key]) for key, value in run.module.named_parameters())


def test_weights_that_somebody_gave_stay_as_they_are(ready):
    module = ready("bert", DEEP["bert"]).module
    randomise(module, 1)
    before = {key: value.clone() for key, value in module.named_parameters()}
    scenario = Scenario(batch=3, seq=31, device="cpu", dtype="float32", weights="random")
    ran = set_up(module, None, scenario, None, twin=False, progress=None)
    assert any("nearly uniform" in note for note in checked(ran, None).notes)
    assert all(value.equal(before[key]) for key, value in module.named_parameters())
