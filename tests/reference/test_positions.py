"""Rotations, tables and biases against complex numbers, loops, and what transformers computes."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

from inspector.reference.frequencies import RopeScaling, attention_factor, inverse_frequencies
from inspector.reference.models.rope_claims import rope_claimed
from inspector.reference.positions import alibi_bias, alibi_slopes, position_ids, relative_buckets, sinusoid
from inspector.reference.rope import cos_sin, rope_table, rotate
from inspector.reference.weights import NotCovered

WIDTH = 16
LONG = {"short_factor": [1.0 + i / 10 for i in range(8)], "long_factor": [2.0 + i for i in range(8)]}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

ROPES = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "dynamic, another length": {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 64},
    "llama3": {"rope_type": "llama3", **LLAMA3},
    "llama3, another blend": {"rope_type": "llama3", **LLAMA3, "low_freq_factor": 0.5, "high_freq_factor": 6.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    "yarn, no factor": {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 64},
    "yarn, other betas": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 0.5},
    "yarn, whole ramp": {"rope_type": "yarn", "factor": 4.0, "truncate": False},
    "yarn, small base": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 3.0},
    "yarn, mscale": {"rope_type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.5},
    "yarn, explicit": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.25},
    "longrope": {"rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 64, **LONG},
    "longrope, no factor": {"rope_type": "longrope", "original_max_position_embeddings": 64, **LONG},
    "longrope, explicit": {"rope_type": "longrope", "factor": 4.0, "attention_factor": 1.5, **LONG},
}


def config_of(**rope):
    said = {"rope_theta": 20000.0, **rope}
    return LlamaConfig(hidden_size=64, num_attention_heads=4, max_position_embeddings=256, rope_parameters=said)


@pytest.mark.parametrize("length", [10, 64, 65, 300])
@pytest.mark.parametrize("case", ROPES)
def test_frequencies_and_factor_are_those_of_transformers(case, length):
    config = config_of(**ROPES[case])
    rope = rope_claimed(config.to_dict(), WIDTH)
    expected, factor = ROPE_INIT_FUNCTIONS[rope.kind](config, torch.device("cpu"), seq_len=length)
    plain = inverse_frequencies(RopeScaling(WIDTH, 20000.0))

    actual = inverse_frequencies(rope, length)

    torch.testing.assert_close(actual, expected.double(), rtol=2e-6, atol=0)
    assert math.isclose(attention_factor(rope), factor, rel_tol=1e-12)
    # each scaling shows at this length, or it would not be tested
    assert torch.allclose(actual, plain, rtol=1e-3) == (rope.kind == "dynamic" and length <= 256)


def test_the_cases_differ_from_one_another():
    seen = {}
    for case, said in ROPES.items():
        rope = rope_claimed(config_of(**said).to_dict(), WIDTH)
        numbers = (*inverse_frequencies(rope, 300).tolist(), attention_factor(rope))
        seen.setdefault(tuple(round(number, 12) for number in numbers), []).append(case)
    twins = [cases for cases in seen.values() if len(cases) > 1]

    assert twins == [
        ["dynamic", "dynamic, another length"],
        ["yarn", "yarn, no factor"],
        ["longrope", "longrope, no factor"],
    ]


@pytest.mark.parametrize("first", [0, 250])
@pytest.mark.parametrize("said", [{"rope_type": "default"}, *ROPES.values()], ids=["default", *ROPES])
def test_the_table_is_that_of_a_whole_model(said, first):
    """What depends on the length takes it from the positions in use, here on both sides of the length trained on."""
    config = config_of(**said)
    positions = torch.arange(first, first + 20)[None]
    expected = LlamaRotaryEmbedding(config)(torch.zeros(1), positions)

    actual = rope_table(positions, **rope_claimed(config.to_dict(), WIDTH).claims())

    for ours, theirs in zip(actual, expected, strict=True):
        # angles in fp32 are off by their own rounding: 270 radians times 2**-24, a few times
        torch.testing.assert_close(ours[:, 0], theirs.double(), rtol=0, atol=1e-4)


def test_claims_of_older_configs_are_read():
    new = config_of(**ROPES["llama3"]).to_dict()
    old = {
        "rope_theta": 20000.0,
        "rope_scaling": {"type": "llama3", **LLAMA3},
        "max_position_embeddings": 256,
    }

    assert rope_claimed(old, WIDTH) == rope_claimed(new, WIDTH)
    assert rope_claimed({}, WIDTH) == RopeScaling(WIDTH, 10000.0)
    assert rope_claimed(new, WIDTH) == RopeScaling(**rope_claimed(new, WIDTH).claims())


def test_a_length_beside_the_rotation_goes_before_the_one_within():
    yarn = {"rope_type": "yarn", "factor": 4.0, "truncate": False, "original_max_position_embeddings": 64}
    said = {"rope_parameters": yarn}
    beside = said | {"original_max_position_embeddings": 32}
    config = LlamaConfig(hidden_size=64, num_attention_heads=4, **deepcopy(beside))
    expected, _ = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))

    actual = [inverse_frequencies(rope_claimed(claims, WIDTH)) for claims in (beside, said)]

    torch.testing.assert_close(actual[0], expected.double(), rtol=2e-6, atol=0)
    assert not torch.allclose(actual[1], expected.double(), rtol=1e-3)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"rope_type": "proportional"}, "no proportional rotations"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "turns whole heads"),
        ({"rope_type": "linear"}, "linear rotations need a factor"),
    ],
)
def test_claims_that_are_not_covered(said, message):
    with pytest.raises(NotCovered, match=message):
        rope_claimed({"rope_parameters": said}, WIDTH)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        (RopeScaling(8, kind="magic"), "but got magic"),
        (RopeScaling(8, kind="llama3", original=8), "need low and high"),
        (RopeScaling(8, kind="longrope", original=8), "a short and a long list"),
        (RopeScaling(8, kind="yarn"), "the length trained on"),
    ],
)
def test_a_kind_that_lacks_a_number_is_refused(rope, message):
    with pytest.raises(ValueError, match=message):
        inverse_frequencies(rope)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@pytest.mark.parametrize("dims", [8, 4])
def test_a_rotation_is_a_product_of_complex_numbers(rand, layout, dims):
    x, positions = rand(2, 3, 5, 8), torch.arange(5)[None]
    speeds = inverse_frequencies(RopeScaling(dims, theta=50.0))
    pairs = dims // 2

    turned = rotate(x, *cos_sin(positions, speeds, 1.5, layout), layout, dims)

    for pair in range(pairs):
        a, b = (pair, pair + pairs) if layout == "half" else (2 * pair, 2 * pair + 1)
        angle = positions[0] * speeds[pair]
        expected = torch.complex(x[..., a], x[..., b]) * torch.polar(torch.full_like(angle, 1.5), angle)
        torch.testing.assert_close(torch.complex(turned[..., a], turned[..., b]), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(turned[..., dims:], x[..., dims:])


def test_scores_of_rotated_vectors_depend_on_the_distance_alone(rand):
    q, k = rand(1, 1, 1, 8), rand(1, 1, 1, 8)

    def score(at, to):
        tables = [rope_table(torch.tensor([[place]]), dim=8) for place in (at, to)]
        return (rotate(q, *tables[0]) * rotate(k, *tables[1])).sum()

    assert torch.isclose(score(3, 1), score(1003, 1001))
    assert not torch.isclose(score(3, 1), score(3, 2))


def test_a_layout_that_is_none_is_refused(rand):
    with pytest.raises(ValueError, match="half or interleaved, but got whole"):
        rope_table(torch.tensor([[0]]), layout="whole", dim=4)


def test_position_ids():
    padding = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])

    assert position_ids(3, past=2).tolist() == [[2, 3, 4]]
    assert position_ids(5, 0, padding).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 0, 0]]
    assert position_ids(2, 3, padding).tolist() == [[1, 2], [0, 0]]


def test_sinusoids_by_a_loop():
    table = sinusoid(torch.arange(7)[None], 6, theta=100.0)[0]
    halves = sinusoid(torch.arange(7)[None], 6, theta=100.0, layout="half")[0]

    for place in range(7):
        for column in range(6):
            angle = place / 100.0 ** (2 * (column // 2) / 6)
            expected = math.cos(angle) if column % 2 else math.sin(angle)
            assert math.isclose(table[place, column], expected, abs_tol=1e-12)
    assert torch.equal(halves, torch.cat([table[:, 0::2], table[:, 1::2]], dim=-1))


@pytest.mark.parametrize("heads", [1, 2, 3, 7, 8, 12, 20])
def test_alibi_is_that_of_bloom(heads):
    keys = torch.arange(9)
    expected = build_alibi_tensor(torch.ones(1, 9), heads, torch.float32).double()

    torch.testing.assert_close(alibi_bias(keys, heads), expected, rtol=1e-6, atol=0)


def test_alibi_falls_with_the_distance():
    bias = alibi_bias(torch.arange(6), 3, torch.arange(2, 6))
    slopes = alibi_slopes(3)

    for head in range(3):
        for query in range(4):
            for key in range(6):
                assert bias[head, query, key] == slopes[head] * (key - (query + 2))


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (16, 50), (64, 1000)])
def test_relative_buckets_are_those_of_t5(bidirectional, buckets, farthest):
    distances = torch.arange(-1200, 1200)
    expected = T5Attention._relative_position_bucket(distances, bidirectional, buckets, farthest)

    actual = relative_buckets(distances, bidirectional, buckets, farthest)

    assert torch.equal(actual, expected)
    assert len(actual.unique()) == buckets - (1 if bidirectional else 0)
