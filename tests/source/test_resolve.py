"""What MODEL means, and in which order its forms are tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.errors import ModelNotFound
from inspector.source.resolve import resolve


def test_type() -> None:
    origin = resolve("model_type:bert")

    assert ("type", "bert", {}) == (origin.kind, origin.model_type, origin.config)


def test_catalogue_before_folders(
    config_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder that happens to be called gpt2 does not change what gpt2 means; ./gpt2 means the folder."""
    config_file("gpt2")
    monkeypatch.chdir(tmp_path)

    assert ["catalogue", "config"] == [resolve(name).kind for name in ("gpt2", "./gpt2")]


def test_folder_and_config_file_are_one_model(config_file: Callable[..., Path]) -> None:
    path = config_file()
    folder, file = resolve(str(path.parent)), resolve(str(path))

    assert ("tiny", "tiny") == (folder.name, file.name)
    assert ("folder", "config file") == (folder.source, file.source)
    assert folder.config == file.config


def test_saved_document(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"schema": "inspector/shapes/1", "model_type": "bert"}))

    assert ("saved", "inspector/shapes/1", str(path)) == (
        (origin := resolve(str(path))).kind,
        origin.source,
        origin.target,
    )


def test_factory_is_not_imported_yet() -> None:
    assert ("factory", "no_such_module:make") == ((origin := resolve("no_such_module:make")).kind, origin.target)


def test_identity_is_plain_json_without_paths(config_file: Callable[..., Path], tmp_path: Path) -> None:
    identity = resolve(str(config_file())).identity()

    assert identity is not None
    assert {"name", "source", "model_type", "config"} == set(identity)
    assert str(tmp_path) not in json.dumps(identity)


def test_identity_tells_configs_apart(config_file: Callable[..., Path]) -> None:
    same, again, other = (resolve(str(config_file("one", **keys))).identity() for keys in ({}, {}, {"vocab_size": 65}))

    assert same == again != other


def test_what_may_change_unseen_has_no_identity(checkpoint: Callable[..., Path]) -> None:
    """Code of a factory, and weights in a folder."""
    folder = str(checkpoint())

    assert resolve("package:make").identity() is None
    assert resolve(folder, weights="checkpoint").identity() is None
    assert resolve(folder).identity() is not None


def test_weights_from_a_folder_leave_the_model_what_it_is(checkpoint: Callable[..., Path]) -> None:
    """Its name and its config: another model than asked for must not come back."""
    folder = checkpoint()
    asked, origin = resolve("llama-3-8b"), resolve("llama-3-8b", weights=str(folder))

    assert (folder, "saved") == (origin.folder, origin.borrowed)
    assert (asked.name, asked.source, asked.config) == (origin.name, origin.source, origin.config)
    assert origin.identity() is None
    assert resolve(str(folder), weights=str(folder)).borrowed == ""


def test_borrowed_weights_that_are_quantized_are_known_to_be(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))

    assert resolve("llama-3-8b", weights=str(folder)).config["quantization_config"] == {"quant_method": "gptq"}


def test_a_bare_name_is_never_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a suggestion: a slip of the finger must not wait for a network."""

    def fail(*args: object) -> None:
        raise AssertionError(args)

    monkeypatch.setattr("inspector.source.hub.fetch_config", fail)
    with pytest.raises(ModelNotFound):
        resolve("gtp2")
    with pytest.raises(AssertionError):
        resolve("some/model")


def test_resolving_imports_neither_torch_nor_transformers(
    config_file: Callable[..., Path], fresh: Callable[..., str], tmp_path: Path
) -> None:
    """A stored trace is shown in less time than torch takes to import."""
    (tmp_path / "saved.json").write_text('{"schema": "inspector/shapes/1"}')
    files = [str(config_file()), str(tmp_path / "saved.json")]
    code = f"""
import sys
from inspector.source.resolve import resolve
for name in ["gpt2", "meta-llama/Llama-2-7b-hf", "model_type:bert", *{files}]:
    resolve(name).identity()
try:
    resolve("gtp2")
except Exception as error:
    print(error.why)
print(*(name for name in ("torch", "transformers", "numpy", "huggingface_hub") if name in sys.modules))
"""

    assert fresh(code).splitlines() == ["did you mean gpt2, model_type:gpt2?", ""]
