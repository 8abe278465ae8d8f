"""What a parameter count cannot prove, a second source says too: eps, bases, windows, scales, activations, heads.

published.toml holds the figures of other public repositories, each with where it stands. Here the catalogue is held to
them, and what nobody else says is listed with the reason.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inspector.source.catalogue import find, presets
from inspector.source.configured import ConfigSubject
from inspector.source.resolve import resolve
from inspector.source.subject import subject_of

SOURCES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
OVERRULED: list[dict[str, Any]] = SOURCES.pop("overruled")
UNCONFIRMED: list[dict[str, Any]] = SOURCES.pop("unconfirmed")

NO_SOURCE: dict[str, str] = {}
"""Entries that no second source speaks of, and why. None today."""

COUNTED = set(
    "vocab_size hidden_size n_embd dim num_hidden_layers n_layer n_layers intermediate_size ffn_hidden_size hidden_dim "
    "moe_intermediate_size num_local_experts num_experts".split()
)
"""Each of them is a factor of the parameter count, which test_catalogue.py holds to the published one."""

TOKENS = {"bos_token_id", "eos_token_id", "pad_token_id"}
"""Of no effect on what the layers compute, but for the padding that RoBERTa numbers its positions from."""

FORWARD = set(
    # heads: their product with the width of one is counted, they alone are not
    "num_attention_heads num_key_value_heads num_kv_heads n_head n_heads head_dim multi_query new_decoder_architecture "
    # positions
    "max_position_embeddings n_positions original_max_position_embeddings type_vocab_size sinusoidal_pos_embds alibi "
    "rope_parameters.rope_type rope_parameters.rope_theta rope_parameters.partial_rotary_factor rope_parameters.factor "
    "rope_parameters.low_freq_factor rope_parameters.high_freq_factor rope_parameters.beta_fast "
    "rope_parameters.beta_slow rope_parameters.truncate rope_parameters.original_max_position_embeddings "
    "no_rope_layer_interval "
    # norms, activations, biases, ties, order
    "layer_norm_eps layer_norm_epsilon rms_norm_eps hidden_act hidden_activation activation activation_function "
    "swiglu_limit swiglu_alpha attention_bias mlp_bias bias tie_word_embeddings use_parallel_residual parallel_attn "
    # scores and masks
    "scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn query_pre_attn_scalar "
    "attn_logit_softcapping final_logit_softcapping sliding_window use_sliding_window layer_types "
    # experts
    "num_experts_per_tok norm_topk_prob decoder_sparse_step mlp_only_layers".split()
)
"""What changes the forward pass and is no factor of the parameter count, or not by itself."""

DEFAULTS = {
    "gemma2": {"layer_types"},
    "gpt_oss": {"layer_types", "swiglu_alpha"},
    "mixtral": {"sliding_window"},
    "roberta": {"pad_token_id"},
}
"""Model type -> what is to be confirmed besides what the entry itself says, mostly defaults of transformers."""

YOUNG = {"swiglu_alpha"}
"""Keys that transformers 5.17 does not have: there the number stands in the code."""


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Tables within take a dot: rope_parameters.rope_theta."""
    plain = {key: value for key, value in config.items() if not isinstance(value, dict)}
    within = {
        f"{key}.{name}": value
        for key, table in config.items()
        if isinstance(table, dict)
        for name, value in table.items()
    }
    return plain | within


@cache
def said(name: str) -> dict[str, Any]:
    """Every key of the config: as the entry has it, else transformers' default."""
    preset, subject = find(name), subject_of(resolve(name))
    assert preset is not None
    assert isinstance(subject, ConfigSubject)
    return flat(subject.config.to_dict()) | flat(preset.config)


def sources(name: str) -> list[dict[str, Any]]:
    """Its tables, without the keys that are too young for this transformers."""
    lacking = YOUNG - set(said(name))
    return [{key: value for key, value in source.items() if key not in lacking} for source in SOURCES.get(name, ())]


def figures(source: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in source.items() if key not in {"source", "null"}}
    return flat(values) | dict.fromkeys(source.get("null", ()))


def same(published: Any, ours: Any) -> bool:
    """1 is 1.0 and not true; a list is one period of ours."""
    if isinstance(published, list) and isinstance(ours, list) and published:
        return ours == (published * len(ours))[: len(ours)]
    return isinstance(published, bool) == isinstance(ours, bool) and published == ours


def disagreements(name: str, ours: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and source, wherever the two say different things; a key that we do not have is different too."""
    for source in sources(name):
        for key, value in figures(source).items():
            if key not in ours or not same(value, ours[key]):
                yield key, source["source"]


def confirmed(name: str) -> set[str]:
    return {key for source in sources(name) for key in figures(source)}


def excused(name: str) -> set[str]:
    return {item["key"] for item in UNCONFIRMED if name in item["entries"]}


def required(name: str) -> set[str]:
    """The keys of an entry that a second source has to say."""
    preset = find(name)
    assert preset is not None
    return FORWARD & set(flat(preset.config)) | DEFAULTS.get(preset.model_type, set()) - (YOUNG - set(said(name)))


def changed(value: Any) -> Any:
    """Something else of the same kind."""
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "_"
    if isinstance(value, list):
        return [*value[:-1], "other"]
    return value * 1.1 if isinstance(value, float) else value + 1


NAMES = [preset.name for preset in presets()]


@pytest.mark.parametrize("name", NAMES)
def test_the_second_source_says_the_same(name: str) -> None:
    assert [] == list(disagreements(name, said(name)))


@pytest.mark.parametrize("name", NAMES)
def test_one_changed_value_is_seen(name: str) -> None:
    """Whatever a source confirms, we cannot change it by one digit unseen, nor lose it."""
    for key in confirmed(name):
        wrong = {**said(name), key: changed(said(name)[key])}
        lost = {other: value for other, value in said(name).items() if other != key}

        assert {key} == {found for found, _ in disagreements(name, wrong)}
        assert {key} == {found for found, _ in disagreements(name, lost)}


def test_every_entry_has_a_source_or_a_reason() -> None:
    assert set(NAMES) == set(SOURCES) | set(NO_SOURCE)
    assert not set(SOURCES) & set(NO_SOURCE)
    assert all(len(source["source"].split()) == 2 and figures(source) for name in SOURCES for source in SOURCES[name])


@pytest.mark.parametrize("name", NAMES)
def test_what_changes_the_forward_pass_is_confirmed_or_excused(name: str) -> None:
    """Exactly: an excuse for what has a source is out of date."""
    assert required(name) == (confirmed(name) & required(name)) | excused(name)
    assert not confirmed(name) & excused(name)


def test_every_key_of_the_catalogue_is_of_a_known_sort() -> None:
    """A new key is to be put in one of the three lists, and one that no entry has is to leave them."""
    keys = {key for preset in presets() for key in flat(preset.config)}

    assert keys | {"layer_types", "swiglu_alpha"} == COUNTED | TOKENS | FORWARD


@pytest.mark.parametrize("item", OVERRULED, ids=lambda item: f"{item['entries'][0]}-{item['key']}")
def test_what_is_overruled_is_said_otherwise_by_another(item: dict[str, Any]) -> None:
    """A real difference, not a list of old ones; and never our word against theirs."""
    for name in item["entries"]:
        others = {source["source"] for source in SOURCES[name] if item["key"] in figures(source)} - {item["source"]}

        assert not same(item["value"], said(name)[item["key"]])
        assert others
        assert item["reason"]


def test_excuses_have_reasons_and_overruled_sources_are_not_believed_elsewhere() -> None:
    believed = {
        (name, source["source"], key) for name in SOURCES for source in SOURCES[name] for key in figures(source)
    }
    overruled = {(name, item["source"], item["key"]) for item in OVERRULED for name in item["entries"]}

    assert all(item["reason"] for item in UNCONFIRMED)
    assert not believed & overruled
