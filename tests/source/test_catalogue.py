"""Every preset is the published model, to the last parameter."""

from __future__ import annotations

import pytest

from inspector.records import Scenario
from inspector.source.catalogue import Preset, find, presets
from inspector.source.resolve import resolve
from inspector.source.shallow import enough_layers
from inspector.source.subject import subject_of


def names() -> list[str]:
    return [preset.name for preset in presets()]


@pytest.mark.parametrize("name", names())
def test_parameters_are_the_published_count(name: str) -> None:
    """The whole model on meta: sizes, heads, biases and ties all show in this one number."""
    preset, subject = resolve(name).preset, subject_of(resolve(name))
    scenario, _ = subject.settle(Scenario())
    counted = sum(parameter.numel() for parameter in subject.make(scenario).parameters())

    assert preset is not None
    assert preset.parameters == counted


@pytest.mark.parametrize("name", [preset.name for preset in presets() if preset.cache_bytes_per_token])
def test_cache_bytes_follow_from_heads(name: str) -> None:
    """2 (keys and values) · layers · heads · head width · 2 bytes: the figure and the config cannot drift apart."""
    subject = subject_of(resolve(name))
    layers, width = subject.claims.get("model.layers"), subject.claims.get("attention.head_dim")
    heads = subject.claims.get("attention.kv_heads") or subject.claims.get("attention.heads")

    assert isinstance(layers, int)
    assert isinstance(width, int)
    assert isinstance(heads, int)
    assert subject.claims.get("cache.bytes_per_token") == 2 * layers * heads * width * 2


def test_names_are_unambiguous() -> None:
    """No name means two models."""
    spelled = [name.lower() for preset in presets() for name in preset.names]

    assert sorted(set(spelled)) == sorted(spelled)


def test_any_spelling_finds_the_entry() -> None:
    """Names, aliases and Hub ids, in any case."""
    found = [find(name) for name in ("gpt2", "OpenAI-Community/GPT2", "bert", "meta-llama/Llama-2-7b-hf", "gpt3")]

    assert ["gpt2", "gpt2", "bert-base-uncased", "llama-2-7b", None] == [entry and entry.name for entry in found]


def test_what_is_inherited_can_be_overridden() -> None:
    """`like` gives what is not said; `null` takes back a default of transformers."""
    first, third = find("mistral-7b-v0.1"), find("mistral-7b-v0.3")

    assert isinstance(first, Preset)
    assert isinstance(third, Preset)
    assert (4096, None) == (first.config["sliding_window"], third.config["sliding_window"])
    assert first.config["hidden_size"] == third.config["hidden_size"] == 4096


def test_every_key_of_the_catalogue_is_understood() -> None:
    """What no fact speaks of is listed, and here is all of it."""
    unread = {name: subject_of(resolve(name)).claims.unread for name in names()}

    assert {name: keys for name, keys in unread.items() if keys} == {
        "qwen3-30b-a3b": ("moe_intermediate_size",),
        "gpt-oss-20b": ("swiglu_limit",),
        "gpt-oss-120b": ("swiglu_limit",),
    }


def test_enough_layers() -> None:
    """Homogeneous, alternating, with a dense beginning, irregular, and nothing at all."""
    irregular = list("aabacaa")

    assert [2, 4, 3, 6, 1, 0] == [
        enough_layers(kinds) for kinds in ("a" * 32, "ab" * 8, "d" + "m" * 26, irregular, "a", "")
    ]
