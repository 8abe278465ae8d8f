"""Watches a forward pass and says what ran: every op, every tensor, and which value went where."""

from __future__ import annotations

__all__ = ["observe"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.records import Scenario, Trace
    from inspector.source.subject import Subject


def observe(subject: Subject, scenario: Scenario) -> Trace:
    """Run `subject` once as `scenario` says, and at a few more sizes to solve its dimensions.

    The import waits until it is needed: a stored trace is read without torch.
    """
    from inspector.tracing.run import observe as run

    return run(subject, scenario)
