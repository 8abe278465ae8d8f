"""Each function against a second formulation: torch's own, or a loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from transformers.activations import ACT2FN

from inspector.reference import embeddings, experts, outputs
from inspector.reference.activations import ACTIVATIONS, activate, known_as
from inspector.reference.cache import Cache, append
from inspector.reference.feedforward import add, gated_mlp, mlp, multiply
from inspector.reference.heads import merge_heads, repeat_kv, split_heads
from inspector.reference.norms import layer_norm, rms_norm
from inspector.reference.projections import linear, split_gate_up, split_qkv


def same(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("eps", [1e-12, 0.3])
@pytest.mark.parametrize(("weighted", "biased"), [(True, True), (True, False), (False, False)])
def test_layer_norm(rand, eps, weighted, biased):
    x, weight, bias = rand(2, 5, 7), rand(7) if weighted else None, rand(7) if biased else None

    same(layer_norm(x, weight, bias, eps), functional.layer_norm(x, (7,), weight, bias, eps))


@pytest.mark.parametrize("eps", [1e-6, 0.3])
def test_rms_norm_and_its_offset(rand, eps):
    x, weight = rand(2, 5, 7), rand(7)

    same(rms_norm(x, weight, eps), functional.rms_norm(x, (7,), weight, eps))
    same(rms_norm(x, weight, eps, offset=1.0), functional.rms_norm(x, (7,), 1 + weight, eps))
    same(rms_norm(x, None, eps), functional.rms_norm(x, (7,), None, eps))


def test_linear_in_both_layouts(rand):
    x, weight, bias = rand(2, 3, 5), rand(4, 5), rand(4)

    same(linear(x, weight, bias), functional.linear(x, weight, bias))
    same(linear(x, weight.T.contiguous(), bias, layout="in_out"), functional.linear(x, weight, bias))
    same(linear(x, weight), functional.linear(x, weight))
    with pytest.raises(ValueError, match="out_in or in_out, but got io"):
        linear(x, weight, layout="io")


def _columns(heads, groups, width, layout):
    """Which column of the fused projection each column of q, k and v is, counted out by hand."""
    places, column = {"q": [], "k": [], "v": []}, 0
    order = []
    if layout == "stacked":
        order = ["q"] * heads + ["k"] * groups + ["v"] * groups
    else:
        for _ in range(groups):
            order += ["q"] * (heads // groups) + ["k", "v"]
    for part in order:
        places[part] += range(column, column + width)
        column += width
    return places.values()


@pytest.mark.parametrize(
    ("heads", "groups", "layout"),
    [(6, 6, "stacked"), (6, 2, "stacked"), (6, 6, "per_head"), (6, 2, "grouped"), (6, 1, "grouped")],
)
def test_split_qkv_takes_the_right_columns(rand, heads, groups, layout):
    x = rand(2, 3, (heads + 2 * groups) * 5)

    parts = split_qkv(x, heads, groups, layout)

    for part, columns in zip(parts, _columns(heads, groups, 5, layout), strict=True):
        assert torch.equal(part, x[..., columns])


@pytest.mark.parametrize(
    ("width", "heads", "groups", "layout", "message"),
    [
        (17, 2, 2, "stacked", "17 columns do not hold 2 queries and 2 keys and values"),
        (18, 3, 3, "by_magic", "stacked, per_head or grouped, but got by_magic"),
        (20, 6, 2, "per_head", "a key for each query head, but got 6 and 2"),
    ],
)
def test_split_qkv_refuses(rand, width, heads, groups, layout, message):
    with pytest.raises(ValueError, match=message):
        split_qkv(rand(1, 1, width), heads, groups, layout)


def test_split_gate_up(rand):
    x = rand(2, 3, 8)

    assert torch.equal(torch.cat(split_gate_up(x), dim=-1), x)
    assert torch.equal(torch.stack(split_gate_up(x, "interleaved"), dim=-1).flatten(-2), x)
    with pytest.raises(ValueError, match="halves or interleaved, but got thirds"):
        split_gate_up(x, "thirds")


def test_heads_by_loops(rand):
    x = rand(2, 3, 20)
    cut = split_heads(x, 4)

    assert cut.shape == (2, 4, 3, 5)
    for head in range(4):
        assert torch.equal(cut[:, head], x[..., 5 * head : 5 * head + 5])
    assert torch.equal(merge_heads(cut), x)


def test_kv_heads_are_shared_by_neighbours(rand):
    x = rand(2, 3, 5, 4)

    assert torch.equal(repeat_kv(x, 6), x.repeat_interleave(2, dim=1))
    assert not torch.equal(repeat_kv(x, 6), x.repeat(1, 2, 1, 1))
    with pytest.raises(ValueError, match="3 kv heads cannot be shared by 4"):
        repeat_kv(x, 4)


TORCH = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": functional.softplus,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "elu": functional.elu,
}
POINTS = torch.linspace(-13, 13, 401, dtype=torch.float64)


@pytest.mark.parametrize("name", TORCH)
def test_an_activation_is_torchs(name):
    # torch's softplus is the identity beyond 20, and tanh of it is 1 there
    same(activate(POINTS, name), TORCH[name](POINTS), 1e-8)


@pytest.mark.parametrize("spelling", [name for name in ACT2FN if name not in ("prelu", "xielu")])
def test_an_activation_is_what_transformers_calls_so(spelling):
    rounded = {"gelu_fast", "gelu_accurate"}  # these write sqrt(2/pi) with fewer digits

    same(activate(POINTS, known_as(spelling)), ACT2FN[spelling](POINTS), 1e-7 if spelling in rounded else 1e-11)


def test_no_two_activations_are_the_same_function():
    values = {name: function(POINTS) for name, function in ACTIVATIONS.items()}
    twins = [(a, b) for a in values for b in values if a < b and torch.allclose(values[a], values[b], atol=1e-4)]

    assert twins == []
    assert known_as("prelu") is None
    with pytest.raises(ValueError, match="but got gelu_new"):
        activate(POINTS, "gelu_new")


def test_feed_forward_layers(rand):
    x, up, gate, down, bias = rand(2, 5), rand(7, 5), rand(7, 5), rand(5, 7), rand(7)
    plain = functional.linear(functional.gelu(functional.linear(x, up, bias)), down)
    gated = functional.linear(functional.silu(functional.linear(x, gate)) * functional.linear(x, up), down)

    same(mlp(x, up, down, "gelu", up_bias=bias), plain)
    same(gated_mlp(x, gate, up, down), gated)
    assert torch.equal(add(x, 2 * x), 3 * x)
    assert torch.equal(multiply(x, x), x**2)


def test_embeddings(rand):
    table, ids = rand(11, 5), torch.tensor([[1, 10, 3], [0, 2, 2]])

    assert torch.equal(embeddings.token(ids, table), functional.embedding(ids, table))
    assert torch.equal(embeddings.position(ids[:, 2:], table, offset=2), table[ids[:, 2:] + 2])
    assert torch.equal(embeddings.segment(ids % 2, table), table[ids % 2])
    assert torch.equal(embeddings.first_segment(ids[:1], table, batch=2), table[torch.zeros_like(ids)])
    assert torch.equal(embeddings.scale_embedding(table, 3.0), table * 3)
    assert torch.equal(embeddings.add_embeddings(table, table, table), table + table + table)


def test_pooler_and_transform(rand):
    x, weight, bias, norm = rand(2, 3, 5), rand(5, 5), rand(5), rand(5)
    dense = functional.gelu(functional.linear(x, weight, bias))

    same(outputs.pooler(x, weight, bias), torch.tanh(functional.linear(x[:, 0], weight, bias)))
    same(
        outputs.transform(x, weight, bias, norm, bias, "gelu", 0.1),
        functional.layer_norm(dense, (5,), norm, bias, 0.1),
    )


def test_a_cache_grows_by_new_tensors(rand):
    old, new = rand(1, 2, 3, 4), rand(1, 2, 2, 4)
    cache = Cache((old,), (old,)).extended(new, new)

    assert torch.equal(append(new, old), torch.cat([old, new], dim=2))
    assert torch.equal(append(new), new)
    assert (cache.length, len(cache.keys), Cache().length) == (3, 2, 0)


def test_routers_against_the_definition(rand):
    logits = rand(4, 6)
    scores = torch.softmax(logits, dim=-1)
    best = torch.topk(logits, 2, dim=-1).indices

    plain, normalised = experts.softmax_then_topk(logits, 2), experts.softmax_then_topk(logits, 2, normalised=True)
    late = experts.topk_then_softmax(logits, 2)

    assert all(torch.equal(route.experts, best) for route in (plain, normalised, late))
    same(plain.weights, scores.gather(-1, best))
    same(normalised.weights, late.weights)  # a softmax over some is the softmax over all, normalised
    assert (plain.weights.sum(-1) < 0.99).all()


def test_a_sigmoid_routers_bias_chooses_but_does_not_weigh(rand):
    logits, bias = rand(5, 6), torch.tensor([9.0, 0, 0, 0, 0, 0]).double()
    free, pushed = (experts.sigmoid_router(logits, 2, b, normalised=False, factor=2.5) for b in (None, bias))
    affinity = torch.sigmoid(logits)

    same(free.weights, 2.5 * affinity.topk(2).values)
    assert (pushed.experts[:, 0] == 0).all()
    same(pushed.weights, 2.5 * affinity.gather(-1, pushed.experts))
    same(experts.sigmoid_router(logits, 2).weights.sum(-1), torch.ones(5).double())


def test_a_mixture_token_by_token(rand):
    x, maps = rand(5, 3), rand(4, 3, 3)
    route = experts.softmax_then_topk(rand(5, 4), 2)

    def expert(number):
        return lambda x: torch.tanh(x @ maps[number])

    expected = torch.zeros(5, 3).double()
    for token in range(5):
        for weight, number in zip(route.weights[token], route.experts[token], strict=True):
            expected[token] += weight * expert(number)(x[token])

    same(experts.mixture(x, experts.spread(route, 4), [expert(n) for n in range(4)]), expected)


def test_gelu_and_its_approximation_differ_where_they_should():
    """The largest difference is known: 4.7e-4 near 2.7. A test that cannot see it cannot tell the two apart."""
    gap = (activate(POINTS, "gelu") - activate(POINTS, "gelu_tanh")).abs().max().item()

    assert math.isclose(gap, 4.73e-4, rel_tol=0.01)
