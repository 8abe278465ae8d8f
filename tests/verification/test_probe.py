"""What a run can show is measured: weights that hide faults are said to."""

from __future__ import annotations

import pytest
import torch

from inspector.source.tiny import randomise
from inspector.verification.probe import LEAST_SPREAD, MOST_ENTROPY, MOST_SPREAD, Probe


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_our_weights_have_power(verified, name, attention):
    found = verified(name, attention=attention)
    power = dict(found.power)
    assert LEAST_SPREAD <= power["score_spread"] <= MOST_SPREAD
    assert power["attention_entropy"] < MOST_ENTROPY
    assert not any("with these weights" in note for note in found.notes)


def test_fresh_weights_have_none(ready, report_of):
    run = ready("llama")
    with torch.no_grad():
        for parameter in run.module.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.02)
    assert dict(report_of(run).power)["score_spread"] < 0.05
    assert "nearly uniform" in report_of(run).notes[0]
    randomise(run.module, 0)
    assert report_of(run).notes == ()


def test_a_single_key_has_none():
    probe = Probe()
    probe.see(torch.tensor([[[[1 - 2e-9, 1e-9, 1e-9]]]], dtype=torch.float64))
    assert "one key" in next(probe.notes())


def test_queries_that_see_one_key_say_nothing():
    probe = Probe()
    probe.see(torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64))
    assert probe.figures() == ()
    assert list(probe.notes()) == []
