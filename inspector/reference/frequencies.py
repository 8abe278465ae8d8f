"""How fast each pair of elements turns: the inverse frequencies of rotary positions, and their scalings.

Shapes: F pairs, that is half of the elements that are turned. Everything is float64.
"""

from __future__ import annotations

__all__ = ["KINDS", "RopeScaling", "attention_factor", "inverse_frequencies"]

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RopeScaling:
    """What a config claims of its rotations.

    >>> RopeScaling(dim=128, theta=5e5).claims()
    {'dim': 128, 'theta': 500000.0, 'kind': 'default', 'factor': 1.0}

    dim: elements of a head that are turned. theta: base of the frequencies. original: the length trained on, in tokens.
    factor: how much longer than that. `low` and `high` (llama3) say how many turns within `original` bound the blend;
    `beta_fast` and `beta_slow` say it for yarn. `explicit` is an attention factor that overrides the formula.
    `short` and `long` (longrope) hold one divisor per pair.
    """

    dim: int
    theta: float = 10000.0
    kind: str = "default"
    factor: float = 1.0
    original: int | None = None
    low: float | None = None
    high: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    truncate: bool | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    explicit: float | None = None
    short: tuple[float, ...] | None = None
    long: tuple[float, ...] | None = None

    def claims(self) -> dict[str, Any]:
        """Every number that is said, by name; `RopeScaling(**claims)` is the same again."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def trained(self) -> int:
        if self.original is None:
            raise ValueError(f"{self.kind} rotations need the length trained on (original), but got none")
        return self.original


def inverse_frequencies(
    rope: RopeScaling, length: int | Tensor | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Radians per token of each pair, (F,) float64.

    >>> inverse_frequencies(RopeScaling(dim=4))
    tensor([1.0000, 0.0100], dtype=torch.float64)

    `length` is the number of positions in use (the largest plus one), where the kind depends on it: an int, or a
    tensor without axes. ValueError for another kind, and for a kind that lacks a number.
    Source: Su et al. 2021 (arXiv 2104.09864), section 3.2.2: theta_i = theta^(-2i/d).
    """
    if rope.kind not in KINDS:
        raise ValueError(f"a kind of rotation is one of {', '.join(KINDS)}, but got {rope.kind}")
    if length is not None:
        length = torch.as_tensor(length, device=device)
    return KINDS[rope.kind](rope, length, device)


def attention_factor(rope: RopeScaling) -> float:
    """What cosines and sines are multiplied by.

    >>> attention_factor(RopeScaling(dim=4, kind="yarn", factor=math.e))
    1.1
    >>> attention_factor(RopeScaling(dim=4, kind="yarn", factor=8.0, explicit=1.0))
    1.0

    Source: yarn, Peng et al. 2023 (arXiv 2309.00071), equation 22: sqrt(1/t) = 0.1·ln(s) + 1, with DeepSeek-V2's
    ratio of two mscales; longrope, Ding et al. 2024 (arXiv 2402.13753): sqrt(1 + ln(s)/ln(L)).
    """
    if rope.kind not in ("yarn", "longrope"):
        return 1.0
    if rope.explicit is not None:
        return rope.explicit
    if rope.kind == "longrope":
        return math.sqrt(1 + math.log(rope.factor) / math.log(rope.trained)) if rope.factor > 1 else 1.0
    if rope.mscale and rope.mscale_all_dim:
        return _temperature(rope.factor, rope.mscale) / _temperature(rope.factor, rope.mscale_all_dim)
    return _temperature(rope.factor, 1.0)


def _temperature(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


Length = Tensor | None
Device = torch.device | str | None


def _exponents(rope: RopeScaling, device: Device) -> Tensor:
    return torch.arange(0, rope.dim, 2, dtype=torch.float64, device=device) / rope.dim


def _plain(rope: RopeScaling, device: Device) -> Tensor:
    return rope.theta ** -_exponents(rope, device)


def _default(rope: RopeScaling, length: Length, device: Device) -> Tensor:
    return _plain(rope, device)


def _linear(rope: RopeScaling, length: Length, device: Device) -> Tensor:
    """Positions divided by the factor (Chen et al. 2023, arXiv 2306.15595, equation 4)."""
    return _plain(rope, device) / rope.factor


def _dynamic(rope: RopeScaling, length: Length, device: Device) -> Tensor:
    """The base grows with the length, once that is beyond the length trained on (NTK-aware, dynamic).

    With s the ratio of the two: theta·(factor·s − (factor − 1))^(d/(d−2)); arXiv 2309.00071, appendix B.1 and its
    dynamic form.
    """
    if length is None:
        return _plain(rope, device)
    ratio = torch.clamp(length.to(torch.float64) / rope.trained, min=1.0)
    theta = rope.theta * (rope.factor * ratio - (rope.factor - 1)) ** (rope.dim / (rope.dim - 2))
    return theta ** -_exponents(rope, device)


def _yarn(rope: RopeScaling, length: Length, device: Device) -> Tensor:
    """Fast pairs stay as they are, slow ones are divided by the factor, and between them a ramp (NTK by parts).

    Source: arXiv 2309.00071, equations 17 to 21; the ramp runs over the index of the pair, as in the code of its
    authors: a pair makes r turns within L at i = d·ln(L/(2πr)) / (2·ln(theta)).
    """
    low, high = _pair(rope, rope.beta_fast or 32.0), _pair(rope, rope.beta_slow or 1.0)
    if rope.truncate is not False:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.dim - 1)
    pairs = torch.arange(rope.dim // 2, dtype=torch.float64, device=device)
    ramp = torch.clamp((pairs - low) / (high - low if high != low else 0.001), 0.0, 1.0)
    plain = _plain(rope, device)
    return plain / rope.factor * ramp + plain * (1 - ramp)


def _pair(rope: RopeScaling, turns: float) -> float:
    """The (broken) index of the pair that makes so many turns within the length trained on."""
    return rope.dim * math.log(rope.trained / (2 * math.pi * turns)) / (2 * math.log(rope.theta))


def _longrope(rope: RopeScaling, length: Length, device: Device) -> Tensor:
    """Each pair has a divisor of its own: one list up to the length trained on, another beyond it (arXiv 2402.13753).

    Which list it is depends on the positions in use, never on what the model could hold.
    """
    if rope.short is None or rope.long is None:
        raise ValueError("longrope needs a short and a long list of divisors")
    short = torch.tensor(rope.short, dtype=torch.float64, device=device)
    if length is None:
        return _plain(rope, device) / short
    long = torch.tensor(rope.long, dtype=torch.float64, device=device)
    return _plain(rope, device) / torch.where(length > rope.trained, long, short)


def _llama3(rope: RopeScaling, length: Length, device: Device) -> Tensor:
    """Slow pairs are divided by the factor, fast ones stay, between them a blend by the turns they make.

    Source: the Llama 3 herd of models (arXiv 2407.21783), section 3.2, and Meta's released code.
    """
    if rope.low is None or rope.high is None:
        raise ValueError("llama3 rotations need low and high, the turns that bound the blend")
    plain = _plain(rope, device)
    turns = rope.trained * plain / (2 * math.pi)
    share = torch.clamp((turns - rope.low) / (rope.high - rope.low), 0.0, 1.0)
    return (1 - share) * plain / rope.factor + share * plain


KINDS: dict[str, Callable[[RopeScaling, Length, Device], Tensor]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
}
"""Kind of rotation -> its frequencies."""
