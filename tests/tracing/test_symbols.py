"""B, S and P: solved over three sizes, refuted on two more."""

from __future__ import annotations

import pytest
import torch

from inspector.records import Scenario
from inspector.source import live_subject
from inspector.tracing import observe
from inspector.tracing.symbols import Sizes, sample_sizes, solve

RUNS = sample_sizes(Scenario())
DECODE = sample_sizes(Scenario(past=16, seq=4))


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (lambda z: 7, "7"),  # as large as the first S
        (lambda z: z.B, "B"),
        (lambda z: z.S, "S"),
        (lambda z: z.B * z.S, "B*S"),
        (lambda z: 12 * z.B, "12*B"),
        (lambda z: z.S - 2, "S-2"),
        (lambda z: 3 * z.S + 4, "3*S+4"),
        (lambda z: -(-z.S // 4) * 4, "?20"),
    ],
)
def test_forms(dim, text):
    assert solve([[(dim(run),)] for run in RUNS], RUNS) == [(text,)]


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (lambda z: z.P, "P"),
        (lambda z: z.P + z.S, "T"),
        (lambda z: z.B * (z.P + z.S), "B*T"),
        (lambda z: z.P + 1, "P+1"),
    ],
)
def test_forms_with_a_past(dim, text):
    assert solve([[(dim(run),)] for run in DECODE], DECODE) == [(text,)]


def test_the_last_two_sizes_can_refute():
    """A pad to 16 looks like a constant at 7, 11 and 13."""
    padded = [[(16 if run.S <= 16 else 32,)] for run in RUNS]

    assert solve(padded, RUNS) == [("?32",)]
    assert solve([padded[i] for i in range(3)], RUNS[:3]) == [("16",)]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama"])
def test_every_dimension_solves(trace_of, model_type, attention):
    scenarios = [Scenario(attention=attention), Scenario(attention=attention, padding="none")]
    if model_type != "bert":
        scenarios += [Scenario(attention=attention, past=16, seq=1), Scenario(attention=attention, past=5, seq=3)]
    for scenario in scenarios:
        symbols = trace_of(model_type, scenario).symbols

        assert [text for texts in symbols for text in texts if text.startswith("?")] == []


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "gemma3_text"])
def test_a_shallow_model_gives_the_symbols_of_the_deep_one(tiny, model_type, monkeypatch):
    changes = {"n_layer": 12} if model_type == "gpt2" else {"num_hidden_layers": 12}
    subject = tiny(model_type, **changes)
    carried = observe(subject, Scenario())
    monkeypatch.setattr(type(subject), "shallow", lambda self: None)

    direct = observe(subject, Scenario())

    assert carried.symbols == direct.symbols
    assert not any(text.startswith("?") for texts in direct.symbols for text in texts)


def test_fixed_inputs_leave_numbers_and_they_are_counted():
    trace = observe(
        live_subject(torch.nn.Linear(4, 8), (torch.ones(2, 3, 4),)),
        Scenario(device="cpu", dtype="float32", weights="random"),
    )
    values = {value.kind: trace.symbols[value.id] for value in trace.values}

    assert values["input"] == ("?2", "?3", "?4")
    assert values["op"] == ("?2", "?3", "?8")
    assert values["parameter"] in (("8", "4"), ("8",))


def test_inputs_made_from_sizes_solve():
    trace = observe(
        live_subject(torch.nn.Linear(4, 8), lambda b, s, p: (torch.ones(b, s, 4),)),
        Scenario(device="cpu", dtype="float32", weights="random"),
    )

    assert trace.symbols[trace.outputs[0][1]] == ("B", "S", "8")


def test_one_new_token_stays_one():
    assert {size.S for size in sample_sizes(Scenario(past=16, seq=1))} == {1}
    assert sample_sizes(Scenario())[0] == Sizes(2, 7, 0)
