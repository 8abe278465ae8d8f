"""A parity run: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records", "sentence"]

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.messages import again, say
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
from inspector.verification.report import Check, Inputs, Report, Row

_SHOWN = 8
"""How many failing parts are shown in full; all of them are in the table of every stage and in JSON."""


def document(report: Report, *, every: bool = False, strict: bool = False) -> Document:
    """The verdict in a sentence, the ladder, what fails in full, what is open; with `every` each stage by itself."""
    return tuple(_blocks(report, every, strict))


def _blocks(report: Report, every: bool, strict: bool) -> Iterator[Block]:
    model = report.model
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(Span(sentence(report, strict=strict), _style(report, strict))))
    yield Paragraph(line(words.described(model)))
    yield Pairs(tuple(_figures(report)))
    if any(row.rho is not None for row in report.rows):
        yield ladder(report.rows)
    yield from _troubles(report)
    yield from _open(report)
    if every:
        yield Details(line(say("parity.every stage")), (_table(report.rows),))
    yield from (Note(line(finding)) for finding in _first(report.findings))
    yield from (Note(line(again(note, "note", "culprit", "stage_of"))) for note in report.notes)


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
        one = "one fails" if counts["fail"] == 1 else "some fail"
        fields = {"n": f"{counts['fail']:,}", "stages": words.counted(judged, "stage")}
        return say(f"parity.{one}", name=name, first=failures.headline(first), **fields)
    if not judged:
        return say("parity.none checked", name=name, stages=words.counted(len(report.rows), "stage"))
    fields = {"name": name, "stages": words.counted(judged, "stage"), "dtype": report.scenario.dtype}
    if report.verdict == "pass":
        return say("parity.pass", undetermined=_undetermined(report, strict), **fields)
    gaps = [f"{counts[verdict]:,} {verdict}" for verdict in ("unchecked", "unclaimed") if counts[verdict]]
    unread = words.counted(len(report.uncovered), "parameter")
    gaps += [say("parity.read by no check", parameters=unread)] if report.uncovered else []
    return say("parity.incomplete", gaps=say("joint.and").join(gaps), **fields)


def _undetermined(report: Report, strict: bool) -> str:
    count = report.counts["undetermined"]
    if not count:
        return ""
    blamed = say("parity.strict") if strict else ""
    return say("parity.undetermined", n=f"{count:,}", dtype=report.scenario.dtype, blamed=blamed)


def _figures(report: Report) -> Iterator[tuple[str, Cell]]:
    counts = [(verdict, count) for verdict, count in report.counts.items() if count]
    yield say("label.run"), cell(*words.scenario(report.scenario))
    yield say("label.stages"), cell(*(Span(f"{count:,} {verdict}", STYLES[verdict]) for verdict, count in counts))
    compared = (
        f"{words.counted(report.elements, 'element')}",
        say("parity.reference calls", calls=words.counted(report.calls, "call")),
    )
    yield say("label.compared"), cell(*compared)
    if special := dict.fromkeys(row.special.what for row in report.rows if row.special is not None):
        yield say("parity.special"), cell(*(again(one, "inputs") for one in special))
    if report.reference:
        yield say("parity.claimed by"), cell(again(report.reference, "culprit"))
    if report.power:
        yield say("parity.probe"), cell(*(f"{name} {figure(value)}" for name, value in report.power))
    if report.whole:
        yield say("parity.end to end"), cell(*_answers(dict(report.whole)))
    if report.flags:
        yield "torch", cell(*(f"{name} {_plain(value)}" for name, value in report.flags))
    yield "rho", cell(say("parity.rho"))


def _answers(found: dict[str, Any]) -> Iterator[str]:
    """How far each answer is from float64, and how far the reference is from it in the same format."""
    for answer in dict.fromkeys(name.partition(": ")[0] for name in found):
        ratio, off = f"{found[f'{answer}: error over that']:.2g}", f"{found[f'{answer}: max abs error']:.2g}"
        yield say("parity.off by", answer=answer, off=off, ratio=ratio)
        if f"{answer}: mean divergence nats" in found:
            yield say("parity.next token", nats=f"{found[f'{answer}: mean divergence nats']:.2g}")


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _troubles(report: Report) -> Iterator[Block]:
    found = failures.troubles(report.failures)
    if not found:
        return
    yield Heading(2, line(Span(say("parity.what fails"), "warning")))
    for trouble in found[:_SHOWN]:
        yield from failures.blocks(trouble)
    if len(found) > _SHOWN:
        yield Note(line(say("parity.more fail", n=len(found) - _SHOWN)))


def _open(report: Report) -> Iterator[Block]:
    """What keeps the answer from being a whole one, folded over layers."""
    rows = [
        (
            cell(fold.name),
            cell(fold.layers),
            cell(fold.rows[0].verdict),
            cell(again(fold.rows[0].culprit, "culprit", "note", "stage_of")),
        )
        for fold in folded(report.rows)
        if fold.rows[0].verdict in ("undetermined", "unclaimed", "unchecked")
    ]
    columns = (
        Column(say("label.stage"), least=16),
        Column(say("label.layers")),
        Column(say("label.verdict")),
        Column(say("label.why"), least=24),
    )
    if rows:
        yield Heading(2, line(Span(say("parity.what stays open"), "caution")))
        yield Table(columns, (Group(line(), 1, tuple(rows)),))
    if report.uncovered:
        yield Note(line(say("parity.uncovered", names=", ".join(report.uncovered))))


def _first(rows: Sequence[Row]) -> Iterator[str]:
    """One finding for all layers that have it, under the name of the first."""
    for fold in folded(rows):
        others = [row.layer for row in fold.rows[1:] if row.layer is not None]
        where = say("parity.and layers", layers=words.layers(span(others))) if others else ""
        row = fold.rows[0]
        yield f"{words.stage(row.where)}: {again(row.finding, 'culprit', 'note')}{where}"


def _table(rows: Sequence[Row]) -> Table:
    columns = (
        Column(say("label.stage"), least=20),
        Column(say("label.verdict"), least=12),
        Column("rho", "right"),
        Column(say("parity.largest error"), "right", rank=2),
        Column(say("label.dtype"), rank=4),
        Column(say("label.module"), rank=3, least=20),
    )
    return Table(columns, (Group(line(), 1, tuple(map(_row, rows))),))


def _row(row: Row) -> tuple[Cell, ...]:
    error = "" if row.check is None else f"{row.check.max_abs_error:.3g}"
    style = STYLES[row.verdict]
    return (
        cell(words.stage(row.where)),
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
        "special": _special(row.special),
    }


def _special(found: Inputs | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "inputs": found.what,
        "elements": found.elements,
        "rho": found.check.rho,
        "max_abs_error": found.check.max_abs_error,
        "worst": _worst(found.check),
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
