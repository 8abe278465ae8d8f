"""Where a module's class is written, without a path of this machine."""

from __future__ import annotations

__all__ = ["source_of"]

import inspect
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def source_of(module: nn.Module, path: str) -> str:
    """`package/file.py:12` of the class of the submodule at `path`, or of the nearest one above it; "" where unknown.

    >>> from torch import nn
    >>> source_of(nn.Sequential(nn.GELU()), "0").partition(":")[0]
    'torch/nn/modules/activation.py'
    """
    found: Any = type(_at(module, path))
    return _written(found)


@cache
def _written(found: Any) -> str:
    try:
        _, line = inspect.getsourcelines(found)
        file = inspect.getsourcefile(found)
    except (OSError, TypeError):
        return ""
    package = found.__module__.split(".")
    depth = len(package) - (file is not None and PurePath(file).stem == "__init__")
    parts = PurePath(file).parts[-depth:] if file and package[0] != "__main__" else (PurePath(file or "").name,)
    return f"{'/'.join(parts)}:{line}"


def _at(module: nn.Module, path: str) -> nn.Module:
    while path:
        try:
            return module.get_submodule(path)
        except AttributeError:
            path = path.rpartition(".")[0]
    return module
