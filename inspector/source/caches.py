"""A cache of fixed size, as compiled decoding uses it, in place of one that grows."""

from __future__ import annotations

__all__ = ["with_static_cache"]

from collections.abc import Mapping
from typing import Any

from inspector.errors import UsageError
from inspector.source.build import family, text_config
from inspector.source.inputs import CACHES


def with_static_cache(inputs: Mapping[str, Any], config: Any, names: tuple[str, ...], size: int) -> dict[str, Any]:
    """The same arguments of a forward, with room for `size` tokens in the place of a cache that grows.

    >>> from transformers import GPT2Config
    >>> config = GPT2Config(n_layer=1, n_embd=8, n_head=2)
    >>> found = with_static_cache({}, config, ("past_key_values", "use_cache"), 20)
    >>> found["past_key_values"].layers[0].max_cache_len, found["use_cache"]
    (20, True)

    names: what the forward takes. UsageError where it keeps no keys and values of all tokens: an encoder, a recurrence,
    and layers with a window, whose cache begins to overwrite itself.
    """
    from transformers import StaticCache

    name, flag = CACHES[0], {"use_cache": True} if "use_cache" in names else {}
    if name not in names or not hasattr(config, "get_text_config") or family(config) == "encoder":
        raise UsageError("no cache is given to this model", hint="compare other settings: eager,sdpa")
    cache = StaticCache(config=text_config(config), max_cache_len=size)
    grown = getattr(inputs.get(name), "layers", [])
    if any(getattr(layer, "max_cache_len", None) != size for layer in cache.layers) or not all(map(_grows, grown)):
        raise UsageError(
            f"not every layer keeps {size} tokens", why="some have a window or a state", hint="ask for fewer: --seq"
        )
    for place, layer in enumerate(grown):
        cache.update(layer.keys.clone(), layer.values.clone(), place)
    return {**inputs, name: cache, **flag}


def _grows(layer: Any) -> bool:
    return getattr(layer, "keys", None) is not None and getattr(layer, "values", None) is not None
