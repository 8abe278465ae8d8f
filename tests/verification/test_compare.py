"""Each way of comparing says yes to what is right, and no, at the right place, to what is not."""

from __future__ import annotations

import math

import pytest
import torch

from inspector.verification.compare import against_bound, allowed_of, as_sets, exactly, fitted, joined

RIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
BOUND = torch.full_like(RIGHT, 0.1)


def test_within_the_bound():
    outcome = against_bound(RIGHT + 0.05, RIGHT, BOUND)
    assert outcome.check.rho == pytest.approx(0.5)
    assert outcome.check.worst.over == 0
    assert outcome.said == ""


def test_beyond_the_bound_names_the_worst_element():
    got = RIGHT.clone()
    got[1, 0] += 0.3
    got[0, 0] += 0.2
    check = against_bound(got, RIGHT, BOUND).check
    assert check.rho == pytest.approx(3.0)
    assert (check.worst.place, check.worst.over, check.worst.elements) == ((1, 0), 2, 4)
    assert (check.worst.got, check.worst.expected, check.worst.allowed) == pytest.approx((3.3, 3.0, 0.1))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_not_finite_where_it_should_be(odd):
    got = RIGHT.clone()
    got[0, 1] = odd
    outcome = against_bound(got, RIGHT, BOUND)
    assert outcome.check.rho == math.inf
    assert outcome.check.worst.place == (0, 1)
    assert outcome.said == "1 values are not finite where they should be"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_finite_where_it_should_not_be(odd):
    expected = RIGHT.clone()
    expected[0, 1] = odd
    assert against_bound(RIGHT, expected, BOUND).check.rho == math.inf
    assert against_bound(expected, expected, BOUND).check.rho == 0


def test_skipped_elements_are_not_compared():
    got = RIGHT.clone()
    got[0, 1] = math.nan
    skip = torch.tensor([[False, True], [False, False]])
    assert against_bound(got, RIGHT, BOUND, skip).check.rho == 0
    got[0, 0] = 7.0
    assert against_bound(got, RIGHT, BOUND, skip).check.rho > 1


def test_exactly():
    assert exactly(RIGHT.float(), RIGHT).check.rho == 0
    check = exactly(RIGHT.float() + torch.tensor([[0.0, 0.0], [0.0, 1e-6]]), RIGHT).check
    assert (check.rho, check.worst.place) == (math.inf, (1, 1))
    assert exactly(torch.tensor([math.nan]), torch.tensor([math.nan])).check.rho == 0


def test_sets_of_numbers_and_of_booleans():
    allowed = torch.tensor([[True, False], [True, True]])
    added = torch.where(allowed, 0.0, torch.finfo(torch.bfloat16).min).to(torch.bfloat16)
    assert as_sets(allowed, allowed).check.rho == 0
    assert as_sets(added, allowed).check.rho == 0
    assert as_sets(torch.where(allowed, 0.0, -math.inf), allowed).check.rho == 0


def test_a_pair_that_should_be_hidden():
    allowed = torch.tensor([[True, False], [True, True]])
    check = as_sets(torch.ones(2, 2, dtype=torch.bool), allowed).check
    assert (check.rho, check.worst.place, check.worst.over) == (math.inf, (0, 1), 1)


@pytest.mark.parametrize("between", [-1e4, -1.0, 0.5, math.nan])
def test_a_number_that_neither_hides_nor_shows(between):
    allowed = torch.tensor([[True, False], [True, True]])
    added = torch.where(allowed, 0.0, torch.tensor(between))
    outcome = as_sets(added, allowed)
    assert outcome.check.rho == math.inf
    assert outcome.said == "1 entries are neither 0 nor hidden"


def test_two_masks_added_are_still_hidden():
    low = torch.finfo(torch.float32).min
    assert not bool(allowed_of(torch.tensor([low + low, low, -math.inf])).any())


def test_shapes_that_hold_the_same():
    assert fitted(RIGHT, torch.Size([4])).tolist() == [1, 2, 3, 4]
    assert fitted(RIGHT[:1], torch.Size([3, 2])).shape == (3, 2)
    assert fitted(RIGHT, torch.Size([3, 2])) is None


def test_pieces_make_one_outcome():
    wide = torch.cat((RIGHT, RIGHT), -1)
    got = wide.clone()
    got[1, 3] += 1.0
    parts = [against_bound(got[:, at : at + 2], wide[:, at : at + 2], BOUND) for at in (0, 2)]
    whole, once = joined(parts, [0, 2]), against_bound(got, wide, torch.full_like(wide, 0.1))
    assert whole.check == once.check
