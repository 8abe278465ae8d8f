"""From two sides to rows, findings and sentences: what differs, whether it matters, and in which words."""

from __future__ import annotations

__all__ = ["Comparison", "Finding", "compare"]

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache

from inspector.alignment.align import align
from inspector.alignment.parts import Side
from inspector.comparison.algebra import equality
from inspector.comparison.changes import Change, Row, rows_of
from inspector.comparison.observed import observed
from inspector.comparison.rules import RULES, SEVERITIES, UNEXPLAINED, Rule, Severity
from inspector.comparison.wording import Speaker, bears_role
from inspector.errors import InspectorError
from inspector.records import Plain
from inspector.vocabulary import ROLES, is_specific


@dataclass(frozen=True, slots=True)
class Finding:
    """What a difference means. a, b: the values of the two sides. rows: ids of the rows that show it.

    fingerprint: 12 hex digits of rule, place and values, the same from run to run. place: the part that it is about,
    and what of it, where the rule does not say that.
    """

    rule: str
    severity: Severity
    sentence: str
    fingerprint: str
    a: Plain
    b: Plain
    rows: tuple[str, ...]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is known of how two architectures differ.

    aligned: share of the stages with a part in the architecture that found a counterpart, or whose absence a finding
    explains. names: what the two are called here.
    """

    a: Side
    b: Side
    names: tuple[str, str]
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    sentences: tuple[str, ...]
    aligned: float

    @property
    def statuses(self) -> dict[str, int]:
        """How many rows have each status, in the order of the vocabulary."""
        counts = Counter[str](row.status for row in self.rows)
        return {status: counts[status] for status in STATUSES}

    @property
    def severities(self) -> dict[str, int]:
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in SEVERITIES}


STATUSES = ("same", "renamed", "re-expressed", "changed", "moved", "only-a", "only-b")


Prover = Callable[[Row], object | None]
"""Runs both sides of a row; its text says how that ended, None that it could not be run."""


def compare(a: Side, b: Side, prover: Prover | None = None) -> Comparison:
    """Align two sides and judge what differs. InspectorError where there is nothing to compare.

    prover: asked for each row that is written otherwise on the two sides; without one, algebra answers for all.
    """
    names = _names(a, b)
    _refuse(a, b)
    rows = tuple(_proved(row, prover) for row in rows_of(align(a, b), a, b))
    if not any(row.a and row.b and bears_role(row) for row in rows):
        raise InspectorError(
            f"no part of {names[0]} has a counterpart in {names[1]}",
            why="nothing could be aligned, so nothing can be said to be equal or different",
            hint="look at each with `inspector shapes`",
        )
    speaker = Speaker(a, b, names, observed(a), observed(b))
    findings, explained = _findings(rows, speaker)
    aligned = _aligned(rows, explained)
    sentences = tuple(finding.sentence for finding in findings if finding.severity != "cosmetic")
    return Comparison(a, b, names, rows, findings, (*sentences, speaker.summary(rows, bool(findings))), aligned)


def _proved(row: Row, prover: Prover | None) -> Row:
    """The row with how its equality is known, where it is one in other words."""
    if row.status != "re-expressed":
        return row
    proof = prover(row) if prover else None
    said = f"by algebra: {equality(row)}" if proof is None else str(proof)
    if getattr(proof, "holds", True):
        return replace(row, reason=f"{row.reason}; {said}")
    return replace(
        row, status="changed", reason=f"{row.reason}; {said}", changes=(Change("value", "equal", "not equal"),)
    )


def _names(a: Side, b: Side) -> tuple[str, str]:
    """What tells the two apart: the name, else the attention, else the letter."""
    one, two = (side.model.name or side.model.class_name for side in (a, b))
    if one != two:
        return one, two
    if a.scenario.attention != b.scenario.attention:
        return f"{one} ({a.scenario.attention})", f"{two} ({b.scenario.attention})"
    return (one, two) if a == b else (f"{one} (A)", f"{two} (B)")


_WORKING = frozenset({"attention", "cross_attention", "mlp", "moe", "ssm"})
"""What a block does: code that does it without a residual stream can be compared too."""


def _refuse(a: Side, b: Side) -> None:
    for side in (a, b):
        name = side.model.name or side.model.class_name
        if not side.parts:
            raise InspectorError(f"{name} ran no op: there is nothing to compare")
        if not side.blocks and not any(part.section in _WORKING for part in side.parts):
            raise InspectorError(
                f"there is no transformer block in {name}",
                why="no residual stream with attention or a feed-forward was found in what ran",
                hint=f"`inspector shapes {name}` shows what was found",
            )
    if a.scenario.mode != b.scenario.mode:
        raise InspectorError(
            f"A ran in {a.scenario.mode} and B in {b.scenario.mode}",
            why="a step of decoding is another graph than a prefill, whatever the model",
            hint="compare two runs of one mode: the same --past for both",
        )


def _findings(rows: Sequence[Row], speaker: Speaker) -> tuple[tuple[Finding, ...], frozenset[str]]:
    """The findings in the order of the rules, and the aspects they explain."""
    aspects: dict[str, list[Row]] = {}
    for row in rows:
        for aspect in dict.fromkeys(row.aspects):
            aspects.setdefault(aspect, []).append(row)
    found: list[Finding] = []
    explained: set[str] = set()
    for rule in RULES:
        one, two = speaker.values(rule.id)
        if one is None or two is None or one == two:
            continue
        mine = [aspect for aspect in aspects if _covered(rule, aspect)]
        explained.update(mine)
        found.append(_finding(rule, one, two, speaker, (row for aspect in mine for row in aspects[aspect])))
    left = {aspect: found for aspect, found in aspects.items() if aspect not in explained and bears_role(found[0])}
    found += [_unexplained(aspect, shown, speaker) for aspect, shown in sorted(left.items())]
    return tuple(found), frozenset(explained)


def _covered(rule: Rule, aspect: str) -> bool:
    return any(_fits(aspect, pattern) for pattern in rule.covers)


@cache
def _fits(aspect: str, pattern: str) -> bool:
    return fnmatchcase(aspect, pattern if ":" in pattern else f"{pattern}:*")


def _finding(rule: Rule, one: Plain, two: Plain, speaker: Speaker, rows: Iterable[Row]) -> Finding:
    ids = tuple(dict.fromkeys(row.id for row in rows))
    return Finding(
        rule.id, rule.severity, speaker.sentence(rule.id, one, two), fingerprint(rule.id, "", one, two), one, two, ids
    )


def _unexplained(aspect: str, rows: Sequence[Row], speaker: Speaker) -> Finding:
    path, _, name = aspect.partition(":")
    section, _, role = path.partition(".")
    one, two = _shown(rows, name)
    sentence = speaker.unexplained(aspect, one, two, ROLES.get(section, {}).get(role, ""))
    ids = tuple(row.id for row in rows)
    mark = fingerprint(UNEXPLAINED.id, aspect, one, two)
    return Finding(UNEXPLAINED.id, UNEXPLAINED.severity, sentence, mark, one, two, ids, aspect)


def _shown(rows: Sequence[Row], name: str) -> tuple[Plain, Plain]:
    """What the two sides show of one aspect: the values of a change, or whether the stage is there."""
    changes = [(change.a, change.b) for row in rows for change in row.changes if change.name == name]
    if changes:
        return changes[0]
    statuses = {row.status for row in rows}
    return (True, True) if name == "moved" else ("only-a" in statuses, "only-b" in statuses)


def fingerprint(rule: str, place: str, a: Plain, b: Plain) -> str:
    """Twelve hex digits that name a finding for good.

    >>> fingerprint("norm.eps", "", 1e-05, 1e-06) == fingerprint("norm.eps", "", 1e-05, 1e-06)
    True
    """
    return hashlib.sha256(json.dumps([rule, place, a, b]).encode()).hexdigest()[:12]


def _aligned(rows: Sequence[Row], explained: frozenset[str]) -> float:
    stages = [row for row in rows for part in (*row.a, *row.b) if is_specific(part.path) and not part.idle]
    kept = [row for row in stages if (row.a and row.b) or set(row.aspects) <= explained]
    return len(kept) / len(stages) if stages else 0.0
