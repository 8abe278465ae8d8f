"""What a parity run found: one row per stage, and what they add up to. Plain values, no torch."""

from __future__ import annotations

__all__ = ["VERDICTS", "Attribute", "Check", "Inputs", "Link", "Mutants", "Report", "Row", "Verdict", "Worst"]

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

from inspector.records import ModelInfo, Plain, Scenario

Verdict = Literal["pass", "fail", "undetermined", "unclaimed", "unchecked", "exempt"]
VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "undetermined", "unclaimed", "unchecked", "exempt")


class Attribute(NamedTuple):
    """A number that changes a stage's maths: as claimed, and as it was executed; None where it is not known.

    where: who claims it (`config rms_norm_eps`, `the reference forward`), "" where nothing does.
    """

    name: str
    claimed: Plain
    executed: Plain
    where: str = ""

    @property
    def differs(self) -> bool:
        return self.claimed is not None and self.executed is not None and not _alike(self.claimed, self.executed)


class Link(NamedTuple):
    """Where an input of a stage comes from: what the claim names, and what was executed.

    intact: whether it still held the value that it had when it was made.
    """

    argument: str
    claimed: str
    executed: str
    intact: bool = True

    @property
    def broken(self) -> bool:
        return not self.intact or self.claimed != self.executed


class Worst(NamedTuple):
    """The element that is furthest from what is allowed. over: how many elements are beyond it, of how many."""

    place: tuple[int, ...]
    got: float
    expected: float
    allowed: float
    over: int
    elements: int


class Mutants(NamedTuple):
    """How many wrong formulas this run can tell from the right one. alive: those it cannot."""

    killed: int = 0
    total: int = 0
    alive: tuple[str, ...] = ()


class Check(NamedTuple):
    """The value of a stage against the reference. rho: the largest error as a share of what is allowed.

    kind: "bound" (elementwise), "exact" (bit by bit), "set" (of indices).
    """

    kind: str
    rho: float
    max_abs_error: float
    worst: Worst | None = None


class Inputs(NamedTuple):
    """What a stage gave on inputs that were made for it. what: the inputs, in words. elements: how many values."""

    what: str
    elements: int
    check: Check


@dataclass(frozen=True, slots=True)
class Row:
    """One stage of one layer.

    culprit: what is wrong, in words, "" where nothing is. finding: a true excess that is known and no failure.
    looks_like: the wrong formula that gives what the stage gave. special: what it gave on inputs that the tokens never
    bring about, asked of one stage of each kind. place: in reading order.
    """

    path: str
    operand: str
    layer: int | None
    verdict: Verdict
    check: Check | None = None
    dtype: str = ""
    attributes: tuple[Attribute, ...] = ()
    wiring: tuple[Link, ...] = ()
    mutants: Mutants | None = None
    culprit: str = ""
    finding: str = ""
    looks_like: str = ""
    special: Inputs | None = None
    module: str = ""
    place: int = -1

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


@dataclass(frozen=True)
class Report:
    """All stages of one run, in reading order.

    reference: which forward claims the wiring and the attributes, "" where none does. checked: how many values were
    compared with how many calls of the reference. uncovered: parameters that no checked stage reads. notes: what a
    reader must know. flags: settings of torch that change arithmetic.
    """

    model: ModelInfo
    scenario: Scenario
    rows: tuple[Row, ...]
    reference: str = ""
    calls: int = 0
    elements: int = 0
    uncovered: tuple[str, ...] = ()
    power: tuple[tuple[str, float], ...] = ()
    flags: tuple[tuple[str, Plain], ...] = ()
    whole: tuple[tuple[str, Plain], ...] = ()
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> how many stages got it."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.verdict == "fail")

    @property
    def first_failure(self) -> Row | None:
        """The first that fails, in reading order. Stages are judged one by one, so it is where things go wrong."""
        return next(iter(self.failures), None)

    @property
    def findings(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.finding)

    @property
    def verdict(self) -> str:
        """fail · incomplete (something was not checked, or not claimed, or nothing was compared) · pass."""
        counts = self.counts
        if counts["fail"] or self.uncovered:
            return "fail" if counts["fail"] else "incomplete"
        if counts["unchecked"] or counts["unclaimed"] or not self.calls or not counts["pass"]:
            return "incomplete"
        return "pass"


def _alike(claimed: Plain, executed: Plain) -> bool:
    """Whether two numbers are one, but for the last digits of a single-precision one."""
    numbers = (int, float)
    if isinstance(claimed, numbers) and isinstance(executed, numbers):
        return abs(claimed - executed) <= 1e-6 * max(abs(claimed), abs(executed))
    return claimed == executed
