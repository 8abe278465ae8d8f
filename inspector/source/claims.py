"""What a config claims about the architecture, as facts.

The table claims.toml says which key speaks of which fact; here stands only how a value is turned into the fact's.
"""

from __future__ import annotations

__all__ = ["claims_of", "impossible", "padded_positions", "window"]

import tomllib
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

from inspector.messages import messages
from inspector.records import Claims, Plain, plain
from inspector.source.two_sides import joined, other_side

_SAME_ACTIVATION = {
    "swish": "silu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
}
"""ACT2FN's spellings of one function; the others are already one name each."""

_COUNTS = frozenset({
    "model.layers", "model.width", "model.vocabulary", "mlp.width",
    "attention.heads", "attention.kv_heads", "attention.head_dim",
})  # fmt: skip
"""Facts that no model has none of."""


def claims_of(config: Any, given: dict[str, Any], whole: Any = None) -> Claims:
    """Facts that a config claims, and the keys of the `given` config.json that nothing here understands.

    whole: the config that this one is a part of, if it is one.

    >>> from transformers import GPT2Config
    >>> claims = claims_of(GPT2Config(), {"n_embd": 768, "flux": 3})
    >>> claims.facts[0], claims.unread
    (('model.layers', 12, 'config n_layer'), ('flux',))
    """
    facts = _facts(config, whole)
    reading = other_side(whole)
    if reading is not None:
        facts = joined(_facts(reading, whole), facts)
    return Claims(tuple(facts.values()), tuple(_unread(config, given)), tuple(_explained(config)))


def _facts(config: Any, whole: Any) -> dict[str, tuple[str, Plain, str]]:
    facts: dict[str, tuple[str, Plain, str]] = {}
    for row in _table()["claim"]:
        value = None if row["fact"] in facts else _claimed(row, config, whole)
        if value is not None:
            facts[row["fact"]] = (row["fact"], value, f"config {_own_name(config, row['key'])}")
    return facts


def impossible(names: Mapping[str, str], given: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The counts and sizes of a config.json that are below one, by the key that states them.

    >>> impossible({"num_hidden_layers": "n_layer"}, {"n_layer": -1, "n_embd": 768})
    [('n_layer', -1)]

    names: what this model's config.json calls a standard key.
    """
    keys = {row["key"] for row in _table()["claim"] if row["fact"] in _COUNTS and "is" not in row and "read" not in row}
    keys |= {names[key] for key in keys if key in names}
    nested = given.get("text_config")
    stated = {**(nested if isinstance(nested, dict) else {}), **given}
    return [(key, value) for key, value in stated.items() if key in keys and type(value) is int and value < 1]


def window(config: Any) -> int | None:
    """The largest sliding window or chunk that a layer of this config uses, or None."""
    if getattr(config, "use_sliding_window", True) is False:
        return None
    sizes: list[Any] = []
    for row in _table()["window"]:
        kinds = getattr(config, row["layers"], None)
        if row["kind"] in kinds if kinds is not None else row.get("alone"):
            sizes += _of_each_layer(config, row["key"])
    return max((size for size in sizes if isinstance(size, int)), default=None)


def padded_positions(config: Any) -> int:
    """How many rows of the position table are never used: some types count from behind the padding token's id."""
    return (config.pad_token_id or 0) + 1 if config.model_type in _table()["positions_after_padding"] else 0


def _explained(config: Any) -> Iterator[tuple[str, Plain, str]]:
    """(fact, what execution shows, why that is not what the config says) of this type of model."""
    for row in _table()["explained"]:
        if config.model_type in row["of"]:
            shown = _READERS[row["read"]](getattr(config, row["key"]), config) if "key" in row else row.get("shows")
            yield row["fact"], shown, messages()["explained"][row["why"]]


def _claimed(row: dict[str, Any], config: Any, whole: Any) -> Plain:
    if config.model_type in row.get("but", ()) or config.model_type not in row.get("of", (config.model_type,)):
        return None
    outside = getattr(whole, row["key"], None) if row.get("outer") else None
    value, *others = _of_each_layer(config, row["key"]) if outside is None else [outside]
    if others:
        return None
    if value is None or ("when" in row and value != row["when"]):
        return None
    if "unless" in row and any(_of_each_layer(config, row["unless"])):
        return None
    if "plus" in row:
        value += row["plus"] if isinstance(row["plus"], int) else getattr(config, row["plus"], None) or 0
    if "is" in row:
        stated: Plain = row["is"]
        return stated
    return _READERS[row["read"]](value, config) if "read" in row else plain(value)


def _of_each_layer(config: Any, key: str) -> list[Any]:
    """The value of a key; of each layer, where a config lets layers differ and so refuses to answer for all."""
    try:
        return [getattr(config, key, None)]
    except RuntimeError:
        return [getattr(layer, key, None) for layer in config.per_layer_config]


def _unread(config: Any, given: dict[str, Any]) -> Iterator[str]:
    nested = given.get("text_config")
    standard = {own: key for key, own in config.attribute_map.items()}
    for key, value in {**given, **(nested if isinstance(nested, dict) else {})}.items():
        names = (key, standard.get(key, key))
        if not any(_is_known(name, value) for name in names):
            yield key


def _is_known(key: str, value: Any) -> bool:
    table = _table()
    if any(row["key"] == key for row in table["claim"]) or any(fnmatchcase(key, mute) for mute in table["silent"]):
        return True
    return key in table["idle"] and bool(table["idle"][key] == value)


def _own_name(config: Any, key: str) -> str:
    """The key as this model's config.json spells it."""
    names: dict[str, str] = config.attribute_map
    return names.get(key, key)


def _shared_by_all(values: list[Any], _: Any) -> Plain:
    """What is listed for each layer, where that is one value."""
    return plain(values[0]) if len(set(values)) == 1 else None


def _blocks_of_stacks(config: Any, *parts: str) -> int:
    """The layers of several stacks together, each counted in a part of the config."""
    stated = [getattr(config, part) for part in parts]
    return sum(part["layers"] if isinstance(part, dict) else part.num_hidden_layers for part in stated)


def _layers_of_bytes_and_patches(_: Any, config: Any) -> Plain:
    """Of the patcher where it runs, and around the patches; the patches are gathered behind the last layer, or each."""
    inner, outer = ("patcher_config",) if config.patch_in_forward else (), config.encoder_config
    gathering = outer.num_hidden_layers if outer.cross_attn_all_layers else 1
    return gathering + _blocks_of_stacks(config, *inner, "encoder_config", "global_config", "decoder_config")


def _twice_in_windows(groups: int, config: Any) -> tuple[int, ...]:
    return tuple(groups * 2 if kind == "sliding_attention" else groups for kind in config.layer_types)


def _kind_of(heads: int, groups: int) -> str:
    return "mha" if groups == heads else "mqa" if groups == 1 else "gqa"


def _known_activation(config: Any) -> str:
    """What `hidden_act` names; of a gate that has parameters of its own and no name, the plain one."""
    name = str(getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", "silu"))
    return _SAME_ACTIVATION.get(name, name)


def _steeper_gate(alpha: float, config: Any) -> Plain:
    """x·sigmoid(alpha·x), up to a limit that stands beside alpha: it has a name for some alphas."""
    name = {1.0: "silu", 1.702: "quick_gelu"}.get(alpha) if _known_activation(config) == "silu" else None
    return f"{name} clamped" if name else None


def _fewer_heads(ratio: int, config: Any) -> Plain:
    heads: int = config.num_attention_heads
    return max(1, heads // ratio)


def _two_thirds(width: int, config: Any) -> Plain:
    """In whole steps, where a factor is given too."""
    width, factor, step = int(2 * width / 3), config.block_ffn_dim_multiplier, config.block_multiple_of
    return width if factor is None else step * -(-int(factor * width) // step)


def _place(parameters: dict[str, Any], config: Any) -> Plain:
    """A rotation; for each layer by its kind, where the kinds are stated apart and one of them has none."""
    kinds = getattr(config, "layer_types", None) or ()
    if not kinds or not all(kind in parameters for kind in kinds) or all(parameters[kind] for kind in kinds):
        return "rope"
    return tuple("rope" if parameters[kind] else "none" for kind in kinds)


def _attention_kind(heads: int, config: Any) -> Plain:
    groups, *others = _of_each_layer(config, "num_key_value_heads")
    return None if groups is None or others else _kind_of(heads, groups)


def _head_dim(width: int, config: Any) -> Plain:
    heads = getattr(config, "num_attention_heads", None)
    if len(_of_each_layer(config, "head_dim")) > 1:
        return None
    return width // heads if isinstance(heads, int) and heads and width % heads == 0 else None


def _rope(parameters: dict[str, Any], pick: Callable[[dict[str, Any]], Plain]) -> Plain:
    """One rope parameter, or a pair (kind of layer, parameter) for each kind where kinds differ."""
    if any(isinstance(value, dict) for value in parameters.values()):
        return tuple((kind, pick(value)) for kind, value in sorted(parameters.items()) if isinstance(value, dict))
    return pick(parameters)


def _scaling(parameters: dict[str, Any]) -> Plain:
    """The type, then its factors as pairs."""
    beside = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
    factors = tuple((key, plain(value)) for key, value in sorted(parameters.items()) if key not in beside)
    return (parameters.get("rope_type", "default"), *factors)


_READERS: dict[str, Callable[[Any, Any], Plain]] = {
    "activation": lambda value, _: _SAME_ACTIVATION.get(value, value),
    "alike": _shared_by_all,
    "any": lambda value, _: value > 0,
    "both_eps": lambda value, config: (config.rms_norm_eps, value),
    "cache_of_every_head": lambda heads, config: 2 * 2 * config.num_hidden_layers * heads * config.head_dim,
    "half": lambda value, _: value // 2,
    "heads_by_ratio": _fewer_heads,
    "inverse": lambda value, _: 1 / value,
    "inverse_root": lambda value, _: value**-0.5,
    "kind": _attention_kind,
    "kind_twice_in_windows": lambda value, config: tuple(
        _kind_of(config.num_attention_heads, groups) for groups in _twice_in_windows(value, config)
    ),
    "kinds": lambda value, _: tuple(value),
    "layers_but_these": lambda value, config: config.num_hidden_layers - len(value),
    "layers_of_both": lambda _, config: _blocks_of_stacks(config, "encoder_config", "decoder_config"),
    "layers_of_bytes_and_patches": _layers_of_bytes_and_patches,
    "root_of_width": lambda _, config: config.hidden_size**0.5,
    "rope_by_layer": lambda flags, _: None if all(flags) else tuple("rope" if flag else "none" for flag in flags),
    "rope_by_kind": _place,
    "rope_fraction": lambda value, _: _rope(value, lambda rope: rope.get("partial_rotary_factor", 1.0)),
    "rope_scaling": lambda value, _: _rope(value, _scaling),
    "rope_theta": lambda value, _: _rope(value, lambda rope: rope.get("rope_theta")),
    "rows_with_codebooks": lambda value, config: value + config.num_codebooks * config.codebook_vocab_size + 1,
    "rows_with_prompts": lambda value, config: value + config.prompt_types * config.prompt_length,
    "share_of_width": _head_dim,
    "softcapped_gate": lambda _, config: f"{_known_activation(config)} softcapped",
    "sparse_in_some": lambda shares, config: tuple(
        _known_activation(config) + (" sparse" if share else "") for share in shares
    ),
    "steeper_gate": _steeper_gate,
    "twice_in_windows": _twice_in_windows,
    "two_thirds": lambda value, config: _two_thirds(value, config) if config.block_auto_adjust_ff_dim else value,
    "window_in_use": lambda _, config: window(config),
}


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("claims.toml").read_text(encoding="utf-8"))
