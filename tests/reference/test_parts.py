"""The parts that no whole forward needs, against other ways to say the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from inspector.reference import (
    attention,
    cache,
    embeddings,
    experts,
    layout,
    masks,
    norms,
    positions,
    projections,
    rope,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("pattern", "sizes", "same"),
    [
        ("B S (H K) -> B H S K", {"H": 3}, lambda x: x.reshape(2, 5, 3, 4).transpose(1, 2)),
        ("B S (K H) -> B H S K", {"H": 3}, lambda x: x.reshape(2, 5, 4, 3).permute(0, 3, 1, 2)),
        ("B S D -> S B D", {}, lambda x: x.transpose(0, 1)),
        ("(B A) S D -> B A S D", {"A": 2}, lambda x: x.reshape(1, 2, 5, 12)),
    ],
)
def test_arrange(pattern, sizes, same):
    x = random(2, 5, 12)

    assert torch.equal(layout.arrange(x, pattern, **sizes), same(x))


@pytest.mark.parametrize("pattern", ["B S -> S B", "B S D -> B S", "B S (H K) -> B S H K", "B (S H) D -> B S H D"])
def test_arrange_refuses_what_does_not_fit(pattern):
    with pytest.raises(ValueError, match="does not fit"):
        layout.arrange(random(2, 5, 12), pattern, **({"H": 5} if "H" in pattern and "K" in pattern else {}))


def test_scores_and_sums_of_any_leading_axes():
    q, k, p = random(2, 3, 4, 5, 8), random(2, 3, 1, 6, 8, seed=1), random(2, 3, 4, 5, 6, seed=2)

    assert torch.allclose(attention.scores(q, k), q @ k.mT)
    assert torch.allclose(attention.weighted_sum(p, k), p @ k)


def test_sinks_in_two_steps_are_those_of_one():
    s, sinks = random(2, 3, 4, 5), random(3, seed=1)
    weights = attention.drop_sink(attention.softmax(attention.with_sink(s, sinks)))

    assert torch.allclose(weights, attention.softmax(s, sinks))


def test_hidden_masks_are_the_other_sense():
    real = torch.tensor([[0, 1, 1], [1, 1, 1]])
    patterns = (("causal", None, None), ("causal", 2, None), ("bidirectional", None, None))
    for seen, hidden in zip(
        masks.build_masks(3, 3, patterns, real), masks.hidden_masks(3, 3, patterns, real), strict=True
    ):
        assert torch.equal(seen, ~hidden)


def test_padding_that_sees_nothing():
    real = torch.tensor([[0, 1]])
    (mask,) = masks.build_masks(2, 2, (("bidirectional", None, None),), real, mutual=True)

    assert mask.int().tolist() == [[[[0, 0], [0, 1]]]]


def test_relative_bias_is_the_table_by_the_bucket():
    table = random(8, 3)
    bias = positions.relative_bias(table, 2, 5, bidirectional=False, farthest=16, past=3)
    for query in range(2):
        for key in range(5):
            distance = torch.tensor(key - query - 3)
            bucket = positions.relative_buckets(distance, bidirectional=False, buckets=8, farthest=16)
            assert torch.equal(bias[0, :, query, key], table[bucket])


def test_alibi_of_places_is_the_bias_of_keys_in_order():
    assert torch.equal(positions.alibi_of_places(torch.arange(5)[None], 6)[0], positions.alibi_bias(torch.arange(5), 6))


def test_counted_positions():
    real = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])

    assert positions.counted(real, 4, first=2, padding=1).tolist() == [[1, 1, 2, 3], [2, 3, 4, 5]]
    assert positions.counted(torch.tensor([[9, 7, 7]]), 2, unlike=9).tolist() == [[0, 1]]


@pytest.mark.parametrize("pairs", ["half", "interleaved"])
def test_rotations_of_a_part(pairs):
    x, ids = random(1, 2, 3, 12), torch.arange(3)[None]
    cos, sin = rope.rope_table(ids, layout=pairs, dim=8)
    last = rope.rotate_part(x, cos, sin, pairs, dims=8, start=4)
    back = rope.rotate_part(last, cos, sin, pairs, dims=8, start=4, backwards=True)

    assert torch.equal(last[..., :4], x[..., :4])
    assert torch.allclose(last[..., 4:], rope.rotate(x[..., 4:], cos, sin, pairs))
    assert torch.allclose(back, x)


def test_complex_rotations_are_those_of_neighbours():
    x, ids = random(1, 2, 3, 8), torch.arange(3)[None]
    table = torch.view_as_complex(rope.complex_table(ids, dim=8).contiguous())
    cos, sin = rope.rope_table(ids, layout="interleaved", dim=8)

    assert torch.allclose(rope.rotate_complex(x, table), rope.rotate(x, cos, sin, "interleaved"))


def test_a_table_with_one_angle_a_pair():
    x, ids = random(1, 2, 3, 8), torch.arange(3)[None]
    single = rope.rope_table(ids, layout="single", dim=8)

    assert torch.allclose(rope.rotate(x, *single), rope.rotate(x, *rope.rope_table(ids, dim=8)))


def test_experts_step_by_step_are_the_mixture():
    x, logits = random(5, 4), random(5, 3, seed=1)
    ups, downs = random(3, 6, 4, seed=2), random(3, 4, 6, seed=3)
    route = experts.choose(experts.probabilities(logits), 2)
    shares = experts.shares(route.weights)
    inside = experts.expert_linear(experts.copies(x, 2), *experts.of_chosen(route.experts, ups))
    answers = experts.expert_linear(inside, *experts.of_chosen(route.experts, downs))
    whole = experts.spread(experts.softmax_then_topk(logits, 2, normalised=True), 3)
    said = experts.mixture(x, whole, [lambda x, n=n: x @ ups[n].T @ downs[n].T for n in range(3)])

    assert torch.allclose(experts.combine(answers, shares, 2), said)


def test_experts_in_their_order_are_the_same():
    x, chosen, weights = random(5, 4), torch.tensor([[2, 0], [1, 2], [0, 1], [2, 1], [0, 2]]), random(5, 2, seed=1)
    matrices = random(3, 6, 4, seed=2)
    back = torch.argsort(torch.argsort(chosen.reshape(-1), stable=True))
    rows, sorted_weights, ends, _ = experts.sorted_by_expert(x, weights, chosen, back, 3)
    answers = experts.grouped_linear(rows, matrices, ends)
    plain = experts.expert_linear(experts.copies(x, 2), *experts.of_chosen(chosen, matrices))

    assert torch.allclose(
        experts.combine_sorted(answers, sorted_weights, back, 2), experts.combine(plain, weights.reshape(-1), 2)
    )


def test_each_row_by_the_matrix_of_its_expert():
    x, whose, matrices = random(7, 4), torch.tensor([2, 0, 2, 4, 0, 0, 1]), random(5, 6, 4, seed=2)
    expected = experts.expert_linear(x, *experts.of_chosen(whose, matrices))

    assert torch.allclose(experts.chosen_linear(x, matrices, whose), expected)
    assert torch.allclose(experts.chosen_linear(x, matrices.mT, whose, layout="in_out"), expected)


def test_without_values_experts_have_their_shapes_and_refuse_nothing():
    with torch.device("meta"):
        x, scores, whose = torch.empty(2, 5, 4), torch.empty(2, 5, 3), torch.empty(2, 5, 2, dtype=torch.long)
        matrices = torch.empty(3, 6, 4)
        weights, _ = experts.chosen(scores, whose, 2)
        rows, shares, ends, back = experts.sorted_by_expert(x, weights, whose, experts.places_by_expert(whose), 3)
        answers = experts.grouped_linear(rows, matrices, ends)
        made = [experts.combine_sorted(answers, shares, back, 2, length=5)]
        answers = experts.chosen_linear(experts.copies(x, 2), matrices, whose.reshape(-1))
        made.append(experts.combine(answers, weights, 2, length=5))

    assert [tuple(one.shape) for one in made] == [(2, 5, 6)] * 2


@pytest.mark.parametrize(("back", "says"), [([0, 0, 1, 2], "one place"), ([0, 1, 2, 3], "order of their experts")])
def test_an_order_that_is_none(back, says):
    chosen = torch.tensor([[1, 0], [0, 1]])
    with pytest.raises(ValueError, match=says):
        experts.sorted_by_expert(random(2, 4), random(2, 2), chosen, torch.tensor(back), 2)


def test_other_maps():
    x, weight, bias = random(2, 3, 8), random(8, 4, 2), random(4, 2)
    by_hand = functional.linear(x, weight.flatten(1).T, bias.flatten()).unflatten(-1, (4, 2))

    assert torch.allclose(projections.linear_heads(x, weight, bias), by_hand)
    assert torch.allclose(norms.l2_norm(x, eps=0.0), functional.normalize(x, dim=-1))


def test_what_a_window_keeps():
    new, past = random(1, 2, 3, 4), random(1, 2, 5, 4, seed=1)
    full, kept = cache.append_and_keep(new, past, keeps=7)

    assert torch.equal(full, cache.append(new, past))
    assert torch.equal(kept, full[:, :, 1:])


def test_first_segment_is_segment_nought():
    table = random(2, 4)
    zeros = torch.zeros(2, 3, dtype=torch.long)

    assert torch.equal(embeddings.first_segment(torch.arange(3)[None], table, 2), embeddings.segment(zeros, table))
