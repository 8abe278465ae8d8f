"""On meta, what needs no weights is known exactly."""

from __future__ import annotations

import pytest
import torch

from inspector.records import Scenario
from inspector.tracing.shadows import Following, Shadows


def boundary(trace):
    """(shape, runs) of every kept content, without the order of dictionaries."""
    return sorted((known.shape, known.values, known.counts) for known in trace.concrete.values())


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_masks_and_positions_on_meta_are_those_of_the_cpu(trace_of, model_type, padding):
    meta = trace_of(model_type, Scenario(padding=padding, dtype="float32"))
    cpu = trace_of(model_type, Scenario(padding=padding, dtype="float32", device="cpu", weights="random"))

    assert [op.call for op in meta.ops] == [op.call for op in cpu.ops]
    assert boundary(meta) == boundary(cpu)
    assert boundary(meta)


def test_the_mask_of_the_largest_model_is_known(trace_of):
    trace = trace_of("preset:llama-3.1-405b")
    masks = [known for known in trace.concrete.values() if known.shape == (2, 1, 16, 16)]

    row = masks[0].flat()[-16 * 16 :][3 * 16 : 4 * 16]
    assert [number > -1e4 for number in row] == [True] * 4 + [False] * 12


@pytest.fixture
def follow():
    shadows = Shadows()
    with Following(shadows):
        yield shadows


def test_reads_are_answered_from_the_twin(follow):
    ids = torch.tensor([[3, 0, 5]], device="meta")

    assert bool((ids == 0).any())
    assert not bool((ids == 7).any())
    assert ids.tolist() == [[3, 0, 5]]
    assert (ids[0, 2] * 2).item() == 10


def test_shapes_that_depend_on_values_are_answered(follow):
    ids = torch.tensor([3, 0, 5, 0], device="meta")

    found = (ids == 0).nonzero()

    assert found.device.type == "meta"
    assert found.shape == (2, 1)
    assert follow.twin(found).flatten().tolist() == [1, 3]


def test_writes_reach_the_twin_and_all_its_views(follow):
    table = torch.zeros(2, 3, device="meta")
    row = table[0]
    table[:, 1] = torch.ones(2, device="meta")

    assert follow.twin(row).tolist() == [0, 1, 0]


def test_something_unknown_written_makes_the_whole_memory_unknown(follow):
    table = torch.zeros(3, device="meta")
    row = table[:1]
    weights = torch.nn.Parameter(torch.empty(3, device="meta"))
    table.add_(weights)

    assert follow.twin(table) is None
    assert follow.twin(row) is None


def test_a_donor_needs_no_twin(follow):
    weights = torch.nn.Parameter(torch.empty(2, 3, device="meta"))

    assert follow.twin(torch.ones_like(weights)).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_parameter_has_no_twin(follow):
    assert follow.twin(torch.nn.Parameter(torch.ones(3, device="meta"))) is None


def test_memory_that_nobody_filled_is_zero_in_the_twin():
    shadows = Shadows()
    with Following(shadows):
        like = torch.zeros(1000, dtype=torch.int64, device="meta")
        for made in (torch.empty(1000, device="meta"), torch.empty_like(like), like.new_empty(1000)):
            assert not shadows.twin(made).any()


def test_memory_that_was_let_go_is_not_held_against_another_tensor():
    shadows = Shadows()
    places = set()
    for _ in range(64):
        written = torch.empty(4, device="meta")
        shadows.forget(written)
        places.add(written.untyped_storage()._cdata)
        del written

    fresh = [torch.empty(4, device="meta") for _ in range(64)]
    for tensor in fresh:
        shadows.add(tensor, torch.zeros(4))

    assert len(places) == 64
    assert all(shadows.twin(tensor) is not None for tensor in fresh)
