"""Small copies of configs: what is kept, what becomes small, and what odd numbers do."""

from __future__ import annotations

import pytest

from inspector.api.twins import observe_twin, on_meta_or_cpu
from inspector.api.verbs import shapes
from inspector.errors import TraceFailed, UsageError
from inspector.records import Scenario
from inspector.source import subject_of
from inspector.source.resolve import Origin, resolve
from inspector.source.shrink import in_proportion, in_sizes, to_fewer_heads
from inspector.source.tiny import tiny_config, twin_of, twin_subject


def twin(model_type, **config):
    return twin_of(subject_of(Origin("config", f"odd {model_type}", "test", model_type, config)), Scenario())[0].config


@pytest.mark.parametrize(
    ("heads", "groups", "kept"), [(32, 32, (4, 4)), (32, 8, (4, 2)), (32, 1, (4, 1)), (71, 1, (4, 1)), (14, 2, (4, 2))]
)
def test_shared_heads_stay_shared(heads, groups, kept):
    part = {"hidden_size": 64 * heads, "num_attention_heads": heads, "num_key_value_heads": groups}
    in_sizes([part])

    assert (part["num_attention_heads"], part["num_key_value_heads"]) == kept


@pytest.mark.parametrize("shrink", [in_proportion, to_fewer_heads])
def test_what_held_between_numbers_still_holds(shrink):
    part = {"hidden_size": 4096, "expand": 2, "num_heads": 128, "head_dim": 64, "n_groups": 8, "state_size": 128}
    shrink([part])

    assert part["hidden_size"] * part["expand"] == part["num_heads"] * part["head_dim"]
    assert part["num_heads"] % part["n_groups"] == 0
    assert part["hidden_size"] < 4096


def test_what_nobody_knows_fits_what_is_known():
    text, tower = {"hidden_size": 4096}, {"hidden_size": 1152, "feeds_into": 4096, "knob": 1000, "patch_size": 224}
    in_sizes([text, tower])

    assert tower == {"hidden_size": 64, "feeds_into": 64, "knob": 56, "patch_size": 224}


def test_a_part_of_a_small_head_is_as_even_as_of_the_large_one():
    """64 of 192 elements turn: of 16 they are 6, and no 5."""
    config = twin("mimo_v2_flash")
    parts = {int(config.head_dim * rope["partial_rotary_factor"]) for rope in config.rope_parameters.values()}

    assert parts == {6}


def test_every_kind_of_layer_is_kept():
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    config = twin("gemma3_text", num_hidden_layers=18, layer_types=kinds * 3)

    assert set(config.layer_types) == set(kinds)
    assert config.num_hidden_layers == len(config.layer_types) == 12


def test_layers_that_are_named_by_number_are_renumbered():
    config = tiny_config(subject_of(resolve("model_type:zamba2")).config)

    assert config.hybrid_layer_ids
    assert all(layer < config.num_hidden_layers for layer in config.hybrid_layer_ids)


ODD = [
    ("llama", {"hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2, "num_hidden_layers": 7}),
    ("llama", {"hidden_size": 120, "num_attention_heads": 3, "num_key_value_heads": 1, "num_hidden_layers": 1}),
    ("falcon", {"hidden_size": 4544, "num_attention_heads": 71}),
    ("gpt2", {"n_embd": 1600, "n_head": 25, "n_layer": 48}),
    ("mixtral", {"num_local_experts": 7, "num_experts_per_tok": 3}),
    ("deepseek_v3", {"n_routed_experts": 160, "n_group": 8, "topk_group": 3, "num_hidden_layers": 27}),
    ("gpt_oss", {"num_attention_heads": 64, "head_dim": 64, "hidden_size": 2880}),
    ("qwen2_vl_text", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}}),
]


@pytest.mark.parametrize(("model_type", "config"), ODD, ids=[f"{name}-{index}" for index, (name, _) in enumerate(ODD)])
def test_odd_numbers_have_a_twin(model_type, config):
    subject = subject_of(Origin("config", "odd", "test", model_type, config))
    small = twin_subject(subject, Scenario())
    trace = on_meta_or_cpu(small, Scenario())

    assert trace.ops
    assert trace.model.parameters < 10_000_000


def test_what_a_checkpoint_states_is_not_replaced():
    config = twin("dots1", n_routed_experts=16, num_experts_per_tok=3, n_shared_experts=None)

    assert (config.n_routed_experts, config.num_experts_per_tok, config.n_shared_experts) == (4, 2, 1)


def test_the_answer_says_that_it_is_of_a_twin_and_what_was_made_small():
    table = shapes("model_type:deepseek_v3", twin=True, trace_cache=False).table

    assert table.model.name == "model_type:deepseek_v3 (twin)"
    assert "hidden_size 7,168 -> 64" in table.notes[0]
    assert "parameters" not in table.notes[0]  # they are told once, of what was run, with its head
    assert table.scenario.device == "meta"


def test_one_key_for_all_heads_makes_no_axis_of_key_heads():
    """MLA repeats a key of one head: what stands before it is the batch."""
    table = shapes("model_type:deepseek_v3", twin=True, trace_cache=False).table

    assert {"H", "K", "Kv"} <= dict(table.axes).keys()
    assert "G" not in dict(table.axes)


def test_where_meta_cannot_the_cpu_serves_and_the_answer_says_so():
    table = shapes("model_type:deberta", twin=True, trace_cache=False).table

    assert (table.scenario.device, table.scenario.dtype) == ("cpu", "float32")
    assert "run in float32 on the CPU: on the meta device it fails" in " ".join(table.notes)


def test_a_twin_has_no_checkpoint():
    with pytest.raises(UsageError, match="a twin has random weights"):
        observe_twin(subject_of(resolve("gpt2")), Scenario(device="cpu", weights="checkpoint"))


def test_on_the_cpu_there_is_no_other_place_to_try(monkeypatch):
    from inspector import tracing

    def fail(*_):
        raise TraceFailed("it fails")

    monkeypatch.setattr(tracing, "observe", fail)
    with pytest.raises(TraceFailed, match="it fails"):
        on_meta_or_cpu(subject_of(resolve("gpt2")), Scenario(device="cpu", dtype="float32", weights="random"))
