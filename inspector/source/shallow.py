"""The same config with fewer layers: as few as still show every kind of layer beside every neighbour it has."""

from __future__ import annotations

__all__ = ["enough_layers", "shallow_config"]

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

from inspector.source.build import quiet, text_config

_OTHER_DEPTHS = ("encoder_layers", "decoder_layers", "num_encoder_layers", "num_decoder_layers")

# Keys by which a config places kinds of layers without listing them: every n-th layer, and all from the n-th on.
_PERIODS = (
    "attn_layer_period",
    "expert_layer_period",
    "decoder_sparse_step",
    "interleave_moe_layer_step",
    "moe_layer_freq",
    "full_attention_interval",
    "global_attn_every_n_layers",
)
_STARTS = ("first_k_dense_replace", "num_dense_layers", "num_hash_layers")


def shallow_config(config: Any) -> Any | None:
    """A copy of `config` at full width and least depth; None when it cannot be made."""
    document = config.to_dict()
    text = text_config(config)
    part = document if text is config else _nested(document, config, text)
    depth = getattr(text, "num_hidden_layers", None)
    if part is None or not isinstance(depth, int):
        return None
    keep = enough_layers(_kinds(text, part, depth))
    _shorten(part, text, depth, keep)
    try:
        with quiet():
            return type(config).from_dict(document)
    except Exception:  # noqa: BLE001  a config that lists its layers in a form of its own may refuse fewer in any way
        return None


def enough_layers(kinds: Sequence[Hashable]) -> int:
    """How many leading layers show every kind, every adjacent pair of kinds, and two full periods.

    >>> enough_layers(["full"] * 32), enough_layers(["sliding", "full"] * 13), enough_layers(["dense"] + ["moe"] * 26)
    (2, 4, 3)
    """
    depth, pairs = len(kinds), set(pairwise(kinds))
    shown = next((n for n in range(1, depth) if set(pairwise(kinds[:n])) == pairs), depth)
    period = next((n for n in range(1, depth // 2 + 1) if kinds[n:] == kinds[:-n]), 0)
    return max(shown, 2 * period)


def _nested(document: dict[str, Any], config: Any, text: Any) -> dict[str, Any] | None:
    """The part of the document that describes the text config."""
    return next((document[key] for key in config.sub_configs if getattr(config, key, None) is text), None)


def _kinds(text: Any, part: dict[str, Any], depth: int) -> list[Hashable]:
    """What the config says of each layer, as one comparable value per layer."""
    lists = [[str(item) for item in value] for value in part.values() if _is_per_layer(value, depth)]
    periods = [step for key in _PERIODS if isinstance(step := getattr(text, key, None), int) and step > 1]
    overrides = {int(layer): str(keys) for layer, keys in (part.get("per_layer_config") or {}).items()}
    starts = [first for key in _STARTS if isinstance(first := getattr(text, key, None), int)]
    return [
        (
            overrides.get(i),
            *(row[i] for row in lists),
            *(i % step for step in periods),
            *(i < first for first in starts),
        )
        for i in range(depth)
    ]


def _shorten(part: dict[str, Any], text: Any, depth: int, keep: int) -> None:
    for key, value in part.items():
        if _is_per_layer(value, depth):
            part[key] = value[:keep]
    if overrides := part.get("per_layer_config"):
        part["per_layer_config"] = {layer: keys for layer, keys in overrides.items() if int(layer) < keep}
    for key in (text.attribute_map.get("num_hidden_layers", "num_hidden_layers"), *_OTHER_DEPTHS):
        if isinstance(part.get(key), int):
            part[key] = min(part[key], keep)


def _is_per_layer(value: Any, depth: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == depth
