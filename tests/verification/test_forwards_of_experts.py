"""Whole forwards with experts: a mistake in who is asked, in what is said or in the sum of it is told where it is.

In float32 tokens are copied for their experts, in bfloat16 they are sorted by them: both are composed as they run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from inspector.reference.weights import NotCovered
from inspector.verification.claiming import whole_claims
from inspector.verification.mutants.run import run_mutants
from inspector.verification.report import Report
from inspector.verification.verify import Running, verify

CONFIGS: dict[str, dict[str, Any]] = {
    "mixtral": {},
    "olmoe": {"norm_topk_prob": True},
    "qwen3_moe": {"norm_topk_prob": True},
}
NAMES = ("gpt_oss", *CONFIGS)
Plant = Callable[[Any], None]
"""Makes a mistake in a block."""


def report_with(run: Running, plant: Plant) -> Report:
    """What is claimed of the right model, held against the model with a mistake in its last block."""
    module: Any = run.module
    claims: Any = whole_claims(run, run.info.model_type, module.config.to_dict())
    claimed = claims(run.inputs())
    plant(module.model.layers[-1])
    return verify(run, lambda _: claimed)


class Routing(nn.Module):
    """A router that does something else with its probabilities."""

    def __init__(self, gate: Any, choice: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.weight, self.top_k, self.choice = gate.weight, gate.top_k, choice

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = nn.functional.linear(x.reshape(-1, x.shape[-1]), self.weight)
        shares, whose = self.choice(logits.float().softmax(-1), self.top_k)
        return logits, shares, whose


def routed(choice: Callable[[Tensor, int], tuple[Tensor, Tensor]]) -> Plant:
    return lambda block: setattr(block.mlp, "gate", Routing(block.mlp.gate, choice))


def worst(scores: Tensor, active: int) -> tuple[Tensor, Tensor]:
    least, whose = scores.topk(active, dim=-1, largest=False)
    return least / least.sum(-1, keepdim=True), whose


def as_they_are(scores: Tensor, active: int) -> tuple[Tensor, Tensor]:
    best, whose = scores.topk(active, dim=-1)
    return best, whose


def next_expert(block: Any) -> None:
    """Every token goes to the expert after the one that was chosen."""
    right = block.mlp.experts.forward
    block.mlp.experts.forward = lambda x, whose, shares: right(x, (whose + 1) % 6, shares)


def unweighed(block: Any) -> None:
    right = block.mlp.experts.forward
    block.mlp.experts.forward = lambda x, whose, shares: right(x, whose, torch.ones_like(shares))


class Bug(NamedTuple):
    """What is done, at which stage it has to be told, and in which words."""

    plant: Plant
    where: str
    culprit: str = ""


BUGS = {
    "one expert too few": Bug(
        lambda block: setattr(block.mlp.gate, "top_k", 1), "moe.top_k", "1 are chosen, and 2 should be"
    ),
    "the worst experts instead of the best": Bug(routed(worst), "moe.top_k", "others have higher scores"),
    "shares that do not add up to one": Bug(routed(as_they_are), "moe.router_score", "nothing ran for it"),
    "the matrices of the next expert": Bug(next_expert, "moe.dispatch"),
    "all experts have the same weight": Bug(unweighed, "moe.dispatch"),
    "experts that bend in another way": Bug(
        lambda block: setattr(block.mlp.experts, "act_fn", nn.GELU()),
        "moe.expert_activation",
        "function is gelu, claimed is silu",
    ),
}

OWN = {
    "one expert too few": Bug(
        lambda block: setattr(block.mlp.router, "top_k", 1), "moe.top_k", "1 are chosen, and 2 should be"
    ),
    "the matrices of the next expert": Bug(next_expert, "moe.dispatch"),
    "all experts have the same weight": Bug(unweighed, "moe.dispatch"),
    "values that are cut off too late": Bug(
        lambda block: setattr(block.mlp.experts, "limit", 8.0), "moe.expert_activation", "given numbers of every size"
    ),
    "no bias of the router": Bug(
        lambda block: setattr(block.mlp.router, "bias", None), "moe.router", "bias is False, claimed is True"
    ),
    "the sinks of other heads": Bug(
        lambda block: setattr(block.self_attn, "sinks", nn.Parameter(block.self_attn.sinks.detach().flip(0))),
        "attention.sink",
    ),
}
"""What is otherwise in gpt-oss."""

CASES = [(name, bug) for name in CONFIGS for bug in BUGS] + [("gpt_oss", bug) for bug in OWN]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "bug"), CASES)
def test_a_mistake_is_told_where_it_is(ready, name, bug, dtype):
    one = (BUGS if name in CONFIGS else OWN)[bug]
    report = report_with(ready(name, CONFIGS.get(name), dtype=dtype), one.plant)
    told = [row.where for row in report.failures if one.culprit in row.culprit]

    assert f"layer 1 {one.where}" in told, [(row.where, row.culprit) for row in report.failures]
    assert {row.layer for row in report.failures} == {1}


@pytest.mark.parametrize("name", NAMES)
def test_experts_that_run_one_by_one_are_not_covered(ready, name):
    run = ready(name, experts="eager")
    module: Any = run.module

    with pytest.raises(NotCovered, match="no experts that run one by one"):
        whole_claims(run, name, module.config.to_dict())


@pytest.mark.parametrize("name", ["gpt_oss", "mixtral"])
def test_every_mistake_of_the_catalogue_is_told(ready, name):
    run = ready(name)
    module: Any = run.module
    claims: Any = whole_claims(run, name, module.config.to_dict())
    found = run_mutants(run, claims)
    elsewhere = {row.name for row in found.rows if not row.equivalent and not row.localised}

    assert found.total > 80
    assert [(row.name, row.error) for row in found.survivors] == []
    assert elsewhere <= {"gate-not-multiplied", "gate-squared"}  # then one of the halves before it is read by nobody


@pytest.mark.parametrize("name", NAMES)
def test_in_both_ways_the_stages_before_and_after_are_the_same(ready, report_of, name):
    copied, sorted_ = (report_of(ready(name, CONFIGS.get(name), dtype=dtype)) for dtype in ("float32", "bfloat16"))
    names = [[row.name for row in report.rows if row.name != "moe.dispatch"] for report in (copied, sorted_)]

    assert names[0] == names[1]
    assert [sum(row.name == "moe.dispatch" for row in report.rows) for report in (copied, sorted_)] == [6, 2]
