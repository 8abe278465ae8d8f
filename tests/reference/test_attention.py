"""Attention and masks against torch's fused kernel and against loops over pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from inspector.reference import attention
from inspector.reference.masks import allowed, build_mask, fully_masked_rows, padding_of

QUERIES, KEYS = torch.arange(3, 8), torch.arange(8)


def by_pairs(rule, batch=None):
    """The same mask, pair by pair."""
    rows = [[[rule(b, q, k) for k in KEYS.tolist()] for q in QUERIES.tolist()] for b in range(batch or 1)]
    return torch.tensor(rows)[:, None] if batch else torch.tensor(rows[0])


CASES = {
    "causal": ({}, lambda b, q, k: k <= q),
    "bidirectional": ({"direction": "bidirectional"}, lambda b, q, k: True),
    "window": ({"window": 3}, lambda b, q, k: q - 3 < k <= q),
    "window of one": ({"window": 1}, lambda b, q, k: k == q),
    "window both ways": ({"direction": "bidirectional", "window": 2}, lambda b, q, k: abs(q - k) < 2),
    "prefix": ({"direction": "prefix", "prefix": 6}, lambda b, q, k: k <= q or k < 6),
    "chunk": ({"chunk": 4}, lambda b, q, k: k <= q and k // 4 == q // 4),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mask_pair_by_pair(case):
    claims, rule = CASES[case]

    assert torch.equal(allowed(QUERIES, KEYS, **claims), by_pairs(rule))


def test_all_rules_differ():
    masks = [tuple(by_pairs(rule).flatten().tolist()) for _, rule in CASES.values()]

    assert len(set(masks)) == len(CASES)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_hides_keys_of_its_row(side):
    lengths = torch.tensor([8, 5, 2])
    seen = padding_of(lengths, 8, side)

    def real(b, k):
        return k < lengths[b].item() if side == "right" else k >= 8 - lengths[b].item()

    mask = allowed(QUERIES, KEYS, padding_BT=seen)

    assert torch.equal(mask, by_pairs(lambda b, q, k: k <= q and real(b, k), batch=3))
    assert torch.equal(fully_masked_rows(mask), ~mask.any(-1))
    assert fully_masked_rows(mask).any() == (side == "left")


def test_chunks_are_counted_from_the_first_token():
    padding = padding_of(torch.tensor([8, 5]), 8, "left")
    start = [0, 3]

    def rule(b, q, k):
        return start[b] <= k <= q and (k - start[b]) // 4 == (q - start[b]) // 4

    assert torch.equal(allowed(QUERIES, KEYS, chunk=4, padding_BT=padding), by_pairs(rule, batch=2))


def test_a_prefix_of_each_row():
    mask = allowed(QUERIES, KEYS, "prefix", prefix=torch.tensor([1, 6]))

    assert torch.equal(mask, by_pairs(lambda b, q, k: k <= q or k < (1, 6)[b], batch=2))


def test_a_built_mask_counts_queries_from_the_past():
    assert torch.equal(build_mask(5, past=3), by_pairs(CASES["causal"][1]))
    assert torch.equal(build_mask(5, past=3, window=3), by_pairs(CASES["window"][1]))
    with pytest.raises(ValueError, match="covers 8 keys, but got 7"):
        build_mask(5, past=3, attention_mask_BT=torch.ones(1, 7))


@pytest.mark.parametrize(
    ("claims", "message"),
    [({"direction": "sideways"}, "but got sideways"), ({"direction": "prefix"}, "length of the prefix")],
)
def test_a_mask_refuses(claims, message):
    with pytest.raises(ValueError, match=message):
        allowed(QUERIES, KEYS, **claims)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("factor", [None, 0.7])
def test_attention_is_torchs(rand, masked, factor):
    q, k, v = rand(2, 3, 5, 4), rand(2, 3, 8, 4), rand(2, 3, 8, 4)
    mask = allowed(QUERIES, KEYS, padding_BT=padding_of(torch.tensor([8, 6]), 8, "left")) if masked else None
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=factor)

    torch.testing.assert_close(attention.attend(q, k, v, mask, factor), expected, rtol=1e-12, atol=1e-12)


def test_the_parts_add_up_to_the_whole(rand):
    q, k, v, sinks = rand(2, 3, 5, 4), rand(2, 3, 8, 4), rand(2, 3, 8, 4), rand(3)
    mask = allowed(QUERIES, KEYS)
    s = torch.einsum("bhsk,bhtk->bhst", q, k) * 2
    s = (3.0 * torch.tanh(s / 3.0)).masked_fill(~mask, -math.inf)
    column = sinks[None, :, None, None].expand(2, 3, 5, 1)
    p = torch.softmax(torch.cat([s, column], dim=-1), dim=-1)[..., :-1]

    whole = attention.attend(q, k, v, mask, factor=2.0, cap=3.0, sinks_H=sinks)

    torch.testing.assert_close(whole, p @ v, rtol=1e-12, atol=1e-12)


def test_a_bias_is_added_to_the_scores(rand):
    s, bias = rand(2, 3, 4, 5), rand(3, 4, 5)

    assert torch.equal(attention.add_bias(s, bias), s + bias[None])


def test_large_scores_do_not_overflow():
    p = attention.softmax(torch.tensor([[[[1e4, 1e4 - 1.0, -1e4]]]]).double())

    torch.testing.assert_close(p[0, 0, 0, :2], torch.softmax(torch.tensor([1.0, 0.0]).double(), -1))


@pytest.mark.parametrize(("empty", "expected"), [("uniform", 0.25), ("zero", 0.0), ("nan", math.nan)])
def test_a_query_that_sees_nothing_gets_what_is_asked_for(rand, empty, expected):
    s = attention.apply_mask(rand(1, 1, 2, 4), torch.tensor([[True, False, True, True], [False] * 4]))
    p = attention.softmax(s, empty=empty)

    torch.testing.assert_close(p[0, 0, 0], torch.softmax(s[0, 0, 0], -1))
    assert p[0, 0, 0, 1] == 0
    torch.testing.assert_close(p[0, 0, 1], torch.full((4,), expected).double(), equal_nan=True)


def test_with_a_sink_a_query_that_sees_nothing_gives_nothing():
    s = torch.full((1, 1, 1, 4), -math.inf).double()

    assert attention.softmax(s, torch.tensor([0.5]).double()).tolist() == [[[[0.0] * 4]]]
    with pytest.raises(ValueError, match="uniform, zero or nan, but got mean"):
        attention.softmax(s, empty="mean")


def test_a_nan_among_the_scores_is_not_hidden(rand):
    s = rand(1, 1, 1, 4)
    s[..., 2] = math.nan

    assert attention.softmax(s).isnan().all()
