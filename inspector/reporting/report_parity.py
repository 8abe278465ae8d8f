"""What a report says of parity: how many stages got which verdict, and how far each is from what is allowed."""

from __future__ import annotations

__all__ = ["fields", "parity"]

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.messages import say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
    Group,
    Heading,
    Note,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import failures, words
from inspector.reporting.ladder import STYLES, ladder
from inspector.reporting.report_material import Material, Portrait
from inspector.verification.report import VERDICTS, Report, Verdict


def parity(found: Material, *, exact: bool) -> Iterator[Block]:
    """A line per model, and its ladder. exact: counts alone, for what is measured is not the same everywhere."""
    checked = [(portrait, portrait.parity) for portrait in found.portraits]
    if not any(report for _, report in checked):
        return
    yield Heading(2, line(say("report.parity")))
    yield Paragraph(line(say("report.asked of parity")))
    yield _counts([(portrait, report) for portrait, report in checked if report])
    if not exact:
        yield from (Details(line(portrait.name), (ladder(report.rows),)) for portrait, report in checked if report)
    for portrait, report in checked:
        if report is None:
            yield Note(line(say("report.not run", name=portrait.name)))
        else:
            notes = dict.fromkeys((*failures.lines(report), *words.notes(report.notes)))
            yield from (Note(line(say("report.of", name=portrait.name, note=note))) for note in notes)
    if exact:
        yield Paragraph(line(say("report.measured")))


def _counts(checked: list[tuple[Portrait, Report]]) -> Table:
    shown = [verdict for verdict in VERDICTS if any(report.counts[verdict] for _, report in checked)]
    columns = (
        Column(say("label.model"), least=16),
        Column(say("label.verdict")),
        *(Column(verdict, "right") for verdict in shown),
        Column(say("report.exactly"), "right", rank=1),
        Column(say("report.elements"), "right", rank=2),
    )
    return Table(columns, (Group(line(), 1, tuple(_row(*one, shown) for one in checked)),))


def _row(portrait: Portrait, report: Report, shown: Sequence[Verdict]) -> tuple[Cell, ...]:
    styles = {"pass": "good", "fail": "warning"}
    exactly = sum(row.verdict == "pass" and row.check is not None and row.check.kind != "bound" for row in report.rows)
    return (
        cell(portrait.name),
        cell(Span(report.verdict, styles.get(report.verdict, "caution"))),
        *(cell(Span(words.number(report.counts[verdict]), STYLES[verdict])) for verdict in shown),
        cell(words.number(exactly)),
        cell(words.number(report.elements)),
    )


def fields(report: Report | None) -> dict[str, Any] | None:
    """The same for JSON; null where a model was not run."""
    if report is None:
        return None
    first = report.first_failure
    failing = {"first_failure": None if first is None else first.where, "uncovered": list(report.uncovered)}
    return {"verdict": report.verdict, "stages": report.counts, "elements": report.elements, **failing}
