"""What cannot be inspected is refused in three lines at most: what, why, what next. Their text is interface."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from inspector.errors import InspectorError
from inspector.records import Scenario
from inspector.source.resolve import resolve
from inspector.source.subject import subject_of

DECLARED = (
    "write NAME:SHAPE:DTYPE, such as ids:1x16:int64 or x:BxSx64:float32; B, S, P and T follow --batch, --seq and --past"
)
FORMS = (
    "MODEL is a catalogue name, model_type:TYPE, a folder or .json file, package.module:factory, or a Hub id owner/name"
)


FACTORIES = """
import sys
import torch
number = 3
model = torch.nn.Linear(8, 8)
def function(x, y=1, *, z): return x + z
class Net(torch.nn.Linear): pass
def quits(): sys.exit(0)
def words(): return torch.nn.Linear(8, 8), "words"
def raises(): raise ValueError("no luck\\nat all")
def five(): return 5
def linear(): return torch.nn.Linear(8, 8)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with one of each kind of broken model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text('{"base_model_name_or_path": "meta/base"}')
    (tmp_path / "comma.json").write_text('{"model_type": "bert",}')
    (tmp_path / "latin.json").write_bytes(b'{"model_type": "\xff"}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "nothing.json").write_text("{}")
    (tmp_path / "saved.json").write_text('{"schema": "inspector/shapes/1"}')
    (tmp_path / "factories_for_refusals.py").write_text(FACTORIES)


def refusal(ask: Callable[[], Any]) -> tuple[int, list[str]]:
    with pytest.raises(InspectorError) as caught:
        ask()
    return caught.value.exit_code, str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "exit_code", "text"),
    [
        ("gtp2", 3, ["no model is named 'gtp2'", "did you mean gpt2, model_type:gpt2?", FORMS]),
        (
            "llama",
            3,
            [
                "no model is named 'llama'",
                "did you mean llama-2-7b, llama-2-13b, llama-2-70b, llama-3-8b, llama-3-70b, model_type:llama?",
                FORMS,
            ],
        ),
        ("xyzzy", 3, ["no model is named 'xyzzy'", FORMS]),
        ("nosuchmodel", 3, ["no model is named 'nosuchmodel'", FORMS]),
        (" ", 2, ["MODEL is empty", FORMS]),
        ("./nowhere", 3, ["there is no file or folder ./nowhere", FORMS]),
        ("nowhere.json", 3, ["there is no file or folder nowhere.json", FORMS]),
        (
            "model_type:bertt",
            3,
            [
                "transformers has no model type 'bertt'",
                "did you mean bert, ibert, hubert?",
                "a newer transformers may have it",
            ],
        ),
        ("empty", 3, ["the folder empty holds no config.json", "give the folder of a saved model"]),
        (
            "lora",
            3,
            [
                "lora is an adapter, not a model",
                "it adapts meta/base",
                "give the base model, or a folder with the adapter merged into it",
            ],
        ),
        ("latin.json", 3, ["latin.json is not JSON", "it is not UTF-8 text"]),
        ("list.json", 3, ["list.json is not a config", "it holds a list, not an object"]),
        (
            "nothing.json",
            3,
            [
                "the config of nothing has no model_type",
                "transformers cannot tell which architecture it describes",
                'add "model_type": "...", for example "bert"',
            ],
        ),
        (
            "saved.json",
            2,
            [
                "saved.json is a saved inspector/shapes/1 document, not a model",
                "give it to `inspector diff`, `inspector report` or `inspector check`",
            ],
        ),
        (
            "no_such_package.models:make",
            3,
            [
                "no_such_package.models:make: there is no module no_such_package",
                "is it installed, or in this folder?",
            ],
        ),
        ("json:nothing", 3, ["json:nothing: json has no nothing"]),
        ("factories_for_refusals:number", 3, ["factories_for_refusals:number is a int, not a factory"]),
        (
            "factories_for_refusals:function",
            2,
            [
                "factories_for_refusals:function takes x, z, and nothing says what to give it",
                (
                    "name a function that takes nothing and returns (function, inputs); "
                    "or, for a function of tensors, give --input for each"
                ),
            ],
        ),
        (
            "factories_for_refusals:Net",
            2,
            [
                "factories_for_refusals:Net takes in_features, out_features, and nothing says what to give it",
                "name a function that takes nothing and returns Net(in_features, out_features)",
            ],
        ),
    ],
)
def test_names(name: str, exit_code: int, text: list[str]) -> None:
    assert (exit_code, text) == refusal(lambda: subject_of(resolve(name)))


def test_json_that_is_not_json() -> None:
    """Where it stops being so; the words of the parser differ between versions of Python."""
    exit_code, (what, why) = refusal(lambda: resolve("comma.json"))

    assert (3, "comma.json is not JSON") == (exit_code, what)
    assert why.startswith("line 1, column 2")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"num_attention_heads": 3},
            [
                "the config of tiny is not valid",
                "The hidden size (16) is not a multiple of the number of attention heads (3).",
            ],
        ),
        (
            {"vocab_size": "many"},
            ["the config of tiny is not valid", "Field 'vocab_size' expected int, got str (value: 'many')"],
        ),
        (
            {"hidden_act": "gelp"},
            ["tiny cannot be built", "unknown activation 'gelp'"],
        ),
        (
            {"num_hidden_layers": -1, "vocab_size": 0},
            ["the config of tiny is not valid", "num_hidden_layers is -1, vocab_size is 0: at least 1 is needed"],
        ),
        (
            {"model_type": "gpt2", "n_layer": 0},
            ["the config of tiny is not valid", "n_layer is 0: at least 1 is needed"],
        ),
        (
            {"model_type": "mine", "auto_map": {"AutoConfig": "configuration_mine.MineConfig"}},
            [
                "tiny needs custom code that comes with it, which is never run",
                "transformers itself has no model type 'mine'",
                "import the code yourself and give a factory, package.module:factory",
            ],
        ),
    ],
)
def test_configs(config_file: Callable[..., Path], changes: dict[str, Any], text: list[str]) -> None:
    """Caught while the config is read, or while the model is built: either way the reason is one line."""
    path = config_file(**changes)

    assert (3, text) == refusal(lambda: subject_of(resolve(str(path))).make(Scenario(head=True)))


@pytest.mark.parametrize(
    ("name", "options", "exit_code", "text"),
    [
        (
            "gpt2",
            {"seq": 1025},
            2,
            ["gpt2 has a position table for 1,024 tokens, but got 1,025", "use a smaller --seq or --past"],
        ),
        (
            "gpt2",
            {"past": 1020, "seq": 5},
            2,
            ["gpt2 has a position table for 1,024 tokens, but got 1,025", "use a smaller --seq or --past"],
        ),
        (
            "roberta-base",
            {"seq": 513},
            2,
            ["roberta-base has a position table for 512 tokens, but got 513", "use a smaller --seq or --past"],
        ),
        ("gpt2", {"seq": 0}, 2, ["--seq is at least 1, but got 0"]),
        ("gpt2", {"padding": "up"}, 2, ["--pad is none, left or right, but got 'up'"]),
        ("gpt2", {"weights": "some"}, 2, ["weights are none, random or checkpoint, but got 'some'"]),
        ("gpt2", {"device": "gpu"}, 2, ["--device gpu is not known", "meta, cpu, cuda, cuda:1, mps, ..."]),
        ("gpt2", {"dtype": "int8"}, 2, ["--dtype int8 is not known", "one of bfloat16, float16, float32, float64"]),
        (
            "gpt2",
            {"weights": "checkpoint"},
            2,
            ["gpt2 comes without weights", "use --weights random, or --weights FOLDER"],
        ),
        (
            "bert",
            {"past": 4, "seq": 1},
            3,
            [
                "bert-base-uncased has no decode step",
                "it is an encoder: it reads a sequence as a whole",
                "use --past 0",
            ],
        ),
        ("model_type:vit", {"head": True}, 2, ["model_type:vit: transformers has no language-model head for vit"]),
        (
            "factories_for_refusals:linear",
            {"weights": "checkpoint"},
            2,
            ["factories_for_refusals:linear cannot take weights", "load them inside the factory"],
        ),
    ],
)
def test_scenarios(name: str, options: dict[str, Any], exit_code: int, text: list[str]) -> None:
    assert (exit_code, text) == refusal(lambda: subject_of(resolve(name)).settle(Scenario(**options)))


@pytest.mark.parametrize("attention", ["flush", "kernels-community/flash"])
def test_attention(attention: str) -> None:
    """A name with a slash would fetch a kernel and run it. Which ones there are is up to transformers."""
    exit_code, (what, why, hint) = refusal(lambda: subject_of(resolve("gpt2")).settle(Scenario(attention=attention)))

    assert (2, f"--attention {attention} is not known") == (exit_code, what)
    assert why.startswith("transformers has eager, ")
    assert "sdpa" in why
    assert hint == "eager and sdpa run on every machine"


@pytest.mark.parametrize(
    ("attention", "why"),
    [("flash_attention_2", "the package for FlashAttention2"), ("flex_attention", "does not support an attention")],
)
def test_attention_that_cannot_be_had_here(attention: str, why: str) -> None:
    """It lacks a package, or the model's support; with another kind the same model runs."""
    if attention == "flash_attention_2" and find_spec("flash_attn"):
        pytest.skip("has the package")
    subject = subject_of(resolve("gpt2"))
    exit_code, (what, said, hint) = refusal(lambda: subject.make(Scenario(attention=attention, head=True)))

    assert (2, f"gpt2 cannot run here with --attention {attention}") == (exit_code, what)
    assert why in said
    assert hint == "use --attention eager or sdpa"


def test_attention_is_not_blamed_for_another_fault(config_file: Callable[..., Path]) -> None:
    subject = subject_of(resolve(str(config_file(hidden_act="gelp"))))
    asked = Scenario(attention="sdpa", head=True)

    assert (3, ["tiny cannot be built", "unknown activation 'gelp'"]) == refusal(lambda: subject.make(asked))


def test_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    exit_code, text = refusal(lambda: subject_of(resolve("gpt2")).settle(Scenario(device="cuda")))

    assert (2, ["--device cuda: this machine has none", "leave it out, or use --device cpu"]) == (exit_code, text)


@pytest.mark.parametrize(
    ("factory", "exit_code", "text"),
    [
        ("raises", 3, ["the factory factories_for_refusals:raises raised ValueError", "no luck"]),
        (
            "five",
            3,
            [
                "factories_for_refusals:five returned int, not a module",
                "a factory returns a module, or a pair (module or function, inputs)",
            ],
        ),
        (
            "linear",
            2,
            [
                "nothing says what Linear reads",
                "its forward takes input",
                "say what it reads: --input NAME:SHAPE:DTYPE, such as ids:BxS:int64; in Python, inputs",
            ],
        ),
        (
            "model",
            2,
            [
                "nothing says what Linear reads",
                "its forward takes input",
                "say what it reads: --input NAME:SHAPE:DTYPE, such as ids:BxS:int64; in Python, inputs",
            ],
        ),
        ("words", 2, ["'words' declares no tensor", DECLARED]),
        ("quits", 3, ["the factory factories_for_refusals:quits raised SystemExit", "0"]),
    ],
)
def test_factories(factory: str, exit_code: int, text: list[str]) -> None:
    subject = subject_of(resolve(f"factories_for_refusals:{factory}"))

    assert (exit_code, text) == refusal(lambda: subject.inputs(subject.make(Scenario()), Scenario()))


def test_a_model_that_reads_no_tokens() -> None:
    subject = subject_of(resolve("model_type:vit"))
    exit_code, (what, why, hint) = refusal(lambda: subject.inputs(subject.make(Scenario(head=False)), Scenario()))

    assert (2, "ViTModel does not read token ids") == (exit_code, what)
    assert why.startswith("its forward takes pixel_values, ")
    assert hint == "give package.module:factory, a factory that returns (model, inputs)"


@pytest.mark.parametrize("model_type", ["clip", "owlvit"])
def test_a_model_that_compares_text_with_pictures(model_type: str) -> None:
    subject = subject_of(resolve(f"model_type:{model_type}"))
    exit_code, (what, why, _) = refusal(lambda: subject.inputs(subject.make(Scenario(head=False)), Scenario()))

    assert exit_code == 2
    assert what.endswith("Model does not read token ids alone")
    assert "pixel_values" in why


def test_weights_of_another_architecture(config_file: Callable[..., Path]) -> None:
    weights = str(config_file().parent)

    assert refusal(lambda: resolve("gpt2", weights=weights)) == (
        3,
        ["the weights in tiny are of another architecture", "gpt2 is gpt2, they are llama"],
    )
    assert refusal(lambda: resolve("gpt2", weights="nowhere")) == (
        3,
        ["there is no folder nowhere", "--weights is random, or a folder with safetensors"],
    )


def test_a_name_inside_a_file_is_never_a_path(config_file: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever a config says it was loaded from, only its keys are used."""
    other = config_file("other", hidden_size=32)
    path = config_file("tiny", _name_or_path=str(other.parent), _attn_implementation="no/such")
    subject = subject_of(resolve(str(path)))

    assert subject.claims.get("model.width") == 16
    assert str(tmp_path) not in json.dumps(subject.make(Scenario(head=True)).config.to_dict(), default=str)
