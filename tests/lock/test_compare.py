"""What a lock notices: each change is told by the rule that fits it, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inspector.api.lock import Lock
from inspector.comparison.held import Held
from inspector.comparison.lock import LOCK_RULES, compare_locked
from inspector.comparison.rules import RULES
from inspector.stage_graph.record import GraphRecord

MODELS = ["gpt2", "bert", "llama", "gemma2", "t5", "mixtral", "qwen2_moe", "opt", "bloom"]


@pytest.mark.parametrize("model", MODELS)
def test_nothing_moves_by_itself(lock_of: Callable[..., Lock], model: str) -> None:
    found = compare_locked(lock_of(model).record, lock_of(model).record)

    assert found.findings == ()
    assert {row.status for row in found.rows} == {"same"}


def test_rules_of_a_lock_are_not_those_of_a_diff() -> None:
    assert not {rule.id for rule in LOCK_RULES} & {rule.id for rule in RULES}


def rules(then: GraphRecord, now: GraphRecord) -> list[tuple[str, str]]:
    one, two = compare_locked(then, now), compare_locked(now, then)

    assert [(f.rule, f.severity) for f in one.findings] == [(f.rule, f.severity) for f in two.findings]  # its mirror
    return [(finding.rule, finding.severity) for finding in one.findings]


CONFIGS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("gpt2", {"layer_norm_epsilon": 1e-3}, [("norm.eps", "notable")]),
    ("gpt2", {"activation_function": "relu"}, [("mlp.activation", "breaking")]),
    ("gpt2", {"scale_attn_weights": False}, [("attention.scale", "breaking")]),
    ("gpt2", {"n_layer": 3}, [("model.layers", "notable"), ("model.parameters", "notable")]),
    ("gpt2", {"tie_word_embeddings": False}, [("embedding.tied", "notable"), ("model.parameters", "notable")]),
    ("gpt2", {"resid_pdrop": 0.3}, []),
    ("llama", {"rope_theta": 5e5}, [("position.rope.theta", "breaking")]),
    (
        "llama",
        {"attention_bias": True},
        [("bias.qkv", "notable"), ("bias.o", "notable"), ("model.parameters", "notable")],
    ),
]


@pytest.mark.parametrize(("model", "changes", "expected"), CONFIGS, ids=lambda value: str(value)[:40])
def test_a_change_of_the_config_is_told_by_its_rule(
    lock_of: Callable[..., Lock], model: str, changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert rules(lock_of(model).record, lock_of(model, **changes).record) == expected


def rerouted(record: GraphRecord, target: str, source: str) -> GraphRecord:
    """The record with the first input of one node taken from another."""
    edge = record.incoming[target][0]
    other = edge._replace(source=source, output=0, between=False, source_layers=edge.target_layers)
    return replace(record, edges=tuple(other if one is edge else one for one in record.edges))


def test_another_input_is_noticed(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("gpt2").record
    now = rerouted(record, "0-1.mlp.up_proj", "0-1.attention.norm")

    assert rules(record, now) == [("graph.wiring", "breaking")]
    (finding,) = compare_locked(record, now).findings
    assert (finding.a, finding.b) == ("mlp.norm, weight 0, weight 1", "attention.norm, weight 0, weight 1")
    assert finding.sentence.startswith("mlp.up_proj (project up to the feed-forward width) reads something else")


def handing_on_more(record: GraphRecord, id: str) -> GraphRecord:
    """One node is written otherwise and hands on one more output, before all others: a mask that its readers ignore."""
    node = record.node(id)
    call = next(call for call in node.calls if call.kind == "other")
    more = node.outputs[0]._replace(dtype="bool")
    fresh = replace(node, calls=(*node.calls, call._replace(name="ge")), outputs=(more, *node.outputs))
    edges = (edge._replace(output=edge.output + 1) if edge.source == id else edge for edge in record.edges)
    return replace(record, nodes=tuple(fresh if one is node else one for one in record.nodes), edges=tuple(edges))


def test_who_hands_on_more_is_read_as_before(lock_of: Callable[..., Lock]) -> None:
    """Experts of one transformers say besides which tokens no expert takes, those of another do not."""
    record = lock_of("mixtral").record
    (id,) = (node.id for node in record.nodes if node.role == "dispatch")
    now = handing_on_more(record, id)
    found = compare_locked(record, now)

    assert [row.status for row in found.rows if row.parts[0].role == "dispatch"] == ["re-expressed"]
    assert rules(record, now) == []

    edge = next(edge for edge in now.edges if edge.source == id and edge.output == 1)
    other = edge._replace(output=0)  # the mask, where the numbers were read
    wrong = replace(now, edges=tuple(other if one is edge else one for one in now.edges))
    assert rules(record, wrong) == [("graph.wiring", "breaking")]
    (finding,) = compare_locked(record, wrong).findings
    assert "moe.dispatch#(" in finding.a
    assert "bool" in str(finding.b)


def test_the_rest_of_the_graph_is_blind_to_that(lock_of: Callable[..., Lock]) -> None:
    """Why there is a rule for it: no row differs."""
    record = lock_of("gpt2").record
    found = compare_locked(record, rerouted(record, "0-1.mlp.up_proj", "0-1.attention.norm"))

    assert {row.status for row in found.rows} == {"same"}


def node_with(record: GraphRecord, call: str) -> Any:
    """The first node that calls that function as its only one that computes."""
    return next(node for node in record.nodes if [one.name for one in node.calls if one.kind != "view"] == [call])


def recalled(record: GraphRecord, node: Any, name: str, change: Callable[[Any], Any]) -> GraphRecord:
    calls = tuple(change(call) if call.name == name else call for call in node.calls)
    nodes = tuple(replace(one, calls=calls) if one is node else one for one in record.nodes)
    return replace(record, nodes=nodes)


def test_another_argument_is_noticed(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("gpt2").record
    node = next(node for node in record.nodes if node.role == "softmax")
    now = recalled(record, node, "softmax", lambda call: call._replace(attributes=(("dim", 1),)))

    assert rules(record, now) == [("graph.arguments", "notable")]


def test_operands_may_change_places_where_that_makes_no_difference(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("gpt2").record

    def swapped(call: Any) -> Any:
        (one, first), (two, second) = call.operands
        return call._replace(operands=((one, second), (two, first)))

    add = next(node for node in record.nodes if node.name == "mlp.residual")
    scores = next(node for node in record.nodes if node.role == "scores")

    assert rules(record, recalled(record, add, "add", swapped)) == []
    assert rules(record, recalled(record, scores, "matmul", swapped)) == [("graph.arguments", "notable")]


def test_a_number_may_follow_the_width(lock_of: Callable[..., Lock]) -> None:
    """A wider model is told of as wider, not as one whose norms are called with another number."""
    found = dict(rules(lock_of("gpt2").record, lock_of("gpt2", n_embd=128, n_inner=96).record))

    assert "model.width" in found
    assert "graph.arguments" not in found


def test_another_number_format_is_cosmetic(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("gpt2").record
    node = next(node for node in record.nodes if node.name == "mlp.norm")
    outputs = tuple(view._replace(dtype="float32") for view in node.outputs)
    now = replace(record, nodes=tuple(replace(n, outputs=outputs) if n is node else n for n in record.nodes))

    assert rules(record, now) == [("graph.format", "cosmetic")]
    assert "mlp.norm hands on: tiny gpt2 as locked bfloat16, tiny gpt2 now float32" in (
        compare_locked(record, now).findings[0].sentence
    )


def test_another_output_is_notable(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("gpt2").record
    assert record.outputs
    now = replace(record, outputs=tuple(output._replace(name=f"{output.name}.new") for output in record.outputs))

    assert rules(record, now) == [("graph.outputs", "notable")]


def test_facts_without_a_rule_are_told_too(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("llama").record
    facts = tuple(fact._replace(value=8) if fact.id == "position.rope.dim" else fact for fact in record.facts or ())

    assert rules(record, replace(record, facts=facts)) == [("position.rope.dim", "notable")]


def test_derived_facts_are_told_when_nothing_else_says_why(lock_of: Callable[..., Lock]) -> None:
    record = lock_of("llama").record
    facts = tuple(fact._replace(value=1) if fact.id == "cache.bytes_per_token" else fact for fact in record.facts or ())

    assert rules(record, replace(record, facts=facts)) == [("cache.bytes_per_token", "notable")]


def test_another_module_path_is_a_new_name_and_no_finding(changed: Callable[..., GraphRecord], lock_of: Any) -> None:
    then = lock_of("gpt2").record
    found = compare_locked(then, changed("gpt2", "0-1.mlp.up_proj", module="transformer.blocks.{}.mlp.fc_in"))

    assert found.findings == ()
    assert [row.parts[0].name for row in found.rows if row.status == "renamed"] == ["mlp.up_proj"]
    assert Held("x", then=None, comparison=found).verdict == "same"


def test_the_two_are_told_apart_by_when(lock_of: Callable[..., Lock]) -> None:
    gpt2, llama = lock_of("gpt2").record, lock_of("llama").record

    assert compare_locked(gpt2, gpt2).names == ("tiny gpt2 as locked", "tiny gpt2 now")
    assert compare_locked(gpt2, llama).names == ("tiny gpt2 as locked", "tiny llama")
