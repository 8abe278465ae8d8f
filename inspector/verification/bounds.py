"""How far a stage may be from the reference: elementwise bounds that follow from the arithmetic, with no tolerance set.

A bound is a tensor like the expected one, in float64. It is made of the unit roundoff `u` of the number format, of the
accumulation in single precision `a`, and of `gamma(n)` for a sum of n terms. Probabilistic bounds of sums hold for all
of N compared elements with probability 1 - 2N·exp(-32): Higham and Mary 2019 (SIAM J. Sci. Comput. 41), lambda = 8.
"""

from __future__ import annotations

__all__ = ["BOUNDS", "SINGLE", "Arithmetic", "Case", "arithmetic_of", "bounds_of"]

import math
from collections.abc import Callable

import torch
from torch import Tensor

from inspector.reference.activations import activate
from inspector.reference.attention import contract, scale, scores, softmax, weighted_sum
from inspector.reference.experts import chosen_linear, combine, combine_sorted, expert_linear, grouped_linear
from inspector.reference.feedforward import summed
from inspector.reference.frequencies import RopeScaling, inverse_frequencies
from inspector.reference.projections import convolve, linear, linear_heads
from inspector.reference.rope import rotate_part
from inspector.verification.arithmetic import SINGLE, Arithmetic, Case, arithmetic_of

_ROUNDINGS = 2.0
"""How often the variants of RMSNorm round to the model's format: Llama's twice, Gemma's once."""

Bound = Callable[[Case], Tensor | tuple[Tensor, ...] | None]
"""None: not a bit may differ."""


def bounds_of(function: str, case: Case) -> tuple[Tensor, ...] | str | None:
    """The bound of each output; None where it must be exact; a reason, as text, where no bound is known."""
    if function not in BOUNDS:
        return f"no bound is known for {function}"
    bound = BOUNDS[function](case)
    if bound is None:
        return None
    return bound if isinstance(bound, tuple) else (bound,) * len(case.expected)


def _exact(_: Case) -> None:
    """Nothing is computed here, only moved, looked up or counted."""


def _rounded(case: Case, times: float = 1.0) -> Tensor:
    """The result of one correctly rounded operation, or of `times` of them."""
    return times * case.arithmetic.u * case.expected[0].abs() + case.arithmetic.tiny


def _sum(case: Case) -> Tensor:
    """A sum of a few tensors: each addition rounds."""
    if len(case.operands) < 3:
        return _rounded(case)
    total = torch.stack([term.abs().broadcast_to(case.expected[0].shape) for term in case.operands.values()]).sum(0)
    return (len(case.operands) - 1) * case.arithmetic.u * total + case.arithmetic.tiny


def _summed(case: Case) -> Tensor:
    """So many numbers added up in single precision, and rounded once."""
    one, axes = case.arithmetic, case.attributes["axes"]
    terms = math.prod(case.first.shape[axis] for axis in axes)
    return one.u * case.expected[0].abs() + one.gamma(terms) * summed(case.first.abs(), axes) + one.tiny


def _terms(case: Case) -> Tensor:
    """What is added to scores: every addition rounds, in whichever order."""
    shape = case.expected[0].shape
    total = torch.stack([term.abs().to(torch.float64).expand(shape) for term in case.operands.values()]).sum(0)
    return (len(case.operands) - 1) * case.arithmetic.u * total + case.arithmetic.tiny


def _shares(case: Case) -> Tensor:
    """A sum, a division and a product, each rounded."""
    one = case.arithmetic
    return (one.gamma(case.first.shape[-1]) + 4 * one.u) * case.expected[0].abs() + one.tiny


def _group(case: Case) -> Tensor:
    """So many scores added up, each sum rounded."""
    one, best = case.arithmetic, case.first
    return (one.gamma(best.shape[-1]) + one.u) * best.abs().sum(-1) + one.tiny


def _combine(case: Case) -> Tensor:
    """Each answer weighed and rounded, then added up."""
    one, active = case.arithmetic, int(case.attributes["active"])
    function: Callable[..., Tensor] = combine_sorted if "back_M" in case.operands else combine
    size = function(**{name: tensor.abs() for name, tensor in case.operands.items()}, active=active)
    bound: Tensor = (active + 2) * one.u * size + one.tiny
    return bound


def _contract(case: Case) -> Tensor:
    inputs, _, result = case.attributes["equation"].partition("->")
    sizes: dict[str, int] = {}
    for letters, tensor in zip(inputs.split(","), case.operands.values(), strict=True):
        sizes |= dict(zip(letters, tensor.shape, strict=True))
    return _contraction(case, contract, math.prod(sizes[letter] for letter in sizes.keys() - set(result)))


def _contraction(case: Case, function: Callable[..., Tensor], terms: int) -> Tensor:
    """A sum of products, accumulated in single precision and rounded once."""
    one = case.arithmetic
    return one.u * case.expected[0].abs() + one.gamma(terms) * case.magnitudes(function) + one.tiny


def _layer_norm(case: Case) -> Tensor:
    one, x, width = case.arithmetic, case.operands["x"], case.operands["x"].shape[-1]
    mean = x.mean(-1, keepdim=True)
    eps: float = case.attributes["eps"]
    spread = (x - mean).pow(2).mean(-1, keepdim=True) + eps
    gamma = one.gamma(width)
    variance = 0.5 * gamma * (x.pow(2).mean(-1, keepdim=True) + mean.pow(2)) / spread
    centred = gamma * x.abs().mean(-1, keepdim=True) + one.a * mean.abs() + (x - mean).abs() * (4 * one.a + variance)
    weight, bias = case.operands.get("weight"), case.operands.get("bias")
    scaled = centred * spread.rsqrt() * (1.0 if weight is None else weight.abs())
    added = 0.0 if bias is None else one.a * bias.abs()
    return scaled + added + one.u * case.expected[0].abs() + one.tiny


def _rms_norm(case: Case) -> Tensor:
    one, width = case.arithmetic, case.operands["x"].shape[-1]
    share = 0.5 * one.gamma(width) + 5 * one.a + _ROUNDINGS * one.u * (1 + one.u)
    return case.expected[0].abs() * share + one.tiny


def _rotate(case: Case) -> Tensor:
    one, nothing = case.arithmetic, torch.zeros_like
    x, cos, sin = case.operands["x_BHSK"], case.operands["cos_B1SR"], case.operands["sin_B1SR"]
    parts = (cos, nothing(sin)), (nothing(cos), sin)
    terms = sum((rotate_part(x, *tables, **case.attributes).abs() for tables in parts), torch.zeros_like(x))
    return one.u * (1 + one.u) * (terms + case.expected[0].abs()) + 3 * one.tiny


def _rotate_complex(case: Case) -> Tensor:
    """Products and sums in single precision, rounded once."""
    one, x, table = case.arithmetic, case.operands["x_BHSK"], case.operands["table_B1SF"]
    dims = case.attributes.get("dims") or x.shape[-1]
    pairs = x[..., :dims].abs().unflatten(-1, (-1, 2)).sum(-1) * (table.real.abs() + table.imag.abs())
    size = torch.cat((pairs.repeat_interleave(2, -1), torch.zeros_like(x[..., dims:])), -1)
    return 4 * one.a * size + one.u * case.expected[0].abs() + one.tiny


def _rope_table(case: Case) -> tuple[Tensor, ...]:
    """Angles in single precision: the error grows with the position, and beyond 2^24 nothing is left."""
    one, claims = case.arithmetic, dict(case.attributes)
    layout, heads, _ = claims.pop("layout", "half"), claims.pop("heads", 1), claims.pop("dtype", None)
    positions = case.operands["position_ids_BS"]
    inverse = inverse_frequencies(RopeScaling(**claims), positions.max() + 1, positions.device)
    angles = (positions[..., None].to(torch.float64) * inverse).abs().unsqueeze(1)
    if layout != "single":
        angles = torch.cat((angles, angles), -1) if layout == "half" else angles.repeat_interleave(2, -1)
    angles = angles.transpose(1, heads)
    largest = max(float(table.abs().max()) for table in case.expected)  # the attention factor of yarn and longrope
    share = max(largest, 1.0) * one.a
    return tuple(share * (4 * angles + 2) + one.u * table.abs() for table in case.expected)


def _complex_table(case: Case) -> Tensor:
    bounds = _rope_table(
        case._replace(attributes={**case.attributes, "layout": "single"}, expected=case.expected[0].unbind(-1))
    )
    assert isinstance(bounds, tuple)
    return torch.stack(bounds, -1)


def _softmax(case: Case) -> Tensor:
    one, scores = case.arithmetic, case.first
    behind = scores.amax(-1, keepdim=True) - scores
    taken_off = _taken_off(case.expected[0], behind, one.u) if case.composite else 0.0
    share = ((behind + 6) * one.a).add_(one.gamma(scores.shape[-1]) + one.u) + taken_off
    return torch.where(behind < _LOST, case.expected[0] * share + one.tiny, case.expected[0] + _NOTHING)


def _taken_off(p: Tensor, behind: Tensor, u: float) -> Tensor:
    """What rounding moves a probability by where the row's maximum is taken off in an op of its own.

    Each difference is rounded, and with it the sum that all are divided by.
    """
    return u * (behind + (p * behind).nan_to_num(0.0).sum(-1, keepdim=True))


_LOST = 110.0
"""How far behind the largest score nothing is left: exp(-110) is below the smallest number of single precision.

What float64 still has of it may all be lost, and no more: the error of a zero is the probability itself.
"""

_NOTHING = 1e-300
"""What a masked probability may be off by: less than any number that a model's format holds."""


def _softcap(case: Case) -> Tensor:
    one, y = case.arithmetic, case.expected[0].abs()
    cap: float = case.attributes["cap"]
    return (2 * one.u + 4 * one.a) * y + one.u * case.first.abs() + one.tiny * (1 + 2 * cap)


def _activation(case: Case) -> Tensor:
    """Correctly rounded but for a few units of single precision; written out, the sum that cancels rounds too."""
    one, x = case.arithmetic, case.first.abs()
    bound = one.u * case.expected[0].abs() + 8 * one.a * x + one.tiny
    if case.attributes.get("kind") in _NOT_THROUGH_ZERO:
        bound = bound + 4 * one.a * case.expected[0].abs()
    return bound + 2 * one.u * x if case.composite and one.u > SINGLE else bound


def _exponential(case: Case) -> Tensor:
    """Correctly rounded but for a few units of single precision, in proportion to the result."""
    one = case.arithmetic
    return (one.u + 4 * one.a) * case.expected[0].abs() + one.tiny


_NOT_THROUGH_ZERO = frozenset({"sigmoid", "softplus", "sqrtsoftplus", "laplace"})
"""What is made of numbers near one, whatever small number goes in."""


def _fused(case: Case) -> Tensor:
    """One kernel from scores to weighted sum; scores stay in single precision, probabilities may be rounded.

    Written out in several ops, scores and their scaling are rounded too.
    """
    one, o = case.arithmetic, case.operands
    q, k, v, allowed = o["q_BHSK"], o["k_BHTK"], o["v_BHTK"], o.get("allowed")
    factor = case.attributes.get("factor") or q.shape[-1] ** -0.5
    s = scale(scores(q, k), factor) + o.get("bias", 0.0)
    size = scale(scores(q.abs(), k.abs()), abs(factor))
    masked = s if allowed is None else torch.where(allowed, s, -torch.inf)
    p = softmax(masked, empty="zero")
    rounded = 2 * one.u * (1 + one.u) if case.composite else 0.0
    narrowed = 2 * one.u if case.attributes.get("narrowed") else 0.0  # queries, keys and values rounded as they enter
    error = (one.gamma(q.shape[-1]) + narrowed) * size + (3 * one.a + rounded) * s.abs()
    error = error if allowed is None else torch.where(allowed, error, 0.0)
    behind = torch.where(p > 0, (masked.amax(-1, keepdim=True) - masked).nan_to_num(0.0, 0.0, 0.0), 0.0)
    keys = k.shape[-2]
    share = 2 * error.amax(-1, keepdim=True) + one.u + narrowed + 2 * one.gamma(keys) + one.a * (behind + 8)
    reach = torch.einsum("bhst,bhtk->bhsk", p * share, v.abs())
    return reach + one.u * case.expected[0].abs() + one.tiny * (1 + v.abs().sum(-2, keepdim=True))


def _pooler(case: Case) -> Tensor:
    """A projection and a tanh, whose slope is nowhere above one."""
    one, o = case.arithmetic, case.operands
    first = o["x_BSD"][:, 0]
    inner = linear(first, o["weight_DD"], o.get("bias_D"))
    size = linear(first.abs(), o["weight_DD"].abs(), o["bias_D"].abs() if "bias_D" in o else None)
    error = one.u * inner.abs() + one.gamma(first.shape[-1] + 1) * size
    return error + (one.u + 4 * one.a) * case.expected[0].abs() + one.tiny


def _transform(case: Case) -> Tensor:
    """A projection, a non-linearity and a norm: the errors of each pass through the next."""
    one, o = case.arithmetic, case.operands
    inner = linear(o["x_BSD"], o["dense_DD"], o["dense_bias_D"])
    size = linear(o["x_BSD"].abs(), o["dense_DD"].abs(), o["dense_bias_D"].abs())
    error = one.u * inner.abs() + one.gamma(inner.shape[-1] + 1) * size
    hidden = activate(inner, case.attributes["kind"])
    error = _STEEPEST * error + (one.u + 8 * one.a) * inner.abs()
    norm = {"x": hidden, "weight": o["norm_D"], "bias": o["norm_bias_D"]}
    own = _layer_norm(Case(norm, {"eps": case.attributes["eps"]}, case.expected, one))
    spread = (hidden.var(-1, correction=0, keepdim=True) + case.attributes["eps"]).rsqrt()
    away = (hidden - hidden.mean(-1, keepdim=True)).abs() * spread
    shared = error.mean(-1, keepdim=True) + error.pow(2).mean(-1, keepdim=True).sqrt() * away
    bound: Tensor = own + spread * o["norm_D"].abs() * (error + shared)
    return bound


_STEEPEST = 1.13
"""The largest slope of gelu, at sqrt(2); that of the other non-linearities is smaller."""


def _linear(case: Case) -> Tensor:
    """As a contraction, but |x||W| is bounded by the lengths of the vectors: a product less, and never too small."""
    one, weight, bias = case.arithmetic, case.operands["weight"], case.operands.get("bias")
    rows = torch.linalg.vector_norm(case.operands["x"], dim=-1, keepdim=True)
    columns = torch.linalg.vector_norm(weight, dim=0 if case.attributes.get("layout") == "in_out" else 1)
    size = rows * columns if bias is None else rows * columns + bias.abs()
    bound: Tensor = one.u * case.expected[0].abs() + one.gamma(case.operands["x"].shape[-1] + 1) * size + one.tiny
    if bias is None or not case.composite:
        return bound
    return bound + one.u * (1 + one.u) * (case.expected[0] - bias).abs()  # the product is rounded before the sum is


def _scores(case: Case) -> Tensor:
    return _contraction(case, scores, case.operands["q_BHSK"].shape[-1])


def _weighted_sum(case: Case) -> Tensor:
    return _contraction(case, weighted_sum, case.operands["weights_BHST"].shape[-1])


BOUNDS: dict[str, Bound] = {
    **dict.fromkeys(
        (
            "embeddings.token",
            "embeddings.position",
            "embeddings.segment",
            "embeddings.first_segment",
            "heads.split_heads",
            "heads.merge_heads",
            "heads.repeat_kv",
            "projections.split_qkv",
            "projections.split_gate_up",
            "cache.append",
            "cache.append_and_keep",
            "layout.arrange",
            "layout.pieces",
            "layout.join",
            "layout.repeated",
            "layout.padded",
            "layout.spread",
            "layout.taken",
            "layout.tiled",
            "layout.together",
            "layout.viewed",
            "attention.with_sink",
            "attention.drop_sink",
            "experts.choose",
            "experts.chosen",
            "experts.copies",
            "experts.of_chosen",
            "experts.scores_of",
            "experts.within_groups",
            "experts.sorted_by_expert",
            "positions.counted",
            "positions.relative_bias",
            "positions.position_ids",
        ),
        _exact,
    ),
    "embeddings.add_embeddings": _sum,
    "embeddings.scale_embedding": lambda case: _rounded(case, 2),
    "norms.layer_norm": _layer_norm,
    "norms.rms_norm": _rms_norm,
    "norms.l2_norm": _rms_norm,
    "projections.linear": _linear,
    "projections.product_of": _linear,
    "projections.convolve": lambda case: _contraction(case, convolve, case.operands["weight_OIW"][0].numel() + 1),
    "projections.linear_heads": lambda case: _contraction(case, linear_heads, case.operands["x"].shape[-1] + 1),
    "layout.rounded": _rounded,
    "rope.rope_table": _rope_table,
    "rope.complex_table": _complex_table,
    "rope.rotate": _rotate,
    "rope.rotate_part": _rotate,
    "rope.rotate_complex": _rotate_complex,
    "attention.scores": _scores,
    "attention.scale": lambda case: _rounded(case, 2),  # the number itself is rounded too
    "attention.softcap": _softcap,
    "attention.add_bias": _rounded,
    "attention.add_terms": _terms,
    "attention.contract": _contract,
    "positions.alibi_of_numbers": lambda case: _rounded(case, 4),
    "positions.alibi_of_places": lambda case: _rounded(case, 4),
    "attention.softmax": _softmax,
    "attention.weighted_sum": _weighted_sum,
    "attention.attend": _fused,
    "activations.activate": _activation,
    "activations.clamp": _rounded,
    "activations.shift": _rounded,
    "activations.exponential": _exponential,
    "feedforward.multiply": _rounded,
    "feedforward.add": _rounded,
    "feedforward.add_all": _sum,
    "feedforward.subtract": _rounded,
    "feedforward.divide": _rounded,
    "feedforward.summed": _summed,
    "experts.probabilities": _softmax,
    "experts.shares": _shares,
    "experts.score_of_groups": _group,
    "experts.grouped_linear": lambda case: _contraction(case, grouped_linear, case.operands["x_MI"].shape[-1] + 1),
    "experts.chosen_linear": lambda case: _contraction(case, chosen_linear, case.operands["x_MI"].shape[-1] + 1),
    "experts.combine_sorted": _combine,
    "experts.expert_linear": lambda case: _contraction(case, expert_linear, case.operands["x_MI"].shape[-1] + 1),
    "experts.combine": _combine,
    "outputs.pooler": _pooler,
    "outputs.transform": _transform,
}
"""Reference function -> its bound."""
