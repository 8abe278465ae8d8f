"""What the comparison of two implementations found: one row per stage that they share, or that one has alone.

Plain values, no torch.
"""

from __future__ import annotations

__all__ = ["AgainstReport", "AgainstRow", "Figure", "Part"]

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from inspector.records import ModelInfo, Plain, Scenario
from inspector.verification.report import VERDICTS, Check, Verdict


class Part(NamedTuple):
    """A stage of one side. source: where its module's class is written, `package/file.py:12`, "" where unknown."""

    name: str
    module: str
    source: str = ""

    def __str__(self) -> str:
        at = f" ({self.source})" if self.source else ""
        return f"{self.module or 'the model itself'}{at}"


class Difference(NamedTuple):
    """A number that changes a stage's maths, on both sides; None where a side has none."""

    name: str
    a: Plain
    b: Plain


class Figure(NamedTuple):
    """A measured number that is shown and never judged."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class AgainstRow:
    """Stages of A and the stages of B that do the same job; () where a side has none.

    verdict: "pass" (B gives what A gives, within what both may be off by), "fail" (it diverges), "unchecked" (no bound
    is known), "exempt". check: rho is the largest difference as a share of bound_a + bound_b; `got` is B's number and
    `expected` A's. differences: numbers that are not alike, whether or not the values show it. culprit: in words.
    """

    path: str
    operand: str
    layer: int | None
    verdict: Verdict
    a: tuple[Part, ...]
    b: tuple[Part, ...]
    check: Check | None = None
    dtypes: tuple[str, str] = ("", "")
    differences: tuple[Difference, ...] = ()
    culprit: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """Role path with its operand: `attention.rope.k`."""
        return f"{self.path}.{self.operand}" if self.operand else self.path

    @property
    def where(self) -> str:
        """The stage as a reader calls it: `layer 3 attention.rope.k`."""
        return self.name if self.layer is None else f"layer {self.layer} {self.name}"

    @property
    def rho(self) -> float | None:
        return None if self.check is None else self.check.rho

    @property
    def sentence(self) -> str:
        """Where and how it diverges, with the module of each side.

        >>> one = Part("attention.scale", "h.0.attn"), Part("attention.scale", "blocks.0")
        >>> row = AgainstRow("attention.scale", "", 0, "fail", one[:1], one[1:], culprit="factor is 1, here 2")
        >>> row.sentence
        'layer 0 attention.scale diverges: factor is 1, here 2; A: h.0.attn; B: blocks.0'
        """
        sides = [f"{side}: {parts[0]}" for side, parts in (("A", self.a), ("B", self.b)) if parts]
        return "; ".join([f"{self.where} diverges: {self.culprit}", *sides])


@dataclass(frozen=True)
class AgainstReport:
    """Two runs, stage by stage, in reading order.

    a, b: which models; scenarios: how each was run. replayed: "b" where B's stages ran on A's inputs, "a" where A's ran
    on B's (the coarser number format gives the inputs, for only those are numbers of the other one too). whole: how far
    the answers are apart in the end. ungiven: parameters of B that got nothing of A. unused: those of A that B has no
    place for.
    """

    a: ModelInfo
    b: ModelInfo
    scenarios: tuple[Scenario, Scenario]
    rows: tuple[AgainstRow, ...]
    replayed: str = "b"
    elements: int = 0
    whole: tuple[Figure, ...] = ()
    ungiven: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> how many rows got it."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def failures(self) -> tuple[AgainstRow, ...]:
        return tuple(row for row in self.rows if row.verdict == "fail")

    @property
    def first_failure(self) -> AgainstRow | None:
        """The first stage that diverges, in topological order."""
        return next(iter(self.failures), None)

    @property
    def verdict(self) -> str:
        """fail · incomplete (something was not checked) · pass."""
        counts = self.counts
        if counts["fail"]:
            return "fail"
        return "incomplete" if counts["unchecked"] or not counts["pass"] else "pass"

    @property
    def sentence(self) -> str:
        """The answer in one line."""
        if self.first_failure is not None:
            return self.first_failure.sentence
        unchecked = self.counts["unchecked"]
        rest = f"; {unchecked} stages are unchecked" if unchecked else ""
        return f"no stage diverges{rest}"
