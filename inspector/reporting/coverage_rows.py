"""What a survey says of one model type, and of one figure that is worse than before."""

from __future__ import annotations

__all__ = ["Row", "Worse"]

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Row:
    """One type. Shares are in percent; None is what could not be found out, and `reason` says why.

    device: where it was traced. role_percent: of all ops. specific_percent: of the ops in blocks outside recurrences,
    whose role names a part. scan: ops inside recurrences, which are declared as one and not named one by one.
    softmax: whether it has softmax attention. label_exam: roles that agree with names, None where nobody held them
    against any; label_mismatches: those that do not, and why. stages_verified: those that were computed a second time,
    of those that could be. conflicts: facts that are not as the config claims; explained: those that are not, for a
    known reason.
    """

    model_type: str
    traced: bool = False
    device: str | None = None
    parameters: int | None = None
    ops: int | None = None
    role_percent: float | None = None
    specific_percent: float | None = None
    scan: int | None = None
    unknown: int | None = None
    softmax: bool | None = None
    label_exam: float | None = None
    stages: int | None = None
    stages_verified: float | None = None
    stages_failed: int | None = None
    pattern: str | None = None
    facts: int | None = None
    conflicts: tuple[str, ...] = ()
    reason: str = ""
    explained: tuple[str, ...] = ()
    label_mismatches: tuple[str, ...] = ()


class Worse(NamedTuple):
    """One figure of one type that is worse: `field` was `before` and is `now`."""

    model_type: str
    field: str
    before: Any
    now: Any
