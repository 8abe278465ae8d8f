"""Norms of every kind: of the stream, of heads, of latents."""

from __future__ import annotations

__all__ = ["norm", "weight_of"]

from inspector.records import Plain
from inspector.reference.activations import shift
from inspector.reference.attention import scale
from inspector.reference.norms import l2_norm, layer_norm, rms_norm
from inspector.roles.norms import Norm
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, alike, draft
from inspector.verification.readings.shapes import in_shape_of

_OF_CONFIG = frozenset({"norm", "post_norm", "q_norm", "k_norm"})
"""Norms that a config's epsilon is meant for; latents and heads' outputs have one of their own in several models."""


def norm(look: Look, stage: Stage) -> Reading:
    """(x − mean)/sqrt(var + eps) or x/sqrt(mean(x²) + eps), times the weight. Weight and bias are what is read."""
    inside = set(stage.ops)
    found = [norm for norm in look.graph.naming.norms if inside.issuperset(norm.ops)]
    if not found:
        return _offset_alone(look, stage) or "its norm is written in a way that is not known"
    if len(found) != 1:
        return "several norms in one"
    one = found[0]
    extra = [op.name for op in look.live(stage) if op.id not in one.ops and look.flow.act_inputs(op)]
    if extra:
        return f"a norm with {' '.join(extra)}"
    if any(look.flow.weighted[op] for op in one.ops):
        return "a norm that a gate of its own follows"
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
    try:
        weight, bias = weight_of(look, stage, one, one.weight), weight_of(look, stage, one, one.bias)
    except LookupError:
        return "its weight is prepared in another part"
    if one.kind == "l2":
        return _of_length(look, one, [*first[0], draft(l2_norm, x=x, eps=eps)])
    if one.kind == "layer":
        return [*first[0], draft(layer_norm, x=x, weight=weight, bias=bias, eps=eps)]
    offset = look.usual(float(one.offset), 0.0)
    if bias is not None:
        return "an rms norm with a bias"
    return [*first[0], draft(rms_norm, x=x, weight=weight, eps=eps, offset=offset)]


def weight_of(look: Look, stage: Stage, norm: Norm, root: int | None) -> Leaf | Flowing | None:
    """A weight or bias as the stage reads it: itself, or what another part has made of it. LookupError for neither."""
    if root is None or root in stage.parameters:
        return None if root is None else look.read(root)
    made = [value for value in stage.inputs if look.flow.weight(value) == root]
    if len(made) == 1 and norm.offset and _is_weight_plus_one(look, made[0]):
        return look.read(root)
    if len(made) != 1 or norm.offset:
        raise LookupError(root)
    return Flowing(made[0])


def _is_weight_plus_one(look: Look, value: int) -> bool:
    """Whether nothing but the offset is done to a weight before a norm reads it, in whichever part that is."""
    ones = 0
    while (op := look.flow.maker(value)) is not None and len(op.inputs) == 1:
        ones += op.name == "add"
        if op.name != "add" and look.flow.kind[op.id] != "plumb":
            return False
        value = op.inputs[0]
    return ones == 1 and op is None


def _offset_alone(look: Look, stage: Stage) -> Reading | None:
    """1 + w, where several norms read one sum."""
    live = look.live(stage)
    by = live[0].attribute("other") if len(live) == 1 and live[0].name == "add" else None
    if not isinstance(by, (int, float)) or live[0].inputs[0] not in stage.parameters:
        return None
    return [draft(shift, x=look.read(live[0].inputs[0]), by=Said(float(by), claimed=False))]


def _of_length(look: Look, one: Norm, drafts: list[Draft]) -> list[Draft] | str:
    """Vectors of length one, or of another one that a number says: the root of their width makes them those of rms."""
    if one.weight is not None or one.bias is not None:
        return "vectors of length one with a weight"
    lengths = [op.attribute("other") for op in map(look.flow.ops.__getitem__, one.ops) if op.name == "rdiv"]
    numbers = [number for number in lengths if isinstance(number, (int, float)) and number != 1]
    factors = [look.usual(float(number), look.shape(one.source)[-1] ** 0.5) for number in numbers]
    return [*drafts, *(draft(scale, scores_BHST=Inner(len(drafts) - 1), factor=factor) for factor in factors[:1])]


def _eps(look: Look, stage: Stage, one: Norm) -> Said:
    executed = one.eps or 0.0
    kind = look.facts.get("norm.kind")
    if stage.role not in _OF_CONFIG or stage.section == "ssm" or kind not in (None, one.kind):
        return look.usual(executed, look.facts.get("norm.eps"))
    said = look.said("norm.eps", executed)
    return Said(executed, claimed=False) if _has_its_own(look, stage.role, said.value) else said


def _has_its_own(look: Look, role: str, claim: Plain) -> bool:
    """Whether all norms of one role have one epsilon of their own, in more than one layer, and all others the claimed.

    A config states one epsilon, and some models have norms that are made with a number written in the code. One norm
    that differs from its like, or all that differ from the claim, are another matter.
    """
    found: dict[bool, list[Plain]] = {True: [], False: []}
    for stage in look.graph.stages:
        if stage.role in _OF_CONFIG and stage.section != "ssm":
            inside = set(stage.ops)
            norms = [norm for norm in look.graph.naming.norms if inside.issuperset(norm.ops) and norm.eps is not None]
            found[stage.role == role] += [norm.eps for norm in norms]
    own, others = found[True], found[False]
    agree = all(alike(eps, claim) for eps in others)
    return len(own) > 1 and len(set(own)) == 1 and not alike(own[0], claim) and bool(others) and agree
