"""What all rules share while they name one trace."""

from __future__ import annotations

__all__ = ["Attention", "Context"]

from dataclasses import dataclass, field
from typing import NamedTuple

from inspector.records import Concrete
from inspector.roles.flow import Flow
from inspector.roles.norms import Norm
from inspector.roles.parts import Parts
from inspector.roles.rope import Rope
from inspector.roles.trunk import Residual


class Attention(NamedTuple):
    """One attention: its anchor and the values where the walks start.

    query, key, value: operands of the products. result: the weighted sum. product: the op that makes the scores (the
    anchor itself where one kernel does all). key_axis: the axis of its result where the keys are, from the right.
    """

    anchor: int
    query: int
    key: int
    value: int
    result: int
    product: int
    key_axis: int = -1


@dataclass(slots=True)
class Context:
    """The flow, the idioms found so far and the table that is being filled.

    norm_of, rope_of: op id -> the idiom it belongs to. norm_into: value made -> norm. trunk: values of the residual
    stream: sums, what enters the first block, and the norms that are written back to the stream.
    """

    flow: Flow
    parts: Parts
    norms: list[Norm] = field(default_factory=list)
    ropes: list[Rope] = field(default_factory=list)
    attentions: list[Attention] = field(default_factory=list)
    residuals: list[Residual] = field(default_factory=list)
    norm_of: dict[int, Norm] = field(default_factory=dict)
    rope_of: dict[int, Rope] = field(default_factory=dict)
    norm_into: dict[int, Norm] = field(default_factory=dict)
    trunk: set[int] = field(default_factory=set)

    def projects(self, op: int) -> bool:
        """Whether `op` is a weighted contraction of its own, not the gate inside a norm."""
        return self.flow.weighted[op] and op not in self.norm_of

    def concrete(self, value: int) -> Concrete | None:
        """The contents of `value` where they are known and kept."""
        found = self.flow.trace.concrete.get(value)
        return found if found is not None and found.kept else None
