"""What MODEL means: the forms a model can be given in, tried in one order.

Nothing here imports torch or transformers, and nothing asks the network unless the name looks like `owner/name`.
"""

from __future__ import annotations

__all__ = ["Origin", "names_code", "resolve"]

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from inspector.errors import ModelAtFault, ModelNotFound, UsageError
from inspector.source import hub
from inspector.source.catalogue import Preset, find
from inspector.source.checkpoint import adapter
from inspector.source.nearest import nearest

Kind = Literal["type", "catalogue", "config", "factory", "saved"]

FORMS = (
    "MODEL is a catalogue name, model_type:TYPE, a folder or .json file, package.module:factory, or a Hub id owner/name"
)

_TYPE = "model_type:"
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+?)(@(?P<revision>\S+))?")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a name stands for, in plain values.

    >>> resolve("gpt2").kind, resolve("gpt2").model_type
    ('catalogue', 'gpt2')

    source: where the config stands, in words; never a path.
    config: the config's own keys, without `model_type`.
    folder: a local folder whose weights are to be used.
    target: `package.module:factory`, or the path of a saved document.
    borrowed: what the folder is called, where it is not the model's own.
    inputs: what the model of a factory is to read, in any form that `shapes` takes.
    """

    kind: Kind
    name: str
    source: str
    model_type: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    target: str = ""
    preset: Preset | None = None
    borrowed: str = ""
    inputs: Any = None

    def identity(self) -> dict[str, Any] | None:
        """What tells this model from another, ready for JSON; None when no two runs can be known to be the same.

        Code behind a factory may change unseen, and so may weights in a folder.
        """
        if self.kind in ("factory", "saved") or self.folder:
            return None
        return {"name": self.name, "source": self.source, "model_type": self.model_type, "config": self.config}


def resolve(model: str, *, weights: str = "none", inputs: Any = None) -> Origin:
    """Find out what `model` names.

    >>> resolve("model_type:bert").kind, resolve("meta-llama/Llama-2-7b-hf").name
    ('type', 'llama-2-7b')

    `weights` is "none", "random", "checkpoint" (the model's own, fetched when they are on the Hub) or a folder.
    inputs: what it is to read, if it is code.
    """
    if not model.strip():
        raise UsageError("MODEL is empty", hint=FORMS)
    origin = _named(model.strip(), weights == "checkpoint")
    if inputs is not None:
        if origin.kind != "factory":
            raise UsageError(f"{origin.name} makes its own inputs", hint="inputs are for code: package.module:factory")
        origin = replace(origin, inputs=inputs)
    if weights in ("none", "random", "checkpoint"):
        return origin
    return _with_folder(origin, Path(weights).expanduser())


def names_code(model: Any) -> bool:
    """Whether MODEL is code, and so may be told what to read.

    >>> names_code("mypackage.blocks:build"), names_code("gpt2")
    (True, False)
    """
    return not isinstance(model, str) or (
        bool(_FACTORY.fullmatch(model.strip()))
        and not model.startswith(_TYPE)
        and not Path(model).expanduser().exists()
    )


def _named(model: str, wants_weights: bool) -> Origin:
    if model.startswith(_TYPE):
        return Origin("type", model, "default config", model.removeprefix(_TYPE))
    if preset := find(model):
        return _from_preset(preset, wants_weights)
    path = Path(model).expanduser()
    if path.is_dir():
        return _from_folder(path, wants_weights)
    if path.is_file():
        return _from_file(path)
    if _FACTORY.fullmatch(model):
        return Origin("factory", model, "factory", target=model)
    if _looks_like_a_path(model):
        raise ModelNotFound(f"there is no file or folder {model}", hint=FORMS)
    if match := _HUB_ID.fullmatch(model):
        return _from_hub(match["repo"], match["revision"], wants_weights)
    raise ModelNotFound(f"no model is named {model!r}", why=nearest(model), hint=FORMS)


def _looks_like_a_path(model: str) -> bool:
    return model.endswith(".json") or model.startswith((".", "/", "~")) or "\\" in model


def _from_preset(preset: Preset, wants_weights: bool) -> Origin:
    folder = hub.fetch_weights(preset.hub, None) if wants_weights else None
    return Origin("catalogue", preset.name, "catalogue", preset.model_type, preset.config, folder, preset=preset)


def _from_folder(folder: Path, wants_weights: bool) -> Origin:
    name = folder.resolve().name
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise adapter(name, _read_json(folder / "adapter_config.json"))
        raise ModelNotFound(f"the folder {name} holds no config.json", hint="give the folder of a saved model")
    config = _read_json(folder / "config.json")
    return _from_config(config, name, "folder", folder if wants_weights else None)


def _from_file(path: Path) -> Origin:
    document = _read_json(path)
    schema = document.get("schema")
    if isinstance(schema, str) and schema.startswith("inspector/"):
        return Origin("saved", path.name, schema, target=str(path))
    # A config.json says nothing of its model; the folder it lies in does.
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return _from_config(document, name, "config file", None)


def _from_hub(repo: str, revision: str | None, wants_weights: bool) -> Origin:
    path = hub.fetch_config(repo, revision)
    folder = hub.fetch_weights(repo, revision) if wants_weights else None
    name = f"{repo}@{revision}" if revision else repo
    # In the cache a file lies in a folder that is named after its commit.
    return _from_config(_read_json(path), name, f"Hub at {path.parent.name[:12]}", folder)


def _from_config(config: dict[str, Any], name: str, source: str, folder: Path | None) -> Origin:
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ModelAtFault(
            f"the config of {name} has no model_type",
            why="transformers cannot tell which architecture it describes",
            hint='add "model_type": "...", for example "bert"',
        )
    keys = {key: value for key, value in config.items() if key != "model_type"}
    return Origin("config", name, source, model_type, keys, folder)


def _with_folder(origin: Origin, folder: Path) -> Origin:
    """The same model with the weights of a folder, which it may borrow from another of the same architecture."""
    if not folder.is_dir():
        raise ModelNotFound(f"there is no folder {folder}", hint="--weights is random, or a folder with safetensors")
    if origin.kind in ("factory", "saved"):
        raise ModelAtFault(f"{origin.name} cannot take weights from a folder", hint="load them inside the factory")
    found = _from_folder(folder, wants_weights=True)
    if found.model_type != origin.model_type:
        raise ModelAtFault(
            f"the weights in {found.name} are of another architecture",
            why=f"{origin.name} is {origin.model_type}, they are {found.model_type}",
        )
    if (found.name, found.config) == (origin.name, origin.config):
        return found
    # Whether the weights are plain is said in their folder; all else is as MODEL says.
    quantized = {key: value for key, value in found.config.items() if key == "quantization_config"}
    return replace(origin, config={**origin.config, **quantized}, folder=folder, borrowed=found.name)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        why = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise ModelAtFault(f"{path.name} is not JSON", why=why) from error
    except UnicodeDecodeError as error:
        raise ModelAtFault(f"{path.name} is not JSON", why="it is not UTF-8 text") from error
    if not isinstance(document, dict):
        raise ModelAtFault(f"{path.name} is not a config", why=f"it holds a {type(document).__name__}, not an object")
    return document
