"""What a stage need not be given, because without it the same holds."""

from __future__ import annotations

__all__ = ["with_implied"]

from collections.abc import Sequence

import torch
from torch import Tensor

from inspector.reference.steps import Step
from inspector.stage_graph.stages import Stage
from inspector.verification.claims import Claimed
from inspector.verification.operands import Bound, word
from inspector.verification.plan import Plan


def with_implied(plan: Plan, claimed: Claimed, stage: Stage, steps: Sequence[Step], bound: Bound) -> Bound:
    """What a stage read, with the masks that it was not given and need not have been."""
    if not claimed.wired:
        return bound
    return _without_mask(plan, claimed, stage, steps, _without_padding(claimed, steps, bound))


def _without_padding(claimed: Claimed, steps: Sequence[Step], bound: Bound) -> Bound:
    """A mask need not read which tokens are padding where none is. What it hides is still held against the claim."""
    for step in steps:
        for name, source in step.sources:
            padding = claimed.inputs.get(str(source.ref)) if source.kind == "input" else None
            spared = step.name == "mask.build" and source not in bound.operands
            if spared and padding is not None and bool(padding.all()):
                links = tuple(link for link in bound.links if link.argument != word(name))
                bound = Bound({**bound.operands, source: padding}, links)
    return bound


def _without_mask(plan: Plan, claimed: Claimed, stage: Stage, steps: Sequence[Step], bound: Bound) -> Bound:
    """A kernel that was given no mask sees everything, or with `is_causal` what stands before, by its own rule."""
    mask = next((source for step in steps for name, source in step.sources if name == "allowed"), None)
    if mask is None or mask in bound.operands or stage.role != "fused":
        return bound
    implied = _implied(plan, stage, bound)
    wanted = claimed.known[int(mask.ref), mask.output]
    if implied is None or not bool((implied == wanted).all()):
        return bound
    links = tuple(link for link in bound.links if link.argument != "allowed")
    return Bound({**bound.operands, mask: implied}, links)


def _implied(plan: Plan, stage: Stage, bound: Bound) -> Tensor | None:
    op = next((op for op in plan.graph.ops(stage) if op.name == "scaled_dot_product_attention"), None)
    if op is None:
        return None
    shape = [plan.trace.values[value].shape[-2] for _, value in op.operands[:2]]
    seen = torch.ones(shape, dtype=torch.bool)
    home = next(iter(bound.operands.values())).device
    return (seen.tril() if op.attribute("is_causal") else seen).to(home)
