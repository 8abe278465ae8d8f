"""Mistakes where attention is one kernel: inside of it, and in what it is called with."""

from __future__ import annotations

import pytest

from inspector.verification.mutants.catalogue import CATALOGUE
from inspector.verification.mutants.kernel import KERNEL, inside
from inspector.verification.mutants.report import MutantReport
from inspector.verification.mutants.run import ground_of, run_mutants
from tests.verification.test_mutants import ENCODER, FUSED, GATED, NAMES, claims, running

_STEPS = {f"attention.{name}" for name in ("scores", "scale", "apply_mask", "softmax", "weighted_sum")}
INSIDE = [one for one in CATALOGUE if one.formula is not None and _STEPS & set(one.functions)]


def report(name, mutants, **how) -> MutantReport:
    return run_mutants(running(name, attention="sdpa", **how), claims(name), mutants=mutants)


def astray(found: MutantReport) -> list[tuple[str, str, str, str]]:
    return [(row.name, row.at, row.culprit, row.error) for row in found.rows if not (row.localised or row.equivalent)]


@pytest.mark.parametrize("name", NAMES)
def test_each_step_inside_may_go_wrong_and_is_told_at_the_kernel(name):
    found = report(name, INSIDE)

    assert astray(found) == []
    assert {row.name for row in found.rows} == {mutant.name for mutant in INSIDE}
    assert {row.at for row in found.rows if not row.equivalent} == {"layer 1 attention.fused"}
    assert [row.name for row in found.rows if row.equivalent] == ["softmax-not-shifted"]


@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_argument_is_told(name):
    found = report(name, KERNEL)

    assert astray(found) == []
    assert found.absent == ("kernel-groups-tiled",)  # transformers repeats keys before the kernel where it masks
    assert [row.name for row in found.rows if row.equivalent] == []


def test_where_the_kernel_shares_heads_itself():
    """Without padding transformers gives the kernel no mask, and lets it repeat the keys."""
    mutants = [one for one in CATALOGUE if one.name in ("kernel-groups-tiled", "kv-heads-tiled", "scale-twice")]
    found = report(GATED, mutants, pad="none")

    assert astray(found) == []
    assert {row.name: row.at for row in found.rows}["kv-heads-tiled"] == "layer 1 attention.fused"
    assert found.absent == ()


@pytest.mark.parametrize(
    ("name", "mutant", "proof"),
    [
        (FUSED, "kernel-causal-instead-of-mask", "every query sees itself and all before it, and no row is padded"),
        (ENCODER, "kernel-without-mask", "nothing is hidden from anybody here"),
    ],
)
def test_without_padding_some_are_no_mistakes(name, mutant, proof):
    found = report(name, [one for one in KERNEL if one.name == mutant], pad="none")

    assert [(row.equivalent, row.caught) for row in found.rows] == [(proof, False)]


def test_in_a_decode_step():
    found = report(GATED, [*INSIDE[::3], *KERNEL], seq=1, past=9)

    assert astray(found) == []
    assert found.caught > 12


def test_a_kernel_that_goes_wrong_has_the_right_call():
    """The mistake is below whoever watches: no argument, attribute or stage shows it, only the value."""
    mutant = next(one for one in INSIDE if one.name == "scale-one-percent-off")
    ground = ground_of(running(FUSED, attention="sdpa"), claims(FUSED))
    target = next(one for one in ground.kernels if one.function == "attention.scale")
    (row,) = report(FUSED, [mutant]).rows

    assert inside(target, mutant) is not None
    assert "times what is allowed" in row.culprit
    assert "factor" not in row.culprit
