"""What torch would compile runs as it is written while it is watched; flex_attention is one call with its mask."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inspector.errors import TraceFailed
from inspector.records import Scenario
from inspector.roles import infer
from inspector.source.compiled import uncompiled
from inspector.tracing import observe
from inspector.tracing.run import watch

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler, of its own parts

META = Scenario(attention="flex_attention", dtype="float32")
CPU = Scenario(attention="flex_attention", device="cpu", dtype="float32", weights="random")


def fused_calls(trace):
    return [op for op in trace.ops if op.call.endswith(".flex_attention")]


def hidden(trace):
    """The mask that the first kernel is given, as numbers."""
    mask = dict(fused_calls(trace)[0].operands)["attn_mask"]
    return trace.concrete[mask].values


@pytest.mark.parametrize("scenario", [META, CPU], ids=["meta", "cpu"])
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_each_layer_makes_one_call_that_reads_the_mask(tiny, model_type, scenario):
    trace = observe(tiny(model_type), scenario)
    parts = infer(trace).parts

    calls = fused_calls(trace)
    assert len(calls) == 2
    assert {parts[op.id].path for op in calls} == {"attention.fused"}
    assert [name for name, _ in calls[0].operands] == ["query", "key", "value", "attn_mask"]
    assert not [op.name for op in trace.ops if parts[op.id].path == "unknown"]
    assert not [value for value in trace.values if value.kind == "orphan"]
    assert any("flex_attention ran uncompiled" in note for note in trace.notes)


@pytest.mark.parametrize("model_type", ["bert", "llama", "mistral"])
def test_the_mask_is_the_one_that_sdpa_gets(tiny, model_type):
    subject = tiny(model_type, sliding_window=5) if model_type == "mistral" else tiny(model_type)
    flex = observe(subject, META)
    sdpa = observe(subject, Scenario(attention="sdpa", dtype="float32"))
    given = next(op for op in sdpa.ops if op.name == "scaled_dot_product_attention")

    assert hidden(flex) == sdpa.concrete[dict(given.operands)["attn_mask"]].values
    assert set(hidden(flex)) == {0, 1}


def test_watching_gives_what_the_kernel_gives(tiny):
    subject = tiny("llama")
    scenario, _ = subject.settle(CPU)
    module = subject.make(scenario)
    with torch.no_grad(), uncompiled():
        plain = module(**subject.inputs(module, scenario))

    run = watch(module, subject.inputs(module, scenario))

    assert torch.equal(run.output[0], plain[0])


def test_a_softcap_inside_the_kernel_is_refused_and_not_overlooked(tiny):
    with pytest.raises(TraceFailed, match="function of its own"):
        observe(tiny("gemma2"), META)


def test_a_compiled_module_is_seen_inside_and_stays_compiled():
    inner = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    compile_, run = torch.compile, watch(inner, {"input": torch.ones(2, 4)})

    assert [op.name for op in run.seen.ops] == ["linear", "relu"]
    assert torch.compile is compile_


def test_nothing_is_left_behind_when_the_model_raises(tiny):
    import torch.nn.attention.flex_attention as flex

    before = flex.create_block_mask, flex.flex_attention_hop, flex._validate_device, torch.compile
    with pytest.raises(TraceFailed):
        observe(tiny("gemma2"), META)

    assert before == (flex.create_block_mask, flex.flex_attention_hop, flex._validate_device, torch.compile)
    assert not flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
