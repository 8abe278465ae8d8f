"""The whole model against float64: figures with units, and a reason where there are none."""

from __future__ import annotations

import pytest
import torch

from inspector.verification.against.whole import divergence
from inspector.verification.whole import whole_of
from tests.verification.test_against_settings import run_of


@pytest.mark.parametrize(("name", "answer"), [("gpt2", "logits"), ("bert-base-uncased", "pooler_output")])
def test_single_precision_is_as_near_as_its_format_allows(name: str, answer: str) -> None:
    found = whole_of(run_of(name), name.partition("-")[0])

    assert not isinstance(found, str)
    figures = {figure.name: figure for figure in found}
    assert figures[f"{answer}: max abs error"].value < 1e-4
    assert 0.1 < figures[f"{answer}: error over that"].value < 10


def test_divergence_is_given_beside_that_of_the_reference() -> None:
    found = whole_of(run_of("llama-3-8b", dtype="bfloat16"), "llama")

    assert not isinstance(found, str)
    figures = {figure.name: figure for figure in found if figure.unit == "nats"}
    assert set(figures) == {
        "logits: mean divergence",
        "logits: max divergence",
        "logits: mean divergence of the reference in this format",
        "logits: max divergence of the reference in this format",
    }
    assert 0 < figures["logits: mean divergence"].value < figures["logits: max divergence"].value


def test_a_reason_where_there_are_no_figures() -> None:
    run = run_of("gpt2")

    assert whole_of(run, "mamba") == "there is no reference forward of mamba"
    assert whole_of(run, "gpt2", limit=2**20) == "its weights take 0.0 GiB in float64, and 0.0 GiB are allowed"


def test_divergence_of_two_distributions() -> None:
    mean, most = divergence(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]]))

    assert most == pytest.approx(2 * mean)
    assert most == pytest.approx(0.43378, abs=1e-5)
