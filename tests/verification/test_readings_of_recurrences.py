"""What feeds a recurrence and what is kept of it, op by op: nothing right fails, a wrong formula fails at its stage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inspector
from inspector.reference.activations import exponential
from inspector.reference.attention import contract
from inspector.reference.feedforward import divide, summed
from inspector.reference.layout import join, padded, pieces, spread, taken, tiled
from inspector.reference.steps import Source, Step
from inspector.verification.arithmetic import Case, arithmetic_of
from inspector.verification.bounds import bounds_of
from inspector.verification.chains import chained
from inspector.verification.readings import claimed_from
from inspector.verification.verify import verify

SINGLE = arithmetic_of(torch.float32, torch.device("cpu"))
MAMBA = {"hidden_size": 64, "state_size": 8, "conv_kernel": 4, "num_hidden_layers": 2}


def read(run):
    return verify(run, lambda inputs, plan: claimed_from(plan, run.module, inputs, run.claims))


def failing(report):
    return {row.path for row in report.rows if row.verdict == "fail"}


def verdicts(report, path):
    return {row.verdict for row in report.rows if row.path == path}


def test_step_sizes_and_states_of_a_recurrent_model_are_checked(ready):
    report = read(ready("mamba", config=MAMBA))

    assert failing(report) == set()
    assert verdicts(report, "ssm.parameters") <= {"unclaimed", "pass", "exempt"}
    assert "unclaimed" in verdicts(report, "ssm.parameters")  # no whole forward says where they come from
    assert verdicts(report, "ssm.state_update") == {"unclaimed"}
    assert "unchecked" in verdicts(report, "ssm.scan")  # one loop over the sequence


@pytest.mark.parametrize(
    ("function", "wrong", "at"),
    [
        ("attention.contract", lambda x, y, equation: contract(x, y.flip(-1), equation), "ssm.parameters"),
        ("layout.pieces", lambda x, bounds, axis: pieces(x.flip(axis), bounds, axis), "ssm.state_update"),
    ],
)
def test_another_formula_fails_where_it_stands(ready, monkeypatch, function, wrong, at):
    run = ready("mamba", config=MAMBA)
    monkeypatch.setattr(f"inspector.reference.{function}", wrong)

    assert at in failing(read(run))


class Decaying(nn.Module):
    """A sum of what came before that fades: step sizes and decays as Mamba2 writes them, the sum by a product."""

    def __init__(self):
        super().__init__()
        self.into, self.step, self.out = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.decay, self.bias = nn.Parameter(torch.rand(32)), nn.Parameter(torch.rand(32))

    def forward(self, x):
        u = self.into(x)
        rate = -torch.exp(self.decay) * nn.functional.softplus(self.step(x) + self.bias)
        rate = nn.functional.pad(rate, (0, 0, 0, 3))
        total = torch.cumsum(rate, dim=1)[:, : x.shape[1]]
        return x + self.out(torch.cumsum(u * torch.exp(-total), dim=1) * torch.exp(total))


def unscaled(factor, **tensor):
    return sum(tensor.values()) * abs(factor)


DECAYS = [
    ("activations.exponential", torch.exp2),
    ("activations.activate", lambda x, kind: torch.relu(x)),
    ("attention.scale", unscaled),
    ("layout.padded", lambda x, widths: padded(x, tuple((behind, before) for before, behind in widths))),
]


@pytest.mark.parametrize(
    ("function", "wrong"), [("", None), *DECAYS], ids=lambda item: item if isinstance(item, str) else ""
)
def test_the_decay_of_a_recurrence(monkeypatch, function, wrong):
    torch.manual_seed(0)
    if function:
        monkeypatch.setattr(f"inspector.reference.{function}", wrong)

    result = inspector.parity(Decaying(), ("x:BxSx32",), batch=2, seq=11)

    assert failing(result) == ({"ssm.parameters"} if function else set())
    assert "unchecked" not in verdicts(result, "ssm.parameters")


@pytest.mark.parametrize(
    ("name", "function", "operands", "numbers", "wrong"),
    [
        ("activations.exponential", exponential, ("x",), {}, lambda y: y * (1 + 1e-5)),
        ("feedforward.divide", divide, ("x", "by"), {}, lambda y: y * (1 + 1e-5)),
        ("feedforward.summed", summed, ("x",), {"axes": (0, 2)}, lambda y: y + 1e-3),
    ],
)
def test_a_bound_holds_for_single_precision_and_for_no_other_formula(name, function, operands, numbers, wrong):
    made = torch.Generator().manual_seed(0)
    narrow = {operand: torch.randn(5, 7, 9, generator=made) for operand in operands}
    wide = {operand: tensor.double() for operand, tensor in narrow.items()}
    got, expected = function(**narrow, **numbers), function(**wide, **numbers)
    (bound,) = bounds_of(name, Case(wide, numbers, (expected,), SINGLE))

    assert bool(((got - expected).abs() <= bound).all())
    assert not bool(((wrong(got) - expected).abs() <= bound).all())


def test_what_is_off_by_a_little_is_off_by_that_much_behind():
    """A sum, its exponential, and a quotient of it: the bound of the last holds for what single precision gives."""
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 4, generator=made), torch.rand(4, generator=made) + 0.5
    names = ("feedforward.summed", "activations.exponential", "feedforward.divide")
    sources = (
        (("x", Source("input", "0")),),
        (("x", Source("step", 1)),),
        (("x", Source("step", 2)), ("by", Source("input", "1"))),
    )
    numbers = ((("axes", (0,)),), (), ())
    steps = [
        Step(place, "s", 0, given, said, f"inspector.reference.{name.replace('.', ':')}")
        for place, (name, given, said) in enumerate(zip(names, sources, numbers, strict=True), 1)
    ]
    total = x.double().sum(0)
    cases = [
        Case({"x": x.double()}, {"axes": (0,)}, (total,), SINGLE),
        Case({"x": total}, {}, (total.exp(),), SINGLE),
        Case({"x": total.exp(), "by": y.double()}, {}, (total.exp() / y.double(),), SINGLE),
    ]
    (bound,) = chained(steps, cases, names)
    error = (x.sum(0).exp() / y - cases[-1].expected[0]).abs()

    assert bool((error <= bound).all())
    assert bool((bound < 1e-4 * cases[-1].expected[0]).all())


def test_elements_are_moved_as_torch_moves_them():
    x = torch.arange(24.0).reshape(2, 3, 4)

    assert torch.equal(padded(x, ((1, 0), (-1, 2))), nn.functional.pad(x, (-1, 2, 1, 0)))
    assert torch.equal(spread(x[:, :1], (2, 5, 4)), x[:, :1].expand(2, 5, 4))
    assert torch.equal(tiled(x, (2, 1, 3)), torch.cat((torch.cat((x, x, x), 2),) * 2, 0))
    assert torch.equal(taken(x, torch.tensor([1, 0, 1])), torch.stack((x[1], x[0], x[1])))
    assert torch.equal(join(x, x[:, :1], 1), torch.cat((x, x[:, :1]), 1))


class Fetching(nn.Module):
    """Each expert's matrix is cut from one parameter by its number, one expert after another."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(32, 4, bias=False)
        self.up, self.down = (nn.Parameter(torch.randn(4 * 32, 32) / 6) for _ in range(2))

    def forward(self, x):
        flat = x.reshape(-1, 32)
        weights, chosen = torch.topk(torch.softmax(self.router(flat), -1), 2)
        answer = torch.zeros_like(flat)
        hit = nn.functional.one_hot(chosen, 4).permute(2, 1, 0)
        for expert in hit.sum((-1, -2)).nonzero():
            number = expert[0]
            place, token = torch.where(hit[number])
            inner = nn.functional.silu(flat[token] @ self.up.view(4, 32, 32)[number].t())
            given = inner @ self.down.view(4, 32, 32)[number] * weights[token, place, None]
            answer.index_add_(0, token, given)
        return x + answer.view(x.shape)


@pytest.mark.parametrize("wrong", [False, True])
def test_experts_whose_matrices_are_fetched_by_number(monkeypatch, wrong):
    torch.manual_seed(0)
    if wrong:
        monkeypatch.setattr("inspector.reference.layout.taken", lambda x, index: x[(index + 1) % len(x)])

    result = inspector.parity(Fetching(), ("x:BxSx32",), batch=2, seq=11)

    assert failing(result) == ({"moe.expert_up", "moe.expert_down"} if wrong else set())
    assert not {"unchecked"} & verdicts(result, "moe.expert_up")
