"""Two runs held against each other: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Iterator, Sequence
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
from inspector.render.ladder import figure
from inspector.reporting import words
from inspector.reporting.ladder import STYLES
from inspector.stage_graph.fields import model_fields
from inspector.verification.against.report import AgainstReport, AgainstRow, Part


def _columns() -> tuple[Column, ...]:
    return (
        Column(say("label.stage"), least=20),
        Column(say("label.verdict"), least=9),
        Column("rho", "right"),
        Column("A", rank=2, least=20),
        Column("B", rank=3, least=20),
    )


def document(reports: Sequence[AgainstReport], titles: Sequence[str], *, every: bool = False) -> Document:
    """For each pair: the answer in a sentence, what diverges in full, what stays open; with `every` each stage."""
    pairs = zip(reports, titles, strict=True)
    return tuple(block for report, title in pairs for block in _blocks(report, title, every=every))


def _blocks(report: AgainstReport, title: str, *, every: bool) -> Iterator[Block]:
    style = {"pass": "good", "fail": "warning"}.get(report.verdict, "caution")
    yield Heading(1, line(again(title, "title")))
    yield Paragraph(
        line(Span(say("versus.answer", answer=again(report.sentence, "culprit", "note", "stage_of")), style))
    )
    yield Pairs(tuple(_figures(report)))
    for row in report.failures[:_SHOWN]:
        yield Heading(2, line(Span(words.stage(row.where), "warning")))
        yield Pairs(tuple(_trouble(row)))
    if len(report.failures) > _SHOWN:
        yield Note(line(say("versus.more", n=len(report.failures) - _SHOWN)))
    shown = report.rows if every else [row for row in report.rows if row.verdict == "unchecked"]
    if shown:
        yield Table(
            _columns(), (Group(line(say("parity.every stage") if every else "unchecked"), 1, tuple(map(_row, shown))),)
        )
    yield from (Note(line(note)) for note in _notes(report))


_SHOWN = 4
"""How many stages are shown in full."""


def _figures(report: AgainstReport) -> Iterator[tuple[str, Cell]]:
    for side, scenario in zip("AB", report.scenarios, strict=True):
        yield side, cell(*words.scenario(scenario))
    counts = [Span(f"{count:,} {verdict}", STYLES[verdict]) for verdict, count in report.counts.items() if count]
    yield say("label.stages"), cell(*counts)
    yield (
        say("label.compared"),
        cell(say("versus.again", elements=words.counted(report.elements, "element"), side=report.replayed.upper())),
    )
    for found in report.whole:
        yield again(found.name, "figure"), cell(f"{found.value:.3g} {found.unit}".strip())


def _trouble(row: AgainstRow) -> Iterator[tuple[str, Cell]]:
    yield say("versus.what differs"), cell(again(row.culprit, "culprit", "note", "stage_of"))
    for side, parts in (("A", row.a), ("B", row.b)):
        yield (
            side,
            cell(*(say("versus.in", name=part.name, place=part) for part in parts))
            if parts
            else cell(say("versus.nothing")),
        )
    for one in row.differences:
        yield one.name, cell(say("versus.both", a=one.a, b=one.b))
    worst = row.check.worst if row.check is not None else None
    if worst is not None and worst.over:
        pair = {"a": f"{worst.expected:.6g}", "b": f"{worst.got:.6g}", "allowed": f"{worst.allowed:.3g}"}
        counts = {"n": f"{worst.over:,}", "all": f"{worst.elements:,}", "place": worst.place}
        yield say("label.values"), cell(say("versus.worst", **counts, **pair))


def _row(row: AgainstRow) -> tuple[Cell, ...]:
    reason = again(row.reason or row.culprit, "culprit", "note", "stage_of")
    verdict = Span(row.verdict if not reason else f"{row.verdict}: {reason}", STYLES[row.verdict])
    return cell(words.stage(row.where)), cell(verdict), cell(figure(row.rho)), _modules(row.a), _modules(row.b)


def _modules(parts: Sequence[Part]) -> Cell:
    return cell(Span(", ".join(dict.fromkeys(part.module for part in parts)), "muted"))


def _notes(report: AgainstReport) -> Iterator[str]:
    yield from words.notes(report.notes)
    if report.ungiven:
        yield say("versus.ungiven", names=", ".join(report.ungiven))
    if report.unused:
        yield say("versus.unused", names=", ".join(report.unused))


def envelope(reports: Sequence[AgainstReport], titles: Sequence[str]) -> dict[str, Any]:
    """The envelope `inspector/parity-against/1`. A row's `pair` is the index of its pair in `pairs`."""
    verdicts = [report.verdict for report in reports]
    return {
        "schema": "inspector/parity-against/1",
        "tool": dict(reports[0].tool),
        "models": [
            {**model_fields(model, scenario), "notes": []}
            for report in reports
            for model, scenario in zip((report.a, report.b), report.scenarios, strict=True)
        ],
        "pairs": [_pair(report, title) for report, title in zip(reports, titles, strict=True)],
        "rows": [_json(row, place) for place, report in enumerate(reports) for row in report.rows],
        "summary": {
            **{verdict: sum(report.counts[verdict] for report in reports) for verdict in reports[0].counts},
            "verdict": next(one for one in ("fail", "incomplete", "pass") if one in verdicts),
            "first_failure": next((report.first_failure.where for report in reports if report.first_failure), None),
            "elements": sum(report.elements for report in reports),
        },
    }


def _pair(report: AgainstReport, title: str) -> dict[str, Any]:
    return {
        "title": title,
        "verdict": report.verdict,
        "sentence": report.sentence,
        "replayed": report.replayed,
        "whole": [found._asdict() for found in report.whole],
        "ungiven": list(report.ungiven),
        "unused": list(report.unused),
        "notes": list(report.notes),
    }


def _json(row: AgainstRow, pair: int) -> dict[str, Any]:
    return {
        "pair": pair,
        "stage": row.where,
        "layer": row.layer,
        "role": row.path,
        "operand": row.operand,
        "verdict": row.verdict,
        "rho": row.rho,
        "max_abs_error": None if row.check is None else row.check.max_abs_error,
        "a": [part._asdict() for part in row.a],
        "b": [part._asdict() for part in row.b],
        "dtypes": list(row.dtypes),
        "differences": [one._asdict() for one in row.differences],
        "culprit": row.culprit,
        "reason": row.reason,
    }


def records(reports: Sequence[AgainstReport], titles: Sequence[str]) -> list[dict[str, object]]:
    """One flat record per stage of each pair."""
    return [
        {
            "pair": title,
            "stage": row.where,
            "verdict": row.verdict,
            "rho": row.rho,
            "max_abs_error": None if row.check is None else row.check.max_abs_error,
            "a": ", ".join(part.module for part in row.a),
            "b": ", ".join(part.module for part in row.b),
            "culprit": row.culprit or row.reason,
        }
        for report, title in zip(reports, titles, strict=True)
        for row in report.rows
    ]
