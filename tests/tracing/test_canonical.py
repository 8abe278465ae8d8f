"""The stored order depends on the computation alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from inspector.tracing.run import watch

PROGRAM = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from conftest import tiny_subject
from inspector.records import Scenario
from inspector.tracing import observe
trace = observe(tiny_subject({model_type!r}), Scenario())
plain = repr((trace.ops, trace.values, trace.symbols, trace.inputs, trace.outputs, sorted(trace.concrete.items())))
print(hashlib.sha256(plain.encode()).hexdigest(), len(trace.ops))
"""


def digest(model_type: str, seed: str) -> str:
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]), model_type=model_type)
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    return result.stdout.strip()


def test_the_hash_seed_changes_nothing():
    """gemma3 builds its masks and tables while walking over a set of layer types."""
    assert len({digest("gemma3_text", seed) for seed in ("0", "1", "3")}) == 1


def test_control_ops_stand_where_they_are_first_needed(trace_of):
    trace = trace_of("llama")
    first_use: dict[int, int] = {}
    for op in trace.ops:
        for value in op.inputs:
            first_use.setdefault(value, op.id)
    for op in trace.ops:
        assert all(first_use.get(value, op.id + 1) > op.id for value in op.outputs if op.effect != "noop")


class ThreeCalls(nn.Module):
    """Calls that are given some arguments by place, some by name."""

    def forward(self, x):
        return x.repeat_interleave(2, dim=-1), x.logsumexp(-1, keepdim=True), x.topk(2, -1, False)


def test_no_argument_is_named_twice():
    calls = watch(ThreeCalls(), {"x": torch.arange(6.0).view(2, 3)}).seen.ops

    assert [op.attributes for op in calls] == [
        (("repeats", 2), ("dim", -1)),
        (("dim", -1), ("keepdim", True)),
        (("k", 2), ("dim", -1), ("largest", False)),
    ]
