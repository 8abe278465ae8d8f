"""Where transformers reads which key of a config, while it builds and runs a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Places = dict[str, str]
"""Key -> the first place that reads it, `models/gpt2/modeling_gpt2.py:75`: of a model, before any other."""


@contextmanager
def reads() -> Iterator[Places]:
    """All keys that are read in here by anything but a config itself."""
    import transformers
    from transformers import PreTrainedConfig

    home, plain, found = str(Path(transformers.__file__).parent), PreTrainedConfig.__getattribute__, Places()

    def watched(self: Any, key: str) -> Any:
        frame = sys._getframe(1)
        file = frame.f_code.co_filename
        if file.startswith(home) and "/configuration_" not in file:
            name = plain(self, "attribute_map").get(key, key)
            if name not in found or ("/models/" in file and not found[name].startswith("models/")):
                found[name] = f"{Path(file).relative_to(home).as_posix()}:{frame.f_lineno}"
        return plain(self, key)

    PreTrainedConfig.__getattribute__ = watched  # type: ignore[method-assign]
    try:
        yield found
    finally:
        PreTrainedConfig.__getattribute__ = plain  # type: ignore[method-assign]


def differing(one: Any, two: Any) -> set[str]:
    """The keys that two configs, and the configs inside them, say other things of."""
    found = set[str]()
    for key in vars(one).keys() | vars(two).keys():
        a, b = vars(one).get(key), vars(two).get(key)
        if hasattr(a, "to_dict") and hasattr(b, "to_dict"):
            found |= differing(a, b)
        elif a != b:
            found.add(key)
    return found
