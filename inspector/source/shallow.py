"""The same config with fewer layers: as few as still show every kind of layer beside every neighbour it has."""

from __future__ import annotations

__all__ = ["enough_layers", "shallow_config", "shorten"]

import re
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

from inspector.source.build import quiet
from inspector.source.sections import Section, sections

_DEPTHS = re.compile(r"(\w+_)?(layers|n_layer|depth|num_blocks)")
"""What configs call a number of layers: of an encoder, a decoder, a tower."""

_FEW = 2
"""Layers of a stack whose config says nothing of kinds."""

# Keys by which a config places kinds of layers without listing them: every n-th layer, and all from the n-th on.
_PERIODS = (
    "attn_layer_period",
    "expert_layer_period",
    "decoder_sparse_step",
    "encoder_sparse_step",
    "interleave_moe_layer_step",
    "moe_layer_freq",
    "full_attention_interval",
    "global_attn_every_n_layers",
    "layer_group_size",
    "n_layers_per_attn_res_block",
    "cross_attention_frequency",
)
_STARTS = ("first_k_dense_replace", "num_dense_layers", "num_hash_layers")
_ENDS = ("num_kv_shared_layers",)
"""Keys by which the last n layers are of another kind."""
_NO_DEPTHS = frozenset({*_STARTS, *_ENDS, "max_window_layers", "num_nextn_predict_layers"})


def shallow_config(config: Any) -> Any | None:
    """A copy of `config` at full width and least depth; None when it cannot be made."""
    document = config.to_dict()
    if not shorten(config, document):
        return None
    try:
        with quiet():
            return type(config).from_dict(document)
    except Exception:  # noqa: BLE001  a config that lists its layers in a form of its own may refuse fewer in any way
        return None


def shorten(config: Any, document: dict[str, Any]) -> bool:
    """Leave as few layers in the document of a config as show every kind. False where it does not say how many."""
    found = sections(config, document)
    for section in found:
        _shorten(section)
    return any(section.depth is not None or _depths(section.part) for section in found)


def enough_layers(kinds: Sequence[Hashable]) -> int:
    """How many leading layers show every kind, every adjacent pair of kinds, and two full periods.

    >>> enough_layers(["full"] * 32), enough_layers(["sliding", "full"] * 13), enough_layers(["dense"] + ["moe"] * 26)
    (2, 4, 3)
    """
    depth, pairs = len(kinds), set(pairwise(kinds))
    shown = next((n for n in range(1, depth) if set(pairwise(kinds[:n])) == pairs), depth)
    period = next((n for n in range(1, depth // 2 + 1) if kinds[n:] == kinds[:-n]), 0)
    return max(shown, 2 * period)


def _shorten(section: Section) -> None:
    part, keys = section.part, _depths(section.part)
    depth = section.depth or next((part[key] for key in keys), None)
    if depth:
        others = [key for key in keys if part[key] != depth]
        _keep(part, depth, _kept(section, depth))
        keys = others
    for key in keys:
        part[key] = min(part[key], _FEW)


def _depths(part: dict[str, Any]) -> list[str]:
    return [
        key for key, value in part.items() if type(value) is int and _DEPTHS.fullmatch(key) and key not in _NO_DEPTHS
    ]


def _kept(section: Section, depth: int) -> list[int]:
    """The layers that are kept: the first ones, and of those that are counted from the end the first ones of these."""
    ends = {key: last for key in _ENDS if isinstance(last := section.part.get(key), int) and 0 < last < depth}
    kinds, start = _kinds(section, depth), depth - max(ends.values(), default=0)
    kept = list(range(enough_layers(kinds[:start])))
    last = list(range(start, start + enough_layers(kinds[start:]))) if ends else []
    for key in ends:
        section.part[key] = len(last)
    return kept + last


def _kinds(section: Section, depth: int) -> list[Hashable]:
    """What the config says of each layer, as one comparable value per layer."""
    part, config = section.part, section.config
    lists = [[str(item) for item in value] for value in part.values() if _is_per_layer(value, depth)]
    chosen = [set(value) for key, value in part.items() if _are_layers(key, value, depth)]
    periods = [step for key in _PERIODS if type(step := _said(config, key)) is int and step > 1]
    overrides = {int(layer): str(keys) for layer, keys in (part.get("per_layer_config") or {}).items()}
    starts = [first for key in _STARTS if type(first := _said(config, key)) is int]
    return [
        (
            overrides.get(i),
            *(row[i] for row in lists),
            *(i in some for some in chosen),
            *(i % step for step in periods),
            *(i < first for first in starts),
        )
        for i in range(depth)
    ]


def _said(config: Any, key: str) -> Any:
    """The value of a key; None too where it differs from layer to layer and the config refuses to answer for all."""
    try:
        return getattr(config, key, None)
    except RuntimeError:
        return None


def _keep(part: dict[str, Any], depth: int, kept: Sequence[int]) -> None:
    place = {layer: index for index, layer in enumerate(kept)}
    for key in _depths(part):
        part[key] = len(kept) if part[key] == depth else part[key]
    for key, value in part.items():
        if _is_per_layer(value, depth):
            part[key] = [value[layer] for layer in kept]
        elif _are_layers(key, value, depth):
            part[key] = [place[layer] for layer in value if layer in place]
    if overrides := part.get("per_layer_config"):
        part["per_layer_config"] = {
            str(place[int(layer)]): keys for layer, keys in overrides.items() if int(layer) in place
        }


def _is_per_layer(value: Any, depth: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == depth


def _are_layers(key: str, value: Any, depth: int) -> bool:
    """Whether a list names layers by their number."""
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and re.search(r"layer|idx|ind[ei]", key) is not None
        and all(type(item) is int and 0 <= item < depth for item in value)
        and list(value) == sorted(set(value))
    )
