"""What the tracer is given: modules, inputs, scenarios."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import inspector
from inspector.api.results import Shapes
from inspector.errors import InspectorError
from inspector.records import Scenario
from inspector.source.configured import ConfigSubject
from inspector.source.resolve import resolve
from inspector.source.subject import Subject, live_subject, subject_of

CPU = Scenario(device="cpu", dtype="float32", weights="random", seq=6)


def tiny(config_file: Callable[..., Path], **keys: Any) -> Subject:
    return subject_of(resolve(str(config_file(**keys))))


def ready(subject: Subject, scenario: Scenario) -> tuple[torch.nn.Module, dict[str, Any], Scenario]:
    scenario, _ = subject.settle(scenario)
    module = subject.make(scenario)
    return module, subject.inputs(module, scenario), scenario


@pytest.mark.parametrize(
    ("name", "head", "class_name"),
    [
        ("gpt2", None, "GPT2LMHeadModel"),
        ("gpt2", False, "GPT2Model"),
        ("bert", None, "BertModel"),
        ("bert", True, "BertForMaskedLM"),
        ("model_type:t5", None, "T5ForConditionalGeneration"),
        ("model_type:bart", None, "BartForConditionalGeneration"),
        ("model_type:vit", None, "ViTModel"),
        ("model_type:funnel", None, "FunnelModel"),
    ],
)
def test_class_is_the_one_people_mean(name: str, head: bool | None, class_name: str) -> None:
    subject = subject_of(resolve(name))
    scenario, _ = subject.settle(Scenario(head=head))

    assert class_name == type(subject.make(scenario)).__name__
    assert scenario.head is (head if head is not None else class_name.startswith(("GPT2", "T5", "Bart")))


def test_bert_as_a_decoder_has_its_head(config_file: Callable[..., Path]) -> None:
    subject = tiny(config_file, model_type="bert", is_decoder=True)

    assert type(subject.make(subject.settle(Scenario())[0])).__name__ == "BertLMHeadModel"


def test_meta_model_has_no_values_and_asks_for_none() -> None:
    """Parameters and buffers alike, in the dtype of the scenario, with the asked-for attention."""
    module = ready(subject_of(resolve("llama-3-8b")), Scenario(attention="sdpa"))[0]
    tensors = [*module.parameters(), *module.buffers()]

    assert {(value.is_meta, value.requires_grad) for value in tensors} == {(True, False)}
    assert {value.dtype for value in module.parameters()} == {torch.bfloat16}
    assert module.config._attn_implementation == "sdpa"
    assert not module.training


def test_random_weights_follow_the_seed_and_nothing_else(config_file: Callable[..., Path]) -> None:
    subject = tiny(config_file)
    torch.manual_seed(1)
    first = ready(subject, CPU)[0].state_dict()
    torch.manual_seed(2)
    again, other = ready(subject, CPU)[0].state_dict(), ready(subject, replace(CPU, seed=1))[0].state_dict()

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_no_random_state_is_touched(config_file: Callable[..., Path]) -> None:
    """Whoever calls this library from a training script must find their generators as they were."""
    before = torch.get_rng_state(), random.getstate()
    ready(tiny(config_file), CPU)

    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_transformers_is_as_talkative_as_before(config_file: Callable[..., Path]) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    ready(tiny(config_file), CPU)

    assert before == (logging.get_verbosity(), logging.is_progress_bar_enabled())


def test_ids_are_ordinary_and_repeatable(config_file: Callable[..., Path]) -> None:
    subject = tiny(config_file, vocab_size=8, bos_token_id=5, eos_token_id=[6, 7], pad_token_id=2)
    scenario = replace(CPU, seq=50, padding="none")
    ids = ready(subject, scenario)[1]["input_ids"]

    assert {3, 4} == set(ids.flatten().tolist())
    assert torch.equal(ids, ready(subject, scenario)[1]["input_ids"])
    assert not torch.equal(ids, ready(subject, replace(scenario, seed=1))[1]["input_ids"])


@pytest.mark.parametrize(
    ("padding", "past", "seq", "first_row"),
    [
        ("left", 0, 6, [0, 0, 0, 1, 1, 1]),
        ("right", 0, 6, [1, 1, 1, 0, 0, 0]),
        ("left", 0, 2, [0, 1]),
        ("left", 4, 1, [0, 0, 1, 1, 1]),
        ("right", 4, 1, [1, 1, 0, 0, 1]),
        ("none", 4, 1, None),
    ],
)
def test_mask(config_file: Callable[..., Path], padding: Any, past: int, seq: int, first_row: list[int] | None) -> None:
    """One row is padded, where the prompt is; new tokens never are."""
    inputs = ready(tiny(config_file, pad_token_id=9), replace(CPU, padding=padding, past=past, seq=seq))[1]

    if first_row is None:
        assert "attention_mask" not in inputs
        return
    assert [first_row, [1] * (past + seq)] == inputs["attention_mask"].tolist()
    if not past:
        padded = [token for token, seen in zip(inputs["input_ids"][0].tolist(), first_row, strict=True) if not seen]
        assert {9} == set(padded)


def test_one_token_cannot_be_padded(config_file: Callable[..., Path]) -> None:
    scenario, notes = tiny(config_file).settle(Scenario(seq=1))

    assert ("none", ("no padding: the prompt is one token",)) == (scenario.padding, notes)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gpt_neox"])
def test_decode_continues_the_prefill(config_file: Callable[..., Path], model_type: str, padding: Any) -> None:
    """A step after a past gives what one run over everything gives: same ids, same padding, same cache."""
    subject = tiny(config_file, model_type=model_type)
    module, step, _ = ready(subject, replace(CPU, past=7, seq=2, padding=padding))
    ids = subject.inputs(module, replace(CPU, seq=9, padding="none"))["input_ids"]
    expected = module(input_ids=ids, attention_mask=step.get("attention_mask")).logits[:, -2:]

    assert torch.allclose(expected, module(**step).logits, atol=1e-5)
    assert step["past_key_values"].get_seq_length() == 9


def test_encoder_decoder_runs_and_decodes(config_file: Callable[..., Path]) -> None:
    """The step has the encoder's output for input, and the decoder's cache."""
    keys = {"d_kv": 4, "d_ff": 24, "num_layers": 1, "num_heads": 4, "hidden_size": None, "num_hidden_layers": None}
    subject = tiny(config_file, model_type="t5", d_model=16, num_attention_heads=None, **keys)
    module, both, scenario = ready(subject, CPU)
    step = subject.inputs(module, replace(scenario, past=5, seq=1))

    assert {"input_ids", "attention_mask", "decoder_input_ids"} == set(both)
    assert (2, 6, 64) == module(**both).logits.shape
    assert "input_ids" not in step
    assert (2, 1, 64) == module(**step).logits.shape


def test_a_model_without_cache_has_no_decode_step() -> None:
    """Found out by running it, where no table says so."""
    subject = live_subject(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=32)).eval())
    scenario, _ = subject.settle(Scenario(past=4, seq=1))
    module = subject.make(scenario)
    module.forward = lambda input_ids: {"logits": input_ids}  # type: ignore[method-assign]
    with pytest.raises(InspectorError) as caught:
        subject.inputs(module, scenario)

    assert str(caught.value).splitlines() == [
        "GPT2LMHeadModel has no decode step",
        "it hands out no cache to continue from",
        "use --past 0",
    ]


@pytest.mark.parametrize(
    ("name", "scenario", "seq", "notes"),
    [
        ("gpt2", Scenario(), 16, ()),
        ("gpt-oss-20b", Scenario(), 144, ("seq raised from 16 to 144: the window is 128 tokens",)),
        ("gpt-oss-20b", Scenario(seq=129), 129, ()),
        ("gpt-oss-20b", Scenario(past=16, seq=1), 1, ()),
        ("qwen2.5-0.5b", Scenario(), 16, ()),
        ("gpt2", Scenario(device="cpu"), 16, ("random weights, for cpu needs values",)),
        ("gpt2", Scenario(weights="random"), 16, ("device cpu, for weights have values",)),
        ("qwen3-30b-a3b", Scenario(dtype="fp32"), 16, ("experts run as batched_mm: grouped_mm needs bfloat16",)),
        ("qwen3-30b-a3b", Scenario(dtype="fp32", experts="eager"), 16, ()),
    ],
)
def test_settling(name: str, scenario: Scenario, seq: int, notes: tuple[str, ...]) -> None:
    """What is changed is said; what is not changed is not."""
    settled, said = subject_of(resolve(name)).settle(scenario)

    assert (seq, notes) == (settled.seq, said)


def test_experts_run_as_asked() -> None:
    subject = subject_of(resolve("qwen3-30b-a3b"))
    implementations = [
        ready(subject, Scenario(experts=experts))[0].config._experts_implementation for experts in ("batched_mm", None)
    ]

    assert implementations == ["batched_mm", "grouped_mm"]


def test_a_window_wider_than_the_position_table_is_left_alone(config_file: Callable[..., Path]) -> None:
    subject = tiny(
        config_file,
        model_type="gpt_neo",
        max_position_embeddings=20,
        window_size=16,
        attention_types=[[["global", "local"], 1]],
    )
    scenario, notes = subject.settle(Scenario(seq=8))

    assert (8, ("the window of 16 tokens is not outgrown: there are 20 positions",)) == (scenario.seq, notes)


def test_settling_twice_changes_nothing() -> None:
    subject = subject_of(resolve("gpt-oss-20b"))
    settled, _ = subject.settle(Scenario(dtype="bf16"))

    assert (settled, ()) == subject.settle(settled)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("llama-3.1-405b", None),
        ("gemma-2-2b", ["sliding_attention", "full_attention"] * 2),
        ("model_type:gemma3_text", (["sliding_attention"] * 5 + ["full_attention"]) * 2),
        ("model_type:gpt_oss", ["sliding_attention", "full_attention"] * 2),
    ],
)
def test_shallow_keeps_width_and_pattern(name: str, kinds: list[str] | None) -> None:
    subject = subject_of(resolve(name))
    shallow = subject.shallow()

    assert isinstance(subject, ConfigSubject)
    assert isinstance(shallow, ConfigSubject)
    assert shallow.config.hidden_size == subject.config.hidden_size
    assert getattr(shallow.config, "layer_types", None) == kinds
    assert shallow.config.num_hidden_layers == len(kinds or "12")
    assert shallow.identity is None


@pytest.mark.parametrize(
    ("model_type", "layers"),
    [("deepseek_v3", 5), ("jamba", 16), ("smollm3", 8), ("t5", 2), ("gpt_neo", 4), ("gemma3n_text", 26)],
)
def test_shallow_of_unlisted_patterns(model_type: str, layers: int | None) -> None:
    """Dense layers before experts, every n-th layer of another kind, two stacks; the last ones of another kind."""
    shallow = subject_of(resolve(f"model_type:{model_type}")).shallow()

    assert layers == (shallow.config.num_hidden_layers if isinstance(shallow, ConfigSubject) else None)


def test_a_model_that_runs_with_values_only_is_solved_with_values(config_file: Callable[..., Path]) -> None:
    """XLNet makes tensors of its own on the CPU in float32: its symbols cannot come from meta."""
    sizes = {"hidden_size": None, "num_attention_heads": None, "num_hidden_layers": None, "rms_norm_eps": None}
    keys = {"d_model": 16, "n_head": 2, "n_layer": 2, "d_inner": 24}
    path = str(config_file(model_type="xlnet", **sizes, **keys))
    with pytest.raises(InspectorError, match="try --dtype float32 --device cpu"):
        inspector.shapes(path, trace_cache=False)
    table = inspector.shapes(path, dtype="float32", device="cpu", trace_cache=False).tables[0]

    assert "(S, B, 16)" in {row["outputs"] for row in Shapes((table,)).records()}


def test_live_module_is_left_as_it_is() -> None:
    """Its device, dtype, mode and weights are its owner's affair."""
    module = torch.nn.Linear(8, 4)
    subject = live_subject(module, (torch.ones(3, 5, 8),))
    scenario, notes = subject.settle(Scenario())

    assert subject.make(scenario) is module
    assert module.training
    assert notes == (
        "the module is in training mode: dropout is not idle",
        "the inputs are fixed: sizes stay numbers, where a function of (batch, seq, past) shows B and S",
    )
    assert (3, 5, "cpu", "float32", "checkpoint", "none") == (
        scenario.batch,
        scenario.seq,
        scenario.device,
        scenario.dtype,
        scenario.weights,
        scenario.padding,
    )
    assert list(subject.inputs(module, scenario)) == ["input"]
    assert not subject.resizable


def test_live_function_with_inputs_that_follow_the_sizes() -> None:
    def attend(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (q @ k.mT).softmax(-1)

    subject = live_subject(
        attend, lambda batch, seq, past: {"q": torch.ones(batch, seq, 4), "k": torch.ones(batch, past + seq, 4)}
    )
    module, inputs, _ = ready(subject, Scenario(batch=3, seq=2, past=5))

    assert ("attend", True) == (subject.name, subject.resizable)
    assert module(**inputs).shape == (3, 2, 7)


def test_live_transformers_model_needs_no_inputs() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=32)).eval()
    subject = live_subject(model)
    module, inputs, _ = ready(subject, Scenario())

    assert (8, "gpt2") == (subject.claims.get("model.width"), subject.model_type)
    assert module(**inputs).logits.shape == (2, 16, 32)


def test_factory_is_made_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On meta without values; seeded elsewhere; with its own inputs on the same device."""
    (tmp_path / "factory_for_subject.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Linear(8, 8), lambda batch, seq, past: (torch.ones(batch, seq, 8),)\n"
    )
    monkeypatch.chdir(tmp_path)
    subject = subject_of(resolve("factory_for_subject:make"))
    meta, inputs, _ = ready(subject, Scenario())
    first, again = ready(subject, CPU)[0], ready(subject, CPU)[0]

    assert {meta.weight.device.type, inputs["input"].device.type} == {"meta"}
    assert meta.weight.dtype == torch.bfloat16
    assert torch.equal(first.weight, again.weight)
    assert subject.identity is None
