"""Attention from queries and keys to the weighted sum, in one kernel or step by step."""

from __future__ import annotations

__all__ = ["fused", "mask", "position_bias", "scale_scores", "scores", "sink", "softmax", "weighted_sum"]

import math
from typing import NamedTuple

import torch
from torch import Tensor

from inspector.records import Op
from inspector.reference import attention
from inspector.reference.heads import repeat_kv
from inspector.reference.layout import arrange
from inspector.reference.masks import build_masks
from inspector.roles.flow import FUSED_ATTENTION
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, alike, draft
from inspector.verification.readings.moving import handed_on, places
from inspector.verification.readings.plain import scaled_by
from inspector.verification.readings.shapes import shaped

Tensorlike = Flowing | Leaf | Inner


def scores(look: Look, stage: Stage) -> Reading:
    """Queries times keys; with `baddbmm` scaled and with a bias added, too."""
    found = _product(look, stage)
    if isinstance(found, str):
        return found
    op, (q, k) = found
    if op.name == "einsum":
        return _by_equation(look, stage, op, (q, k))
    drafts, first, second = _sides(look, stage, q, k, turned=True)
    if isinstance(drafts, str):
        return drafts
    drafts.append(draft(attention.scores, q_BHSK=first, k_BHTK=second))
    return _also(look, stage, op, drafts)


def weighted_sum(look: Look, stage: Stage) -> Reading:
    """Probabilities times values."""
    found = _product(look, stage)
    if isinstance(found, str):
        return found
    op, (p, v) = found
    if op.name == "einsum":
        return _by_equation(look, stage, op, (p, v))
    drafts, first, second = _sides(look, stage, p, v, turned=False)
    if isinstance(drafts, str):
        return drafts
    return [*drafts, draft(attention.weighted_sum, weights_BHST=first, v_BHTK=second)]


def _product(look: Look, stage: Stage) -> tuple[Op, tuple[int, int]] | str:
    products = [op for op in look.graph.ops(stage) if look.flow.is_product(op)]
    others = [op.name for op in look.live(stage) if op not in products]
    if len(products) != 1 or others:
        return f"a product with {' '.join(others)}" if others else "several products in one"
    factors = [value for value in look.flow.factors(products[0]) if look.flow.on_act(value)]
    return (products[0], (factors[0], factors[1])) if len(factors) == 2 else "a product of several"


def _sides(
    look: Look, stage: Stage, one: int, two: int, *, turned: bool
) -> tuple[list[Draft], Tensorlike, Tensorlike] | tuple[str, Inner, Inner]:
    """Both factors as a reference function takes them. turned: the second one enters the product with axes swapped."""
    drafts: list[Draft] = []
    left = _entering(look, stage, one)
    right = _entering(look, stage, two)
    if left is None or right is None:
        return "its factors are prepared in a way that is not known", Inner(0), Inner(0)
    x, y = _as(look, drafts, left, look.shape(one)), _as(look, drafts, right, look.shape(two))
    if turned:
        swapped = Said(_SWAPPED[len(look.shape(two))], claimed=True)
        if drafts and y == Inner(len(drafts) - 1) and drafts[-1].numbers.get("pattern") == swapped:
            swap = drafts.pop()  # turned once more it would be as it was
            return drafts, x, swap.tensors["x"]
        drafts.append(draft(arrange, x=y, pattern=_SWAPPED[len(look.shape(two))]))
        y = Inner(len(drafts) - 1)
    return drafts, x, y


_SWAPPED = {rank: f"{letters} X Y -> {letters} Y X" for rank, letters in enumerate(("", "", "", "A", "A B", "A B C"))}
"""Number of axes -> the last two of them swapped."""

_PATTERNS = {
    3: (_SWAPPED[3], "S A K -> A S K", "S A K -> A K S"),
    4: (_SWAPPED[4], "A S H K -> A H S K", "A S H K -> A H K S"),
    5: (_SWAPPED[5],),
}


class _Entering(NamedTuple):
    """The value at the border that a factor is, how its axes move on the way, and the shape in which they do."""

    value: int
    pattern: str = ""
    shape: tuple[int, ...] = ()


def _as(look: Look, drafts: list[Draft], entering: _Entering, shape: tuple[int, ...]) -> Tensorlike:
    value, pattern, before = entering
    more, tensor = shaped(look, value, before or shape, len(drafts))
    drafts += more
    if pattern:
        drafts.append(draft(arrange, x=tensor, pattern=pattern))
        tensor = Inner(len(drafts) - 1)
    return tensor


def _entering(look: Look, stage: Stage, factor: int) -> _Entering | None:
    if factor in stage.inputs:
        return _Entering(factor)
    for source in stage.inputs:
        found = places(look, stage, source, factor)
        if found is None or found.numel() != math.prod(look.shape(source)):
            continue
        if handed_on(found):
            return _Entering(source)
        moved = _moved(look, stage, source, found)
        if moved is not None:
            return moved
    return None


def _moved(look: Look, stage: Stage, source: int, found: Tensor) -> _Entering | None:
    shapes = [look.shape(source), *(look.shape(value) for op in look.graph.ops(stage) for value in op.inputs)]
    for shape in dict.fromkeys(shapes):
        if math.prod(shape) != found.numel():
            continue
        coded = torch.arange(found.numel()).reshape(shape)
        for pattern in _PATTERNS.get(len(shape), ()):
            moved = arrange(coded, pattern)
            if moved.shape == found.shape and torch.equal(moved, found):
                return _Entering(source, pattern, shape)
    return None


def _by_equation(look: Look, stage: Stage, op: Op, factors: tuple[int, int]) -> Reading:
    arguments = op.attribute("args", op.attribute("equation"))
    equation = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return "an einsum whose equation is not known"
    if any(value not in stage.inputs for value in factors):
        return "its factors are prepared in a way that is not known"
    said = Said(equation.replace(" ", ""), claimed=False)
    return [draft(attention.contract, x=look.read(factors[0]), y=look.read(factors[1]), equation=said)]


def _also(look: Look, stage: Stage, op: Op, drafts: list[Draft]) -> Reading:
    """What `baddbmm` does besides."""
    if op.name != "baddbmm":
        return drafts
    alpha, beta = op.attribute("alpha", 1), op.attribute("beta", 1)
    if not isinstance(alpha, (int, float)) or beta not in (0, 1):
        return "its factors are not numbers"
    if alpha != 1:
        drafts.append(draft(attention.scale, scores_BHST=Inner(len(drafts) - 1), factor=factor_of(look, stage, alpha)))
    bias = dict(op.operands).get("input")
    if bias is not None and beta == 1:
        found = _entering(look, stage, bias)
        if found is None or found.pattern:
            return "its bias is prepared in a way that is not known"
        drafts.append(draft(attention.add_bias, scores_BHST=Inner(len(drafts) - 1), bias=look.read(found.value)))
    return drafts


# scale


def scale_scores(look: Look, stage: Stage) -> Reading:
    """Scores, queries or keys times a number: 1/sqrt(K) (Vaswani et al. 2017, equation 1) unless a config says more."""
    found = scaled_by(look, stage)
    if isinstance(found, str):
        return found
    value, executed = found
    return [draft(attention.scale, scores_BHST=look.read(value), factor=factor_of(look, stage, executed))]


def factor_of(look: Look, stage: Stage, executed: float) -> Said:
    """The factor of one stage, where the claim is of the product of all factors of a layer."""
    others = 1.0
    for other in look.beside(stage, f"{stage.section}.scale", f"{stage.section}.scores"):
        number = _factor(look, other)
        if other.index != stage.index and number:
            others *= number
    width = _head_width(look, stage)
    usual = None if width is None else width**-0.5 / others
    claim = look.facts.get("attention.scale")
    if not isinstance(claim, (int, float)):
        return look.usual(executed, usual)
    return Said(executed if alike(executed * others, claim) else claim / others, claimed=True)


def _factor(look: Look, stage: Stage) -> float:
    if stage.role == "scale":
        found = look.number(stage, "factor")
        return float(found) if isinstance(found, (int, float)) else 1.0
    alphas = [op.attribute("alpha") for op in look.live(stage) if op.name == "baddbmm"]
    return float(alphas[0]) if alphas and isinstance(alphas[0], (int, float)) else 1.0


def _head_width(look: Look, stage: Stage) -> int | None:
    """How many elements of queries and keys meet."""
    for other in look.beside(stage, f"{stage.section}.scores", f"{stage.section}.fused"):
        for op in look.live(other):
            if op.name == FUSED_ATTENTION or look.flow.is_product(op):
                query = next(value for value in look.flow.factors(op) if look.flow.on_act(value))
                return look.shape(query)[-1]
    return None


# what is added and hidden


def position_bias(look: Look, stage: Stage) -> Reading:
    """A bias added to the scores."""
    return _summed(look, stage)


def mask(look: Look, stage: Stage) -> Reading:
    """Scores of what may not be seen: by a mask of numbers that is added, or of choices."""
    names = [op.name for op in look.live(stage)]
    acts, others = look.acts(stage), look.others(stage)
    if len(acts) != 1:
        return _summed(look, stage)
    if names and set(names) <= {"add"}:
        if len(others) == 1 and _hides_all_or_nothing(look, others[0]):
            drafts, allowed = shaped(look, others[0], look.shape(others[0]))
            return [*drafts, draft(attention.apply_mask, scores_BHST=look.read(acts[0]), allowed=allowed)]
        return _summed(look, stage)
    return _chosen(look, stage, acts[0], names)


def _hides_all_or_nothing(look: Look, value: int) -> bool:
    contents = look.contents(value)
    dtype = getattr(torch, look.values[value].dtype)
    if contents is None or not dtype.is_floating_point:
        return False
    return all(number == 0 or number <= torch.finfo(dtype).min / 2 for number in set(contents.values))


def _summed(look: Look, stage: Stage) -> Reading:
    inputs = [value for value in stage.inputs if 0 not in look.shape(value)]
    names = [op.name for op in look.live(stage)]
    if set(names) != {"add"} or len(names) != len(inputs) - 1 or len(inputs) > 3 or stage.parameters:
        return f"what is added to the scores is written as {' '.join(names)}"
    shape = look.shape(stage.outputs[0])
    whole = next((value for value in inputs if look.shape(value) == shape and look.flow.on_act(value)), None)
    if whole is None:
        return "none of what is added is a score"
    first, *more = [look.read(value) for value in inputs if value != whole]
    second = more[0] if more else None
    return [draft(attention.add_terms, scores_BHST=look.read(whole), first=first, second=second)]


def _chosen(look: Look, stage: Stage, act: int, names: list[str]) -> Reading:
    """`masked_fill` hides where the mask is true, `where` shows it."""
    ops = look.live(stage)
    op = next((op for op in ops if op.name in ("masked_fill", "where")), None)
    if op is None or len(ops) != 1:
        return f"a mask written as {' '.join(names)}"
    choice = next((value for value in op.inputs if look.values[value].dtype == "bool"), None)
    if choice is None or choice not in stage.inputs:
        return "a mask that is prepared in a way that is not known"
    fill = op.attribute("value", op.attribute("other"))
    if op.name == "where" and fill is None:
        return "a mask that chooses between two tensors"
    if not isinstance(fill, (int, float, str)) or not _is_hidden(look, act, float(fill)):
        return "a mask that hides with a small number"
    argument = "hidden" if op.name == "masked_fill" else "allowed"
    return [draft(_MASKS[argument], scores_BHST=look.read(act), **{argument: look.read(choice)})]


_MASKS = {"hidden": attention.hide, "allowed": attention.apply_mask}


def _is_hidden(look: Look, act: int, fill: float) -> bool:
    return fill <= torch.finfo(getattr(torch, look.values[act].dtype)).min / 2


# probabilities


def softmax(look: Look, stage: Stage) -> Reading:
    """Over the last axis. That a row's maximum is taken off before changes nothing."""
    acts = look.acts(stage)
    names = [op.name for op in look.live(stage)]
    cuts = "getitem" in names and "max" not in names
    if len(acts) != 1 or cuts or not set(names) <= {"softmax", "max", "amax", "sub", "getitem"}:
        return f"a softmax written as {' '.join(names)}"
    dim, rank = look.number(stage, "dim"), len(look.shape(acts[0]))
    if not isinstance(dim, int) or dim % rank != rank - 1:
        return "a softmax over another axis"
    return [draft(attention.softmax, scores_BHST=look.read(acts[0]))]


def sink(look: Look, stage: Stage) -> Reading:
    """One more logit per head, or the probabilities without its share."""
    acts = look.acts(stage)
    names = [op.name for op in look.live(stage)]
    if len(acts) == 1 and names == ["cat"] and len(stage.parameters) == 1 and not look.others(stage):
        return [draft(attention.with_sink, scores_BHST=look.read(acts[0]), sinks_H=look.read(stage.parameters[0]))]
    if len(acts) == 1 and names == ["getitem"] and look.shape(acts[0])[-1] == look.shape(stage.outputs[0])[-1] + 1:
        return [draft(attention.drop_sink, weights_BHST=look.read(acts[0]))]
    return f"a sink written as {' '.join(names)}"


# one kernel


def fused(look: Look, stage: Stage) -> Reading:
    """Scores, scale, mask, softmax and weighted sum as one; with `enable_gqa` keys and values are shared inside."""
    ops = look.live(stage)
    if len(ops) != 1 or ops[0].name != FUSED_ATTENTION:
        return f"a kernel with {' '.join(op.name for op in ops)}"
    named = dict(ops[0].operands)
    values = [named.get(name, ops[0].inputs[place]) for place, name in enumerate(("query", "key", "value"))]
    drafts: list[Draft] = []
    tensors: list[Tensorlike] = []
    for value in values:
        found = _entering(look, stage, value)
        if found is None or len(look.shape(value)) != 4:
            return "what enters the kernel is prepared in a way that is not known"
        tensors.append(_as(look, drafts, found, look.shape(value)))
    q, k, v = tensors
    heads, groups = look.shape(values[0])[1], look.shape(values[1])[1]
    if heads != groups:
        drafts += [draft(repeat_kv, x_BGTK=tensor, heads=heads) for tensor in (k, v)]
        k, v = Inner(len(drafts) - 2), Inner(len(drafts) - 1)
    return _inside(look, stage, ops[0], drafts, (q, k, v))


def _inside(
    look: Look, stage: Stage, op: Op, drafts: list[Draft], operands: tuple[Tensorlike, Tensorlike, Tensorlike]
) -> Reading:
    q, k, v = operands
    named = dict(op.operands)
    factor = look.number(stage, "factor")
    assert isinstance(factor, (int, float))
    drafts.append(draft(attention.scores, q_BHSK=q, k_BHTK=k))
    here = Inner(len(drafts) - 1)
    drafts.append(draft(attention.scale, scores_BHST=here, factor=factor_of(look, stage, factor)))
    here = Inner(len(drafts) - 1)
    allowed: Tensorlike | None = None
    if op.attribute("is_causal"):
        lengths = [look.shape(value)[-2] for value in op.inputs[:2]]
        if lengths[0] != lengths[1]:
            return "a causal kernel of fewer queries than keys counts from the first"
        pattern = (("causal", None, None),)
        drafts.append(draft(build_masks, queries=lengths[0], keys=lengths[1], patterns=pattern))
        allowed = Inner(len(drafts) - 1)
    elif "attn_mask" in named:
        given = named["attn_mask"]
        if given not in stage.inputs:
            return "a kernel whose mask is prepared in a way that is not known"
        if not _is_choice(look, given):
            drafts.append(draft(attention.add_bias, scores_BHST=here, bias=look.read(given)))
            here = Inner(len(drafts) - 1)
        else:
            allowed = look.read(given)
    if allowed is not None:
        drafts.append(draft(attention.apply_mask, scores_BHST=here, allowed=allowed))
        here = Inner(len(drafts) - 1)
    drafts.append(draft(attention.softmax, scores_BHST=here, empty="zero"))
    return [*drafts, draft(attention.weighted_sum, weights_BHST=Inner(len(drafts) - 1), v_BHTK=v)]


def _is_choice(look: Look, value: int) -> bool:
    return look.values[value].dtype == "bool" or _hides_all_or_nothing(look, value)
