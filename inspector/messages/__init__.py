"""Sentences by id, one file per language. Ids, flags and the names of ops and modules are never translated."""

from __future__ import annotations

__all__ = ["messages"]

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def messages(language: str = "en") -> dict[str, dict[str, Any]]:
    """The phrases of one language: rule id -> value -> phrase.

    >>> messages()["attention.direction"]["bidirectional"]
    '{name} sees both sides.'
    """
    return tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text("utf-8"))
