"""The rules as data: each says what it means, and whatever it can add it can remove."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import inspector.messages
from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison import observed
from inspector.comparison.judge import Finding, compare
from inspector.comparison.lock import LOCK_RULES
from inspector.comparison.rules import RULES, SEVERITIES, UNEXPLAINED
from inspector.errors import InspectorError
from inspector.records import ModelInfo, Scenario
from inspector.stage_graph.record import GraphFact
from inspector.vocabulary import FACTS


def test_each_rule_is_there_once():
    ids = [rule.id for rule in RULES]

    assert len(ids) == len(set(ids))
    assert {rule.severity for rule in RULES} == set(SEVERITIES)


def test_every_rule_about_the_graph_is_read_on_a_side_and_every_reading_has_a_rule():
    read = {*observed.READERS, *observed.BLOCK_READERS}

    assert {rule.id for rule in RULES if rule.id.startswith("graph.")} == read


def test_a_rule_is_about_a_fact_or_the_graph():
    assert [rule.id for rule in RULES if rule.id not in FACTS and not rule.id.startswith("graph.")] == []


def test_every_rule_has_words_and_no_words_are_without_a_rule():
    words = tomllib.loads((Path(inspector.messages.__file__).parent / "en" / "findings.toml").read_text("utf-8"))

    assert {rule.id for rule in (*RULES, UNEXPLAINED, *LOCK_RULES)} | {"fact", "summary"} == set(words)


PRESENT = {
    "embedding.norm": "embedding.norm",
    "embedding.segments": "embedding.segment",
    "norm.final": "head.norm",
    "attention.cross": "cross_attention.scores",
    "graph.pooler": "head.pooler",
    "graph.lm_head": "head.lm_head",
    "graph.head_transform": "head.transform",
    "graph.cache": "attention.cache_update",
    "graph.embedding_projection": "embedding.projection",
}
"""Rule -> the part whose presence it is about."""


def made(*paths: str, facts: tuple[GraphFact, ...] = ()) -> Side:
    """A side with a block and these stages and facts."""
    token = Part("model.embedding.token", "embedding.token")
    inside = [Part(f"0.{path}", path) for path in ("attention.scores", *paths) if "attention" in path]
    stem = [Part(f"model.{path}", path) for path in paths if path.startswith("embedding")]
    head = [Part(f"model.{path}", path) for path in paths if path.startswith("head")]
    scopes = (Scope("stem", (token, *stem)), Scope("block", tuple(inside), (0,), "0"), Scope("head", tuple(head)))
    there = tuple(scope for scope in scopes if scope.parts)
    return Side(ModelInfo("made", None, "Made", 0, 0), Scenario(), there, 1, facts=facts)


def mirrored(one: Side, two: Side) -> list[Finding]:
    """The findings, which the other way round are the same with their values swapped."""
    there, back = compare(one, two).findings, compare(two, one).findings

    assert [(f.rule, f.a, f.b) for f in there] == [(f.rule, f.b, f.a) for f in back]
    return list(there)


@pytest.mark.parametrize("rule", PRESENT)
def test_what_can_be_added_can_be_removed(rule):
    """With the part on either side, the rule fires and explains the row."""
    facts = [() if rule.startswith("graph.") else (GraphFact(rule, value),) for value in (True, False)]
    found = mirrored(made(PRESENT[rule], facts=facts[0]), made(facts=facts[1]))

    assert rule in {finding.rule for finding in found}
    assert UNEXPLAINED.id not in {finding.rule for finding in found}


@pytest.mark.parametrize("rule", [rule.id for rule in RULES if rule.id in FACTS])
def test_a_rule_about_a_fact_fires_where_both_sides_state_it_and_differ(rule):
    """And only there: a fact that one side does not state is no difference."""
    one, two, silent = made(facts=(GraphFact(rule, 3),)), made(facts=(GraphFact(rule, 5),)), made()
    fires = rule != "model.layer_pattern"  # of two sides with one block the pattern is alike

    assert [finding.rule for finding in mirrored(one, two)] == [rule] * fires
    assert mirrored(one, silent) == []
    assert mirrored(one, one) == []


def test_a_fact_that_says_none_is_no_silence():
    one, two = made(facts=(GraphFact("attention.window", None),)), made(facts=(GraphFact("attention.window", 8),))
    (finding,) = mirrored(one, two)

    assert (finding.rule, finding.a, finding.b) == ("attention.window", "none", 8)


def test_what_no_rule_speaks_of_is_said_all_the_same():
    found = compare(made(), made("attention.temperature"))

    (finding,) = found.findings
    assert finding.rule == UNEXPLAINED.id
    assert finding.sentence == "made (B) has attention.temperature (scale queries by position); made (A) does not."
    assert found.aligned < 1.0


def test_nothing_aligned_is_no_answer():
    """Never `no differences`."""
    one = made()
    other = Side(one.model, one.scenario, (Scope("block", (Part("0.ssm.conv", "ssm.conv"),), (0,), "0"),), 1)

    with pytest.raises(InspectorError, match="no part of made") as caught:
        compare(one, other)
    assert caught.value.exit_code == 3


def test_a_model_without_blocks_is_refused():
    one = made()
    empty, blockless = replace(one, scopes=()), replace(one, scopes=one.scopes[:1])

    with pytest.raises(InspectorError, match="made ran no op"):
        compare(one, empty)
    with pytest.raises(InspectorError, match="no transformer block in made"):
        compare(blockless, one)


def test_a_prefill_is_not_compared_with_a_step_of_decoding():
    one = made()

    with pytest.raises(InspectorError, match="A ran in prefill and B in decode"):
        compare(one, replace(one, scenario=Scenario(past=16, seq=1)))
