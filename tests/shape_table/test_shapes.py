"""The table end to end: figures, decode, filters."""

from __future__ import annotations

import pytest

from inspector.records import Scenario
from inspector.shape_table.build import shape_table

NANOGPT_FLOPS = 291_648_307_200
"""GPT-2 (124M), one sequence of 1,024 tokens with its head, matmuls only: the figure of nanoGPT's sizing notebook."""


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_flops_of_gpt2_are_the_published_ones(trace_of, attention):
    trace = trace_of("preset:gpt2", Scenario(batch=1, seq=1024, attention=attention))

    assert shape_table(trace).summary.flops == NANOGPT_FLOPS


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_flops_on_a_cpu_are_those_on_meta(trace_of, attention):
    scenario = Scenario(batch=1, seq=1024, attention=attention, device="cpu", dtype="float32", weights="random")

    assert shape_table(trace_of("preset:gpt2", scenario)).summary.flops == NANOGPT_FLOPS


@pytest.mark.parametrize(
    ("model", "kv_bytes"),
    [("gpt2", 36_864), ("llama-2-7b", 524_288), ("llama-3-8b", 131_072), ("llama-3.1-405b", 516_096)],
)
@pytest.mark.parametrize("scenario", [Scenario(), Scenario(past=16, seq=1)], ids=["prefill", "decode"])
def test_cache_bytes_are_the_published_ones(trace_of, model, kv_bytes, scenario):
    assert shape_table(trace_of(f"preset:{model}", scenario)).summary.cache_bytes_per_token == kv_bytes


def test_an_encoder_keeps_nothing(trace_of):
    table = shape_table(trace_of("bert"))

    assert table.summary.cache_bytes_per_token is None
    assert table.cache == ()


def test_decode_shows_what_is_appended(trace_of):
    table = shape_table(trace_of("preset:llama-3-8b", Scenario(past=16, seq=1)))
    updates = [row for row in table.rows if row.role == "cache_update"]

    assert [row.operand for row in updates] == ["k", "v"]
    assert [[view.symbolic for view in row.inputs] for row in updates] == [["(B, 8, P, 128)", "(B, 8, 1, 128)"]] * 2
    assert [row.outputs[0].symbolic for row in updates] == ["(B, 8, T, 128)"] * 2
    assert table.cache == (("0-31", "keys", "(B, 8, T, 128)", 2048), ("0-31", "values", "(B, 8, T, 128)", 2048))


def test_parameters_of_the_rows_add_up_to_the_model(trace_of):
    """Each parameter stands in one row, the tied table in two."""
    for model, tied in (("bert-base-uncased", 0), ("gpt2", 50257 * 768), ("llama-2-7b", 0)):
        table = shape_table(trace_of(f"preset:{model}"))

        assert sum(row.parameters * row.repeat for row in table.rows) == table.model.parameters + tied


def test_flops_of_the_rows_add_up(trace_of):
    table = shape_table(trace_of("preset:gpt2"))

    assert sum(row.flops * row.repeat for row in table.rows) == table.summary.flops


def test_one_layer_unfolded(trace_of):
    rows = shape_table(trace_of("preset:gpt2"), layer=7).rows

    assert {row.layers for row in rows} == {"7"}
    assert {row.repeat for row in rows} == {1}
    assert all(row.module.startswith("transformer.h.7") for row in rows)


def test_a_role_and_all_below_it(trace_of):
    trace = trace_of("preset:llama-3-8b")

    assert [row.operand for row in shape_table(trace, role="attention.rope").rows] == ["q", "k"]
    assert [row.operand for row in shape_table(trace, role="attention.rope.k").rows] == ["k"]
    assert {row.section for row in shape_table(trace, role="mlp").rows} == {"mlp"}
    assert shape_table(trace, role="attent").rows == ()


def test_every_op_of_every_stage(trace_of):
    trace = trace_of("preset:gpt2")
    stages, ops = shape_table(trace).rows, shape_table(trace, ops=True).rows

    assert [row.ops[0] for row in ops] == [op for row in stages for op in row.ops]
    assert sum(row.flops * row.repeat for row in ops) == sum(row.flops * row.repeat for row in stages)


def test_ids_are_unique_and_the_same_at_every_size(trace_of):
    one = shape_table(trace_of("preset:gpt2")).rows
    two = shape_table(trace_of("preset:gpt2", Scenario(batch=3, seq=31))).rows

    assert len({row.id for row in one}) == len(one)
    assert [row.id for row in one] == [row.id for row in two]


def test_attributes_are_what_ran(trace_of):
    rows = {row.id: dict(row.attributes) for row in shape_table(trace_of("preset:llama-3-8b")).rows}

    norm = {"affine": True, "bias": False, "eps": 1e-05, "kind": "rms", "offset": 0}
    assert rows["0-31.attention.norm"] == norm
    assert rows["0-31.attention.q_proj.q"] == {"bias": False}
    assert rows["0-31.attention.rope.q"] == {"dim": 128, "fraction": 1.0, "layout": "half"}
    assert rows["0-31.attention.repeat_kv.k"] == {"groups": 4}
    assert rows["0-31.mlp.activation"] == {"function": "silu"}
    assert rows["model.positions.rope_table"] == {"scaling": "default", "theta": 500000.0}
    assert rows["0-31.attention.scale"] == {"factor": 0.08838834764831845}
    assert rows["0-31.attention.mask"] == {"kind": "causal"}
    assert rows["0-31.attention.softmax"] == {"dim": -1, "dtype": "float32"}
