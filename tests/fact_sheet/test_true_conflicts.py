"""What is not as its config says, of types that are what they are meant to be: each with the reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from inspector.api.twins import on_meta_or_cpu
from inspector.fact_sheet.facts import Fact, FactSheet
from inspector.fact_sheet.sheet import fact_sheet
from inspector.fact_sheet.verdicts import with_probes
from inspector.records import ModelInfo, Plain, Scenario, Trace
from inspector.source import resolve, subject_of
from inspector.source.tiny import twin_of

TRUE = {
    "phimoe": ("norm.kind", "LayerNorm"),
    "moshi": ("attention.window", "no mask is made of it"),
    "mllama": ("model.layers", "without a picture"),
    "cpmant": ("embedding.tied", "stored apart"),
}
"""Type -> (fact that differs from its config for a reason that is known, words of that reason)."""

AS_CLAIMED = [
    "afmoe", "beam", "bigbird_pegasus", "canine", "cohere2", "convbert", "diffllama", "ultrabert", "funnel",
    "gpt_neo", "granitemoehybrid", "kolibri1", "laguna", "led", "lfm2", "longcat_flash", "longformer",
    "muse_spark_text", "nemotron_h", "phi", "recurrent_gemma", "t5gemma", "zaya",
    "blt", "cohere2_moe", "csm", "deepseek_v4", "diffusion_gemma", "fastspeech2_conformer", "gpt_oss", "inkling2_text",
    "layoutlm", "lilt", "luke", "mimo_v2_flash", "minimax", "minimax_m3_vl_text", "mobilebert",
    "moss_transcribe_diarize", "pegasus_x", "qwen4_exp_text", "reformer", "squeezebert", "t5gemma2", "udop", "zamba2",
]  # fmt: skip
"""Types whose config says it in another way than most, or that are built in another: two stacks, streams side by side,
pieces that overlap, layers without a rotation, keys for each kind of layer.
"""


@cache
def trace_of_twin(model_type: str) -> Trace:
    twin, _ = twin_of(subject_of(resolve(f"model_type:{model_type}")), Scenario())
    return on_meta_or_cpu(twin, Scenario())


def conflicts(trace: Trace, **claims: Plain) -> set[str]:
    """What is not as claimed, with some claims made otherwise (double underscore for the dot)."""
    others = {name.replace("__", "."): value for name, value in claims.items()}
    kept = tuple(claim for claim in trace.claims.facts if claim[0] not in others)
    stated = tuple((fact, value, "a test") for fact, value in others.items())
    changed = replace(trace, claims=replace(trace.claims, facts=(*kept, *stated)))
    return {fact.id for fact in fact_sheet(changed).conflicts}


@pytest.mark.parametrize("model_type", TRUE)
def test_a_true_difference_is_explained_and_no_conflict(model_type):
    sheet = fact_sheet(trace_of_twin(model_type))
    ((fact, words),) = [TRUE[model_type]]
    (found,) = sheet.explained

    assert not sheet.conflicts
    assert (found.id, found.agrees) == (fact, False)
    assert words in found.explained


@pytest.mark.parametrize("model_type", TRUE)
def test_only_what_is_known_to_be_shown_is_explained(model_type):
    """Were execution to show something else, it would be a conflict as ever."""
    trace = trace_of_twin(model_type)
    other = tuple((fact, "another value", why) for fact, _, why in trace.claims.explained)
    sheet = fact_sheet(replace(trace, claims=replace(trace.claims, explained=other)))

    assert [fact.id for fact in sheet.conflicts] == [TRUE[model_type][0]]
    assert not sheet.explained


def test_a_gate_whose_numbers_no_key_states_is_explained():
    """As with versions of transformers in which they stand in the code."""
    trace = trace_of_twin("gpt_oss")
    stated = tuple(claim for claim in trace.claims.facts if claim[0] != "mlp.activation")
    facts = (*stated, ("mlp.activation", "silu", "config hidden_act"))
    sheet = fact_sheet(replace(trace, claims=replace(trace.claims, facts=facts)))

    assert [fact.id for fact in sheet.explained] == ["mlp.activation"]
    assert not sheet.conflicts


def test_an_explanation_does_not_silence_an_experiment():
    fact = Fact("norm.kind", "layer", claim=("config rms_norm_eps", "rms"), agrees=False, explained="a reason")
    sheet = FactSheet(ModelInfo("m", None, "M", 0, 0), Scenario(), (fact,))

    assert sheet.explained == (fact,)
    assert not sheet.conflicts
    held = with_probes(sheet, [("norm.kind", None, "it moves", True)], ())
    assert held.conflicts
    assert not held.explained


@pytest.mark.parametrize("model_type", AS_CLAIMED)
def test_a_type_that_is_as_its_config_says_has_none(model_type):
    assert conflicts(trace_of_twin(model_type)) == set()


WRONG = [
    ("funnel", "attention.heads", 2), ("longformer", "attention.heads", 12), ("diffllama", "attention.heads", 8),
    ("bigbird_pegasus", "embedding.scale", 64.0), ("beam", "position.kind", ("rope",) * 6),
    ("cohere2", "model.layer_pattern", ("full_attention",) * 4 + ("sliding_attention",) * 4),
    ("ultrabert", "attention.window", 4), ("ultrabert", "attention.window", 32),
    ("t5gemma", "attention.window", 4), ("muse_spark_text", "norm.eps", (1e-5, 1e-6)),
    ("blt", "model.layers", 7), ("zamba2", "position.kind", "rope"),
    ("inkling2_text", "mlp.activation", "silu"), ("mimo_v2_flash", "attention.kv_heads", (4, 2, 2, 2, 2, 4, 2)),
    ("t5gemma2", "attention.window", 4), ("diffusion_gemma", "attention.window", 4), ("csm", "embedding.tied", True),
    ("squeezebert", "mlp.width", 16), ("qwen4_exp_text", "model.width", 256), ("lilt", "model.width", 192),
    ("pegasus_x", "attention.heads", 8), ("cohere2_moe", "model.layers", 16), ("deepseek_v4", "moe.scale", 1.0),
    ("nemotron_h", "model.layers", 5), ("kolibri1", "moe.normalised", True), ("t5gemma", "model.layers", 3),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "fact", "claim"), WRONG, ids=[f"{row[0]}-{row[1]}" for row in WRONG])
def test_what_reads_a_claim_in_its_own_way_still_sees_a_wrong_one(model_type, fact, claim):
    assert fact in conflicts(trace_of_twin(model_type), **{fact.replace(".", "__"): claim})


def test_one_rotation_for_all_covers_only_layers_listed_apart():
    """Where all layers are of one kind, one that turns nothing is not as claimed."""
    trace = trace_of_twin("cohere2")

    assert conflicts(trace, model__layer_pattern=("full_attention",) * 8) >= {"position.kind"}
