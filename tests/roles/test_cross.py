"""Encoder-decoders: whose keys come from elsewhere."""

from __future__ import annotations

import pytest

from inspector.roles import infer
from inspector.stage_graph import build, fold_graph
from inspector.vocabulary import UNKNOWN


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_the_decoder_looks_at_itself_and_at_the_encoder(trace_of, model_type):
    trace = trace_of(model_type)
    naming = infer(trace)
    found = {
        trace.values[value].name: naming.parts[op.id].path
        for op in trace.ops
        for value in op.inputs
        if trace.values[value].kind == "parameter"
    }
    cross = {name for name, path in found.items() if path.startswith("cross_attention") and name.endswith("weight")}

    assert cross
    assert all("EncDecAttention" in name or "encoder_attn" in name or "layer.1" in name for name in cross)
    projections = [
        name for name in found if ("EncDecAttention" in name or "encoder_attn." in name) and "weight" in name
    ]
    assert len(projections) == 8
    assert all(found[name].startswith("cross_attention.") for name in projections)


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_a_block_begins_with_self_attention(trace_of, model_type):
    trace = trace_of(model_type)
    naming = infer(trace)

    assert fold_graph(build(trace, naming)).graph.layers == 4
    assert [op.name for op in trace.ops if naming.parts[op.id].path == UNKNOWN] == []


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "gemma2"])
def test_self_attention_is_never_cross_attention(trace_of, model_type):
    naming = infer(trace_of(model_type))

    assert "cross_attention" not in {naming.parts[op].section for op in range(len(naming.parts))}
