"""Claims of a model whose two sides have a config each (T5Gemma, Dia): what differs is claimed for each layer."""

from __future__ import annotations

__all__ = ["joined", "other_side"]

from collections.abc import Mapping
from typing import Any

from inspector.records import Plain

Facts = Mapping[str, tuple[str, Plain, str]]

OF_A_LAYER = frozenset({
    "attention.kind", "attention.heads", "attention.kv_heads", "attention.head_dim", "mlp.width", "mlp.activation",
})  # fmt: skip
"""What a claim may say of each layer."""


def other_side(whole: Any) -> Any | None:
    """The config of the side that reads, where each side has its own; else None."""
    if not getattr(whole, "is_encoder_decoder", False) or not {"decoder", "decoder_config"} & set(whole.sub_configs):
        return None
    reading = next((getattr(whole, key) for key in ("encoder", "encoder_config") if key in whole.sub_configs), None)
    return None if reading is None else reading.get_text_config()


def joined(reading: Facts, writing: Facts) -> dict[str, tuple[str, Plain, str]]:
    """The claims of the side that writes, with those of the other side where they differ: first its layers.

    >>> side = lambda depth, width: {"model.layers": ("model.layers", depth, "config num_layers"),
    ...                              "mlp.width": ("mlp.width", width, "config d_ff")}
    >>> [value for _, value, _ in joined(side(1, 8), side(2, 16)).values()]
    [1, (8, 16, 16), 2]
    """
    found = dict(writing)
    depths = [side["model.layers"][1] if "model.layers" in side else None for side in (reading, writing)]
    first, second = depths
    if not isinstance(first, int) or not isinstance(second, int):
        return found
    found["model.layers"] = reading["model.layers"]
    found["model.layers.decoder"] = ("model.layers.decoder", second, writing["model.layers"][2])
    for fact in sorted(OF_A_LAYER & reading.keys() & writing.keys()):
        one, two = reading[fact][1], writing[fact][1]
        if one != two and not isinstance(one, tuple) and not isinstance(two, tuple):
            found[fact] = (fact, (one,) * first + (two,) * second, writing[fact][2])
    return found
