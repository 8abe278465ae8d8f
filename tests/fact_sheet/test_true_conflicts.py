"""What is not as its config says, of types that are what they are meant to be: each with the reason."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from inspector.api.twins import on_meta_or_cpu
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Plain, Scenario, Trace
from inspector.source import resolve, subject_of
from inspector.source.tiny import twin_of

TRUE = {
    "gpt_oss": {"mlp.activation": "hidden_act says silu; the experts compute x * sigmoid(1.702 x), clamped"},
    "minimax_m3_vl": {"mlp.activation": "hidden_act says silu; the gate is x * sigmoid(1.702 x), clamped"},
    "minimax_m3_vl_text": {"mlp.activation": "hidden_act says silu; the gate is x * sigmoid(1.702 x), clamped"},
    "inkling2": {"mlp.activation": "hidden_act says silu; both factors of the gate are softcapped"},
    "inkling2_text": {"mlp.activation": "hidden_act says silu; both factors of the gate are softcapped"},
    "phimoe": {"norm.kind": "the key is called rms_norm_eps, and the norms are LayerNorm"},
    "moshi": {"attention.window": "the window is stored and nothing reads it: the mask is plain causal"},
    "mllama": {"model.layers": "without an image the layers that look at it are left out"},
}
"""Type -> fact -> why execution and config differ, and are right to be told apart."""

AS_CLAIMED = [
    "afmoe", "beam", "bigbird_pegasus", "canine", "cohere2", "convbert", "diffllama", "ultrabert", "funnel",
    "gpt_neo", "granitemoehybrid", "kolibri1", "laguna", "led", "lfm2", "longcat_flash", "longformer",
    "muse_spark_text", "nemotron_h", "phi", "recurrent_gemma", "t5gemma", "zaya",
]  # fmt: skip
"""Types whose config says it in another way than most: two stacks, pieces that overlap, layers without a rotation."""


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


@pytest.mark.parametrize("model_type", ["gpt_oss", "mllama", "moshi", "phimoe"])
def test_a_true_conflict_is_told_and_no_other(model_type):
    assert conflicts(trace_of_twin(model_type)) == set(TRUE[model_type])


@pytest.mark.parametrize("model_type", AS_CLAIMED)
def test_a_type_that_is_as_its_config_says_has_none(model_type):
    assert conflicts(trace_of_twin(model_type)) == set()


WRONG = [
    ("funnel", "attention.heads", 2), ("longformer", "attention.heads", 12), ("diffllama", "attention.heads", 8),
    ("bigbird_pegasus", "embedding.scale", 64.0), ("beam", "position.kind", ("rope",) * 6),
    ("cohere2", "model.layer_pattern", ("full_attention",) * 4 + ("sliding_attention",) * 4),
    ("ultrabert", "attention.window", 4), ("ultrabert", "attention.window", 32),
    ("t5gemma", "attention.window", 4), ("muse_spark_text", "norm.eps", (1e-5, 1e-6)),
    ("nemotron_h", "model.layers", 5), ("kolibri1", "moe.normalised", True), ("t5gemma", "model.layers", 3),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "fact", "claim"), WRONG, ids=[f"{row[0]}-{row[1]}" for row in WRONG])
def test_what_reads_a_claim_in_its_own_way_still_sees_a_wrong_one(model_type, fact, claim):
    assert fact in conflicts(trace_of_twin(model_type), **{fact.replace(".", "__"): claim})


def test_one_rotation_for_all_covers_only_layers_listed_apart():
    """Where all layers are of one kind, one that turns nothing is not as claimed."""
    trace = trace_of_twin("cohere2")

    assert conflicts(trace, model__layer_pattern=("full_attention",) * 8) >= {"position.kind"}
