"""The diff of two architectures: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from inspector.alignment.parts import Part, Side
from inspector.axes import AXES
from inspector.comparison.changes import Row
from inspector.comparison.judge import Comparison, Finding
from inspector.comparison.rules import SEVERITIES
from inspector.comparison.wording import said
from inspector.messages import again, say
from inspector.render.document import (
    Block,
    Cell,
    Column,
    Document,
    Group,
    Heading,
    Line,
    Note,
    Pairs,
    Paragraph,
    Span,
    Table,
    cell,
    line,
)
from inspector.reporting import retold, words
from inspector.stage_graph.fields import model_fields

SIGNS = {
    "same": "=",
    "renamed": "≈",
    "re-expressed": "⇄",
    "changed": "~",
    "moved": "↕",
    "only-a": "−",
    "only-b": "+",
}
"""Status -> its sign; the word always stands beside it."""

_QUIET = ("same", "renamed")


def document(found: Comparison, findings: Sequence[Finding], rows: Sequence[Row], *, every: bool = False) -> Document:
    """Sentences, what was compared, findings, then the rows side by side; equal rows folded unless `every`."""
    return tuple(_blocks(found, findings, rows, every))


def _blocks(found: Comparison, findings: Sequence[Finding], rows: Sequence[Row], every: bool) -> Iterator[Block]:
    findings = retold.findings(found, findings)
    yield Heading(1, line(words.joined(retold.names(found))))
    yield from (Paragraph(line(sentence)) for sentence in _headline(found, findings))
    yield Pairs(tuple(_figures(found)))
    if findings:
        yield Heading(2, line(say("diff.findings")))
        yield _findings(found, findings)
    if rows:
        yield Heading(2, line(say("diff.side by side")))
        yield _rows(found, rows, every)
    yield from (Note(line(note)) for note in words.notes(dict.fromkeys((*found.a.notes, *found.b.notes))))


def _headline(found: Comparison, findings: Sequence[Finding]) -> list[str]:
    """What a learner reads first: another function before other sizes, and at the end how much is alike."""
    worst = [finding.sentence for finding in findings if finding.severity == "breaking"]
    return [*worst, retold.summary(found)]


def _figures(found: Comparison) -> Iterator[tuple[str, Cell]]:
    for label, key in (
        (say("label.parameters"), "parameters"),
        (say("label.FLOPs of this run"), "flops"),
        (say("label.cache bytes per token"), "cache_bytes_per_token"),
    ):
        values = [side.figures.get(key) for side in (found.a, found.b)]
        if any(values):
            yield (
                label,
                cell(
                    *(
                        f"{name} {f'{value:,}' if value else say('diff.none')}"
                        for name, value in zip(retold.names(found), values, strict=True)
                    )
                ),
            )
    letters = dict.fromkeys((*found.a.sizes, *found.b.sizes))
    yield say("label.axes"), cell(*(_size(letter, found) for letter in AXES if letter in letters))
    counts = [(SIGNS[status], status, count) for status, count in found.statuses.items() if count]
    yield say("label.rows"), cell(*(f"{sign} {count} {status}" for sign, status, count in counts))
    yield say("diff.aligned"), cell(say("diff.share", share=f"{100 * found.aligned:.1f}"))


def _size(letter: str, found: Comparison) -> Line:
    sizes = [
        say("joint.and").join(f"{size:,}" for size in side.sizes.get(letter, ())) or "–" for side in (found.a, found.b)
    ]
    both = sizes[0] if sizes[0] == sizes[1] else " | ".join(sizes)
    return line(Span(f"{letter}={both}", letter), f" {words.meaning('axis', letter)}")


def _findings(found: Comparison, findings: Sequence[Finding]) -> Table:
    columns = (
        Column(say("label.rule"), least=16),
        *(Column(name, rank=2, least=12) for name in retold.names(found)),
        Column(say("label.in words"), least=30, prose=True),
        Column(say("label.fingerprint"), rank=4),
    )
    groups = tuple(
        Group(words.severity(severity), 1, tuple(map(_finding, chosen)))
        for severity in SEVERITIES
        if (chosen := [finding for finding in findings if finding.severity == severity])
    )
    return Table(columns, groups)


def _finding(finding: Finding) -> tuple[Cell, ...]:
    return (
        cell(finding.rule),
        cell(said(finding.a)),
        cell(said(finding.b)),
        cell("" if finding.severity == "breaking" else finding.sentence),  # said above, first of all
        cell(Span(finding.fingerprint, "muted")),
    )


def _rows(found: Comparison, rows: Sequence[Row], every: bool) -> Table:
    columns = (
        Column(say("label.part"), least=18),
        Column(say("label.status"), least=14),
        *(Column(name, least=14) for name in retold.names(found)),
        Column(say("label.why"), rank=5, least=24),
    )
    groups = tuple(
        Group(_title(found, scopes), 1, tuple(_lines(list(inside), every)))
        for scopes, inside in groupby(rows, key=_scopes)
    )
    return Table(columns, groups)


def _scopes(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple((scope.place, scope.text) if scope else ("", "") for scope in row.scopes)


def _title(found: Comparison, scopes: tuple[tuple[str, str], ...]) -> Line:
    place = next(place for place, _ in scopes if place)
    if place != "block":
        return line(Span(say(f"place.{place}"), "title"))
    spans = [
        f"{name}: {words.layers(span) if span else say('diff.no such block')}"
        for name, (_, span) in zip(retold.names(found), scopes, strict=True)
    ]
    return line(Span(say("diff.block"), "title"), Span(f"  {' | '.join(spans)}", "muted"))


def _lines(rows: Sequence[Row], every: bool) -> Iterator[tuple[Cell, ...]]:
    """One line per row; rows that are equal on both sides are counted instead."""
    for quiet, run in groupby(rows, key=lambda row: not every and row.status in _QUIET):
        if not quiet:
            yield from map(_line, run)
            continue
        folded = list(run)
        if len(folded) == 1:
            yield _line(folded[0])
            continue
        names = dict.fromkeys(row.parts[0].role for row in folded)
        signs = " ".join(dict.fromkeys(SIGNS[row.status] for row in folded))
        told = (say("diff.parts", n=len(folded)), say("diff.equal", signs=signs), ", ".join(names), "", "")
        yield tuple(cell(Span(text, "muted")) for text in told)


def _short(row: Row) -> str:
    return row.parts[0].name


def _line(row: Row) -> tuple[Cell, ...]:
    style = (
        "muted" if row.status in _QUIET else "title" if row.status in ("changed", "moved", "only-a", "only-b") else ""
    )
    return (
        cell(row.form if row.form and row.form != "joined" else _short(row)),
        cell(Span(f"{SIGNS[row.status]} {row.status}", style), *map(_change, row.changes)),
        _side(row.a),
        _side(row.b),
        cell(Span(again(row.reason, "reason"), "muted")),
    )


def _change(change: Any) -> str:
    return f"{change.name} {said(change.a)} → {said(change.b)}"


def _side(parts: Sequence[Part]) -> Cell:
    """What the stages are written in, and what they hand on; one line per stage."""
    if not parts:
        return cell(Span("–", "muted"))
    return cell(*(line(*_stage(part, alone=len(parts) == 1)) for part in parts))


def _stage(part: Part, *, alone: bool) -> Iterator[Span]:
    named = part.role if not alone else ""
    calls = part.spelling.replace(" ", ", ")
    if named:
        yield Span(f"{named}{f' {part.operand}' if part.operand and not named.startswith(part.operand) else ''}: ")
    yield (
        Span(calls if len(calls) <= 32 else f"{calls[:30]}…")
        if calls
        else Span(say("diff.views only" if not part.idle else "diff.idle"), "muted")
    )
    if part.shapes:
        yield Span(" ")
        yield from _shape(max(part.shapes, key=len))


def _shape(shape: Sequence[str]) -> Iterator[Span]:
    yield Span("(")
    for index, axis in enumerate(shape):
        if index:
            yield Span(", ")
        for place, letter in enumerate(axis.split("·")):
            if place:
                yield Span("·")
            yield Span(letter, letter if letter in AXES else "")
    yield Span(")")


def envelope(
    found: Comparison, findings: Sequence[Finding], rows: Sequence[Row], tool: dict[str, str]
) -> dict[str, Any]:
    """The envelope `inspector/diff/1`; `models[0]` is A and `models[1]` is B."""
    return {
        "schema": "inspector/diff/1",
        "tool": tool,
        "models": [_model(found.a), _model(found.b)],
        "rows": [_row(row) for row in rows],
        "findings": [_told(finding) for finding in findings],
        "summary": {
            **found.statuses,
            "aligned": round(found.aligned, 6),
            "findings": found.severities,
            "sentences": list(found.sentences),
        },
    }


def _told(finding: Finding) -> dict[str, Any]:
    """Its place is part of its sentence."""
    return {name: value for name, value in asdict(finding).items() if name != "place"}


def _model(side: Side) -> dict[str, Any]:
    return {
        **model_fields(side.model, side.scenario),
        "axes": {letter: list(sizes) for letter, sizes in side.sizes.items()},
        "layers": side.depth,
        "pattern": side.pattern,
        "flops": side.figures.get("flops"),
        "cache_bytes_per_token": side.figures.get("cache_bytes_per_token"),
        "notes": list(side.notes),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": row.status,
        "a": [_part(part) for part in row.a],
        "b": [_part(part) for part in row.b],
        "changes": [change._asdict() for change in row.changes],
        "reason": row.reason,
        "score": row.score,
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "id": part.id,
        "section": part.section,
        "role": part.role,
        "operand": part.operand,
        "layers": part.layers,
        "module": part.module,
        "op": part.spelling,
        "outputs": list(part.printed),
        "axes": [list(shape) for shape in part.shapes],
        "attributes": dict(part.maths),
    }


def records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """One flat record per row."""
    return [
        {
            "id": row.id,
            "status": row.status,
            "part": _short(row),
            "a": " ".join(part.name for part in row.a),
            "b": " ".join(part.name for part in row.b),
            "a_op": "; ".join(part.spelling for part in row.a),
            "b_op": "; ".join(part.spelling for part in row.b),
            "a_shape": "; ".join(" ".join(part.printed) for part in row.a),
            "b_shape": "; ".join(" ".join(part.printed) for part in row.b),
            "a_module": "; ".join(part.module for part in row.a),
            "b_module": "; ".join(part.module for part in row.b),
            "changes": "; ".join(map(str, row.changes)),
            "reason": row.reason,
            "score": row.score,
        }
        for row in rows
    ]
