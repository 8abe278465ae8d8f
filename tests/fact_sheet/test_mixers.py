"""Facts of blocks that are no textbook attention, and of routers that choose one expert at a time."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inspector.fact_sheet.agreement import agrees
from inspector.fact_sheet.scene import Scene, Seen
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import ModelInfo, Scenario, Trace

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "roles" / "by_hand.py")))
WIDTH, EXPERTS = hand.WIDTH, 4


@pytest.mark.parametrize(("value", "expected"), [("linear", None), ("none", None), ("mha", False), ("gqa", True)])
def test_a_claim_about_heads_says_nothing_of_a_block_without_a_softmax(value, expected):
    nothing = Scene(Trace(ModelInfo("none", None, "None", 0, 0), Scenario(), (), (), (), ()))

    assert agrees(nothing, Seen("attention.kind", value, ()), "gqa") is expected


class OneByOne(nn.Module):
    """The best expert, and then the best of those that are left."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, 64, WIDTH))
        self.down = nn.Parameter(torch.randn(EXPERTS, WIDTH, 64))

    def answer(self, x, weight, chosen):
        up = torch.einsum("bsw,bsfw->bsf", x, self.up[chosen])
        return torch.einsum("bsf,bswf->bsw", up.relu(), self.down[chosen]) * weight.unsqueeze(-1)

    def forward(self, x):
        scores = self.router(x).softmax(-1)
        best, first = scores.max(dim=-1)
        left = scores.scatter(-1, first.unsqueeze(-1), float("-inf"))
        next_best, second = left.max(dim=-1)
        return self.answer(x, best, first) + self.answer(x, next_best, second)


def test_experts_chosen_one_by_one_are_counted():
    model = hand.Model(hand.Attend)
    model.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(4))
    model.sub = nn.ModuleList(part() for part in (hand.Attend, OneByOne) * 2)
    found = hand.name(model)

    assert fact_sheet(found.trace).get("moe.active") == 2
    assert fact_sheet(found.trace).get("moe.experts") == EXPERTS
