"""Keys and values of earlier tokens. Nothing is written over: a longer cache is another one.

Shapes: B batch, S new tokens, P past, T = P + S keys, G kv heads, K head width.
"""

from __future__ import annotations

__all__ = ["Cache", "append", "append_and_keep"]

from typing import NamedTuple

import torch
from torch import Tensor


class Cache(NamedTuple):
    """The keys and the values of every layer, each (B, G, P, K); keys are kept after their rotation.

    >>> Cache().length, Cache((torch.zeros(1, 2, 5, 4),), (torch.zeros(1, 2, 5, 4),)).length
    (0, 5)

    seen: how many tokens came before, where layers that see a window have let some of them go. cross_keys,
    cross_values: those of another sequence, which are made once and never grow, each (B, G, U, K) with U its tokens.
    """

    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    seen: int | None = None
    cross_keys: tuple[Tensor, ...] = ()
    cross_values: tuple[Tensor, ...] = ()

    @property
    def length(self) -> int:
        if self.seen is not None:
            return self.seen
        return self.keys[0].shape[2] if self.keys else 0

    def extended(self, key: Tensor, value: Tensor) -> Cache:
        """With one layer more."""
        return self._replace(keys=(*self.keys, key), values=(*self.values, value))

    def extended_across(self, key: Tensor, value: Tensor) -> Cache:
        """With another sequence's for one layer more."""
        return self._replace(cross_keys=(*self.cross_keys, key), cross_values=(*self.cross_values, value))


def append(new_BGSK: Tensor, past_BGPK: Tensor | None = None) -> Tensor:
    """The new keys or values behind the old ones: (B, G, T, K).

    >>> append(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 2, 1)).flatten().tolist()
    [0.0, 0.0, 1.0]
    """
    return new_BGSK if past_BGPK is None else torch.cat((past_BGPK, new_BGSK), dim=2)


def append_and_keep(new_BGSK: Tensor, past_BGPK: Tensor | None = None, keeps: int = 0) -> tuple[Tensor, Tensor]:
    """As `append`, and besides what is kept for the next step: the last `keeps` tokens.

    >>> [part.flatten().tolist() for part in append_and_keep(torch.arange(3.0).reshape(1, 1, 3, 1), keeps=2)]
    [[0.0, 1.0, 2.0], [1.0, 2.0]]
    """
    full = append(new_BGSK, past_BGPK)
    return full, full[:, :, max(full.shape[2] - keeps, 0) :]
