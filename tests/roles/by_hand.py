"""A small model around one sublayer as a person writes it, and what its parameters and calls were named."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from inspector.records import Scenario
from inspector.roles import infer
from inspector.source import live_subject
from inspector.tracing import observe
from inspector.vocabulary import UNKNOWN

WIDTH, HEADS, VOCABULARY = 48, 4, 101
CPU = Scenario(device="cpu", dtype="float32", weights="random")


class Model(nn.Module):
    """Tokens, `before` the blocks, two blocks of `sublayer` with a norm and a sum, and a head `after` them."""

    def __init__(self, sublayer, before=None, after=None):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.sub = nn.ModuleList(sublayer() for _ in range(2))
        self.last, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.before, self.after = before, after

    def forward(self, tokens):
        x = self.table(tokens)
        x = x if self.before is None else self.before(x, tokens)
        for norm, sub in zip(self.norms, self.sub, strict=True):
            x = x + sub(norm(x))
        return self.out(self.last(x)) if self.after is None else self.after(self.last(x), tokens)


def name(module) -> SimpleNamespace:
    """`weights`: parameter -> role of what consumes it; `calls`: set of (role, call); `paths`: the roles; `unknown`."""
    torch.manual_seed(0)
    tokens = lambda b, s, p: (torch.randint(0, VOCABULARY, (b, s)),)  # noqa: E731 - it is the input under test
    trace = observe(live_subject(module.eval(), tokens), CPU)
    naming = infer(trace)
    weights = {
        trace.values[value].name: naming.parts[op.id].path
        for op in trace.ops
        for value in op.inputs
        if trace.values[value].kind == "parameter"
    }
    calls = {(naming.parts[op.id].path, op.name) for op in trace.ops}
    return SimpleNamespace(
        trace=trace,
        naming=naming,
        weights=weights,
        calls=calls,
        paths={path for path, _ in calls},
        unknown=[op.name for op in trace.ops if naming.parts[op.id].path == UNKNOWN],
    )


class Attend(nn.Module):
    """Softmax attention with a hole for the idiom: `hook` gets everything and returns the heads' output, merged."""

    def __init__(self, **extra):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        for key, part in extra.items():
            setattr(self, key, part)

    def heads(self, x):
        return x.view(x.shape[0], x.shape[1], HEADS, -1).transpose(1, 2)

    def scores(self, x):
        return self.heads(self.q(x)) @ self.heads(self.k(x)).transpose(-1, -2) * 0.3

    def merge(self, y):
        return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], WIDTH)

    def attend(self, x, scores):
        return scores.softmax(-1) @ self.heads(self.v(x))

    def forward(self, x):
        return self.o(self.merge(self.attend(x, self.scores(x))))
