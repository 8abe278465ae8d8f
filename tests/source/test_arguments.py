"""The forms in which inputs are given, and what is said when they do not fit."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import inspector
from inspector.errors import TraceFailed, UsageError
from inspector.records import Scenario
from inspector.source.arguments import by_name
from inspector.source.resolve import resolve
from inspector.source.subject import live_subject, subject_of

X = torch.ones(3, 5, 8)
FORMS = (
    "inputs are a tensor, a tuple, list or dict of arguments, a function of (batch, seq, past) that returns such, or "
    "words: x:BxSx64:float32"
)


class Placed(nn.Module):
    """Arguments that have a place only."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(8, 8)

    def forward(self, first: torch.Tensor, /, *xs: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return sum((self.lin(x) for x in xs), self.lin(first)) * scale


def outputs(model: Any, inputs: Any) -> Any:
    subject = live_subject(model, inputs)
    scenario, _ = subject.settle(Scenario(batch=3, seq=5))
    module = subject.make(scenario)
    return module(**subject.inputs(module, scenario))


@pytest.mark.parametrize(
    "inputs",
    [
        X,
        [X],
        (X,),
        {"input": X},
        UserDict({"input": X}),
        lambda batch, seq, past: torch.ones(batch, seq, 8),
        lambda batch, seq, past: [torch.ones(batch, seq, 8)],
        lambda batch, seq, past: {"input": torch.ones(batch, seq, 8)},
    ],
)
def test_inputs_have_many_forms(inputs: Any) -> None:
    model = nn.Linear(8, 2)

    assert torch.equal(model(X), outputs(model, inputs))


@pytest.mark.parametrize(
    "inputs",
    [
        (X, X, X),
        {"first": X, "xs": (X, X)},
        {"first": X, "xs": [X, X], "scale": 1.0},
        lambda batch, seq, past: [torch.ones(batch, seq, 8)] * 3,
    ],
)
def test_arguments_may_have_a_place_only(inputs: Any) -> None:
    model = Placed()

    assert torch.equal(model(X, X, X), outputs(model, inputs))


def test_a_builtin_that_tells_no_names_is_called_by_place() -> None:
    assert torch.equal(torch.relu(X), outputs(torch.relu, X))
    assert torch.equal(torch.cat([X, X]), outputs(torch.cat, {"tensors": [X, X]}))


def test_the_twin_is_the_module_in_all_but_its_call() -> None:
    model = Placed().train()
    twin = by_name(model)

    assert twin is not model
    assert (type(twin), twin.training, twin.lin) == (type(model), True, model.lin)
    assert list(twin.state_dict()) == ["lin.weight", "lin.bias"]
    assert "forward" not in vars(model)
    assert by_name(model.lin) is model.lin


def test_what_comes_in_by_place_has_a_name_in_the_table() -> None:
    inputs = lambda batch, seq, past: [torch.ones(batch, seq, 8)] * 2  # noqa: E731
    rows = inspector.shapes(Placed(), inputs, ops=True).records()

    assert [("linear", "lin"), ("linear", "lin")] == [(row["op"], row["module"]) for row in rows[:2]]
    assert {"(B, S, 8)"} == {row["outputs"] for row in rows}


def raises(batch: int, seq: int, past: int) -> Any:
    return 1 // 0


def quits(batch: int, seq: int, past: int) -> Any:
    sys.exit(0)


CALLED = "it is called with (batch, seq, past)"


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (raises, ["the inputs function raised ZeroDivisionError", "integer division or modulo by zero", CALLED]),
        (quits, ["the inputs function raised SystemExit", "0", CALLED]),
        (lambda batch, seq, past: 5, ["the inputs function returned int, not arguments", FORMS]),
        (5, ["inputs are int, not arguments", FORMS]),
        ({"y": X}, ["the forward of Linear takes input, not y"]),
        (
            (X, X),
            ["the inputs do not fit the forward of Linear", "it takes input: too many positional arguments"],
        ),
        ({}, ["the inputs do not fit the forward of Linear", "it takes input: missing a required argument: 'input'"]),
    ],
)
def test_inputs_that_do_not_fit_are_not_blamed_on_the_model(inputs: Any, text: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        inspector.shapes(nn.Linear(8, 8), inputs)

    assert str(caught.value).splitlines() == text


def test_a_forward_that_exits_is_a_failure() -> None:
    """It must not end the command, least of all with 0."""
    with pytest.raises(TraceFailed) as caught:
        inspector.shapes(lambda x: sys.exit(0), X)

    assert caught.value.why == "SystemExit: 0"


def test_arguments_that_a_hook_changes_are_left_alone() -> None:
    """A model that works untraced works traced."""
    model = nn.Linear(8, 8)

    def rename(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, {"input": kwargs["x"]}

    model.register_forward_pre_hook(rename, with_kwargs=True)

    assert torch.equal(model(x=X), outputs(model, {"x": X}))


FACTORIES = """
import torch
model = torch.nn.Linear(8, 4)
calls = []
def fixed():
    calls.append(1)
    return torch.nn.Linear(8, 8), [torch.ones(3, 5, 8)]
def made():
    return (lambda *xs: xs[0] + xs[1]), lambda batch, seq, past: [torch.ones(batch, seq, 8, device="cpu")] * 2
"""


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    (tmp_path / "factories_for_arguments.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "factories_for_arguments", raising=False)
    return "factories_for_arguments:{}".format


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_fixed_inputs_of_a_factory_are_counted_and_said(device: str, name: Callable[[str], str]) -> None:
    """As those that are given in Python: one question, one answer."""
    table = inspector.shapes(name("fixed"), device=device).tables[0]
    live = inspector.shapes(nn.Linear(8, 8).eval(), X).tables[0]
    said, also = ([note for note in one.notes if "fixed" in note] for one in (table, live))

    assert table.summary.unsolved_dims == live.summary.unsolved_dims == 6
    assert (3, 5, 0) == (table.scenario.batch, table.scenario.seq, table.scenario.past)
    assert len(said) == 1
    assert said == also


def test_a_factory_runs_once_where_that_costs(name: Callable[[str], str]) -> None:
    inspector.shapes(name("fixed"), device="cpu")

    assert sys.modules["factories_for_arguments"].calls == [1]


def test_inputs_of_a_factory_follow_its_device_and_dtype(name: Callable[[str], str]) -> None:
    subject = subject_of(resolve(name("made")))
    scenario, _ = subject.settle(Scenario(dtype="float16"))
    module = subject.make(scenario)
    (xs,) = subject.inputs(module, scenario).values()

    assert {("meta", torch.float16)} == {(x.device.type, x.dtype) for x in xs}
    assert module(xs=xs).shape == (2, 16, 8)
    assert scenario.padding == "none"


def test_a_module_is_the_model_itself_and_stays_where_it_is(name: Callable[[str], str]) -> None:
    subject = subject_of(resolve(name("model")))
    made = subject.make(subject.settle(Scenario())[0])
    model = sys.modules["factories_for_arguments"].model

    assert (type(made), made.weight.device.type) == (nn.Linear, "meta")
    assert (model.weight.device.type, model.weight.dtype) == ("cpu", torch.float32)
