"""The diff reads both sides from their stages alone, so that a saved graph can be one; the fact sheet reads the trace.

Two readings of one model must not say different things.
"""

from __future__ import annotations

import pytest

from inspector.comparison.observed import observed
from inspector.comparison.sides import side_of
from inspector.fact_sheet.sheet import fact_sheet

MODELS = [
    *("bert", "gpt2", "llama", "gemma2", "gpt_neox", "olmo2", "cohere", "stablelm", "falcon", "qwen3"),
    *("mixtral", "qwen2_moe", "gpt_oss", "opt", "roberta", "phi", "smollm3"),
]

SHARED = [
    *("model.layers", "model.width", "model.vocabulary", "model.family"),
    *("attention.direction", "attention.kind", "attention.heads", "attention.kv_heads", "attention.head_dim"),
    *("attention.qkv", "attention.qk_norm", "attention.cross", "attention.sinks", "attention.gate"),
    *("position.kind", "position.rope.theta", "position.rope.fraction", "position.rope.layout"),
    *("norm.kind", "norm.placement", "norm.eps", "norm.bias", "norm.affine", "norm.offset", "norm.final"),
    *("mlp.gated", "mlp.activation", "mlp.width", "block.layout", "moe.experts", "moe.active", "moe.router"),
    *("bias.qkv", "bias.o", "bias.mlp", "bias.lm_head"),
    *("embedding.norm", "embedding.tied", "embedding.segments"),
]


FALCON = {"new_decoder_architecture": True, "num_kv_heads": 2, "multi_query": True}


@pytest.mark.parametrize("model", [*MODELS, ("falcon", FALCON), "preset:falcon-180b", "preset:gemma-2b"], ids=str)
def test_the_two_readings_agree(traced, model):
    name, changes = model if isinstance(model, tuple) else (model, {})
    trace = traced(name, **changes)
    sheet, seen = fact_sheet(trace), observed(side_of(trace))
    values = {fact: set(sheet.all(fact).values()) for fact in SHARED}

    said = {fact: values[fact] for fact in SHARED if values[fact] and seen[fact] is not None}
    assert said == {fact: set(seen[fact] if isinstance(seen[fact], tuple) else (seen[fact],)) for fact in said}
    assert len(said) > 20
