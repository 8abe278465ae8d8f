"""Role -> how its stages are read."""

from __future__ import annotations

__all__ = ["reading_of"]

from collections.abc import Callable

from inspector.stage_graph.stages import Stage
from inspector.verification.readings import heads, maps, mixtures, plain, scores, tables, tokens, visible
from inspector.verification.readings.composed import composed
from inspector.verification.readings.ids import ids
from inspector.verification.readings.look import Look, Reading
from inspector.verification.readings.norms import norm

Rule = Callable[[Look, Stage], Reading]

_BY_PATH: dict[str, Rule] = {
    "embedding.token": tokens.token,
    "embedding.segment": tokens.token,
    "embedding.position": tokens.position,
    "embedding.add": plain.add,
    "embedding.scale": plain.scale,
    "positions.ids": ids,
    "positions.rope_table": tables.rope_table,
    "positions.alibi": tables.alibi,
    "positions.relative_bias": tables.relative_bias,
    "mask.build": visible.mask,
    "ssm.mask": composed,
    "head.scale": plain.scale,
    "block.scale": plain.scale,
    "head.softcap": plain.softcap,
    "moe.dispatch": mixtures.dispatch,
    "moe.combine": mixtures.combine,
}

_BY_ROLE: dict[str, Rule] = {
    **dict.fromkeys(("norm", "post_norm", "q_norm", "k_norm", "v_norm", "sub_norm", "latent_norm"), norm),
    **dict.fromkeys(
        "q_proj k_proj v_proj qkv_proj kv_proj q_down q_up kv_down kv_up o_proj up_proj gate_proj up_gate_proj "
        "down_proj router lm_head projection in_proj out_proj adapter transform pooler".split(),
        maps.projection,
    ),
    **dict.fromkeys(("expert_up", "expert_gate", "expert_down"), mixtures.expert_map),
    **dict.fromkeys(("activation", "expert_activation"), plain.activation),
    **dict.fromkeys(("multiply", "expert_multiply", "gate"), plain.multiply),
    "residual": plain.add,
    "conv": composed,
    "split_heads": heads.split_heads,
    "merge_heads": heads.merge_heads,
    "split_qkv": heads.split_qkv,
    "split_up_gate": heads.split_up_gate,
    "repeat_kv": heads.repeat_kv,
    "cache_update": heads.cache_update,
    "rope": tables.rope,
    "scores": scores.scores,
    "scale": scores.scale_scores,
    "softcap": plain.softcap,
    "position_bias": scores.position_bias,
    "mask": scores.mask,
    "sink": scores.sink,
    "softmax": scores.softmax,
    "weighted_sum": scores.weighted_sum,
    "fused": scores.fused,
    "router_score": mixtures.router_score,
    "top_k": mixtures.top_k,
}


_IN_PLACE = frozenset({norm, plain.activation, plain.multiply, plain.add, plain.scale, plain.softcap, tokens.token,
                       tokens.position, scores.scale_scores, scores.softmax})  # fmt: skip
"""Readings of what computes element by element: where axes change places besides, op by op it is."""


def reading_of(look: Look, stage: Stage) -> Reading:
    """The calls of reference functions that a stage stands for, or why none is known."""
    rule = _BY_PATH.get(stage.path) or _BY_ROLE.get(stage.role)
    if rule in _IN_PLACE and look.turns(stage):
        rule = composed
    found: Reading = f"no reading for {stage.path}" if rule is None else rule(look, stage)
    if not isinstance(found, str) or not (any(map(look.flow.on_act, stage.outputs)) or _only_moves(look, stage)):
        return found
    chain = composed(look, stage)
    return found if isinstance(chain, str) else chain


def _only_moves(look: Look, stage: Stage) -> bool:
    """Whether a stage off the activation plane chooses among what it reads, and computes nothing."""
    moving = ("view", "plumb", "select")
    return bool(stage.inputs) and all(look.flow.kind[op] in moving for op in stage.ops if look.flow.live[op])
