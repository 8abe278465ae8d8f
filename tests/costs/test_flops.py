"""FLOPs of single ops, held against torch's own counter where it knows them and against closed forms elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inspector.costs import FORMULAS, Cost, flops, total_flops
from inspector.records import ModelInfo, Op, Scenario, Trace, Value


def trace_of(*calls):
    """A trace made by hand: each call is (name, input shapes, output shapes, attributes, effect)."""
    values, ops = [], []
    for name, inputs, outputs, attributes, effect in calls:
        ids = []
        for shape in (*inputs, *outputs):
            ids.append(len(values))
            values.append(Value(len(values), "op", None, tuple(shape), "float32", "meta", None))
        operands = tuple((f"operand_{i}", value) for i, value in enumerate(ids[: len(inputs)]))
        rest = tuple(ids[len(inputs) :])
        ops.append(Op(len(ops), name, name, "", "", operands, (), tuple(attributes.items()), rest, effect))
    return Trace(ModelInfo("hand-made", None, "", 0, 0), Scenario(), tuple(ops), tuple(values), (), ())


def price(name, inputs, outputs, effect="", **attributes):
    trace = trace_of((name, inputs, outputs, attributes, effect))
    return flops(trace.ops[0], trace)


def counted_by_torch(function, *shapes, **options):
    """(FLOPs that torch counts, shape of the result)."""
    with FlopCounterMode(display=False) as counter:
        result = function(*(torch.empty(shape, device="meta") for shape in shapes), **options)
    return counter.get_total_flops(), tuple(result.shape)


F = torch.nn.functional
PRODUCTS = [
    ("linear", F.linear, (2, 16, 768), (3072, 768)),
    ("linear", F.linear, (2, 16, 768), (3072, 768), (3072,)),
    ("matmul", torch.matmul, (2, 12, 16, 64), (2, 12, 64, 16)),
    ("matmul", torch.matmul, (2, 12, 16, 64), (64, 32)),
    ("matmul", torch.matmul, (3, 1, 16, 64), (5, 64, 32)),
    ("matmul", torch.matmul, (16, 64), (64, 32)),
    ("matmul", torch.matmul, (64,), (64, 32)),
    ("matmul", torch.matmul, (64,), (5, 64, 32)),
    ("mm", torch.mm, (16, 64), (64, 32)),
    ("bmm", torch.bmm, (3, 16, 64), (3, 64, 32)),
    ("addmm", torch.addmm, (32,), (16, 64), (64, 32)),
    ("baddbmm", torch.baddbmm, (3, 16, 32), (3, 16, 64), (3, 64, 32)),
    ("tensordot", lambda a, b: torch.tensordot(a, b, dims=([1, 2], [0, 1])), (7, 3, 5), (3, 5, 11)),
    ("conv1d", lambda x, w: F.conv1d(x, w, stride=2), (2, 8, 40), (12, 8, 3)),
    ("conv1d", lambda x, w: F.conv1d(x, w, padding=3, groups=8), (2, 8, 40), (8, 1, 4)),
    ("conv2d", lambda x, w: F.conv2d(x, w, stride=16), (2, 3, 224, 224), (768, 3, 16, 16)),
    ("conv2d", lambda x, w: F.conv2d(x, w, groups=2), (2, 8, 20, 20), (12, 4, 3, 5)),
    ("conv_transpose1d", F.conv_transpose1d, (2, 8, 40), (8, 12, 3)),
]


@pytest.mark.parametrize(("name", "function", "shapes"), [(row[0], row[1], row[2:]) for row in PRODUCTS])
def test_products_agree_with_torch(name, function, shapes):
    expected, result = counted_by_torch(function, *shapes)

    assert expected > 0
    assert expected == price(name, shapes, [result]).contraction


EQUATIONS = [
    ("bqhd,bkhd->bhqk", (2, 16, 12, 64), (2, 24, 12, 64)),
    ("bhqk,bkhd->bqhd", (2, 12, 16, 24), (2, 24, 12, 64)),
    ("...qd,...kd->...qk", (2, 12, 16, 64), (2, 12, 24, 64)),
    ("...i,ij->...j", (2, 5, 16), (16, 7)),
    ("...ij,...jk->...ik", (2, 3, 4), (7, 2, 4, 5)),
    ("ij,jk", (3, 4), (4, 5)),
    ("bij,bjk,bkl->bil", (2, 3, 5), (2, 5, 7), (2, 7, 11)),
    ("abc,cd,de,ef->abf", (2, 3, 4), (4, 5), (5, 6), (6, 7)),
]


@pytest.mark.parametrize(("equation", "shapes"), [(row[0], row[1:]) for row in EQUATIONS])
def test_einsum_agrees_with_torch(equation, shapes):
    with torch.backends.opt_einsum.flags(enabled=False):
        expected, result = counted_by_torch(lambda *operands: torch.einsum(equation, *operands), *shapes)

    assert expected > 0
    assert expected == price("einsum", shapes, [result], equation=equation).contraction


def test_einsum_sums_away_what_one_operand_alone_has():
    """`m` is in the first operand only: its 24 elements are summed to 6 before the product."""
    cost = price("einsum", [(2, 3, 4), (3, 5)], [(2, 5)], equation="ijm,jk->ik")

    assert Cost(contraction=2 * 2 * 3 * 5, other=24) == cost


def test_einsum_without_a_summed_axis_is_elementwise():
    assert Cost(other=12) == price("einsum", [(3,), (4,)], [(3, 4)], equation="i , j -> i j")


def test_einsum_of_one_operand_multiplies_nothing():
    assert Cost(other=12) == price("einsum", [(3, 4)], [(3,)], equation="ij->i")
    assert Cost() == price("einsum", [(3, 4)], [(4, 3)], equation="ij->ji")


def test_einsum_broadcasts_an_axis_of_one():
    expected = Cost(contraction=2 * 6 * 4 * 5)

    assert expected == price("einsum", [(1, 4), (6, 4, 5)], [(6, 5)], equation="bi,bij->bj")
    assert expected == price("einsum", [(6, 4, 5), (1, 4)], [(6, 5)], equation="bij,bi->bj")


def test_einsum_without_an_equation_is_unpriced():
    assert Cost(unpriced=1) == price("einsum", [(3, 4), (4, 5)], [(3, 5)], sublist=((0, 1), (1, 2)))


@pytest.mark.parametrize("heads", [12, 4, 1])
def test_attention_counts_every_query_against_every_key(heads):
    """Two products per score, over the query heads, however few key and value heads there are."""
    query, key, value, result = (2, 12, 16, 64), (2, heads, 24, 64), (2, heads, 24, 32), (2, 12, 16, 32)
    scores = 2 * 12 * 16 * 24
    cost = price("scaled_dot_product_attention", [query, key, value], [result], enable_gqa=heads < 12)

    assert Cost(contraction=2 * scores * (64 + 32), other=scores * 6) == cost


def test_attention_agrees_with_the_eager_spelling():
    """The fused kernel costs what it replaces: matmul, scale, mask, softmax, matmul."""
    query, key, scores = (2, 12, 16, 64), (2, 12, 24, 64), (2, 12, 16, 24)
    eager = trace_of(
        ("matmul", [query, (2, 12, 64, 24)], [scores], {}, ""),
        ("mul", [scores], [scores], {"other": 0.125}, ""),
        ("add", [scores, (2, 1, 16, 24)], [scores], {}, ""),
        ("softmax", [scores], [scores], {"dim": -1}, ""),
        ("matmul", [scores, key], [query], {}, ""),
    )
    operands = [query, key, key]

    assert total_flops(eager.ops, eager) == price("scaled_dot_product_attention", [*operands, scores], [query])
    assert total_flops(eager.ops, eager) == price("scaled_dot_product_attention", operands, [query], is_causal=True)


@pytest.mark.parametrize(
    ("left", "right", "result", "expected"),
    [
        ((40, 64), (8, 64, 32), (40, 32), 2 * 40 * 64 * 32),  # rows are cut into groups: the experts' forward
        ((8, 5, 64), (64, 40), (5, 40), 2 * 8 * 5 * 64 * 40 // 8),
        ((64, 40), (40, 32), (8, 64, 32), 2 * 64 * 40 * 32),
        ((8, 5, 64), (8, 64, 32), (8, 5, 32), 2 * 8 * 5 * 64 * 32),
    ],
)
def test_grouped_products(left, right, result, expected):
    assert expected == price("grouped_mm", [left, right, (8,)], [result]).contraction


@pytest.mark.parametrize(
    ("name", "inputs", "result", "expected"),
    [
        ("addbmm", [(3, 5), (7, 3, 4), (7, 4, 5)], (3, 5), Cost(2 * 7 * 3 * 4 * 5, 15)),
        ("addmm", [(5,), (3, 4), (4, 5)], (3, 5), Cost(2 * 3 * 4 * 5, 15)),
        ("baddbmm", [(1,), (7, 3, 4), (7, 4, 5)], (7, 3, 5), Cost(2 * 7 * 3 * 4 * 5, 105)),
        ("dot", [(9,), (9,)], (), Cost(18)),
        ("mv", [(3, 4), (4,)], (3,), Cost(24)),
        ("matmul", [(3, 4), (4,)], (3,), Cost(24)),
        ("matmul", [(2, 3, 4), (4,)], (2, 3), Cost(48)),
        ("matmul", [(4,), (4,)], (), Cost(8)),
        ("outer", [(3,), (4,)], (3, 4), Cost(24)),
        ("linear", [(2, 4), (3, 4), (3,)], (2, 3), Cost(48, 6)),
        ("conv1d", [(2, 8, 40), (12, 4, 3), (12,)], (2, 12, 38), Cost(2 * 912 * 4 * 3, 912)),
        ("softmax", [(2, 3)], (2, 3), Cost(other=30)),
        ("layer_norm", [(4, 8), (8,), (8,)], (4, 8), Cost(other=7 * 32)),
        ("rms_norm", [(4, 8), (8,)], (4, 8), Cost(other=4 * 32)),
        ("gelu", [(4, 8)], (4, 8), Cost(other=32)),
        ("add", [(4, 1), (8,)], (4, 8), Cost(other=32)),
        ("sum", [(4, 8)], (4,), Cost(other=32)),
        ("max", [(4, 1), (8,)], (4, 8), Cost(other=32)),
        ("index_add", [(4, 8), (2,), (2, 8)], (4, 8), Cost(other=16)),
        ("embedding", [(2, 16), (50257, 768)], (2, 16, 768), Cost()),
        ("arange", [], (16,), Cost()),
    ],
)
def test_closed_forms(name, inputs, result, expected):
    assert expected == price(name, inputs, [result])


def test_a_gap_is_counted_and_never_a_silent_zero():
    assert Cost(unpriced=1) == price("fft_fftn", [(2, 16)], [(2, 16)])


def test_views_and_no_ops_are_free_whatever_they_are_called():
    assert Cost() == price("some_view", [(2, 16)], [(16, 2)], effect="view")
    assert Cost() == price("relu", [(2, 16)], [(2, 16)], effect="noop")
    assert Cost() == price("equal", [(2, 16), (2, 16)], [])


def test_formulas_bear_canonical_names():
    """Inner underscores only, and no spelling that `tracing.names` folds into another."""
    names = set(FORMULAS)

    assert not {name for name in names if name != name.strip("_")}
    assert not names & {"multiply", "subtract", "divide", "concat", "clip", "amax", "swapdims", "true_divide"}


def gpt2(batch, sequence, width=768, layers=12, heads=12, vocabulary=50257):
    """The products of GPT-2 with its LM head, written by hand."""
    tokens, head = batch * sequence, width // heads
    scores = (batch, heads, sequence, sequence)
    per_head = (batch, heads, sequence, head)
    projections = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    block = [
        *(("addmm", [(n,), (tokens, m), (m, n)], [(tokens, n)], {}, "") for m, n in projections),
        ("matmul", [per_head, (batch, heads, head, sequence)], [scores], {}, ""),
        ("matmul", [scores, per_head], [per_head], {}, ""),
    ]
    last = ("linear", [(batch, sequence, width), (vocabulary, width)], [(batch, sequence, vocabulary)], {}, "")
    return trace_of(*block * layers, last)


def test_gpt2_costs_what_was_published():
    """nanoGPT's figure for one sequence of 1,024 tokens, attention not halved for its mask."""
    trace = gpt2(batch=1, sequence=1024)

    assert total_flops(trace.ops, trace).contraction == 291_648_307_200
