"""Names that a user may have meant."""

from __future__ import annotations

__all__ = ["nearest", "nearest_types"]

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from inspector.source.catalogue import presets

_LIMIT = 5


def nearest(name: str) -> str:
    """One line with the closest names, or "".

    >>> nearest("gtp2")
    'did you mean gpt2, model_type:gpt2?'
    """
    wanted = name.lower().rpartition("/")[2].replace("_", "-")
    known = {known: preset.name for preset in presets() for known in preset.names if "/" not in known}
    family = [spelled for spelled in known if spelled.startswith(wanted)]
    presets_found = [known[spelled] for spelled in [*family, *_closest(wanted, list(known), _LIMIT)]]
    types = [f"model_type:{kind}" for kind in _closest(wanted.replace("-", "_"), model_types(), 1)]
    found = list(dict.fromkeys(presets_found))[:_LIMIT] + types
    return f"did you mean {', '.join(found)}?" if found else ""


def nearest_types(model_type: str) -> str:
    """The same, for a model type."""
    found = _closest(model_type, model_types(), 3)
    return f"did you mean {', '.join(found)}?" if found else ""


@cache
def model_types() -> tuple[str, ...]:
    """The model types of the installed transformers, read without importing it: that would take seconds."""
    spec = find_spec("transformers")
    table = Path(spec.origin).parent / "models/auto/auto_mappings.py" if spec and spec.origin else None
    if table is None or not table.is_file():
        return ()
    return tuple(re.findall(r'\("([^"]+)", "\w+Config"\)', table.read_text(encoding="utf-8")))


def _closest(name: str, names: list[str] | tuple[str, ...], limit: int) -> list[str]:
    return get_close_matches(name, names, limit, 0.7)
