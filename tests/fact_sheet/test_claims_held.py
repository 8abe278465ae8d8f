"""The config is only a claim: what it says and what runs are two things."""

from __future__ import annotations

import pytest

from inspector.fact_sheet.agreement import same
from inspector.records import Scenario

LONG = Scenario(seq=24)

TRAPS = [
    ("qwen2 keeps a window that it is told not to use",
     "qwen2", {"sliding_window": 8, "use_sliding_window": False}, {}, {"attention.window": None}),
    ("llama has no window, whatever its config says",
     "llama", {"sliding_window": 8}, {"attention.window": 8}, {"attention.window": None}),
    ("gelu is not always gelu",
     "gpt2", {"activation_function": "gelu"}, {}, {"mlp.activation": "gelu"}),
    ("bloom computes the tanh form by hand, and has no key for it nor for its width",
     "bloom", {}, {"mlp.width": 96}, {"mlp.activation": "gelu_tanh", "mlp.width": 256}),
    ("falcon says multi_query of groups",
     "falcon", {"multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 2}, {"mlp.width": 96},
     {"attention.kv_heads": 2, "attention.kind": "gqa"}),
    ("falcon with one key/value head",
     "falcon", {"multi_query": True}, {"mlp.width": 96}, {"attention.kv_heads": 1, "attention.kind": "mqa"}),
    ("qwen3 has no key that says its queries are normalised",
     "qwen3", {}, {}, {"attention.qk_norm": "rms/head before-rope"}),
    ("olmo2 neither",
     "olmo2", {}, {}, {"attention.qk_norm": "rms/full before-rope"}),
    ("one eps written in two ways",
     "llama", {"rms_norm_eps": 1e-05}, {}, {"norm.eps": 0.00001}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model_type", "changes", "conflicts", "values"), [row[1:] for row in TRAPS], ids=[r[0] for r in TRAPS]
)
def test_traps(facts_of, model_type, changes, conflicts, values):
    sheet = facts_of(model_type, LONG, **changes)

    assert {fact: sheet.get(fact) for fact in values} == values
    assert {fact.id: fact.claim[1] for fact in sheet.conflicts if fact.claim} == conflicts


def test_a_claim_of_another_function_is_a_conflict(trace_of):
    """The config says gelu; what runs is the tanh form."""
    from dataclasses import replace

    from inspector.fact_sheet.sheet import fact_sheet

    trace = trace_of("bloom")
    claims = replace(trace.claims, facts=(("mlp.activation", "gelu", "config hidden_act"),))
    (conflict,) = fact_sheet(replace(trace, claims=claims)).conflicts

    assert (conflict.id, conflict.value, conflict.claim) == (
        "mlp.activation",
        "gelu_tanh",
        ("config hidden_act", "gelu"),
    )


WRONG = [
    ("attention.heads", 8), ("attention.kv_heads", 4), ("attention.kind", "mha"), ("attention.head_dim", 32),
    ("attention.scale", 0.125), ("attention.direction", "bidirectional"), ("attention.window", 8),
    ("attention.qkv", "fused"), ("attention.qk_norm", "rms/head"), ("attention.softcap", 50.0),
    ("position.kind", "learned"), ("position.rope.theta", 5e5), ("position.rope.fraction", 0.5),
    ("position.rope.dim", 8), ("position.rope.scaling", ("linear", ("factor", 2.0))), ("norm.kind", "layer"),
    ("norm.eps", 1e-12), ("norm.placement", "post"), ("norm.bias", True), ("norm.offset", 1), ("mlp.gated", False),
    ("mlp.activation", "gelu"), ("mlp.width", 128), ("bias.qkv", True), ("bias.o", True), ("bias.mlp", True),
    ("block.layout", "parallel"), ("embedding.tied", True), ("embedding.scale", 8.0), ("embedding.segments", True),
    ("head.softcap", 30.0), ("head.scale", 0.5), ("model.layers", 3), ("model.width", 32), ("model.vocabulary", 100),
    ("model.family", "encoder"), ("model.parameters", 1), ("cache.bytes_per_token", 1),
    ("model.layer_pattern", ("sliding", "full")),
]  # fmt: skip


@pytest.mark.parametrize(("fact", "claim"), WRONG, ids=[fact for fact, _ in WRONG])
def test_every_wrong_claim_is_a_conflict(trace_of, fact, claim):
    from dataclasses import replace

    from inspector.fact_sheet.sheet import fact_sheet

    trace = trace_of("llama", LONG)
    claims = replace(trace.claims, facts=((fact, claim, "a test"),))

    assert [found.id for found in fact_sheet(replace(trace, claims=claims)).conflicts] == [fact]


def test_a_claim_that_nothing_shows_is_unanswered(trace_of):
    from dataclasses import replace

    from inspector.fact_sheet.sheet import fact_sheet

    trace = trace_of("llama")
    claims = replace(trace.claims, facts=(("moe.experts", 8, "config num_experts"),))
    sheet = fact_sheet(replace(trace, claims=claims))

    assert ("moe.experts", "config num_experts says 8, and nothing that ran shows it") in sheet.unanswered
    assert not sheet.conflicts


@pytest.mark.parametrize(
    ("value", "claim", "equal"),
    [(1e-5, 1e-05, True), (12, 12.0, True), ("silu", "silu", True), ((1, 2), (1, 2.0), True), ((1,), (1, 2), False),
     ("gelu", "gelu_tanh", False), (1e-5, 1e-6, False), (None, 8, False), (None, None, True), (True, False, False)],
)  # fmt: skip
def test_same(value, claim, equal):
    assert same(value, claim) is equal
