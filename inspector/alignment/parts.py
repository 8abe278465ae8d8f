"""What alignment sees of an architecture: plain stages in reading order, in the blocks they stand in."""

from __future__ import annotations

__all__ = ["Match", "Part", "Scope", "Side", "Status"]

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from inspector.records import ModelInfo, Plain, Scenario
from inspector.stage_graph.record import GraphFact

Status = Literal["same", "renamed", "re-expressed", "changed", "moved", "only-a", "only-b"]


@dataclass(frozen=True, slots=True)
class Part:
    """One stage, as far as another architecture can have it too.

    >>> Part("0-11.attention.rope.k", "attention.rope", "k").name
    'attention.rope.k'

    maths: (name, value) of what decides the result: eps, bias, the function of an activation, ... spelling: the ops it
    is written in, which decide nothing. shapes: outputs with axis letters where a part of the architecture names the
    axis, its number where none does; printed: the same with numbers. weights: shapes of the parameters it reads.
    feeds, readers: names of the stages it reads from and that read it. idle: it hands on what it got
    (dropout in eval, times one).
    """

    id: str
    path: str
    operand: str = ""
    also: tuple[str, ...] = ()
    layers: str = ""
    module: str = ""
    maths: tuple[tuple[str, Plain], ...] = ()
    spelling: str = ""
    shapes: tuple[tuple[str, ...], ...] = ()
    printed: tuple[str, ...] = ()
    weights: tuple[tuple[str, ...], ...] = ()
    feeds: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    idle: bool = False
    ops: tuple[int, ...] = ()
    section: str = field(init=False, repr=False, compare=False)  # what rules ask most: the path is cut once
    role: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        section, _, role = self.path.partition(".")
        object.__setattr__(self, "section", section)
        object.__setattr__(self, "role", role or self.path)

    @property
    def name(self) -> str:
        """Role path with its operand."""
        return f"{self.path}.{self.operand}" if self.operand else self.path

    def get(self, name: str) -> Plain:
        """One of `maths`, None when it is not there."""
        return next((value for key, value in self.maths if key == name), None)


@dataclass(frozen=True, slots=True)
class Scope:
    """Stages that stand together: before the blocks, one kind of block, after the blocks.

    place: "stem", "block" or "head". layers: the numbers of all blocks of the kind. text: the same as a span,
    "0-11".
    """

    place: str
    parts: tuple[Part, ...]
    layers: tuple[int, ...] = ()
    text: str = ""
    name: str = ""


@dataclass(frozen=True)
class Side:
    """One architecture.

    sizes: axis letter -> sizes found (one in most models). facts: what was found out about it as a whole.
    """

    model: ModelInfo
    scenario: Scenario
    scopes: tuple[Scope, ...]
    depth: int = 0
    pattern: str = ""
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    facts: tuple[GraphFact, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def figures(self) -> dict[str, int | None]:
        """Counts that are said beside each other and never judged."""
        found = {fact.id: fact.value for fact in self.facts}
        counts = {name: found.get(fact) for name, fact in _FIGURES.items()}
        return {name: count if isinstance(count, int) else None for name, count in counts.items()}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for scope in self.scopes for part in scope.parts)

    @property
    def blocks(self) -> tuple[Scope, ...]:
        return tuple(scope for scope in self.scopes if scope.place == "block")


_FIGURES = {"parameters": "model.parameters", "flops": "cost.flops", "cache_bytes_per_token": "cache.bytes_per_token"}


class Match(NamedTuple):
    """Stages of A and the stages of B that do the same job; one side is empty where there is no counterpart.

    form: the name of the n:m form by which they belong together, "" for one stage each. moved: whether the job is
    done at another place. score: how much speaks for the match, 0 to 1.
    """

    a: tuple[Part, ...]
    b: tuple[Part, ...]
    reason: str
    score: float
    form: str = ""
    moved: bool = False

    @property
    def mirrored(self) -> Match:
        return self._replace(a=self.b, b=self.a)
