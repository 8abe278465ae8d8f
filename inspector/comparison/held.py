"""A lock held against its model: what came of it, and whether that is a failure."""

from __future__ import annotations

__all__ = ["Held", "worst"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from inspector.comparison.judge import Comparison, Finding
from inspector.comparison.rules import SEVERITIES, Severity
from inspector.errors import InspectorError
from inspector.stage_graph.export.lock import Locked

Verdict = Literal["same", "differs", "unanswered"]


@dataclass(frozen=True)
class Held:
    """One lock and its model.

    lock: what the lock is called, without its folder. fail_on: the least severity that is a failure.
    then, now: both graphs without sizes; None where the question could not be answered, and `error` says why.
    updated: whether the lock was written anew.
    """

    lock: str
    fail_on: Severity = "notable"
    then: Locked | None = None
    now: Locked | None = None
    comparison: Comparison | None = None
    error: InspectorError | None = None
    updated: bool = False

    @property
    def name(self) -> str:
        """What the model is called, "" where that is not known."""
        return self.then.record.model.name or self.then.record.model.class_name if self.then else ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The worst first; among equals in the order of the rules."""
        found = self.comparison.findings if self.comparison else ()
        return tuple(sorted(found, key=lambda finding: _RANK[finding.severity]))

    @property
    def failing(self) -> tuple[Finding, ...]:
        """The findings that make it a failure."""
        return tuple(finding for finding in self.findings if _RANK[finding.severity] <= _RANK[self.fail_on])

    @property
    def verdict(self) -> Verdict:
        """`same` where nothing but names is other than it was."""
        if self.comparison is None:
            return "unanswered"
        quiet = all(row.status in ("same", "renamed") for row in self.comparison.rows)
        return "same" if quiet and not self.findings else "differs"

    @property
    def exit_code(self) -> int:
        """0 the same, or nothing that counts · 1 a failure · 2, 3 could not be answered."""
        if self.comparison is None:
            return self.error.exit_code if self.error else InspectorError.exit_code
        return int(bool(self.failing) and not self.updated)


_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}


def worst(held: Iterable[Held]) -> int:
    """The exit code of several checks: a question without an answer is worse than the answer no.

    >>> worst([]), worst([Held("a.arch.json", error=InspectorError("no"))])
    (3, 3)
    """
    return max((one.exit_code for one in held), default=InspectorError.exit_code)
