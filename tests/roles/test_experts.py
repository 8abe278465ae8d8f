"""Mixtures of experts: named by the choice they turn on, never taken for a plain feed-forward."""

from __future__ import annotations

import pytest

from inspector.roles import infer
from inspector.vocabulary import UNKNOWN

COMMON = {
    "moe.norm", "moe.router", "moe.router_score", "moe.top_k", "moe.dispatch", "moe.expert_up", "moe.expert_activation",
    "moe.expert_multiply", "moe.expert_down", "moe.combine", "moe.residual",
}  # fmt: skip


def roles_in_blocks(trace):
    naming = infer(trace)
    parts = [naming.parts[op.id] for op in trace.ops]
    return naming, {part.path for part in parts if part.layer is not None and part.section in ("moe", "mlp", UNKNOWN)}


@pytest.mark.parametrize(
    ("model_type", "own"),
    [("mixtral", set()), ("gpt_oss", set()), ("qwen3_moe", set()), ("qwen2_moe", {"moe.shared_expert"})],
)
def test_roles(trace_of, model_type, own):
    _, found = roles_in_blocks(trace_of(model_type))

    assert found == COMMON | own


@pytest.mark.parametrize("model_type", ["mixtral", "gpt_oss", "qwen3_moe", "qwen2_moe"])
def test_names_agree(trace_of, model_type):
    """Names as labels: the router's, the experts' and the shared expert's weights go where their names say."""
    labels = {
        "mlp.gate.weight": "moe.router", "router.weight": "moe.router", "experts.gate_up_proj": "moe.expert_up",
        "experts.down_proj": "moe.expert_down", "shared_expert.": "moe.shared_expert",
    }  # fmt: skip
    trace = trace_of(model_type)
    naming = infer(trace)
    uses = [
        (trace.values[value].name, expected, naming.parts[op.id].path)
        for op in trace.ops
        for value in op.inputs
        for label, expected in labels.items()
        if trace.values[value].kind == "parameter" and label in (trace.values[value].name or "")
    ]

    assert len(uses) >= 6
    assert [use for use in uses if use[1] != use[2] and "bias" not in use[0]] == []


def test_a_choice_that_no_projection_scored_is_no_router(trace_of):
    """A dense model stays dense."""
    _, found = roles_in_blocks(trace_of("llama"))

    assert not [path for path in found if path.startswith("moe")]
