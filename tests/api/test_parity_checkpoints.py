"""The verb `parity` on folders of weights: whole ones, and each way in which one can be spoilt."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import inspector
from inspector.errors import InspectorError
from inspector.source import prepared
from inspector.source.tiny import randomise

SMALL = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 50, "n_positions": 64}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}


def gpt2(**config: Any) -> GPT2LMHeadModel:
    with torch.random.fork_rng(devices=[]):
        model = GPT2LMHeadModel(GPT2Config(**{**SMALL, **TOKENS, "attn_implementation": "eager", **config})).eval()
    randomise(model, 0)
    return model


def refused(model: Any, inputs: Any = None, **options: Any) -> InspectorError:
    with pytest.raises(InspectorError) as caught:
        inspector.parity(model, inputs, **options)
    return caught.value


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "checkpoint"
    gpt2().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> str:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_a_folder_is_checked_with_its_own_weights(folder: Path) -> None:
    found = inspector.parity(str(folder))

    assert (found.verdict, found.report.scenario.weights) == ("pass", "checkpoint")


def test_a_sharded_folder_is_whole(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=50,
    )
    model = LlamaForCausalLM(config).eval()
    randomise(model, 1)
    model.save_pretrained(tmp_path, max_shard_size="10KB")

    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert inspector.parity(str(tmp_path), dtype="bfloat16").verdict == "pass"


def test_tensors_that_nobody_uses_are_said(folder: Path) -> None:
    found = inspector.parity(changed(folder, lambda tensors: tensors.update(extra=torch.ones(2))))

    assert found.verdict == "pass"
    assert "1 tensor of the checkpoint not used: extra" in found.report.notes


def test_tensors_that_are_missing_are_named(folder: Path) -> None:
    error = refused(changed(folder, lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.weight")))

    assert (error.exit_code, error.what) == (3, "the weights of checkpoint lack 1 tensor")
    assert error.why == "transformer.h.1.mlp.c_fc.weight"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    error = refused(changed(folder, lambda tensors: tensors["transformer.h.0.ln_1.bias"].fill_(value)))

    assert (error.exit_code, error.what) == (3, "NaN or Inf in 1 tensor of checkpoint")
    assert error.why == "transformer.h.0.ln_1.bias"


def test_weights_of_a_live_module_are_looked_at_too() -> None:
    model = gpt2()
    model.transformer.h[1].mlp.c_fc.bias.data[3] = float("nan")
    error = refused(model)

    assert (error.exit_code, error.what) == (3, "NaN or Inf in 1 tensor of GPT2LMHeadModel")
    assert error.why == "transformer.h.1.mlp.c_fc.bias"


def test_text_is_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    (folder / "model.safetensors").write_text("hello\n")

    assert refused(str(tmp_path / "notes.txt")).what == "notes.txt is not JSON"
    assert refused(str(folder)).what == "the weights of checkpoint cannot be loaded"


def test_pickles_are_not_passed_over(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert refused(str(folder)).what == ("the weights of checkpoint are pickles, which run code when they are read")


def test_a_folder_without_weights_gets_random_ones(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    found = inspector.parity(str(folder))

    assert (found.verdict, found.report.scenario.weights) == ("pass", "random")


def test_weights_of_its_own_are_not_swapped_for_others(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(prepared, "available", lambda device: 10_000)
    error = refused(str(folder))

    assert error.exit_code == 2
    assert error.what.startswith("checkpoint with its own weights takes about 0.0 GB in float32")
    assert error.hint.startswith("--twin checks a small copy of the same config")
