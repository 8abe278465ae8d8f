"""Jobs that some architectures do in one stage and others in several. Data: a form is a row, the algorithm is one loop.

A form applies when both sides do the job, in different stages. What it gathers is one row of the diff.
"""

from __future__ import annotations

__all__ = ["FORMS", "HEADS", "SIBLINGS", "Form"]

from typing import NamedTuple


class Form(NamedTuple):
    """One job in two spellings.

    one, several: role paths without their section ("qkv_proj"); a side that has any of `one` does the job in few
    stages, else any of `several` must be there. optional: stages that belong to the job where the side has them and
    the other side has none of the same name. anchor: those of `several` that the short spelling cannot have too, all of
    them if empty. same_maths: whether the two spellings can be the same function.
    """

    name: str
    sections: tuple[str, ...]
    one: tuple[str, ...]
    several: tuple[str, ...]
    optional: tuple[str, ...] = ()
    same_maths: bool = True
    reason: str = ""
    anchor: tuple[str, ...] = ()


_ATTENTION = ("attention", "cross_attention")
_SCORES = ("scores", "scale", "mask", "softmax", "weighted_sum")

FORMS: tuple[Form, ...] = (
    Form(
        "kernel",
        _ATTENTION,
        ("fused",),
        _SCORES,
        ("repeat_kv", "dropout", "softcap", "sink", "position_bias", "scale"),
        reason="one kernel computes softmax(scale · q kᵀ + mask) v, step by step on the other side",
        anchor=("scores", "softmax", "weighted_sum"),
    ),
    Form(
        "qkv",
        _ATTENTION,
        ("qkv_proj", "split_qkv"),
        ("q_proj", "k_proj", "v_proj", "kv_proj", "split_qkv"),
        anchor=("q_proj", "k_proj", "v_proj", "kv_proj"),
        reason="the rows of one fused weight are those of the separate ones: x [Wq Wk Wv] = [x Wq, x Wk, x Wv]",
    ),
    Form(
        "kv",
        _ATTENTION,
        ("kv_proj", "split_qkv"),
        ("k_proj", "v_proj"),
        anchor=("k_proj", "v_proj"),
        reason="the rows of one fused weight are those of the separate ones: x [Wk Wv] = [x Wk, x Wv]",
    ),
    Form(
        "up_gate",
        ("mlp",),
        ("up_gate_proj", "split_up_gate"),
        ("up_proj", "gate_proj"),
        reason="the rows of one fused weight are those of the separate ones: x [Wg Wu] = [x Wg, x Wu]",
    ),
    Form(
        "low-rank q",
        _ATTENTION,
        ("q_down", "q_up"),
        ("q_proj",),
        ("latent_norm",),
        same_maths=False,
        reason="queries through a low-rank latent on one side, straight on the other",
    ),
    Form(
        "low-rank kv",
        _ATTENTION,
        ("kv_down", "kv_up"),
        ("k_proj", "v_proj", "kv_proj"),
        ("latent_norm",),
        same_maths=False,
        reason="keys and values through a low-rank latent on one side, straight on the other",
    ),
)
"""In the order they are tried."""

HEADS = frozenset(
    "q_proj k_proj v_proj qkv_proj kv_proj split_qkv split_heads repeat_kv scores scale position_bias mask softmax "
    "dropout weighted_sum fused merge_heads".split()
)
"""What a head does by itself, from its projections to where the heads are joined."""

SIBLINGS: tuple[tuple[str, str], ...] = (
    ("mlp.norm", "moe.norm"),
    ("mlp.post_norm", "moe.post_norm"),
    ("mlp.residual", "moe.residual"),
    ("mlp.up_proj", "moe.expert_up"),
    ("mlp.gate_proj", "moe.expert_gate"),
    ("mlp.up_gate_proj", "moe.expert_up"),
    ("mlp.activation", "moe.expert_activation"),
    ("mlp.multiply", "moe.expert_multiply"),
    ("mlp.down_proj", "moe.expert_down"),
    ("attention.norm", "ssm.norm"),
    ("attention.post_norm", "ssm.post_norm"),
    ("attention.residual", "ssm.residual"),
    ("attention.o_proj", "ssm.out_proj"),
    ("attention.gate", "ssm.gate"),
)
"""The same job in two kinds of sublayer: tried after all else in the block."""
