"""A folder of weights: which files it holds, and what is wrong with them before anything is read.

Plain files only; no torch. A name that stands inside a file is never followed out of the folder.
"""

from __future__ import annotations

__all__ = ["INDEX", "adapter", "check_files", "counted", "holds_weights", "shard_names", "some"]

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspector.errors import ModelAtFault

INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def holds_weights(folder: Path) -> bool:
    """Whether a folder holds files of weights, of any kind: one with pickles alone is refused later, and by name.

    >>> holds_weights(Path("no such folder"))
    False
    """
    if not folder.is_dir():
        return False
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", INDEX, *_PICKLES))


def check_files(folder: Path, name: str) -> None:
    """ModelAtFault unless a checkpoint's safetensors files are there and complete."""
    if (folder / "model.safetensors").is_file():
        return
    if not (folder / INDEX).is_file():
        raise _no_weights(folder, name)
    shards = shard_names(folder / INDEX, name)
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        what = f"of {counted(shards, 'weight file')} of {name}, {len(missing)} cannot be found"
        raise ModelAtFault(what, why=some(missing), hint="copy or download them again")


def adapter(name: str, config: dict[str, Any]) -> ModelAtFault:
    """The error for a folder or repository that holds an adapter instead of a model."""
    base = config.get("base_model_name_or_path")
    return ModelAtFault(
        f"{name} is an adapter, not a model",
        why=f"it adapts {base}" if isinstance(base, str) else "it names no base model",
        hint="give the base model, or a folder with the adapter merged into it",
    )


def counted(things: Sequence[object], thing: str) -> str:
    """How many there are, in words.

    >>> counted(["model.norm.weight"], "tensor")
    '1 tensor'
    """
    return f"{len(things)} {thing}" if len(things) == 1 else f"{len(things)} {thing}s"


def some(names: Sequence[object]) -> str:
    """The first names, and how many more."""
    shown = ", ".join(str(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def shard_names(index: Path, model: str) -> list[str]:
    """The files that an index names, none of them outside its folder."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelAtFault(f"{INDEX} of {model} cannot be read", why="it holds no weight_map") from error
    foreign = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if foreign:
        raise ModelAtFault(f"{INDEX} of {model} points outside its folder", why=some(foreign))
    return names


def _no_weights(folder: Path, name: str) -> ModelAtFault:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return ModelAtFault(
            f"the weights of {name} are pickles, which run code when they are read",
            why=some(pickles),
            hint="convert them to safetensors: load the model once in a place you trust and call save_pretrained",
        )
    return ModelAtFault(f"{name} comes without weights", hint="expected model.safetensors, or its index and shards")
