"""Stages that fail, in full: what was required, what came, what it looks like."""

from __future__ import annotations

__all__ = ["Trouble", "blocks", "complaint", "headline", "lines", "said", "troubles"]

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from inspector.messages import again, say
from inspector.records import Plain
from inspector.render.document import Block, Cell, Heading, Pairs, Span, cell, line, plain
from inspector.render.ladder import figure
from inspector.reporting import words
from inspector.reporting.ladder import span
from inspector.verification.report import Report, Row, Worst

_NAMED = 5
"""How many stages an error names."""


class Trouble(NamedTuple):
    """One stage that fails, and the other layers in which it fails too."""

    row: Row
    layers: tuple[int, ...] = ()


def troubles(rows: Sequence[Row]) -> list[Trouble]:
    """Failing stages, one per part of the architecture, in reading order."""
    found: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        kind = tuple(one.name for one in row.attributes if one.differs) or (row.looks_like,)
        found.setdefault((row.name, kind), []).append(row)
    return [
        Trouble(first, tuple(row.layer for row in others if row.layer is not None)) for first, *others in found.values()
    ]


def headline(row: Row) -> str:
    """A failure in one line: the stage, and the first thing that is wrong with it."""
    where = words.stage(row.where)
    return f"{where}: {again(row.culprit.partition('; ')[0], 'culprit', 'note')}" if row.culprit else where


def lines(report: Report) -> tuple[str, ...]:
    """Each part that fails in one line."""
    return tuple(headline(trouble.row) for trouble in troubles(report.failures))


def blocks(trouble: Trouble) -> Iterator[Block]:
    """One failing stage as a heading and a list."""
    row = trouble.row
    also = f"  {say('failure.likewise', layers=words.layers(span(trouble.layers)))}" if trouble.layers else ""
    yield Heading(3, line(Span(words.stage(row.where), "warning"), Span(also, "muted")))
    yield Pairs(tuple((label, value) for label, value in _pairs(row) if value))


def _pairs(row: Row) -> Iterator[tuple[str, Cell]]:
    yield say("failure.what is wrong"), cell(again(row.culprit, "culprit", "note", "stage_of"))
    yield (
        say("failure.required"),
        cell(*(f"{one.name} {_value(one.claimed)} ({one.where})" for one in row.attributes if one.differs)),
    )
    yield say("failure.came"), cell(*(f"{one.name} {_value(one.executed)}" for one in row.attributes if one.differs))
    yield (
        say("failure.wired to"),
        cell(*(f"{link.argument or say('failure.an input')}: {link.executed}" for link in row.wiring if link.broken)),
    )
    yield (
        say("failure.claimed"),
        cell(*(f"{link.argument or say('failure.an input')}: {link.claimed}" for link in row.wiring if link.broken)),
    )
    if row.check is not None and row.check.worst is not None:
        yield say("label.values"), cell(*said(row.check.worst, row.check.rho))
    yield say("failure.looks like"), cell(_likely(row.looks_like))
    yield say("label.module"), cell(f"{row.module}{f', {row.dtype}' if row.dtype else ''}" if row.module else "")


def _likely(mistake: str) -> str:
    """A known mistake by its name, and what it is where the reader cannot see that in the name."""
    meaning = words.mistake(mistake)
    return f"{mistake}{say('joint.meant', meaning=meaning)}" if meaning else mistake


def said(worst: Worst, rho: float) -> tuple[str, ...]:
    """How many elements are off, and the worst of them.

    >>> said(Worst((0, 2), 1.5, 1.0, 0.01, 3, 12), 50.0)[0]
    '3 of 12 differ (25.0 %)'
    >>> said(Worst((0, 2), 1.5, 1.0, 0.01, 3, 12), 50.0)[1]
    'worst at (0, 2): got 1.5, expected 1, off by 0.5, allowed 0.01 (rho 50)'
    """
    share = 100 * worst.over / worst.elements if worst.elements else 0.0
    far = abs(worst.got - worst.expected)
    off = say("failure.off by", off=f"{far:.3g}") if math.isfinite(far) else ""
    pair = {"got": f"{worst.got:.6g}", "expected": f"{worst.expected:.6g}", "off": off}
    limit = {"allowed": f"{worst.allowed:.3g}", "rho": figure(rho), "place": worst.place}
    counts = {"n": f"{worst.over:,}", "all": f"{worst.elements:,}", "share": f"{share:.1f}"}
    return say("failure.differ", **counts), say("failure.worst", **pair, **limit)


def _value(value: Plain) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def complaint(report: Report, *, strict: bool = False) -> str:
    """A run that did not pass, as the text of an AssertionError."""
    return "\n".join(_complaint(report, strict))


def _complaint(report: Report, strict: bool) -> Iterator[str]:
    name, found = report.model.name or report.model.class_name, troubles(report.failures)
    if found:
        stages = words.counted(len(report.failures), "stage")
        yield f"{name} fails parity in {stages} of {len(report.rows):,}, the first is {found[0].row.where}"
    else:
        open_ = ("undetermined",) if strict and report.verdict == "pass" else ("unchecked", "unclaimed")
        gaps = [row for row in report.rows if row.verdict in open_]
        count = f"{words.counted(len(gaps), 'stage')} of {len(report.rows):,}"
        yield f"{name} has no verdict: {count} {'is' if len(gaps) == 1 else 'are'} {' or '.join(open_)}"
        yield from (f"  {row.where}{f': {row.culprit}' if row.culprit else ''}" for row in gaps[:_NAMED])
        if report.uncovered:
            yield f"  read by no stage that was checked: {', '.join(report.uncovered[:_NAMED])}"
    for trouble in found[:_NAMED]:
        yield from _text(trouble)
    if len(found) > _NAMED:
        yield f"  and {len(found) - _NAMED} more parts"
    yield f"  run: {', '.join(words.scenario(report.scenario))}"
    yield from (f"  note: {note}" for note in report.notes)


def _text(trouble: Trouble) -> Iterator[str]:
    row = trouble.row
    also = f", and likewise in {words.counted(len(trouble.layers), 'more layer')}" if trouble.layers else ""
    yield f"  {row.where}{f' ({row.module})' if row.module else ''}{also}"
    yield from (
        f"    {label}: {plain(value)}" for label, value in _pairs(row) if value and label != say("label.module")
    )
