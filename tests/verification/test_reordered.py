"""The same jobs in another order: the same function where one of them only moves heads, and another one where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3 import modeling_qwen3

from inspector.verification.against.report import AgainstReport
from inspector.verification.against.run import against
from tests.verification.test_against import first, run_of, seeded, tokens

SIZES = {"vocab_size": 101, "max_position_embeddings": 64, "hidden_size": 64, "intermediate_size": 96}
HEADS = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}


def _normed(layer: Any, q: Tensor, k: Tensor, turn: Any) -> tuple[Tensor, Tensor]:
    return layer.q_norm(q), layer.k_norm(k)


def _rotated(layer: Any, q: Tensor, k: Tensor, turn: Any) -> tuple[Tensor, Tensor]:
    return modeling_qwen3.apply_rotary_pos_emb(q, k, *turn)


def _repeated(layer: Any, q: Tensor, k: Tensor, turn: Any) -> tuple[Tensor, Tensor]:
    return q, modeling_qwen3.repeat_kv(k, 2)


def in_order(*jobs: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    """Attention with these jobs, in this order, on heads that stand before tokens."""

    def forward(self: Any, hidden_states: Tensor, position_embeddings: Any, attention_mask: Tensor, **_: Any) -> Any:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        q, k, v = (map_(hidden_states).view(shape).transpose(1, 2) for map_ in (self.q_proj, self.k_proj, self.v_proj))
        for job in jobs:
            q, k = job(self, q, k, position_embeddings)
        weights = torch.softmax(q @ k.transpose(2, 3) * self.scaling + attention_mask, -1, dtype=torch.float32)
        y = (weights @ modeling_qwen3.repeat_kv(v, 2)).transpose(1, 2)
        return self.o_proj(y.reshape(*hidden_states.shape[:-1], -1)), weights

    return forward


def held_against(*jobs: Callable[..., tuple[Tensor, Tensor]]) -> AgainstReport:
    config = Qwen3Config(**SIZES, **HEADS, bos_token_id=0, eos_token_id=1, attn_implementation="eager")
    one, two = (seeded(Qwen3ForCausalLM(config), 0) for _ in range(2))
    for layer in two.model.layers:
        layer.self_attn.forward = in_order(*jobs).__get__(layer.self_attn)
    return against(*(run_of(module, {"input_ids": tokens()}) for module in (one, two)))


def test_heads_may_be_put_before_tokens_before_they_are_normed() -> None:
    report = held_against(_normed, _rotated, _repeated)

    assert [row.sentence for row in report.rows if row.verdict in ("fail", "unchecked")] == []
    joined = [row for row in report.rows if {part.name for part in row.a} == {part.name for part in row.b} != set()]
    assert "attention.q_norm.q" in {part.name for row in joined for part in row.a if len(row.a) > 1}


def test_a_norm_after_the_rotation_is_another_function() -> None:
    report = held_against(_rotated, _normed, _repeated)

    assert first(report) == "layer 0 attention.q_norm.q"
    assert "it reads layer 0 attention.rope.q where A reads" in report.sentence


def test_where_no_bound_is_known_for_all_of_them_nothing_is_claimed() -> None:
    report = held_against(_repeated, _normed, _rotated)

    assert (report.verdict, report.first_failure) == ("incomplete", None)
    assert "no bound is known for" in next(row.culprit for row in report.rows if row.verdict == "unchecked")


@pytest.mark.parametrize("jobs", [(_rotated, _repeated), (_normed, _repeated)])
def test_a_job_that_is_left_out_is_no_other_order(jobs: tuple[Any, ...]) -> None:
    assert held_against(*jobs).verdict == "fail"
