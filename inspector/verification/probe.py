"""How much a run can show: scores that hardly differ make every fault inside attention invisible.

With weights as they are initialised (standard deviation 0.02) attention is uniform, and a model without its scale, its
mask or its rotations gives the same output. So the power of the probe is measured beside what it finds.
"""

from __future__ import annotations

__all__ = ["Probe"]

from collections.abc import Iterator

import torch
from torch import Tensor

LEAST_SPREAD, MOST_SPREAD = 0.5, 4.0
"""Standard deviation of a query's scores: below, attention is uniform; above, it is a single key."""

MOST_ENTROPY = 0.9
"""Mean entropy of attention, as a share of that of uniform attention."""


class Probe:
    """Gathers what attention looks like, layer by layer."""

    def __init__(self) -> None:
        self._spreads: list[float] = []
        self._entropies: list[float] = []

    def see(self, probabilities: Tensor) -> None:
        """The probabilities of one layer, (B, H, S, T) in float64; queries that see fewer than two keys say nothing."""
        seen = probabilities > 0
        count = seen.sum(-1)
        rows = count > 1
        if not bool(rows.any()):
            return
        p, seen, count = probabilities[rows], seen[rows], count[rows]
        logs = torch.where(seen, p, 1.0).log()
        mean = logs.sum(-1) / count
        spread = (torch.where(seen, logs - mean[:, None], 0.0).pow(2).sum(-1) / count).sqrt()
        self._spreads.append(float(spread.mean()))
        self._entropies.append(float((-(p * logs).sum(-1) / count.log()).mean()))

    def figures(self) -> tuple[tuple[str, float], ...]:
        """The layer that shows least: its spread of scores, and its entropy as a share of the largest possible one."""
        if not self._spreads:
            return ()
        return ("score_spread", round(min(self._spreads), 3)), ("attention_entropy", round(max(self._entropies), 3))

    def notes(self) -> Iterator[str]:
        """What a reader must know before he trusts a pass."""
        if not self._spreads:
            return
        if min(self._spreads) < LEAST_SPREAD or max(self._entropies) > MOST_ENTROPY:
            yield "attention is nearly uniform with these weights: faults inside it would hardly show"
        elif max(self._spreads) > MOST_SPREAD:
            yield "attention sees hardly more than one key with these weights: faults in the others would hardly show"
