"""A parity run: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records", "sentence"]

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.render.document import (
    Block,
    Cell,
    Column,
    Details,
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
from inspector.reporting import failures, words
from inspector.reporting.ladder import STYLES, folded, ladder, span
from inspector.stage_graph.fields import model_fields
from inspector.verification.report import Check, Report, Row

_SHOWN = 8
"""How many failing parts are shown in full; all of them are in the table of every stage and in JSON."""


def document(report: Report, *, every: bool = False, strict: bool = False) -> Document:
    """The verdict in a sentence, the ladder, what fails in full, what is open; with `every` each stage by itself."""
    return tuple(_blocks(report, every, strict))


def _blocks(report: Report, every: bool, strict: bool) -> Iterator[Block]:
    model = report.model
    kind = f" ({model.model_type})" if model.model_type else ""
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(Span(sentence(report, strict=strict), _style(report, strict))))
    yield Paragraph(line(f"{model.class_name}{kind}, {words.counted(model.parameters, 'parameter')}"))
    yield Pairs(tuple(_figures(report)))
    if any(row.rho is not None for row in report.rows):
        yield ladder(report.rows)
    yield from _troubles(report)
    yield from _open(report)
    if every:
        yield Details(line("every stage"), (_table(report.rows),))
    yield from (Note(line(f"{row.where}: {row.finding}")) for row in _first(report.findings))
    yield from (Note(line(note)) for note in report.notes)


def _style(report: Report, strict: bool) -> str:
    if report.verdict == "pass" and not (strict and report.counts["undetermined"]):
        return "good"
    return "warning" if report.verdict == "fail" or strict else "caution"


def sentence(report: Report, *, strict: bool = False) -> str:
    """The answer in words."""
    name, counts = report.model.name or report.model.class_name, report.counts
    judged = sum(counts[verdict] for verdict in ("pass", "fail", "undetermined", "unclaimed"))
    first = report.first_failure
    if first is not None:
        failing = f"{counts['fail']:,} of {words.counted(judged, 'stage')} fail{'s' if counts['fail'] == 1 else ''}"
        return f"{name}: {failing}. First divergence: {failures.headline(first)}."
    if not judged:
        return f"{name}: none of its {words.counted(len(report.rows), 'stage')} was checked. That is no verdict."
    within = f"all within what {report.scenario.dtype} allows"
    if report.verdict == "pass":
        said = f"{name}: {words.counted(judged, 'stage')} checked against float64, {within}"
        return f"{said}{_undetermined(report, strict)}."
    gaps = [f"{counts[verdict]:,} {verdict}" for verdict in ("unchecked", "unclaimed") if counts[verdict]]
    gaps += [f"{words.counted(len(report.uncovered), 'parameter')} read by no check"] if report.uncovered else []
    return f"{name}: {words.counted(judged, 'stage')} checked, {within}; but {' and '.join(gaps)}: incomplete."


def _undetermined(report: Report, strict: bool) -> str:
    count = report.counts["undetermined"]
    if not count:
        return ""
    blamed = ", which --strict counts as a failure" if strict else ""
    return f"; {count:,} of them cannot be told from wrong ones in {report.scenario.dtype}{blamed}"


def _figures(report: Report) -> Iterator[tuple[str, Cell]]:
    counts = [(verdict, count) for verdict, count in report.counts.items() if count]
    yield "run", cell(*words.scenario(report.scenario))
    yield "stages", cell(*(Span(f"{count:,} {verdict}", STYLES[verdict]) for verdict, count in counts))
    compared = (
        f"{words.counted(report.elements, 'element')}",
        f"{words.counted(report.calls, 'call')} of the reference",
    )
    yield "compared", cell(*compared)
    if report.reference:
        yield "claimed by", cell(report.reference)
    if report.power:
        yield "probe", cell(*(f"{name} {figure(value)}" for name, value in report.power))
    if report.whole:
        yield "end to end", cell(*_answers(dict(report.whole)))
    if report.flags:
        yield "torch", cell(*(f"{name} {_plain(value)}" for name, value in report.flags))
    yield "rho", cell("the largest error as a share of what is allowed; 1 is the limit")


def _answers(found: dict[str, Any]) -> Iterator[str]:
    """How far each answer is from float64, and how far the reference is from it in the same format."""
    for answer in dict.fromkeys(name.partition(": ")[0] for name in found):
        ratio = f"{found[f'{answer}: error over that']:.2g} times the reference's own in this format"
        yield f"{answer} off by {found[f'{answer}: max abs error']:.2g}, {ratio}"
        if f"{answer}: mean divergence nats" in found:
            yield f"next token off by {found[f'{answer}: mean divergence nats']:.2g} nats"


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _troubles(report: Report) -> Iterator[Block]:
    found = failures.troubles(report.failures)
    if not found:
        return
    yield Heading(2, line(Span("what fails", "warning")))
    for trouble in found[:_SHOWN]:
        yield from failures.blocks(trouble)
    if len(found) > _SHOWN:
        yield Note(line(f"{len(found) - _SHOWN} more parts fail; --all and --format json have them"))


def _open(report: Report) -> Iterator[Block]:
    """What keeps the answer from being a whole one, folded over layers."""
    rows = [
        (cell(fold.name), cell(fold.layers), cell(fold.rows[0].verdict), cell(fold.rows[0].culprit))
        for fold in folded(report.rows)
        if fold.rows[0].verdict in ("undetermined", "unclaimed", "unchecked")
    ]
    columns = (Column("stage", least=16), Column("layers"), Column("verdict"), Column("why", least=24))
    if rows:
        yield Heading(2, line(Span("what stays open", "caution")))
        yield Table(columns, (Group(line(), 1, tuple(rows)),))
    if report.uncovered:
        yield Note(line(f"read by no stage that was checked: {', '.join(report.uncovered)}"))


def _first(rows: Sequence[Row]) -> Iterator[Row]:
    """One finding for all layers that have it, under the name of the first."""
    for fold in folded(rows):
        others = [row.layer for row in fold.rows[1:] if row.layer is not None]
        where = f" (and layer{'s' if len(others) > 1 else ''} {span(others)})" if others else ""
        yield fold.rows[0] if not where else _also(fold.rows[0], where)


def _also(row: Row, where: str) -> Row:
    from dataclasses import replace

    return replace(row, finding=f"{row.finding}{where}")


def _table(rows: Sequence[Row]) -> Table:
    columns = (
        Column("stage", least=20),
        Column("verdict", least=12),
        Column("rho", "right"),
        Column("largest error", "right", rank=2),
        Column("dtype", rank=4),
        Column("module", rank=3, least=20),
    )
    return Table(columns, (Group(line(), 1, tuple(map(_row, rows))),))


def _row(row: Row) -> tuple[Cell, ...]:
    error = "" if row.check is None else f"{row.check.max_abs_error:.3g}"
    style = STYLES[row.verdict]
    return (
        cell(row.where),
        cell(Span(row.verdict, style)),
        cell(figure(row.rho)),
        cell(error),
        cell(row.dtype),
        cell(Span(row.module, "muted")),
    )


# JSON


def envelope(report: Report) -> dict[str, Any]:
    """The envelope `inspector/parity/1`."""
    first = report.first_failure
    return {
        "schema": "inspector/parity/1",
        "tool": dict(report.tool),
        "models": [
            {
                **model_fields(report.model, report.scenario),
                "reference": report.reference,
                "flags": dict(report.flags),
                "notes": list(report.notes),
            }
        ],
        "rows": [_json(row) for row in report.rows],
        "summary": {
            **report.counts,
            "findings": len(report.findings),
            "verdict": report.verdict,
            "first_failure": None if first is None else first.where,
            "elements": report.elements,
            "calls": report.calls,
            "uncovered": list(report.uncovered),
            "power": dict(report.power),
            "whole": dict(report.whole),
        },
    }


def _json(row: Row) -> dict[str, Any]:
    check, mutants = row.check, row.mutants
    return {
        "stage": row.where,
        "layer": row.layer,
        "role": row.path,
        "operand": row.operand,
        "verdict": row.verdict,
        "check": None if check is None else check.kind,
        "rho": row.rho,
        "max_abs_error": None if check is None else check.max_abs_error,
        "worst": _worst(check),
        "dtype": row.dtype,
        "module": row.module,
        "attributes": [one._asdict() for one in row.attributes],
        "wiring": [link._asdict() for link in row.wiring],
        "mutants": None if mutants is None else {**mutants._asdict(), "alive": list(mutants.alive)},
        "culprit": row.culprit,
        "finding": row.finding,
        "looks_like": row.looks_like,
    }


def _worst(check: Check | None) -> dict[str, Any] | None:
    if check is None or check.worst is None:
        return None
    found = check.worst._asdict()
    return {"index": list(found.pop("place")), **found}


def records(report: Report) -> list[dict[str, object]]:
    """One flat record per stage."""
    return [
        {
            "model": report.model.name,
            "attention": report.scenario.attention,
            "layer": row.layer,
            "role": row.path,
            "operand": row.operand,
            "verdict": row.verdict,
            "rho": row.rho,
            "max_abs_error": None if row.check is None else row.check.max_abs_error,
            "dtype": row.dtype,
            "killed": row.mutants.killed if row.mutants else None,
            "mutants": row.mutants.total if row.mutants else None,
            "module": row.module,
            "culprit": row.culprit,
            "finding": row.finding,
            "looks_like": row.looks_like,
        }
        for row in report.rows
    ]
