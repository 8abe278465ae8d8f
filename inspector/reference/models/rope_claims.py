"""What a config says of its rotations, in the spelling of transformers 5 and in the older one."""

from __future__ import annotations

__all__ = ["rope_claimed"]

from collections.abc import Mapping
from typing import Any

from inspector.reference.frequencies import KINDS, RopeScaling
from inspector.reference.weights import NotCovered

_NUMBERS = {
    "low_freq_factor": "low",
    "high_freq_factor": "high",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "truncate": "truncate",
    "mscale": "mscale",
    "mscale_all_dim": "mscale_all_dim",
    "attention_factor": "explicit",
}
"""Key of a config -> the field it fills."""


def rope_claimed(config: Mapping[str, Any], width: int, *, partial: bool = False) -> RopeScaling:
    """The rotation of a head of `width` elements; with `partial` perhaps only of its first ones.

    >>> rope_claimed({"rope_theta": 5e5, "rope_scaling": None}, 64).theta
    500000.0
    >>> rope_claimed({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, 64).factor
    2.0

    NotCovered for a kind without a formula here, and without `partial` for a rotation of part of a head.
    """
    said = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    kind = said.get("rope_type", said.get("type", "default"))
    if kind not in KINDS:
        raise NotCovered(f"the reference has no {kind} rotations", why="the config's rope_parameters claim them")
    share = said.get("partial_rotary_factor", config.get("partial_rotary_factor")) or 1.0
    if share != 1.0 and not partial:
        raise NotCovered("this reference turns whole heads", why="partial_rotary_factor claims a part")
    dim = int(width * share)
    theta = said.get("rope_theta", config.get("rope_theta")) or 10000.0
    if kind == "default":
        return RopeScaling(dim, float(theta))
    return RopeScaling(
        dim,
        float(theta),
        kind,
        _factor(config, said, kind),
        _trained(config, said, kind),
        short=_list(said.get("short_factor")),
        long=_list(said.get("long_factor")),
        **{field: said[key] for key, field in _NUMBERS.items() if said.get(key) is not None},
    )


def _trained(config: Mapping[str, Any], said: Mapping[str, Any], kind: str) -> int | None:
    """The length trained on. A dynamic base grows from the length that the model claims to hold."""
    if kind == "dynamic":
        return config.get("max_position_embeddings")
    key = "original_max_position_embeddings"
    found: int | None = config.get(key) or said.get(key) or config.get("max_position_embeddings")
    return found


def _factor(config: Mapping[str, Any], said: Mapping[str, Any], kind: str) -> float:
    if said.get("factor") is not None:
        return float(said["factor"])
    trained = _trained(config, said, kind)
    if trained is None or "max_position_embeddings" not in config:
        raise NotCovered(f"{kind} rotations need a factor", why="the config claims none")
    return float(config["max_position_embeddings"] / trained)


def _list(numbers: Any) -> tuple[float, ...] | None:
    return None if numbers is None else tuple(float(number) for number in numbers)
