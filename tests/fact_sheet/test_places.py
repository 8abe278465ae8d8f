"""How a model knows where a token stands: each way in a model that has no other."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from inspector.api.twins import observe_twin
from inspector.fact_sheet.sheet import fact_sheet
from inspector.records import Scenario
from inspector.source import live_subject, resolve, subject_of
from inspector.tracing import observe

hand = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "roles" / "by_hand.py")))
WIDTH = hand.WIDTH


def waves(length):
    """Sines and cosines as in Attention Is All You Need, section 3.5."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(1e4) / WIDTH))
    return torch.cat([angles.sin(), angles.cos()], -1)


class Places(nn.Module):
    """Adds a table to the tokens, got in one of the ways in which people write it."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        learned = way in ("a part of a parameter", "a whole parameter")
        length = 16 if way.startswith("a whole") else 64
        self.table = nn.Parameter(torch.randn(1, length, WIDTH)) if learned else nn.Buffer(waves(length)[None])

    def forward(self, x, tokens):
        length = tokens.shape[1]
        if self.way.startswith("a part"):
            return x + self.table[:, :length]
        if self.way == "rows by number":
            return x + self.table[0][torch.arange(length)]
        if self.way == "rows where text stands":
            there = tokens.ne(0).int()
            rows = (torch.cumsum(there, 1) * there).view(-1)
            return x + self.table[0].index_select(0, rows).view(*tokens.shape, -1)
        if self.way == "computed at once":
            return x + waves(length)
        return x + self.table if self.way.startswith("a whole") else x


WAYS = [
    ("a part of a buffer", "sinusoidal"),
    ("a whole buffer", "sinusoidal"),
    ("rows by number", "sinusoidal"),
    ("rows where text stands", "sinusoidal"),
    ("computed at once", "sinusoidal"),
    ("a part of a parameter", "learned"),
    ("a whole parameter", "learned"),
    ("not at all", "none"),
]


@pytest.mark.parametrize(("way", "kind"), WAYS, ids=[way for way, _ in WAYS])
def test_a_table_that_is_added(way, kind):
    torch.manual_seed(0)
    model = hand.Model(hand.Attend, before=Places(way)).eval()
    trace = observe(live_subject(model, lambda b, s, p: (torch.randint(1, 90, (b, s)),)), hand.CPU)
    sheet = fact_sheet(trace)

    assert sheet.all("position.kind") == {"": kind}
    shown = {trace.ops[op].name for fact in sheet.facts if fact.id == "position.kind" for op in fact.evidence.ops}
    assert bool(shown) == (kind != "none")


TWINS = [
    ("m2m_100", {"": "sinusoidal"}),
    ("ctrl", {"": "sinusoidal"}),
    ("fnet", {"": "learned"}),
    ("reformer", {"": "learned"}),
    ("mpnet", {"": "learned + relative"}),
    ("prophetnet", {"0-1": "learned", "2-3": "learned + relative"}),
    ("fastspeech2_conformer", {"": "relative"}),
    ("funnel", {"": "relative"}),
    ("bloom", {"": "alibi"}),
    ("blt", {"0-2,4-7": "rope"}),
]
"""Hashes of tokens are no places (BLT), nor is what fills up a row of scores a bias (FastSpeech 2)."""


@pytest.mark.parametrize(("name", "kinds"), TWINS, ids=[name for name, _ in TWINS])
def test_published_models(name, kinds):
    sheet = fact_sheet(observe_twin(subject_of(resolve(f"model_type:{name}")), Scenario()))

    assert sheet.all("position.kind") == kinds
