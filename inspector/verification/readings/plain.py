"""Element by element: activations, products, sums, scales."""

from __future__ import annotations

__all__ = ["activation", "add", "multiply", "scale", "scaled_by", "softcap"]

import math
from collections.abc import Callable

from inspector.reference.activations import activate, known_as
from inspector.reference.attention import scale as scaled
from inspector.reference.attention import softcap as capped
from inspector.reference.embeddings import scale_embedding
from inspector.reference.feedforward import add as added
from inspector.reference.feedforward import add_all
from inspector.reference.feedforward import multiply as product
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.shapes import shaped

_BY_CONFIG = frozenset({"mlp.activation", "moe.expert_activation"})


def activation(look: Look, stage: Stage) -> Reading:
    """The non-linearity that the config names; where that is not one of those known here, the one that ran."""
    acts = look.acts(stage)
    if len(acts) != 1 or stage.parameters:
        return "a non-linearity with weights or of several values"
    if any(op.name == "clamp" for op in look.live(stage)):  # it bounds what goes in or comes out: op by op, then
        return "it does more than bend"
    executed = look.number(stage, "function")
    claim = look.claim("mlp.activation", stage.layer) if stage.path in _BY_CONFIG else None
    name = known_as(claim) if isinstance(claim, str) else None
    ran = known_as(executed) if isinstance(executed, str) else None
    if ran is None or ran == "linear":
        return "a non-linearity that is not known here"
    kind = Said(name, claimed=True) if name is not None else Said(ran, claimed=False)
    return [draft(activate, x=look.read(acts[0]), kind=kind)]


def multiply(look: Look, stage: Stage) -> Reading:
    """Two values, element by element."""
    ops = look.live(stage)
    if [op.name for op in ops] not in (["mul"], ["mul_"]) or len(ops[0].inputs) != 2:
        return f"a product written as {' '.join(op.name for op in ops)}"
    drafts: list[Draft] = []
    factors: list[Flowing | Leaf | Inner] = []
    for value in ops[0].inputs:
        entering = look.border(stage, value)
        if entering is None:
            return "a product of values that are prepared in a way that is not known"
        more, factor = shaped(look, entering, look.shape(value), len(drafts))
        drafts += more
        factors.append(factor)
    return [*drafts, draft(product, gate=factors[0], up=factors[1])]


def add(look: Look, stage: Stage) -> Reading:
    """The residual connection: two values, or three where attention and feed-forward stand side by side."""
    inputs = [value for value in stage.inputs if 0 not in look.shape(value)]
    ops = look.live(stage)
    if any(op.name not in ("add", "add_", "sum") for op in ops) or any(
        _is_weighed(op.attribute("alpha")) for op in ops
    ):
        return f"a sum written as {' '.join(op.name for op in ops)}"
    if len(look.told(stage)) > 1 or stage.parameters or len(ops) != len(inputs) - 1 or not 2 <= len(inputs) <= 4:
        return f"a sum of {len(inputs)} values in {len(ops)} ops"
    drafts: list[Draft] = []
    terms: list[Flowing | Leaf | Inner] = []
    for value in inputs:
        more, term = shaped(look, value, look.shape(stage.outputs[0]), len(drafts))
        drafts += more
        terms.append(term)
    names = ("residual", "x") if len(terms) == 2 else ("first", "second", "third", "fourth")
    function: Callable[..., object] = added if len(terms) == 2 else add_all
    return [*drafts, draft(function, **dict(zip(names, terms, strict=False)))]


def _is_weighed(alpha: object) -> bool:
    return alpha is not None and alpha != 1


def scale(look: Look, stage: Stage) -> Reading:
    """One value times a number, by the fact that speaks of it."""
    found = scaled_by(look, stage)
    if isinstance(found, str):
        return found
    value, executed = found
    if look.values[value].dtype.startswith("int"):
        return "whole numbers are scaled"
    if stage.path == "embedding.scale":
        factor = _near(look, look.said("embedding.scale", executed, _root_of_width(look, value)), executed)
        return [draft(scale_embedding, x_BSD=look.read(value), factor=factor)]
    fact = {"head.scale": "head.scale"}.get(stage.path)
    factor = look.said(fact, executed) if fact else Said(executed, claimed=False)
    return [draft(scaled, scores_BHST=look.read(value), factor=factor)]


def scaled_by(look: Look, stage: Stage) -> tuple[int, float] | str:
    """What a stage multiplies by one number, and that number."""
    acts = look.acts(stage)
    executed = look.number(stage, "factor")
    wide = any(look.flow.size(value) > 1 for value in (*look.others(stage), *stage.parameters))
    if len(acts) != 1 or wide or not isinstance(executed, (int, float)):
        return "it is scaled by more than a number"
    if any(op.name not in ("mul", "div", "mul_", "div_") for op in look.live(stage)):
        return "it does more than scale"
    return acts[0], executed


def _root_of_width(look: Look, value: int) -> float:
    """Vaswani et al. 2017, section 3.4."""
    return math.sqrt(look.shape(value)[-1])


def _near(look: Look, said: Said, executed: float) -> Said:
    """A number that the model holds as a tensor is rounded to its format: the rounded one is what is meant."""
    claim = said.value
    coarse = 2.0**-8 if "16" in look.graph.trace.scenario.dtype else 1e-6
    if isinstance(claim, (int, float)) and abs(claim - executed) <= coarse * abs(claim):
        return Said(executed, said.claimed)
    return said


def softcap(look: Look, stage: Stage) -> Reading:
    """cap·tanh(x/cap)."""
    acts = look.acts(stage)
    fact = "head.softcap" if stage.section == "head" else "attention.softcap"
    executed = look.number(stage, "cap")
    if len(acts) != 1 or not isinstance(executed, (int, float)):
        return "its cap is not known"
    return [draft(capped, x=look.read(acts[0]), cap=look.said(fact, executed))]
