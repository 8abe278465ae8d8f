"""Experiments on small twins: each answer is one that another model answers otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import inspector
from inspector.errors import ModelAtFault
from inspector.fact_sheet.facts import Evidence, Fact, FactSheet
from inspector.fact_sheet.probes import probe
from inspector.fact_sheet.verdicts import FITS, with_probes
from inspector.records import ModelInfo, Scenario
from inspector.source.subject import live_subject
from inspector.source.tiny import randomise, twin_of

LONG = Scenario(seq=24)


@pytest.fixture(scope="module")
def answers(tiny, trace_of):
    def ask(model_type, **changes):
        found = probe(tiny(model_type, **changes), trace_of(model_type, LONG, **changes))
        return {(fact, layer): value for fact, layer, _, value in found.results}, dict(found.missing)

    return ask


EXPECTED = [
    ("bert", {}, {("attention.direction", None): True, ("position.kind", None): True, ("norm.kind", 0): False}),
    ("llama", {}, {("attention.direction", None): False, ("position.kind", None): False, ("norm.kind", 0): True}),
    ("llama", {}, {("attention.window", 0): 23, ("embedding.tied", None): False, ("norm.offset", 0): False}),
    ("gpt2", {}, {("embedding.tied", None): True, ("position.kind", None): True}),
    ("gemma2", {}, {("attention.window", 0): 7, ("attention.window", 1): 23, ("norm.offset", 0): True}),
    ("bloom", {}, {("attention.direction", None): False, ("padding", None): False}),
    ("t5", {}, {("attention.direction", 0): True, ("attention.direction", 2): False, ("attention.window", 2): 23}),
    ("bart", {}, {("attention.direction", 0): True, ("attention.direction", 2): False, ("norm.kind", 2): False}),
]


@pytest.mark.parametrize(("model_type", "changes", "expected"), EXPECTED)
def test_answers(answers, model_type, changes, expected):
    found, _ = answers(model_type, **changes)

    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    "model_type", ["bert", "gpt2", "llama", "gemma2", "gpt_neox", "cohere", "olmo2", "phi3", "gptj", "t5", "bart"]
)
def test_graph_and_experiments_agree(tiny, facts_of, trace_of, model_type):
    found = probe(tiny(model_type), trace_of(model_type, LONG))
    sheet = with_probes(facts_of(model_type, LONG), found.results, found.missing)

    assert not sheet.conflicts
    assert {fact.id for fact in sheet.facts if fact.probed} >= {"attention.direction", "attention.window", "norm.kind"}


def sheet(*facts):
    return FactSheet(ModelInfo("m", None, "M", 0, 0), Scenario(), facts)


WRONG = [
    ("attention.direction", "causal", True),
    ("attention.direction", "bidirectional", False),
    ("attention.window", None, 7),
    ("attention.window", 8, 23),
    ("position.kind", "learned", False),
    ("position.kind", "rope", True),
    ("norm.kind", "layer", True),
    ("norm.kind", "rms", False),
    ("norm.offset", 0, True),
    ("norm.offset", 1, False),
    ("embedding.tied", True, False),
]


@pytest.mark.parametrize(("fact", "value", "answer"), WRONG)
def test_an_experiment_that_says_otherwise_is_a_conflict(fact, value, answer):
    (conflict,) = with_probes(sheet(Fact(fact, value)), [(fact, 0, "a test", answer)], ()).conflicts

    assert (conflict.probed, conflict.evidence.probes) == (False, (("a test", answer),))
    assert {row[0] for row in WRONG} == set(FITS)


def test_an_answer_is_held_against_its_own_layers():
    facts = Fact("attention.window", 8, layers="0-4:2"), Fact("attention.window", None, layers="1-5:2")
    held = with_probes(sheet(*facts), [("attention.window", 0, "", 7), ("attention.window", 1, "", 23)], ())

    assert [fact.probed for fact in held.facts] == [True, True]


def test_what_an_experiment_alone_tells_is_a_fact():
    unknown = replace(sheet(), unanswered=(("attention.direction", "the mask has no name"),))
    held = with_probes(unknown, [("attention.direction", None, "moves", False)], ())

    assert held.facts == (
        Fact("attention.direction", "causal", evidence=Evidence((), (("moves", False),), "experiment")),
    )
    assert not held.unanswered


def test_padding_that_is_seen_is_said():
    assert with_probes(sheet(), [("padding", None, "moves", True)], ()).notes == (
        "padding is not hidden: another padding token moves the outputs of others",
    )


def test_a_model_without_a_config_has_no_twin_and_says_so(trace_of):
    found = probe(live_subject(torch.nn.Linear(4, 4), (torch.ones(1, 4),)), trace_of("llama"))

    assert not found.results
    assert set(dict(found.missing).values()) == {"no experiment: Linear has no config that could be shrunk"}


def test_a_twin_is_small_and_keeps_what_it_is(tiny):
    subject = tiny("gemma2", hidden_size=512, num_attention_heads=16, num_key_value_heads=4, head_dim=64)
    twin, module = twin_of(subject, Scenario())

    assert (twin.config.num_attention_heads, twin.config.num_key_value_heads, twin.config.sliding_window) == (4, 2, 8)
    assert sum(parameter.numel() for parameter in module.parameters()) < 500_000


def test_twins_are_equal_and_move_no_generator(tiny):
    before = torch.get_rng_state()
    one, two = (twin_of(tiny("llama"), Scenario())[1] for _ in range(2))

    assert all(bool((a == b).all()) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert bool((before == torch.get_rng_state()).all())


def test_weights_hide_nothing():
    module = torch.nn.Sequential(torch.nn.LayerNorm(256), torch.nn.Linear(256, 64), torch.nn.Embedding(99, 64))
    randomise(module.requires_grad_(False), 0)

    assert 0.2 < float(module[0].weight.std()) < 0.4
    assert 0.08 < float(module[0].bias.std()) < 0.12  # what all tokens get makes them alike
    assert 0.085 < float(module[1].weight.std()) < 0.1  # 1.5 / sqrt(256)
    assert 0.9 < float(module[2].weight.std()) < 1.1


def test_a_config_that_cannot_be_shrunk_gives_its_reason(tiny, monkeypatch):
    monkeypatch.setattr("inspector.source.tiny.randomise", lambda *_: (_ for _ in ()).throw(ValueError("too small")))

    with pytest.raises(ModelAtFault, match="no small twin of tiny llama runs") as caught:
        twin_of(tiny("llama"), Scenario())
    assert caught.value.why == "too small"


def test_a_window_wider_than_the_twins_sequence_is_not_denied():
    assert not with_probes(sheet(Fact("attention.window", 4096)), [("attention.window", 0, "a test", 23)], ()).conflicts
    assert with_probes(sheet(Fact("attention.window", 4096)), [("attention.window", 0, "a test", 9)], ()).conflicts


AGREEING = [
    ("gpt_neox_japanese", "attention.direction", "causal"),  # a mask of zeros in its product hides nothing
    ("nemotron", "norm.offset", 1),  # torch's own norm, given the weight and one
    ("mobilebert", "attention.window", None),  # what a far token does is little without norms
    ("t5gemma", "embedding.tied", True),  # the table of the side that writes
]


@pytest.mark.parametrize(("name", "fact", "value"), AGREEING, ids=[row[0] for row in AGREEING])
def test_graph_and_experiment_agree(name, fact, value):
    found = inspector.facts(f"model_type:{name}", twin=True)

    assert {row.value for row in found.rows if row.id == fact} >= {value}
    assert all(row.probed for row in found.rows if row.id == fact and row.evidence.probes)
    assert any(row.evidence.probes for row in found.rows if row.id == fact)


TELLING_NOTHING = [
    ("hunyuan_v1_dense", "position.kind", "weighted afterwards"),
    ("deepseek_v4", "position.kind", "not all of its rotations"),
    ("hrm_text", "position.kind", "rounding alone"),
    ("funnel", "attention.window", "no row per token"),
]


@pytest.mark.parametrize(("name", "fact", "why"), TELLING_NOTHING, ids=[row[0] for row in TELLING_NOTHING])
def test_an_experiment_that_could_tell_nothing_says_why(name, fact, why):
    found = inspector.facts(f"model_type:{name}", twin=True)

    assert not found.conflicts
    assert any(note.startswith(f"{fact}: no experiment") and why in note for note in found.sheet.notes)
