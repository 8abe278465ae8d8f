"""Who claims what a whole model does: its reference forward, composed as the model is.

That tokens get to their experts in one way or in another changes no answer, only which stages there are. It is a
choice of the library, like a kernel, and so it is taken from what ran; a config does not say it.
"""

from __future__ import annotations

__all__ = ["dispatch_of", "whole_claims"]

from collections.abc import Callable, Mapping
from typing import Any

from inspector.reference.steps import Dispatch
from inspector.tracing.run import unchanged
from inspector.verification.claims import Claimed, claimed_by
from inspector.verification.plan import Plan, plan
from inspector.verification.verify import Running


def whole_claims(
    running: Running, model_type: str | None, config: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Claimed] | None:
    """What the reference forward of a type claims of a model that is as it should be; None where there is none."""
    module = running.module
    known = claimed_by(model_type, module, config, running.inputs())
    if known is None:
        return None
    way: Dispatch = "copied"
    if any(step.name.startswith("moe.") for step in known.steps):
        with unchanged(module):
            way = dispatch_of(plan(module, running.inputs(), running.scenario, running.info, running.claims))
        claimed_by(model_type, module, config, running.inputs(), way)  # which says so where it has no such way

    def claims(inputs: Mapping[str, Any]) -> Claimed:
        found = claimed_by(model_type, module, config, inputs, way)
        assert found is not None  # asked a second time, it has the same answer
        return found

    return claims


def dispatch_of(first: Plan) -> Dispatch:
    """How tokens get to their experts in what ran."""
    names = {op.name for stage in first.stages if stage.path == "moe.dispatch" for op in first.graph.ops(stage)}
    if names & {"sort", "argsort"}:
        return "sorted"
    return "copied" if "repeat_interleave" in names else "other"
