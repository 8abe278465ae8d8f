"""Facts from the run alone: each small model has one thing that the others have not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inspector.api.twins import observe_twin
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Scenario
from inspector.source import resolve, subject_of
from inspector.vocabulary import FACTS

LONG = Scenario(seq=24)

EXPECTED = [
    ("bert", {}, {"model.family": "encoder", "attention.direction": "bidirectional", "norm.placement": "post"}),
    ("bert", {}, {"position.kind": "learned", "embedding.segments": True, "embedding.norm": True, "norm.final": False}),
    ("gpt2", {}, {"model.family": "decoder", "attention.direction": "causal", "norm.placement": "pre"}),
    ("gpt2", {}, {"attention.qkv": "fused", "embedding.tied": True, "bias.lm_head": False, "mlp.gated": False}),
    ("gpt2", {"scale_attn_weights": False}, {"attention.scale": 1.0}),
    ("llama", {}, {"attention.kind": "gqa", "attention.heads": 4, "attention.kv_heads": 2, "attention.head_dim": 16}),
    ("llama", {"num_key_value_heads": 1}, {"attention.kind": "mqa", "attention.kv_heads": 1}),
    ("llama", {"num_key_value_heads": 4}, {"attention.kind": "mha", "attention.kv_heads": 4}),
    ("llama", {"head_dim": 8}, {"attention.head_dim": 8, "attention.scale": 8**-0.5, "position.rope.dim": 8}),
    ("llama", {"attention_bias": True}, {"bias.qkv": True, "bias.o": True, "bias.mlp": False}),
    ("llama", {"mlp_bias": True}, {"bias.qkv": False, "bias.mlp": True}),
    ("llama", {"tie_word_embeddings": True}, {"embedding.tied": True}),
    ("qwen2", {}, {"bias.qkv": True, "bias.o": False, "attention.qk_norm": "none"}),
    ("qwen3", {}, {"attention.qk_norm": "rms/head before-rope"}),
    ("olmo2", {}, {"attention.qk_norm": "rms/full before-rope", "norm.placement": "output"}),
    ("gemma2", {}, {"norm.placement": "sandwich", "norm.offset": 1, "attention.softcap": 50.0, "head.softcap": 30.0}),
    ("gemma2", {}, {"embedding.scale": 8.0, "mlp.activation": "gelu_tanh", "mlp.gated": True}),
    ("bloom", {}, {"position.kind": "alibi", "embedding.norm": True, "attention.scale": 0.25}),
    ("opt", {}, {"mlp.activation": "relu", "position.kind": "learned"}),
    ("opt", {"do_layer_norm_before": False}, {"norm.placement": "post", "norm.final": False}),
    ("opt", {"do_layer_norm_before": False}, {"model.layer_pattern": "2", "block.layout": "sequential"}),
    ("gpt_neox", {}, {"block.layout": "parallel", "position.rope.fraction": 0.25, "position.rope.layout": "half"}),
    ("gptj", {}, {"block.layout": "parallel", "position.rope.layout": "interleaved", "position.rope.dim": 8}),
    ("cohere", {}, {"position.rope.layout": "interleaved", "norm.bias": False, "norm.kind": "layer"}),
    ("falcon", {"bias": True}, {"bias.mlp": True, "bias.qkv": True, "bias.o": True, "mlp.activation": "gelu"}),
    ("phi3", {}, {"attention.qkv": "fused", "mlp.gated": True}),
    ("stablelm", {}, {"norm.kind": "layer", "position.rope.fraction": 0.25}),
    ("t5", {"num_decoder_layers": 3}, {"model.layers": 5, "model.layers.decoder": 3, "attention.cross": True}),
    ("bart", {"decoder_layers": 1}, {"model.layers": 3, "model.layers.decoder": 1, "attention.cross": True}),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "changes", "expected"), EXPECTED)
def test_facts(facts_of, model_type, changes, expected):
    sheet = facts_of(model_type, **changes)

    assert {fact: sheet.get(fact) for fact in expected} == expected


def test_sdpa_shows_the_same_facts(facts_of):
    """A fused kernel hides the number format of its softmax, and nothing else."""
    eager, sdpa = facts_of("llama"), facts_of("llama", Scenario(attention="sdpa"))
    said = {fact.id: fact.value for fact in sdpa.facts if not fact.id.startswith("cost")}

    assert {"attention.softmax_dtype": "float32"} == {
        fact.id: fact.value for fact in eager.facts if not fact.id.startswith("cost") and fact.id not in said
    }
    assert ("attention.softmax_dtype", "it happens inside one kernel") in sdpa.unanswered
    assert all(eager.get(fact) == value for fact, value in said.items())


def test_layers_that_differ_have_their_own_facts(facts_of):
    sheet = facts_of("gemma2", LONG, num_hidden_layers=6)

    assert sheet.all("attention.window") == {"0-4:2": 8, "1-5:2": None}
    assert sheet.all("attention.direction") == {"": "causal"}
    assert not sheet.conflicts


def test_a_window_that_the_run_does_not_outgrow_is_not_denied(trace_of):
    from dataclasses import replace

    trace = trace_of("mistral")
    claimed = replace(trace.claims, facts=(*trace.claims.facts, ("attention.window", 64, "config sliding_window")))
    sheet = fact_sheet(replace(trace, claims=claimed))

    assert not sheet.all("attention.window")
    assert dict(sheet.unanswered)["attention.window"] == "a window of 64 tokens would not show in a run of 16"


@pytest.mark.parametrize("theta", [10_000.0, 12_345.0, 500_000.0, 1e6])
def test_theta_is_read_off_the_frequencies(facts_of, theta):
    sheet = facts_of("llama", rope_parameters={"rope_type": "default", "rope_theta": theta})

    assert sheet.get("position.rope.theta") == theta
    assert sheet.get("position.rope.scaling") == ("default",)


def test_theta_is_read_off_tables_that_were_made_once(facts_of):
    assert facts_of("gptj").get("position.rope.theta") == 10_000.0


def test_frequencies_are_known_better_than_bfloat16_tables_tell(trace_of):
    from dataclasses import replace

    trace = trace_of("llama")
    claims = replace(trace.claims, facts=(("position.rope.theta", 10_010.0, "a test"),))

    assert [fact.value for fact in fact_sheet(replace(trace, claims=claims)).conflicts] == [10_000.0]


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
YARN = {"factor": 4.0, "original_max_position_embeddings": 4096}
TURNS_AT = lambda turns: 32 * math.log(4096 / (turns * 2 * math.pi)) / math.log(1e4)  # noqa: E731 - a formula: YaRN, eq. 17
RAMP = (("low", float(math.floor(TURNS_AT(32)))), ("high", float(math.ceil(TURNS_AT(1)))))
UNCUT = (("low", float(f"{TURNS_AT(32):.4g}")), ("high", float(f"{TURNS_AT(1):.4g}")))
SCALINGS = [
    ({"rope_type": "linear", "factor": 4.0}, ("linear", ("factor", 4.0))),
    ({"rope_type": "llama3", **LLAMA3}, ("llama3", ("factor", 8.0))),
    ({"rope_type": "yarn", **YARN}, ("yarn", ("factor", 4.0), *RAMP, ("attention_factor", 0.1 * math.log(4) + 1))),
    (
        {"rope_type": "yarn", "truncate": False, **YARN},
        ("yarn", ("factor", 4.0), *UNCUT, ("attention_factor", 0.1 * math.log(4) + 1)),
    ),
]


@pytest.mark.parametrize(("scaling", "seen"), SCALINGS, ids=["linear", "llama3", "yarn", "yarn-not-cut"])
def test_scaling_is_read_off_the_frequencies(facts_of, scaling, seen):
    sheet = facts_of("llama", rope_parameters={"rope_theta": 1e4, **scaling}, head_dim=64)

    assert sheet.get("position.rope.scaling") == seen
    assert sheet.get("position.rope.theta") == 1e4
    assert not sheet.conflicts


def test_a_scaling_that_leaves_no_pair_but_the_first_hides_no_base(facts_of):
    """Of four pairs a long yarn slows three: a base of its own would fit them too, and the claimed one is as good."""
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2048.0, "original_max_position_embeddings": 512}
    sheet = facts_of("llama", rope_parameters=rope | {"attention_factor": 1.0}, head_dim=8)

    assert sheet.get("position.rope.theta") == 1e4
    assert sheet.get("position.rope.scaling") == ("yarn", ("factor", 2048.0))
    assert not sheet.conflicts


def test_embedding_scale_has_its_formula(facts_of):
    (fact,) = [fact for fact in facts_of("gemma2").facts if fact.id == "embedding.scale"]

    assert (fact.value, fact.formula) == (8.0, "sqrt(64)")


def test_evidence_is_ops_that_play_the_part(trace_of):
    sheet = fact_sheet(trace_of("llama"))
    scale = next(fact for fact in sheet.facts if fact.id == "attention.scale")

    assert [trace_of("llama").ops[op].name for op in scale.evidence.ops] == ["mul"]
    assert (scale.evidence.shown, scale.formula) == ("attention.scale: mul", "1/sqrt(16)")


def test_every_fact_is_in_the_vocabulary_and_in_its_order(facts_of):
    for model in ("bert", "gemma2", "gptj"):
        ids = [fact.id for fact in facts_of(model).facts if not fact.id.startswith("cost.flops.")]

        assert ids == sorted(ids, key=list(FACTS).index)


def test_the_same_trace_gives_the_same_sheet(trace_of):
    assert fact_sheet(trace_of("gemma2", LONG)) == fact_sheet(trace_of("gemma2", LONG))


def test_a_decode_step_shows_no_direction(facts_of):
    sheet = facts_of("llama", Scenario(past=8, seq=1))

    assert "one query shows no direction" in dict(sheet.unanswered)["attention.direction"]
    assert sheet.get("attention.kv_heads") == 2


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_the_two_sides_of_a_model(facts_of, model_type):
    """The side that reads sees both ways, the one that writes only back; both depths are as claimed."""
    sheet = facts_of(model_type, LONG)
    judged = {fact.id: fact.agrees for fact in sheet.facts if fact.id.startswith("model.layers")}

    assert sheet.all("attention.direction") == {"0-1": "bidirectional", "2-3": "causal"}
    assert judged == {"model.layers": True, "model.layers.decoder": True}


def test_a_claim_of_depth_can_fail_on_either_side(trace_of):
    trace = trace_of("t5", LONG)
    for fact in ("model.layers", "model.layers.decoder"):
        claims = replace(trace.claims, facts=((fact, 9, "config"),))
        (conflict,) = fact_sheet(replace(trace, claims=claims)).conflicts

        assert (conflict.id, conflict.agrees) == (fact, False)


def test_biases_that_are_added_to_parts_of_a_fused_product():
    """DeBERTa projects without one, and adds a vector to queries and to values once the heads are split off."""
    trace = observe_twin(subject_of(resolve("model_type:deberta")), Scenario())
    sheet = fact_sheet(trace)

    assert sheet.get("attention.qkv") == "fused"
    assert sheet.get("bias.qkv") == "q_proj v_proj"
    shown = next(fact.evidence.ops for fact in sheet.facts if fact.id == "bias.qkv")
    assert [trace.ops[op].name for op in shown] == ["add", "add"]


def test_a_stream_that_is_begun_anew_belongs_to_its_block():
    """Inkling 2 adds the first attention of every six blocks to nothing, and reads the sum before beside it."""
    sheet = fact_sheet(observe_twin(subject_of(resolve("model_type:inkling2_text")), Scenario()))

    assert sheet.get("model.layers") == 12
    assert sheet.all("attention.heads") == {"": 12}
    assert sheet.all("attention.cross") == {"": False}
    assert not [fact for fact in sheet.conflicts if fact.claim]


def test_narrow_streams_inside_blocks():
    sheet = fact_sheet(observe_twin(subject_of(resolve("model_type:mobilebert")), Scenario()))

    said = {fact: sheet.get(fact) for fact in ("model.layer_pattern", "attention.heads", "mlp.width", "norm.placement")}
    assert said == {"model.layer_pattern": "2", "attention.heads": 4, "mlp.width": 96, "norm.placement": "none"}


def test_the_last_norm_of_an_encoder_belongs_to_its_last_block(facts_of):
    """BART normalises every sum, also where the decoder goes on from it; mBART has a norm behind its blocks besides."""
    sheet = facts_of("bart", encoder_layers=2, decoder_layers=2)

    assert (sheet.get("norm.final"), sheet.get("norm.placement")) == (False, "post")
    assert sheet.get("model.layer_pattern") == "2 full + 2 causal"


@pytest.mark.parametrize(("name", "pattern"), [("dpr", "2"), ("fsmt", "2 kind 1 + 2 kind 2"), ("xlm", "2")])
def test_what_is_cut_behind_the_last_block_makes_it_no_other_kind(name, pattern):
    sheet = fact_sheet(observe_twin(subject_of(resolve(f"model_type:{name}")), Scenario()))

    assert sheet.get("model.layer_pattern") == pattern
