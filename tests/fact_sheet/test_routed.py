"""By what the answers of the experts are multiplied: wherever the number stands, and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inspector.fact_sheet.sheet import fact_sheet

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "roles" / "by_hand.py")))
WIDTH, EXPERTS = hand.WIDTH, 4


class Experts(nn.Module):
    """The two best experts of each token. on_scores, on_weights, on_answers: what is multiplied there."""

    on_scores = on_weights = on_answers = None

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.up = nn.Parameter(torch.randn(EXPERTS, 64, WIDTH))
        self.down = nn.Parameter(torch.randn(EXPERTS, WIDTH, 64))

    def weights(self, x):
        logits = self.router(x)
        logits = logits if self.on_scores is None else logits * self.on_scores
        weights, chosen = logits.sigmoid().topk(2, dim=-1)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return (weights if self.on_weights is None else weights * self.on_weights), chosen

    def forward(self, x):
        weights, chosen = self.weights(x)
        up = torch.einsum("bsw,bsafw->bsaf", x, self.up[chosen]).relu()
        answers = torch.einsum("bsaf,bsawf->bsaw", up, self.down[chosen])
        summed = (answers * weights.unsqueeze(-1)).sum(-2)
        return summed if self.on_answers is None else summed * self.on_answers


class OnScores(Experts):
    on_scores = 0.5


class OnWeights(Experts):
    on_weights = 2.5


class OnAnswers(Experts):
    on_answers = 2.5


class Both(Experts):
    on_weights, on_answers = 0.5, 5.0


class Shared(OnAnswers):
    """An expert for all is added after that."""

    def __init__(self):
        super().__init__()
        self.wide, self.back = nn.Linear(WIDTH, 40), nn.Linear(40, WIDTH)

    def forward(self, x):
        return super().forward(x) + self.back(self.wide(x).relu())


def mixture(experts, sublayer=lambda branch: branch):
    """Attention and experts by turns; `sublayer` is done to each branch before it is added."""

    class Mixture(hand.Model):
        def forward(self, tokens):
            x = self.table(tokens)
            for norm, sub in zip(self.norms, self.sub, strict=True):
                x = x + sublayer(sub(norm(x)))
            return self.out(self.last(x))

    model = Mixture(hand.Attend)
    model.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(4))
    model.sub = nn.ModuleList(part() for part in (hand.Attend, experts) * 2)
    return fact_sheet(hand.name(model).trace)


@pytest.mark.parametrize(
    ("experts", "expected"),
    [(Experts, 1.0), (OnScores, 1.0), (OnWeights, 2.5), (OnAnswers, 2.5), (Both, 2.5), (Shared, 2.5)],
)
def test_the_product_of_what_is_left_in_the_answers(experts, expected):
    sheet = mixture(experts)
    (fact,) = [fact for fact in sheet.facts if fact.id == "moe.scale"]

    assert fact.value == expected
    assert ("mul" in fact.evidence.shown) == (expected != 1.0)


def test_what_all_sublayers_are_multiplied_by_is_no_part_of_it():
    assert mixture(OnWeights, lambda branch: branch * 0.22).get("moe.scale") == 2.5
    assert mixture(Experts, lambda branch: branch * 0.22).get("moe.scale") == 1.0
