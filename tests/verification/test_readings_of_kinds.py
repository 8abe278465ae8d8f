"""Readings of what few models do: nothing that is right fails, and each can fail where its part is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import inspector
from inspector.records import Scenario
from inspector.reference.projections import convolve
from inspector.reference.steps import Source, Step
from inspector.source import resolve, subject_of
from inspector.source.tiny import twin_of
from inspector.tracing.run import model_info
from inspector.verification.arithmetic import Case, arithmetic_of
from inspector.verification.bounds import bounds_of
from inspector.verification.numbers import compared
from inspector.verification.readings import claimed_from
from inspector.verification.verify import Running, verify

GROUPS = {
    "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 0,
    "moe_intermediate_size": 24, "n_shared_experts": 1, "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 12, "v_head_dim": 16, "num_key_value_heads": 4, "routed_scaling_factor": 2.5,
}  # fmt: skip


def read(run):
    return verify(run, lambda inputs, plan: claimed_from(plan, run.module, inputs, run.claims))


def failing(report):
    return [row.where for row in report.rows if row.verdict == "fail"]


def verdicts(report, path):
    return {(row.verdict, row.culprit) for row in report.rows if row.path == path}


# routers


def test_a_router_with_groups_of_experts(ready):
    report = read(ready("deepseek_v3", config=GROUPS))
    left = {row.path for row in report.rows if row.verdict == "unchecked"}

    assert failing(report) == []
    assert left <= {"attention.split_heads"}  # keys that are put together in place
    assert {row.path for row in report.rows if row.check is not None} >= {
        "moe.top_k",
        "moe.dispatch",
        "moe.router_score",
    }


def test_a_router_with_one_group(ready):
    assert failing(read(ready("deepseek_v3", config={**GROUPS, "n_group": 1, "topk_group": 1}))) == []


def test_another_number_of_experts_where_groups_are_chosen_first(ready):
    run = ready("deepseek_v3", config=GROUPS)
    for one in run.module.modules():
        if hasattr(one, "topk_group") and hasattr(one, "top_k"):
            one.top_k = 2
    first = read(run).first_failure

    assert first.where == "layer 0 moe.top_k"
    assert "2 are chosen, and 3 should be" in first.culprit


@pytest.mark.parametrize("worst", [False, True])
def test_the_worst_experts(ready, monkeypatch, worst):
    run = ready("mixtral")
    topk = torch.topk
    monkeypatch.setattr(torch, "topk", lambda x, k, **how: topk(x, k, largest=not worst, **how))

    culprits = verdicts(read(run), "moe.top_k")

    assert ("fail" in {verdict for verdict, _ in culprits}) is worst
    assert all("others have higher scores" in said for verdict, said in culprits if verdict == "fail")


@pytest.mark.parametrize("wrong", [False, True])
def test_experts_of_other_groups(ready, monkeypatch, wrong):
    """Groups are neighbouring experts; here they are laid out by turns."""
    run = ready("deepseek_v3", config=GROUPS)
    masked = torch.Tensor.expand

    def expand(x, *sizes):
        if wrong and x.dim() == 3 and tuple(x.shape[1:]) == (4, 1) and tuple(sizes) == (-1, 4, 2):
            return masked(x.reshape(-1, 1, 4), -1, 2, 4)
        return masked(x, *sizes)

    monkeypatch.setattr(torch.Tensor, "expand", expand)

    assert failing(read(run)) == (["layer 0 moe.dispatch", "layer 1 moe.dispatch"] if wrong else [])


@pytest.fixture(scope="module")
def small() -> Callable[[str], Running]:
    """The twin of a type, ready to be verified."""

    def make(model_type: str) -> Running:
        twin, module = twin_of(subject_of(resolve(f"model_type:{model_type}")), Scenario())
        scenario, _ = twin.settle(Scenario(3, 31, device="cpu", dtype="float32", weights="random"))
        info = model_info(twin, module)
        return Running(module, lambda: twin.inputs(module, scenario), scenario, info, twin.claims)

    return make


SCALED = [("deepseek_v3", "moe.dispatch"), ("axk2", "moe.router_score"), ("deepseek_v2", "moe.router_score"),
          ("minimax_m3_vl_text", "moe.combine")]  # fmt: skip


@pytest.mark.parametrize(("model_type", "path"), SCALED)
def test_what_the_routed_answers_are_multiplied_by_is_claimed(small, model_type, path):
    """Of one number more than is claimed, the stage that multiplies by it is told, and no other."""
    run = small(model_type)
    assert failing(read(run)) == []

    claimed = run.claims.get("moe.scale")
    for one in run.module.modules():
        if hasattr(one, "routed_scaling_factor"):
            one.routed_scaling_factor = claimed + 1
    wrong = [row for row in read(run).rows if row.verdict == "fail"]

    assert {row.path for row in wrong} == {path}
    assert {one.claimed for row in wrong for one in row.attributes if one.name == "factor"} == {claimed}


# norms


def norms(run, wanted):
    return [one for path, one in run.module.named_modules() if hasattr(one, "eps") and wanted in path]


def test_norms_of_one_role_may_have_an_epsilon_of_their_own(ready):
    run = ready("gemma2")
    for norm in (*norms(run, "post_attention"), *norms(run, "post_feedforward")):
        norm.eps = 1e-3
    report = read(run)

    assert failing(report) == []
    assert ("unclaimed", "nothing claims eps and offset and where its inputs come from") in verdicts(
        report, "mlp.post_norm"
    )


def test_one_of_them_alone_may_not(ready):
    run = ready("gemma2")
    norms(run, "layers.1.post_feedforward")[0].eps = 1e-3

    assert failing(read(run)) == ["layer 1 mlp.post_norm"]


def test_nor_all_norms_together(ready):
    run = ready("gemma2")
    for norm in norms(run, ""):
        norm.eps = 1e-3

    assert len(failing(read(run))) == len(norms(run, ""))


class Gated(nn.Module):
    """A norm, and a gate that it makes for itself; between two projections, so that it is on the way."""

    def __init__(self, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.rand(32) + 0.5), eps
        self.into, self.down, self.up, self.out = (
            nn.Linear(*s, bias=False) for s in ((32, 32), (32, 8), (8, 32), (32, 32))
        )

    def forward(self, x):
        y = self.into(x)
        y = self.weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps))
        return x + self.out(y * torch.sigmoid(self.up(torch.nn.functional.silu(self.down(y)))))


def test_a_norm_with_a_gate_of_its_own():
    result = inspector.parity(Gated(), ("x:BxSx32",), batch=2, seq=11)
    gated = [row for row in result.rows if row.path.endswith("norm")]

    assert failing(result) == []
    assert gated
    assert all(row.check is not None for row in gated)


class Unfolded(nn.Module):
    """Each token becomes two, which both layers read, each through a norm of its own."""

    def __init__(self):
        super().__init__()
        self.more, self.one, self.two = nn.Linear(32, 64), nn.RMSNorm(32, eps=1e-6), nn.RMSNorm(32, eps=1e-6)
        self.q, self.k, self.v, self.o = (nn.Linear(32, 32, bias=False) for _ in range(4))

    def forward(self, x):
        pieces = self.more(x).view(x.shape[0], -1, 32)
        for norm in (self.one, self.two):
            x = self.attend(x, x)
            x = self.attend(x, norm(pieces))
        return x

    def attend(self, x, y):
        return x + self.o(torch.softmax(self.q(x) @ self.k(y).transpose(1, 2) * 0.3, -1) @ self.v(y))


def test_a_projection_that_several_attentions_read_is_no_feed_forward():
    result = inspector.parity(Unfolded(), ("x:BxSx32",), batch=2, seq=11)
    paths = {row.path: row.verdict for row in result.rows}

    assert failing(result) == []
    assert paths["block.projection"] == paths["cross_attention.norm"] == "unclaimed"
    assert not any(path.startswith("mlp.") for path in paths)


# sums, softmax, positions


def test_biases_of_all_products_of_a_stage_count_as_one():
    weight, bias, x = Source("weight", "w"), Source("weight", "b"), Source("input", "0")
    linear, add, view = (
        f"inspector.reference.{name}" for name in ("projections:linear", "feedforward:add", "layout:viewed")
    )
    first = Step(1, "ssm.in_proj", 0, (("x", x), ("weight", weight)), (("layout", "out_in"),), linear)
    seen = Step(2, "ssm.in_proj", 0, (("x", bias),), (("shape", (4,)),), view)
    last = Step(3, "ssm.in_proj", 0, (("residual", Source("step", 1)), ("x", Source("step", 2))), (), add)
    other = Step(3, "ssm.in_proj", 0, (("residual", Source("step", 1)), ("x", x)), (), add)

    def bias_of(*steps, executed):
        return next(one for one in compared({"bias": executed}, steps, "the config") if one.name == "bias")

    assert not bias_of(first, seen, last, executed=True).differs
    assert bias_of(first, seen, last, executed=False).differs
    assert bias_of(first, other, executed=True).differs
    assert bias_of(first, executed=True).differs


def test_a_probability_too_small_for_the_format_may_be_lost_and_a_masked_one_may_not_be_there():
    scores = torch.tensor([[0.0, -109.0, -111.0, -torch.inf]], dtype=torch.float64)
    expected = torch.softmax(scores, -1)
    case = Case({"scores_BHST": scores}, {}, (expected,), arithmetic_of(torch.float32, torch.device("cpu")))
    (bound,) = bounds_of("attention.softmax", case)

    assert bool((expected[0, 1:] <= bound[0, 1:]).all())  # nothing at all is left of them
    assert 1e-45 > float(bound[0, 2]) > 0  # not even the smallest number of single precision may be left
    assert float(bound[0, 3]) < 1e-200


class Swapped(nn.Module):
    """Attention whose heads stand before the sequence, as a convolution gives them."""

    def __init__(self, *, right=True):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(32, 32) for _ in range(4))
        self.right = right

    def forward(self, x):
        q, k, v = (part(x).transpose(1, 2).reshape(x.shape[0], 4, 8, -1) for part in (self.q, self.k, self.v))
        weights = torch.softmax(q.transpose(2, 3) @ k * 8**-0.5, -1)
        y = weights @ v.transpose(2, 3)
        return x + self.o(y.transpose(1, 2).reshape(x.shape))


def test_scores_of_queries_that_are_turned_and_keys_that_are_not():
    result = inspector.parity(Swapped(), ("x:BxSx32",), batch=2, seq=11)
    scores = [row for row in result.rows if row.path == "attention.scores"]

    assert failing(result) == []
    assert scores
    assert all(row.check is not None and row.check.rho < 1 for row in scores)


@pytest.mark.parametrize(("groups", "padding"), [(1, 0), (2, 1), (6, 3)])
def test_a_convolution(groups, padding):
    """As torch has it, and far from the same with its weights in the other order."""
    made = torch.Generator().manual_seed(0)
    x, bias = torch.randn(2, 6, 11, generator=made), torch.randn(6, generator=made)
    weight = torch.randn(6, 6 // groups, 4, generator=made)
    got = torch.nn.functional.conv1d(x, weight, bias, padding=padding, groups=groups)
    operands = {"x_BIS": x.double(), "weight_OIW": weight.double(), "bias_O": bias.double()}
    how = {"padding": padding, "groups": groups}
    expected = convolve(**operands, **how)
    (bound,) = bounds_of(
        "projections.convolve", Case(operands, how, (expected,), arithmetic_of(torch.float32, torch.device("cpu")))
    )
    turned = convolve(**{**operands, "weight_OIW": weight.double().flip(-1)}, **how)

    assert bool(((got - expected).abs() <= bound).all())
    assert not bool(((turned - expected).abs() <= bound).any())


def test_convolutions_of_a_recurrent_model_are_checked(ready):
    report = read(ready("mamba", config={"hidden_size": 64, "state_size": 8, "conv_kernel": 4, "num_hidden_layers": 2}))
    (verdict,) = {row.verdict for row in report.rows if row.path == "ssm.conv"}

    assert failing(report) == []
    assert verdict == "unclaimed"
