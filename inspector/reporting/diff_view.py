"""The diff of two architectures: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from inspector.alignment.parts import Part, Side
from inspector.axes import AXES
from inspector.comparison.changes import Row, text
from inspector.comparison.judge import Comparison, Finding
from inspector.comparison.rules import SEVERITIES
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
from inspector.reporting import words
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
    yield Heading(1, line(f"{found.names[0]} and {found.names[1]}"))
    yield from (Paragraph(line(sentence)) for sentence in _headline(found, findings))
    yield Pairs(tuple(_figures(found)))
    if findings:
        yield Heading(2, line("findings"))
        yield _findings(found, findings)
    if rows:
        yield Heading(2, line("side by side"))
        yield _rows(found, rows, every)
    yield from (Note(line(note)) for note in dict.fromkeys((*found.a.notes, *found.b.notes)))


def _headline(found: Comparison, findings: Sequence[Finding]) -> list[str]:
    """What a learner reads first: another function before other sizes, and at the end how much is alike."""
    said = [finding.sentence for finding in findings if finding.severity == "breaking"]
    return [*said, found.sentences[-1]]


def _figures(found: Comparison) -> Iterator[tuple[str, Cell]]:
    for label, key in (
        ("parameters", "parameters"),
        ("FLOPs of this run", "flops"),
        ("cache bytes per token", "cache_bytes_per_token"),
    ):
        values = [side.figures.get(key) for side in (found.a, found.b)]
        if any(values):
            yield (
                label,
                cell(
                    *(
                        f"{name} {f'{value:,}' if value else 'none'}"
                        for name, value in zip(found.names, values, strict=True)
                    )
                ),
            )
    letters = dict.fromkeys((*found.a.sizes, *found.b.sizes))
    yield "axes", cell(*(_size(letter, found) for letter in AXES if letter in letters))
    counts = [(SIGNS[status], status, count) for status, count in found.statuses.items() if count]
    yield "rows", cell(*(f"{sign} {count} {status}" for sign, status, count in counts))
    yield "aligned", cell(f"{100 * found.aligned:.1f} % of the parts found a counterpart, or a finding says why not")


def _size(letter: str, found: Comparison) -> Line:
    sizes = [" and ".join(f"{size:,}" for size in side.sizes.get(letter, ())) or "–" for side in (found.a, found.b)]
    said = sizes[0] if sizes[0] == sizes[1] else " | ".join(sizes)
    return line(Span(f"{letter}={said}", letter), f" {AXES[letter].name}")


def _findings(found: Comparison, findings: Sequence[Finding]) -> Table:
    columns = (
        Column("rule", least=16),
        Column(found.names[0], rank=2, least=12),
        Column(found.names[1], rank=2, least=12),
        Column("in words", least=30),
        Column("fingerprint", rank=4),
    )
    groups = tuple(
        Group(line(Span(severity, "title"), Span(f"  {meaning}", "muted")), 1, tuple(map(_finding, chosen)))
        for severity, meaning in SEVERITIES.items()
        if (chosen := [finding for finding in findings if finding.severity == severity])
    )
    return Table(columns, groups)


def _finding(finding: Finding) -> tuple[Cell, ...]:
    return (
        cell(finding.rule),
        cell(text(finding.a)),
        cell(text(finding.b)),
        cell("" if finding.severity == "breaking" else finding.sentence),  # said above, first of all
        cell(Span(finding.fingerprint, "muted")),
    )


def _rows(found: Comparison, rows: Sequence[Row], every: bool) -> Table:
    columns = (
        Column("part", least=18),
        Column("status", least=14),
        Column(found.names[0], least=14),
        Column(found.names[1], least=14),
        Column("why", rank=5, least=24),
    )
    groups = tuple(
        Group(_title(found, scopes), 1, tuple(_lines(list(inside), every)))
        for scopes, inside in groupby(rows, key=_scopes)
    )
    return Table(columns, groups)


def _scopes(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple((scope.place, scope.text) if scope else ("", "") for scope in row.scopes)


_PLACES = {"stem": "before the blocks", "head": "after the blocks"}


def _title(found: Comparison, scopes: tuple[tuple[str, str], ...]) -> Line:
    place = next(place for place, _ in scopes if place)
    if place != "block":
        return line(Span(_PLACES[place], "title"))
    spans = [
        f"{name}: {words.layers(span)}" if span else f"{name}: no such block"
        for name, (_, span) in zip(found.names, scopes, strict=True)
    ]
    return line(Span("block", "title"), Span(f"  {' | '.join(spans)}", "muted"))


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
        said = (f"{len(folded)} parts", f"{signs} equal", ", ".join(names), "", "")
        yield tuple(cell(Span(text, "muted")) for text in said)


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
        cell(Span(row.reason, "muted")),
    )


def _change(change: Any) -> str:
    return f"{change.name} {text(change.a)} → {text(change.b)}"


def _side(parts: Sequence[Part]) -> Cell:
    """What the stages are written in, and what they hand on; one line per stage."""
    if not parts:
        return cell(Span("–", "muted"))
    return cell(*(line(*_stage(part, alone=len(parts) == 1)) for part in parts))


def _stage(part: Part, *, alone: bool) -> Iterator[Span]:
    said = part.role if not alone else ""
    calls = part.spelling.replace(" ", ", ")
    if said:
        yield Span(f"{said}{f' {part.operand}' if part.operand and not said.startswith(part.operand) else ''}: ")
    yield (
        Span(calls if len(calls) <= 32 else f"{calls[:30]}…")
        if calls
        else Span("views only" if not part.idle else "idle", "muted")
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
        "findings": [asdict(finding) for finding in findings],
        "summary": {
            **found.statuses,
            "aligned": round(found.aligned, 6),
            "findings": found.severities,
            "sentences": list(found.sentences),
        },
    }


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
