"""How far the answers of two implementations are apart: shown, never judged."""

from __future__ import annotations

__all__ = ["answers_apart", "divergence"]

import torch
from torch import Tensor

from inspector.tracing.run import outputs_of
from inspector.verification.against.flow import Flow
from inspector.verification.against.layout import Cutting, relaid
from inspector.verification.against.report import Figure
from inspector.verification.against.sides import Side


def answers_apart(a: Side, b: Side, flow: Flow, window: Cutting | None = None) -> tuple[Figure, ...]:
    """The largest difference of every answer that both give; of logits the divergence besides. Padding is left out."""
    ones, twos = _answers(a), _answers(b)
    found: list[Figure] = []
    for two, (name, theirs) in twos.items():
        one = flow.partner.get(flow.behind(1, two))
        if one not in ones or not theirs.is_floating_point() or _is_cached(a, one):
            continue
        mine = ones[one][1] if window is None else window.cut(ones[one][1], theirs.shape)
        other = relaid(theirs.to(mine.device), mine.shape)
        if other is not None:
            logits = a.graph.stages[a.graph.maker[one]].path == "head.lm_head"
            found += _apart(name, *(real_tokens(b if window else a, tensor) for tensor in (mine, other)), logits=logits)
    return tuple(found)


def _is_cached(side: Side, value: int) -> bool:
    """Keys and values: whoever reads them is compared."""
    return value in side.graph.maker and side.graph.stages[side.graph.maker[value]].section == "attention"


def _apart(name: str, mine: Tensor, other: Tensor, *, logits: bool) -> list[Figure]:
    error = (mine.to(torch.float64) - other.to(torch.float64)).abs().nan_to_num(0.0)
    found = [Figure(f"{name}: max abs difference", float(error.max()) if error.numel() else 0.0)]
    if logits and error.numel():
        mean, most = divergence(mine, other)
        found += [Figure(f"{name}: mean divergence", mean, "nats"), Figure(f"{name}: max divergence", most, "nats")]
    return found


def real_tokens(side: Side, answer: Tensor) -> Tensor:
    """Without what stands at padding, where an answer has a place for each token."""
    inputs = side.running.inputs()
    mask, ids = inputs.get("attention_mask"), inputs.get("input_ids")
    if not isinstance(mask, Tensor) or not isinstance(ids, Tensor) or mask.dim() != 2:
        return answer
    if answer.dim() < 3 or answer.shape[:2] != ids.shape[:2]:
        return answer
    return answer[mask[:, -ids.shape[1] :].to(answer.device).bool()]


def divergence(logits: Tensor, others: Tensor) -> tuple[float, float]:
    """Kullback-Leibler divergence of the next token's distributions, its mean and its maximum over positions, in nats.

    >>> divergence(torch.zeros(1, 2), torch.zeros(1, 2))
    (0.0, 0.0)
    """
    p, q = (x.to(torch.float64).log_softmax(-1) for x in (logits, others))
    each = (p.exp() * (p - q)).sum(-1).clamp(min=0.0)
    return float(each.mean()), float(each.max())


def _answers(side: Side) -> dict[int, tuple[str, Tensor]]:
    """Value -> (name, tensor) of what the model returns."""
    with torch.no_grad():
        output = side.running.module(**side.running.inputs())
    return {
        value: (name, tensor)
        for (name, value), (_, tensor) in zip(side.plan.run.outputs, outputs_of(output), strict=True)
    }
