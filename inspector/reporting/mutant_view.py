"""Which mistakes a parity run notices: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records", "sentence"]

from collections.abc import Iterator
from typing import Any

from inspector.messages import again, say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Document,
    Group,
    Heading,
    Note,
    Pairs,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import words
from inspector.stage_graph.fields import model_fields
from inspector.verification.mutants.report import MutantReport, MutantRow


def _columns() -> tuple[Column, ...]:
    return (
        Column(say("mutants.mistake"), least=28),
        Column(say("mutants.made in"), least=24),
        Column(say("mutants.told at"), rank=1, least=24),
        Column(say("failure.what is wrong"), rank=2, least=24),
    )


_STYLES = {"caught": "good", "nothing": "muted"}


def document(report: MutantReport, notes: tuple[str, ...] = ()) -> Document:
    """In a sentence, then what went unnoticed, then every mistake."""
    return tuple(_blocks(report, notes))


def _blocks(report: MutantReport, notes: tuple[str, ...]) -> Iterator[Block]:
    styles = {"pass": "good", "fail": "warning"}
    yield Heading(1, line(report.model.name or report.model.class_name))
    yield Paragraph(line(Span(sentence(report), styles.get(report.verdict, "caution"))))
    yield Pairs(((say("label.run"), cell(*words.scenario(report.scenario))),))
    groups = tuple(
        Group(line(Span(say(f"mutants.{title}"), _STYLES.get(title, "warning"))), 1, tuple(map(_row, rows)))
        for title, rows in _sorted(report).items()
        if rows
    )
    if groups:
        yield Table(_columns(), groups)
    if report.absent:
        yield Note(line(say("mutants.absent", names=", ".join(report.absent))))
    yield from (Note(line(note)) for note in words.notes(notes))


def sentence(report: MutantReport) -> str:
    """The answer in words."""
    name, mistakes = report.model.name or report.model.class_name, report.total - report.equivalent
    if not mistakes:
        return say("mutants.none", name=name)
    same = say("mutants.more", n=report.equivalent) if report.equivalent else ""
    counts = {"mistakes": words.counted(mistakes, "mistake"), "caught": report.caught, "localised": report.localised}
    return say("mutants.of", name=name, same=same, **counts)


def _sorted(report: MutantReport) -> dict[str, list[MutantRow]]:
    """Worst first."""
    return {
        "survived": [row for row in report.rows if row.survived],
        "elsewhere": [row for row in report.rows if _misplaced(row)],
        "caught": [row for row in report.rows if row.caught and row.localised and not row.equivalent],
        "nothing": [row for row in report.rows if row.equivalent],
    }


def _misplaced(row: MutantRow) -> bool:
    return row.caught and not row.localised and not row.equivalent


def _row(row: MutantRow) -> tuple[Cell, ...]:
    told = words.stage(row.at) if row.at != row.stage else say("mutants.there")
    reason = again(row.equivalent or row.error, "equivalent") or words.mistake(row.name) or row.says
    return cell(row.name), cell(words.stage(row.stage)), cell(told), cell(Span(reason, "muted"))


def envelope(report: MutantReport, notes: tuple[str, ...], tool: dict[str, str]) -> dict[str, Any]:
    """The envelope `inspector/parity-mutants/1`."""
    return {
        "schema": "inspector/parity-mutants/1",
        "tool": tool,
        "models": [{**model_fields(report.model, report.scenario), "notes": list(notes)}],
        "rows": records(report),
        "summary": {
            "total": report.total,
            "equivalent": report.equivalent,
            "caught": report.caught,
            "localised": report.localised,
            "verdict": report.verdict,
            "absent": list(report.absent),
        },
    }


def records(report: MutantReport) -> list[dict[str, object]]:
    """One flat record per mistake."""
    return [
        {
            "name": row.name,
            "stage": row.stage,
            "says": row.says,
            "mirrors": row.mirrors,
            "caught": row.caught,
            "at": row.at,
            "culprit": row.culprit,
            "localised": row.localised,
            "equivalent": bool(row.equivalent),
            "reason": row.equivalent,
            "error": row.error,
        }
        for row in report.rows
    ]
