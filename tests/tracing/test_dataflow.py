"""Which value went where: through views, writes through views, no-ops, donors and tuples."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from inspector.tracing.run import watch


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, **inputs):
        return self.function(**inputs)


def seen(function, keep=False, **inputs):
    return watch(Function(function), inputs, keep=keep).seen


def depends(seen_, value, on):
    """Whether `value` flows from the input called `on`."""
    stack, done = [value], set()
    while stack:
        current = stack.pop()
        if current in done:
            continue
        done.add(current)
        record = seen_.values[current]
        if record.name == on:
            return True
        if record.producer is not None:
            stack.extend(seen_.ops[record.producer].inputs)
    return False


def last(seen_):
    return seen_.ops[-1].outputs[0]


def test_a_read_after_a_write_through_a_view_sees_the_write():
    """The way DeepSeek builds its keys: an empty tensor, filled part by part, then read whole."""

    def build(a, b):
        k = a.new_empty(2, 8)
        k[:, :3].copy_(a)
        k[:, 3:].copy_(b)
        return k * 2

    result = seen(build, a=torch.ones(2, 3), b=torch.ones(2, 5))

    assert [op.name for op in result.ops] == ["new_empty", "getitem", "copy", "sync", "getitem", "copy", "sync", "mul"]
    assert depends(result, last(result), "a")
    assert depends(result, last(result), "b")


def test_setitem_is_a_write():
    def build(a):
        k = torch.zeros(2, 3)
        k[:, 0] = a
        return k + 1

    result = seen(build, a=torch.ones(2))

    assert depends(result, last(result), "a")


def test_a_write_makes_a_new_version_and_the_old_one_is_not_read():
    def build(x):
        y = x + 1
        before = y * 1
        y.mul_(3)
        return before, y - 1

    result = seen(build, x=torch.ones(2))
    add, _, multiply, subtract = result.ops

    assert multiply.effect == "inplace"
    assert multiply.inputs == add.outputs
    assert subtract.inputs == multiply.outputs
    assert multiply.outputs != add.outputs


@pytest.mark.parametrize(
    "call", [lambda x: x.contiguous(), lambda x: x.to(x.dtype), lambda x: torch.dropout(x, 0.5, False)]
)
def test_a_call_that_returns_its_operand_makes_no_value(call):
    def build(x):
        y = x + 1
        return call(y) * 2

    result = seen(build, x=torch.ones(2))
    add, idle, product = result.ops

    assert idle.effect == "noop"
    assert idle.outputs == add.outputs
    assert product.inputs == add.outputs


def test_donors_lend_a_shape_and_no_value():
    def build(x, y):
        return torch.zeros_like(y) + x.type_as(y) + x.new_ones(2)

    result = seen(build, x=torch.ones(2), y=torch.ones(2, dtype=torch.float64))

    assert not depends(result, last(result), "y")
    assert depends(result, last(result), "x")
    assert [op.name for op in result.ops if op.donors] == ["zeros_like", "to", "new_ones"]


def test_the_parts_of_a_split_are_values_of_their_own():
    def build(x):
        gate, up = (x * 2).chunk(2, dim=-1)
        return torch.sigmoid(gate), up + 1

    result = seen(build, x=torch.ones(2, 4))
    chunk, sigmoid, add = result.ops[1:]

    assert len(chunk.outputs) == 2
    assert sigmoid.inputs == chunk.outputs[:1]
    assert add.inputs == chunk.outputs[1:]
    assert chunk.effect == "view"


@pytest.mark.parametrize("keep", [False, True])
def test_identity_survives_the_reuse_of_ids_and_memory(keep):
    """Hundreds of short-lived tensors: without a check against a live reference, ids and storages are mixed up."""

    def build(x):
        for _ in range(300):
            x = x * 1.01 + 0.5
            gc.collect(0)
        return x

    result = seen(build, keep=keep, x=torch.ones(64))

    for before, after in zip(result.ops, result.ops[1:], strict=False):
        assert after.inputs == before.outputs
        assert after.effect == ""


def test_what_python_reads_is_a_sink():
    def build(x):
        if x.sum() > 0:
            return x + x[0].item()
        return x

    result = seen(build, x=torch.ones(2))

    assert [op.name for op in result.ops if not op.outputs] == ["bool", "item"]


def test_tensors_inside_lists_are_operands_by_name():
    result = seen(lambda x, y: torch.cat([x, y], dim=-1), x=torch.ones(2), y=torch.ones(3))

    assert [name for name, _ in result.ops[0].operands] == ["tensors.0", "tensors.1"]
    assert result.ops[0].attributes == (("dim", -1),)


def test_out_is_written():
    def build(x):
        target = torch.empty(2)
        torch.add(x, 1, out=target)
        return target * 2

    result = seen(build, x=torch.ones(2))

    assert depends(result, last(result), "x")


def consistent(seen_):
    """Every value that an op made has that op as its producer, and is read only after it."""
    for value in seen_.values:
        if value.kind == "op":
            assert value.producer is not None
            assert value.id in seen_.ops[value.producer].outputs
    for op in seen_.ops:
        for value in op.inputs:
            producer = seen_.values[value].producer
            assert producer is None or producer < op.id
    return True


def test_a_tuple_may_hand_back_an_operand():
    def build(x):
        y = torch.arange(4).float()
        x = x + y
        same, wide = torch.broadcast_tensors(y, torch.ones(3, 4))
        return x, same, wide * 2

    result = seen(build, x=torch.ones(4))

    assert consistent(result)
    assert [op.name for op in result.ops][:3] == ["arange", "to", "add"]


def test_several_tensors_are_written_at_once():
    def build(x):
        values, indices = torch.empty(2), torch.empty(2, dtype=torch.int64)
        torch.max(x, 1, out=(values, indices))
        y = x * 1
        torch._foreach_mul_([y], 2.0)
        return values + 1, y + 1

    result = seen(build, x=torch.ones(2, 3))
    plus_values, plus_y = result.ops[-2:]

    assert consistent(result)
    assert depends(result, plus_values.outputs[0], "x")
    assert result.ops[plus_y.inputs[0] and result.values[plus_y.inputs[0]].producer].name == "foreach_mul"


def test_giving_a_tensor_other_data_is_a_write():
    def build(x):
        y = torch.zeros(2)
        y.data = x * 2
        return y + 1

    result = seen(build, x=torch.ones(2))

    assert depends(result, last(result), "x")


def test_halves_of_one_tensor_do_not_depend_on_each_other():
    """A fused projection, cut in two: scaling the queries in place leaves the keys alone."""

    def build(x):
        q, k = (x * 1).chunk(2, dim=-1)
        q.mul_(0.5)
        return k + 1, q + 1

    result = seen(build, x=torch.ones(2, 3, 8))
    keys, queries = result.ops[-2:]
    written = next(op for op in result.ops if op.effect == "inplace")

    assert keys.inputs == result.ops[1].outputs[1:]
    assert queries.inputs == written.outputs
    assert "sync" not in [op.name for op in result.ops]


def test_overlapping_views_do_depend_on_each_other():
    def build(x):
        y = x * 1
        left, right = y[:, :5], y[:, 3:]
        left.mul_(0.5)
        return right + 1

    result = seen(build, x=torch.ones(2, 8))

    assert "sync" in [op.name for op in result.ops]


def test_numbers_of_numpy_are_numbers():
    numpy = pytest.importorskip("numpy")

    result = seen(lambda x: x * (1 / numpy.sqrt(64)) + numpy.float32(0.5), x=torch.ones(2))

    assert [op.attribute("other") for op in result.ops] == [0.125, 0.5]
    assert [type(op.attribute("other")) for op in result.ops] == [float, float]
