"""Bytes and parameters."""

from __future__ import annotations

import pytest
import torch

from inspector.costs import activation_bytes, cache_bytes_per_token, itemsize, parameters, value_bytes
from inspector.records import ModelInfo, Op, Scenario, Trace, Value

DTYPES = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}


@pytest.mark.parametrize("dtype", sorted(DTYPES, key=str), ids=str)
def test_itemsize_is_torchs(dtype):
    assert dtype.itemsize == itemsize(str(dtype).removeprefix("torch."))


def test_shared_parameters_count_once_and_activations_only_where_memory_is_fresh():
    values = (
        Value(0, "parameter", "wte.weight", (100, 8), "bfloat16", "meta", None),
        Value(1, "input", "input_ids", (2, 4), "int64", "meta", None),
        Value(2, "op", None, (2, 4, 8), "bfloat16", "meta", 0),
        Value(3, "op", None, (8, 8), "bfloat16", "meta", 1),
        Value(4, "op", None, (2, 4, 100), "bfloat16", "meta", 2),
        Value(5, "op", None, (2, 4, 100), "bfloat16", "meta", 3),
    )
    ops = (
        Op(0, "embedding", "", "", "", (("input", 1), ("weight", 0)), (), (), (2,), ""),
        Op(1, "view", "", "", "", (("input", 2),), (), (), (3,), "view"),
        Op(2, "linear", "", "", "", (("input", 3), ("weight", 0)), (), (), (4,), ""),
        Op(3, "div", "", "", "", (("input", 4),), (), (), (5,), "inplace"),
    )
    trace = Trace(ModelInfo("tied", None, "", 800, 1600), Scenario(), ops, values, (), ())

    assert parameters(ops, trace) == 800
    assert activation_bytes(ops, trace) == value_bytes(values[2]) + value_bytes(values[4])
    assert value_bytes(values[4]) == 2 * 4 * 100 * 2


@pytest.mark.parametrize(
    ("shape", "symbols", "dtype", "expected"),
    [
        ((2, 12, 16, 64), ("B", "12", "S", "64"), "bfloat16", 12 * 64 * 2),
        ((2, 12, 48, 64), ("B", "12", "T", "64"), "float32", 12 * 64 * 4),
        ((24, 48, 64), ("12*B", "P+S", "64"), "bfloat16", 12 * 64 * 2),  # heads folded into the batch
        ((96, 64), ("B*T", "64"), "bfloat16", 64 * 2),  # tokens too
        ((2, 12, 47, 64), ("B", "12", "T-1", "64"), "bfloat16", 12 * 64 * 2),
        ((2, 12, 17, 64), ("B", "12", "P+1", "64"), "bfloat16", 12 * 64 * 2),  # decoding: one new token
        ((2, 16, 576), ("B", "S", "576"), "bfloat16", 1152),  # one latent for all heads
        ((2, 33, 64), ("B", "2*S+1", "64"), "bfloat16", 2 * 64 * 2),
        ((2, 12, 15, 64), ("B", "12", "15", "64"), "bfloat16", 0),  # a full window
        ((2, 12, 16, 64), ("B", "12", "?16", "64"), "bfloat16", 0),
    ],
)
def test_cache_grows_with_what_the_symbols_say(shape, symbols, dtype, expected):
    value = Value(0, "op", None, shape, dtype, "meta", 0)

    assert expected == cache_bytes_per_token(value, symbols)


def test_published_cache_sizes():
    """GPT-2 36,864 and Llama-3-8B 131,072 bytes per token in bfloat16."""
    gpt2 = Value(0, "op", None, (2, 12, 16, 64), "bfloat16", "meta", 0)
    llama = Value(0, "op", None, (2, 8, 16, 128), "bfloat16", "meta", 0)

    assert 2 * 12 * cache_bytes_per_token(gpt2, ("B", "12", "S", "64")) == 36_864
    assert 2 * 32 * cache_bytes_per_token(llama, ("B", "8", "S", "128")) == 131_072
