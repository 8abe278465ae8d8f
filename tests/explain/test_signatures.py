"""Signatures of products: held against torch's own shapes, and numerically against an einsum that they spell."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from inspector.costs.equations import equation
from inspector.records import Op, Scenario
from inspector.shape_table.build import shape_table
from inspector.source import live_subject
from inspector.tracing import observe

CPU = Scenario(device="cpu", dtype="float32", weights="random")


def tensors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def traced(function, *inputs):
    trace = observe(live_subject(function, tuple(inputs)), CPU)
    return trace, next(op for op in reversed(trace.ops) if equation(op, shapes(trace, op)) is not None)


def shapes(trace, op):
    return [trace.values[value].shape for value in op.inputs]


def again(found, inputs):
    """The same by an einsum with that signature, in letters that einsum allows, and what is added."""
    made = torch.einsum(found.text, *(inputs[slot] for slot in found.slots))
    for slot, _ in found.added:
        made = made + inputs[slot]
    return made


MATMUL = {
    "1-D with 1-D": ((4,), (4,), "a,a->", "", "", "a"),
    "2-D with 2-D": ((3, 4), (4, 5), "ab,bc->ac", "", "", "b"),
    "1-D with 2-D": ((4,), (4, 5), "b,bc->c", "", "", "b"),
    "2-D with 1-D": ((3, 4), (4,), "ab,b->a", "", "", "b"),
    "batched": ((2, 6, 3, 4), (2, 6, 4, 5), "abcd,abde->abce", "ab", "", "d"),
    "batched with 1-D": ((2, 3, 4), (4,), "abc,c->ab", "", "a", "c"),
    "1-D with batched": ((4,), (2, 4, 5), "c,acd->ad", "", "a", "c"),
    "broadcast: an axis of size one": ((2, 1, 3, 4), (2, 6, 4, 5), "abcd,abde->abce", "a", "b", "d"),
    "broadcast: an axis that is not there": ((2, 6, 3, 4), (4, 5), "abcd,de->abce", "", "ab", "d"),
    "broadcast: both ways": ((2, 1, 3, 4), (6, 4, 5), "abcd,bde->abce", "", "ab", "d"),
}


@pytest.mark.parametrize(("left", "right", "text", "batch", "broadcast", "summed"), MATMUL.values(), ids=MATMUL)
def test_every_case_of_matmul(left, right, text, batch, broadcast, summed):
    inputs = tensors(left, right)
    expected = torch.matmul(*inputs)
    trace, op = traced(torch.matmul, *inputs)
    found = equation(op, shapes(trace, op))

    letters = dict(
        zip(dict.fromkeys(filter(str.isalpha, found.text)), dict.fromkeys(filter(str.isalpha, text)), strict=True)
    )
    said = "".join(letters.get(sign, sign) for sign in found.text)
    assert said == text
    assert ["".join(letters[axis] for axis in axes) for axes in (found.batch, found.broadcast, found.summed)] == [
        batch, broadcast, summed
    ]  # fmt: skip
    sizes = {
        axis: size
        for term, shape in zip(found.terms, (left, right), strict=True)
        for axis, size in zip(term, shape, strict=True)
        if size > 1
    }
    assert tuple(sizes[axis] for axis in found.result) == tuple(expected.shape)
    torch.testing.assert_close(again(found, inputs), expected)


OTHERS = {
    "linear": (functional.linear, (2, 3, 4), (5, 4)),
    "linear with bias": (functional.linear, (2, 3, 4), (5, 4), (5,)),
    "linear of one row": (functional.linear, (4,), (5, 4), (5,)),
    "linear to one number": (functional.linear, (3, 4), (4,)),
    "mm": (torch.mm, (3, 4), (4, 5)),
    "bmm": (torch.bmm, (2, 3, 4), (2, 4, 5)),
    "mv": (torch.mv, (3, 4), (4,)),
    "dot": (torch.dot, (4,), (4,)),
    "inner": (torch.inner, (2, 3, 4), (5, 4)),
    "outer": (torch.outer, (3,), (4,)),
    "addmm": (torch.addmm, (5,), (3, 4), (4, 5)),
    "addmm of a matrix": (torch.addmm, (3, 5), (3, 4), (4, 5)),
    "addmv": (torch.addmv, (3,), (3, 4), (4,)),
    "baddbmm": (torch.baddbmm, (2, 1, 5), (2, 3, 4), (2, 4, 5)),
    "addbmm": (torch.addbmm, (3, 5), (2, 3, 4), (2, 4, 5)),
    "tensordot": (lambda x, y: torch.tensordot(x, y, 2), (2, 3, 4), (3, 4, 5)),
    "tensordot of axes": (lambda x, y: torch.tensordot(x, y, ([0, 2], [1, 0])), (2, 3, 4), (4, 2, 5)),
    "einsum": (lambda x, y: torch.einsum("bhqd,bhkd->bhqk", x, y), (2, 6, 3, 4), (2, 6, 5, 4)),
    "einsum, result implied": (lambda x, y: torch.einsum("ij,jk", x, y), (3, 4), (4, 5)),
    "einsum, an ellipsis": (lambda x, y: torch.einsum("...ij,jk->...ik", x, y), (2, 3, 4), (4, 5)),
    "einsum of three": (lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z), (2, 3), (3, 4), (4, 5)),
    "einsum by numbers": (lambda x, y: torch.einsum(x, [0, 1], y, [1, 2], [0, 2]), (2, 3), (3, 4)),
    "einsum of a list": (lambda x, y: torch.einsum("ij,jk->ik", [x, y]), (2, 3), (3, 4)),
}


@pytest.mark.parametrize(("function", "given"), [(case[0], case[1:]) for case in OTHERS.values()], ids=OTHERS)
def test_every_other_product(function, given):
    inputs = tensors(*given)
    expected = function(*inputs)
    trace, op = traced(function, *inputs)
    found = equation(op, shapes(trace, op))

    torch.testing.assert_close(again(found, inputs), expected)


def test_a_wrong_signature_is_another_product():
    """What the tests above rest on: another axis summed is another result."""
    left, right = tensors((3, 3), (3, 3))
    found = equation(Op(0, "matmul", "", "", "", (), (), (), (), ""), [left.shape, right.shape])

    assert not torch.allclose(again(found._replace(terms=("ab", "cb")), [left, right]), left @ right)


def test_attention_in_one_kernel_is_two_products():
    query, key, value = tensors((2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 6))
    op = Op(0, "scaled_dot_product_attention", "", "", "", (), (), (), (), "")
    found = equation(op, [query.shape, key.shape, value.shape])

    assert found.text == "absk,agtk,agtv->absv"
    assert (found.batch, found.broadcast, found.summed) == ("a", "b", "kt")
    shared = equation(op, [query.shape, (2, 4, 5, 8), (2, 4, 5, 6)])
    assert (shared.batch, shared.broadcast) == ("ab", "")
    expected = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    assert tuple(expected.shape) == (2, 4, 3, 6)


def test_a_grouped_product_chooses_a_matrix_for_each_row():
    found = equation(Op(0, "grouped_mm", "", "", "", (), (), (), (), ""), [(10, 4), (3, 4, 5)])

    assert (found.text, found.chosen, found.summed) == ("bc,acd->bd", "a", "c")


@pytest.mark.parametrize("name", ["add", "conv1d", "softmax", "embedding"])
def test_what_is_no_product_of_matrices_has_none(name):
    assert equation(Op(0, name, "", "", "", (), (), (), (), ""), [(2, 3, 4), (5, 3, 4)]) is None


def signatures(trace, **chosen):
    rows = shape_table(trace, ops=True, **chosen).rows
    return {f"{row.role}.{row.operand}".rstrip("."): row.signature for row in rows if row.signature}


def test_axes_are_named_by_where_they_come_from(trace_of):
    found = signatures(trace_of("preset:llama-3-8b"))

    assert {role: made.text for role, made in found.items()} == {
        "q_proj.q": "b s d, (h k) d -> b s (h k)",
        "k_proj.k": "b s d, (g k) d -> b s (g k)",
        "v_proj.v": "b s d, (g k) d -> b s (g k)",
        "scores": "b h s k, b h k t -> b h s t",
        "weighted_sum": "b h s t, b h t k -> b h s k",
        "o_proj": "b s (h k), d (h k) -> b s d",
        "gate_proj": "b s d, f d -> b s f",
        "up_proj": "b s d, f d -> b s f",
        "down_proj": "b s f, d f -> b s d",
        "lm_head": "b s d, v d -> b s v",
    }
    assert found["scores"].batch == ("B", "H")
    assert found["scores"].summed == ("K",)
    assert found["scores"].formula == "2·B·H·S·T·K"


def test_keys_of_an_encoder_are_not_its_queries(trace_of):
    assert signatures(trace_of("preset:bert-base-uncased"))["scores"].text == "b h s k, b h k t -> b h s t"


def test_two_axes_of_one_name_are_told_apart():
    trace = observe(live_subject(lambda x, y: x @ y, (torch.ones(3, 3), torch.ones(3, 3))), CPU)
    (made,) = signatures(trace).values()

    assert made.text == "3 3', 3' 3'' -> 3 3''"
    assert made.summed == ("3'",)


def test_formulas_are_the_flops(trace_of):
    for model in ("preset:gpt2", "preset:llama-3-8b", "bert"):
        trace = trace_of(model)
        table = shape_table(trace, ops=True)
        sizes = {"B": 2, "S": 16, "T": 16, **dict(table.axes)}
        rows = [row for row in table.rows if row.signature]
        assert rows
        for row in rows:
            factors = [part.rstrip("'") for axis in row.signature.product for part in axis.split("·")]
            assert 2 * math.prod(sizes[f] if f in sizes else int(f) for f in factors) == row.flops


def test_a_stage_has_the_signature_of_its_only_product(trace_of):
    stages = {row.id: row for row in shape_table(trace_of("preset:gpt2")).rows}

    assert stages["0-11.attention.scores"].signature.text == "b h s k, b h k t -> b h s t"
    assert stages["0-11.attention.softmax"].signature is None
    looped = observe(live_subject(lambda x: x @ x @ x, (torch.ones(3, 3),)), CPU)
    several = [row for row in shape_table(looped).rows if len(row.ops) > 1]
    assert all(row.signature is None for row in several)


def test_grouped_queries_share_keys_in_one_kernel(trace_of):
    trace = trace_of("preset:llama-3-8b", Scenario(attention="sdpa", padding="none"))
    made = signatures(trace)["fused"]

    assert made.text == "b h s k, b g t k, b g t kv -> b h s kv"
    assert (made.batch, made.broadcast, made.summed) == (("B",), ("H",), ("K", "T"))
