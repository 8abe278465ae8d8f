"""A mixture of experts in place of the feed-forward layer: who is asked, what they say, and the sum of it.

Shapes: B batch, S new tokens, D width, E experts, A active experts, F width of one expert; M = B·S·A rows.
"""

from __future__ import annotations

__all__ = ["Experts", "Gate", "answered", "best", "number_of_experts", "softmax_routed"]

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from inspector.reference import experts
from inspector.reference.activations import activate
from inspector.reference.feedforward import add, multiply
from inspector.reference.layout import arrange
from inspector.reference.models.layer import Layer
from inspector.reference.models.shared import activation_of
from inspector.reference.projections import Layout, split_gate_up
from inspector.reference.weights import NotCovered

if TYPE_CHECKING:
    from torch import Tensor


Linear = Callable[..., "Tensor"]


class Experts(NamedTuple):
    """What a config claims of them.

    number: how many there are. kind: their non-linearity. name: what stands before the names of their weights. biased:
    whether their maps have a bias. stored, cut: how those lie, and where gate and up stand in one of them.
    """

    number: int
    active: int
    kind: str
    name: str = "mlp.experts"
    biased: bool = False
    stored: Layout = "out_in"
    cut: Literal["halves", "interleaved"] = "halves"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Experts:
        """By the keys that most configs have."""
        return cls(number_of_experts(config), config["num_experts_per_tok"], activation_of(config, "hidden_act"))


def number_of_experts(config: Mapping[str, Any]) -> int:
    """How many a config claims, by either of two names; 0 where it claims none.

    >>> number_of_experts({"num_experts": 8}), number_of_experts({})
    (8, 0)
    """
    return int(config.get("num_local_experts") or config.get("num_experts") or 0)


def softmax_routed(layer: Layer, x: Tensor, active: int, *, normalised: bool) -> tuple[Tensor, Tensor]:
    """The weights of the best experts and their numbers, (B, S, A) each: probabilities among all of them.

    `normalised`: divided by their sum (Jiang et al. 2024, arXiv 2401.04088, section 2.1).
    """
    logits = layer.linear("moe.router", "mlp.gate", x)
    scores = layer("moe.router_score", experts.probabilities, logits_NE=logits)
    weights, whose = best(layer, scores, active)
    if normalised:
        weights = layer("moe.router_score", experts.shares, weights_NA=weights)
    return weights, whose


def best(layer: Layer, scores: Tensor, active: int) -> tuple[Tensor, Tensor]:
    """The largest scores and whose they are, (B, S, A) each; of equal ones any may be the better one."""
    whose = layer.run.enter("own", "experts", experts.choose(scores, active).experts)
    return layer("moe.top_k", experts.chosen, scores_NE=scores, experts_NA=whose, active=active)


Gate = Callable[[Layer, "Tensor", "Tensor"], "Tensor"]
"""What is made of gate and up, both (M, F)."""


def answered(
    layer: Layer, x: Tensor, weights: Tensor, whose: Tensor, claims: Experts, gate: Gate | None = None
) -> Tensor:
    """What the chosen experts say of each token, weighed and added up: (B, S, D).

    gate: f(gate) · up where it is not given. NotCovered for other ways to them, such as a loop over the experts.
    """
    ways = {"copied": _copied, "sorted": _sorted}
    if layer.run.dispatch not in ways:
        raise NotCovered("the reference has no experts that run one by one", why="this model runs them so")
    said = partial(_said, layer, claims, gate or partial(_gated, kind=claims.kind))
    return ways[layer.run.dispatch](layer, x, weights, whose, claims, said)


def _copied(layer: Layer, x: Tensor, weights: Tensor, whose: Tensor, claims: Experts, said: Linear) -> Tensor:
    """Each token once for each of its experts."""
    length = x.shape[1]
    x = layer("moe.dispatch", experts.copies, x_ND=x, active=claims.active)
    weights = layer("moe.dispatch", arrange, x=weights, pattern="B S A -> (B S A)")
    whose = layer("moe.dispatch", arrange, x=whose, pattern="B S A -> (B S A)")
    y = said(x, whose, experts.chosen_linear, experts_M=whose)
    return layer("moe.combine", experts.combine, answers_MD=y, weights_M=weights, active=claims.active, length=length)


def _sorted(layer: Layer, x: Tensor, weights: Tensor, whose: Tensor, claims: Experts, said: Linear) -> Tensor:
    """The same in the order of the experts. Of the rows of one expert any may come first."""
    rows, shares, *whose_is, ends, back = layer(
        "moe.dispatch",
        experts.sorted_by_expert,
        x_ND=x,
        weights_NA=weights,
        experts_NA=whose,
        back_M=layer.run.enter("own", "places", experts.places_by_expert(whose)),
        count=claims.number,
        whose=claims.biased,
    )
    y = said(rows, whose_is[0] if whose_is else None, experts.grouped_linear, ends_E=ends)
    how = {"active": claims.active, "length": x.shape[1]}
    return layer("moe.combine", experts.combine_sorted, answers_MD=y, weights_M=shares, back_M=back, **how)


def _said(
    layer: Layer, claims: Experts, gate: Gate, x: Tensor, whose: Tensor | None, linear: Linear, **rows: Tensor
) -> Tensor:
    """down(f(gate(x)) · up(x)), each row by the matrices of its expert; gate and up are of one map. whose: (M,)."""

    def mapped(stage: str, name: str, x: Tensor) -> Tensor:
        weight = layer.weight(f"{claims.name}.{name}")
        if not claims.biased:
            return layer(stage, linear, x_MI=x, weight_EOI=weight, layout=claims.stored, **rows)
        table = layer.weight(f"{claims.name}.{name}_bias")
        (bias,) = layer(stage, experts.of_chosen, experts_NA=whose, first_E=table)
        y = layer(stage, linear, x_MI=x, weight_EOI=weight, layout=claims.stored, **rows)
        return layer(stage, add, residual=y, x=bias)

    y = mapped("moe.expert_up", "gate_up_proj", x)
    first, second = layer("moe.expert_gate", split_gate_up, x=y, layout=claims.cut)
    return mapped("moe.expert_down", "down_proj", gate(layer, first, second))


def _gated(layer: Layer, gate: Tensor, up: Tensor, kind: str) -> Tensor:
    gate = layer("moe.expert_activation", activate, x=gate, kind=kind)
    return layer("moe.expert_multiply", multiply, gate=gate, up=up)
