"""Encoder-decoders: whose keys come from elsewhere."""

from __future__ import annotations

import pytest

from inspector.records import Scenario
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


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_in_a_later_step_what_it_looks_across_to_is_remembered(trace_of, model_type, attention):
    """The keys are those of a cache to which nothing is added, so they are no keys of the tokens that look."""
    trace = trace_of(model_type, Scenario(past=5, seq=1, attention=attention))
    graph = build(trace, infer(trace))
    working = [stage for stage in graph.stages if stage.role in ("scores", "fused")]

    assert [(stage.section, stage.layer) for stage in working] == [
        (section, layer) for layer in (0, 1) for section in ("attention", "cross_attention")
    ]
    assert [stage.name for stage in graph.stages if stage.name.startswith("cross_attention.k")] == []


@pytest.mark.parametrize("model_type", ["t5", "mbart"])
def test_a_stream_that_is_kept_finite_goes_on(trace_of, model_type):
    """In half precision what leaves a sublayer is clamped, in T5 by bounds that hang on whether it is finite."""
    trace = trace_of(model_type, Scenario(dtype="float16"))
    naming = infer(trace)
    graph = build(trace, naming)
    clamps = [stage for stage in graph.stages if "clamp" in {op.name for op in graph.ops(stage)}]

    assert len(clamps) == (10 if model_type == "t5" else 2)
    assert {stage.path for stage in clamps} == {"block.scale"}
    assert {stage.layer for stage in clamps} == ({0, 1, 2, 3} if model_type == "t5" else {0, 1})
    assert [op.name for op in trace.ops if naming.parts[op.id].path == UNKNOWN] == []
    assert [stage.path for stage in graph.stages].count("head.norm") == 2
    assert fold_graph(graph).graph.layers == 4


@pytest.mark.parametrize(
    ("model_type", "past"),
    [("bert", 0), ("gpt2", 0), ("gpt2", 5), ("llama", 0), ("llama", 5), ("gemma2", 0), ("gemma2", 5)],
)
def test_self_attention_is_never_cross_attention(trace_of, model_type, past):
    naming = infer(trace_of(model_type, Scenario(past=past)))

    assert "cross_attention" not in {naming.parts[op].section for op in range(len(naming.parts))}
