"""Norms of every kind: of the stream, of heads, of latents."""

from __future__ import annotations

__all__ = ["norm"]

from inspector.reference.norms import l2_norm, layer_norm, rms_norm
from inspector.roles.norms import Norm
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Flowing, Leaf, Look, Reading, Said, draft
from inspector.verification.readings.shapes import in_shape_of

_OF_CONFIG = frozenset({"norm", "post_norm", "q_norm", "k_norm"})
"""Norms that a config's epsilon is meant for; latents and heads' outputs have one of their own in several models."""


def norm(look: Look, stage: Stage) -> Reading:
    """(x − mean)/sqrt(var + eps) or x/sqrt(mean(x²) + eps), times the weight. Weight and bias are what is read."""
    inside = set(stage.ops)
    found = [norm for norm in look.graph.naming.norms if inside.issuperset(norm.ops)]
    if len(found) != 1:
        return "several norms in one" if found else "its norm is written in a way that is not known"
    one = found[0]
    extra = [op.name for op in look.live(stage) if op.id not in one.ops and look.flow.act_inputs(op)]
    if extra:
        return f"a norm with {' '.join(extra)}"
    if one.kind not in ("layer", "rms", "l2"):
        return f"no reference for a {one.kind} norm"
    if one.eps is None and one.kind != "l2":
        return "what is added under its root is not known"
    return _drafts(look, stage, one)


def _drafts(look: Look, stage: Stage, one: Norm) -> list[Draft] | str:
    source = next((value for value in stage.inputs if look.flow.on_act(value)), None)
    if source is None:
        return "it reads no activation"
    eps = _eps(look, stage, one)
    width = look.shape(one.source)[-1]
    first = in_shape_of(look, source, width)
    x = first[1]
    if one.kind == "l2":
        return [*first[0], draft(l2_norm, x=x, eps=eps)]
    weight, bias = _leaf(look, one.weight), _leaf(look, one.bias)
    if one.kind == "layer":
        return [*first[0], draft(layer_norm, x=x, weight=weight, bias=bias, eps=eps)]
    offset = look.usual(float(one.offset), 0.0)
    if bias is not None:
        return "an rms norm with a bias"
    return [*first[0], draft(rms_norm, x=x, weight=weight, eps=eps, offset=offset)]


def _leaf(look: Look, value: int | None) -> Leaf | Flowing | None:
    return None if value is None else look.read(value)


def _eps(look: Look, stage: Stage, one: Norm) -> Said:
    executed = one.eps or 0.0
    kind = look.facts.get("norm.kind")
    if stage.role in _OF_CONFIG and stage.section != "ssm" and kind in (None, one.kind):
        return look.said("norm.eps", executed)
    return look.usual(executed, look.facts.get("norm.eps"))
