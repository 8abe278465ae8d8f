"""Folders of weights, as transformers saves them, and all the ways in which they break."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inspector.errors import ModelAtFault
from inspector.records import Scenario
from inspector.source.resolve import resolve
from inspector.source.subject import subject_of

UP, DOWN = "mlp.up_proj.weight", "mlp.down_proj.weight"

REAL = Scenario(weights="checkpoint", device="cpu", dtype="float32", seq=5)


def loaded(folder: Path) -> tuple[torch.nn.Module, torch.Tensor, tuple[str, ...]]:
    """The module, its logits and what was said."""
    subject = subject_of(resolve(str(folder), weights="checkpoint"))
    scenario, notes = subject.settle(REAL)
    module = subject.make(scenario)
    return module, module(**subject.inputs(module, scenario)).logits, notes


def refusal(folder: Path) -> list[str]:
    with pytest.raises(ModelAtFault) as caught:
        loaded(folder)
    return str(caught.value).splitlines()


def edited(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """The checkpoint with its tensors changed."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_saved_model_runs_with_its_own_weights(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    module, logits, notes = loaded(folder)
    saved = load_file(folder / "model.safetensors")

    assert notes == ()
    assert all(torch.equal(saved[name], value) for name, value in module.named_parameters())
    assert logits.shape == (2, 5, 64)
    assert not module.training


def test_shards_are_the_same_model(checkpoint: Callable[..., Path]) -> None:
    whole, sharded = checkpoint("whole"), checkpoint("sharded", max_shard_size="4KB")

    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert torch.equal(loaded(whole)[1], loaded(sharded)[1])


def test_shapes_need_no_weights(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    (folder / "model.safetensors").unlink()
    subject = subject_of(resolve(str(folder)))

    assert all(value.is_meta for value in subject.make(subject.settle(Scenario())[0]).parameters())


def test_loading_is_done_once(checkpoint: Callable[..., Path]) -> None:
    """Weights are read while settling, for only then is it known what is wrong with them."""
    subject = subject_of(resolve(str(checkpoint()), weights="checkpoint"))
    scenario, _ = subject.settle(REAL)

    assert subject.make(scenario) is subject.make(scenario.resized(3, 7, 2))


def test_surplus_tensors_are_said(checkpoint: Callable[..., Path]) -> None:
    folder = edited(checkpoint(), lambda tensors: tensors.update({"model.extra.weight": torch.ones(2)}))

    assert loaded(folder)[2] == ("1 tensor of the checkpoint not used: model.extra.weight",)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (
            lambda tensors: [
                tensors.pop(f"model.layers.{i}.mlp.{name}_proj.weight") for i in (0, 1) for name in ("up", "down")
            ],
            [
                "the weights of saved lack 4 tensors",
                f"model.layers.0.{DOWN}, model.layers.0.{UP}, model.layers.1.{DOWN} and 1 more",
                "try --head or --no-head: the file may be of the other class",
            ],
        ),
        (
            lambda tensors: tensors.update({"lm_head.weight": torch.ones(2, 2)}),
            ["1 tensor of saved in another shape than its config says", "lm_head.weight is (2, 2), not (64, 16)"],
        ),
        (
            lambda tensors: tensors["model.norm.weight"][3:4].fill_(float("nan")),
            ["NaN or Inf in 1 tensor of saved", "model.norm.weight"],
        ),
        (
            lambda tensors: tensors["model.norm.weight"][3:4].fill_(float("inf")),
            ["NaN or Inf in 1 tensor of saved", "model.norm.weight"],
        ),
    ],
)
def test_weights_that_are_not_those_of_the_config(
    checkpoint: Callable[..., Path], edit: Callable[[dict[str, torch.Tensor]], object], text: list[str]
) -> None:
    assert text == refusal(edited(checkpoint(), edit))


NOT_THOSE = "the weights in saved are not those of {}: {} tensors differ"
LAYER = "model.layers"
BORROWED = {
    "same": [],
    "wider": [
        NOT_THOSE.format("wider", 6),
        (
            f"{LAYER}.0.mlp.gate_proj.weight is (24, 16), not (32, 16), {LAYER}.0.mlp.up_proj.weight is (24, 16), not "
            f"(32, 16), {LAYER}.0.mlp.down_proj.weight is (16, 24), not (16, 32) and 3 more"
        ),
    ],
    "deeper": [
        NOT_THOSE.format("deeper", 9),
        (
            f"there is no {LAYER}.2.self_attn.q_proj.weight, there is no {LAYER}.2.self_attn.k_proj.weight, there is "
            f"no {LAYER}.2.self_attn.v_proj.weight and 6 more"
        ),
    ],
    "flatter": [
        NOT_THOSE.format("flatter", 9),
        (
            f"{LAYER}.1.input_layernorm.weight is one too many, {LAYER}.1.mlp.down_proj.weight is one too many, "
            f"{LAYER}.1.mlp.gate_proj.weight is one too many and 6 more"
        ),
    ],
}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("same", {}),
        ("wider", {"intermediate_size": 32}),
        ("deeper", {"num_hidden_layers": 3}),
        ("flatter", {"num_hidden_layers": 1}),
    ],
)
def test_borrowed_weights_are_those_of_the_very_same_model(
    name: str, changes: dict[str, int], checkpoint: Callable[..., Path], config_file: Callable[..., Path]
) -> None:
    """Whoever asks for one model with the weights of a folder gets that model, or is told what differs."""
    weights = checkpoint()
    subject = subject_of(resolve(str(config_file(name, **changes)), weights=str(weights)))

    assert (name, ("the weights are those in the folder saved",)) == (subject.name, subject.notes)
    if not BORROWED[name]:
        module = subject.make(subject.settle(REAL)[0])
        assert torch.equal(load_file(weights / "model.safetensors")["lm_head.weight"], module.lm_head.weight)
        return
    with pytest.raises(ModelAtFault) as caught:
        subject.settle(REAL)
    *said, hint = str(caught.value).splitlines()
    assert said == BORROWED[name]
    assert hint == "give the folder itself as MODEL, or the other class with --head or --no-head"


def test_a_head_that_is_not_asked_for_may_be_left_in_the_folder(
    checkpoint: Callable[..., Path], config_file: Callable[..., Path]
) -> None:
    subject = subject_of(resolve(str(config_file()), weights=str(checkpoint())))
    _, notes = subject.settle(replace(REAL, head=False))

    assert notes == ("1 tensor of the checkpoint not used: lm_head.weight",)


def test_missing_shard(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint(max_shard_size="4KB")
    shards = sorted(folder.glob("*.safetensors"))
    shards[1].unlink()

    assert refusal(folder) == [
        f"of {len(shards)} weight files of saved, 1 cannot be found",
        shards[1].name,
        "copy or download them again",
    ]


def test_pickles_are_never_read(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert refusal(folder) == [
        "the weights of saved are pickles, which run code when they are read",
        "pytorch_model.bin",
        "convert them to safetensors: load the model once in a place you trust and call save_pretrained",
    ]


def test_no_weights(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    (folder / "model.safetensors").unlink()

    assert refusal(folder) == ["saved comes without weights", "expected model.safetensors, or its index and shards"]


def test_broken_file(checkpoint: Callable[..., Path]) -> None:
    """Cut off, as an interrupted download leaves it."""
    folder = checkpoint()
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    what, why = refusal(folder)

    assert what == "the weights of saved cannot be loaded"
    assert why.startswith("Error while deserializing header")


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (
            {"weight_map": {"a": "../model.safetensors"}},
            ["model.safetensors.index.json of saved points outside its folder", "../model.safetensors"],
        ),
        ({}, ["model.safetensors.index.json of saved cannot be read", "it holds no weight_map"]),
    ],
)
def test_bad_index(checkpoint: Callable[..., Path], index: dict[str, object], text: list[str]) -> None:
    folder = checkpoint()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    assert text == refusal(folder)


def test_quantized_weights_are_said_and_not_run(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    subject = subject_of(resolve(str(folder)))

    assert subject.notes == ("the weights are quantized (gptq): what runs here is the unquantized model",)
    assert refusal(folder) == [
        "the weights of saved are quantized (gptq), and only plain ones can be run",
        "give a folder with plain weights; shapes need none at all",
    ]
