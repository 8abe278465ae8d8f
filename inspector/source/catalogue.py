"""The embedded presets: models whose configuration and published figures are known without a network.

One entry per model in catalogue.toml; to add one, add it there and nowhere else.
"""

from __future__ import annotations

__all__ = ["Preset", "find", "presets"]

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """One model of the catalogue, with nothing left to look up."""

    name: str
    hub: str
    aliases: tuple[str, ...]
    model_type: str
    config: dict[str, Any]
    parameters: int
    source: str
    cache_bytes_per_token: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that a user may type for it."""
        return (self.name, *self.aliases, self.hub)


def find(name: str) -> Preset | None:
    """The preset of that name, alias or Hub id, or None.

    >>> find("openai-community/gpt2").name
    'gpt2'
    >>> find("llama-2-7b").parameters
    6738415616
    """
    return _by_name().get(name.lower())


def presets() -> tuple[Preset, ...]:
    """All of them, in the order of the file."""
    return _read()


@cache
def _read() -> tuple[Preset, ...]:
    entries = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
    return tuple(_preset(name, entries) for name in entries)


@cache
def _by_name() -> dict[str, Preset]:
    return {name.lower(): preset for preset in presets() for name in preset.names}


def _preset(name: str, entries: dict[str, dict[str, Any]]) -> Preset:
    entry = entries[name]
    model_type, config = _configuration(name, entries)
    return Preset(
        name=name,
        hub=entry["hub"],
        aliases=tuple(entry.get("aliases", ())),
        model_type=model_type,
        config=config,
        parameters=entry["parameters"],
        source=entry["source"],
        cache_bytes_per_token=entry.get("cache_bytes_per_token"),
    )


def _configuration(name: str, entries: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The model type and the config, with what `like` points at filled in."""
    entry = entries[name]
    own = {**entry.get("config", {}), **dict.fromkeys(entry.get("null", ()))}
    if "like" not in entry:
        return entry["model_type"], own
    model_type, inherited = _configuration(entry["like"], entries)
    return model_type, {**inherited, **own}
