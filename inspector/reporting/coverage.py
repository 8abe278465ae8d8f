"""A survey of model types: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from inspector.messages import say
from inspector.render.document import Block, Cell, Column, Document, Group, Heading, Note, Paragraph, Table, cell, line
from inspector.reporting import words
from inspector.reporting.coverage_rows import Row, Worse

_FIGURES = ("role_percent", "specific_percent", "label_exam", "stages_verified")


def document(rows: Sequence[Row], worse: Sequence[Worse], compared: int | None) -> Document:
    """Sentences, what is worse, and one row per type; types that did not run come last, with the reason."""
    traced = [row for row in rows if row.traced]
    rest = [row for row in rows if not row.traced]
    groups = [Group(line(""), 1, tuple(map(_cells, traced)))] if traced else []
    groups += [Group(line(say("coverage.untraced")), 1, tuple(map(_cells, rest)))] if rest else []
    return (
        Heading(1, line(say("coverage.title", types=words.counted(len(rows), "type")))),
        *(Paragraph(line(sentence)) for sentence in _sentences(rows, traced)),
        *_judged(worse, compared),
        Table(_columns(), tuple(groups)),
        Note(line(say("coverage.legend"))),
        *_mismatches(rows),
    )


def _mismatches(rows: Sequence[Row]) -> Iterator[Block]:
    """Every role that does not agree with a name, with its reason."""
    found = [(row.model_type, text) for row in rows for text in row.label_mismatches]
    if found:
        yield Heading(2, line(say("coverage.mismatches")))
        columns = (Column(say("coverage.column_type")), Column(say("coverage.column_mismatch"), prose=True))
        yield Table(columns, (Group(line(""), 1, tuple((cell(type), cell(text)) for type, text in found)),))


def envelope(rows: Sequence[Row], worse: Sequence[Worse], compared: int | None, tool: dict[str, str]) -> dict[str, Any]:
    """The envelope `inspector/coverage/1`."""
    return {
        "schema": "inspector/coverage/1",
        "tool": tool,
        "rows": [asdict(row) for row in rows],
        "worse": [found._asdict() for found in worse],
        "summary": _summary(rows) | {"compared": compared, "worse": len(worse)},
    }


def records(rows: Sequence[Row]) -> list[dict[str, object]]:
    joined = {"conflicts": " ", "explained": " ", "label_mismatches": "; "}
    return [asdict(row) | {key: text.join(getattr(row, key)) for key, text in joined.items()} for row in rows]


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    means = {name: _mean([getattr(row, name) for row in rows]) for name in _FIGURES}
    counts = {name: sum(getattr(row, name) or 0 for row in rows) for name in ("ops", "unknown", "stages_failed")}
    counts |= {name: sum(len(getattr(row, name)) for row in rows) for name in ("conflicts", "explained")}
    return {"types": len(rows), "traced": sum(row.traced for row in rows), **counts, **means}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 2) if known else None


def _sentences(rows: Sequence[Row], traced: Sequence[Row]) -> Iterator[str]:
    if not traced:
        yield say("coverage.none")
        return
    found, meta = _summary(rows), sum(row.device == "meta" for row in traced)
    types = words.counted(len(rows), "type")
    yield say("coverage.traced", traced=len(traced), types=types, meta=meta, cpu=len(traced) - meta)
    yield say("coverage.roles", ops=f"{found['ops']:,}", unknown=f"{found['unknown']:,}")
    for name, kind in (("attention", True), ("others", False)):
        some = [row for row in traced if row.softmax is kind and row.specific_percent is not None]
        if some:
            yield _spread(f"coverage.{name}", some)
    for name, field in (("exam", "label_exam"), ("verified", "stages_verified")):
        if found[field] is not None:
            yield say(f"coverage.{name}", mean=found[field])
    facts = words.counted(sum(row.facts or 0 for row in traced), "fact")
    yield say("coverage.held", facts=facts, conflicts=found["conflicts"], explained=found["explained"])
    if failing := [row.model_type for row in traced if row.stages_failed]:
        stages = words.counted(found["stages_failed"], "stage")
        types = words.counted(len(failing), "type")
        yield say("coverage.failed", stages=stages, types=types, names=words.listed(failing))


def _spread(id: str, rows: Sequence[Row]) -> str:
    """Mean and worst of the ops in blocks that have a specific role."""
    least = min(rows, key=lambda row: (row.specific_percent or 0, row.model_type))
    mean = _mean([row.specific_percent for row in rows])
    types = words.counted(len(rows), "type")
    return say(id, types=types, mean=mean, least=least.specific_percent, worst=least.model_type)


def _judged(worse: Sequence[Worse], compared: int | None) -> Iterator[Block]:
    if compared is None:
        return
    if not compared:
        yield Note(line(say("coverage.none compared")))
    elif not worse:
        yield Paragraph(line(say("coverage.better", rows=words.counted(compared, "row"))))
    else:
        yield Heading(2, line(say("coverage.worse")))
    for found in worse:
        said = {"type": found.model_type, "field": found.field, "before": found.before, "now": found.now}
        yield Note(line(say("coverage.change", **said)))


def _columns() -> tuple[Column, ...]:
    figures = ("ops", "unknown", "roles", "specific", "scan", "exam", "verified", "failed")
    return (
        Column(say("coverage.column_type")),
        Column(say("coverage.column_device"), rank=3),
        *(Column(say(f"coverage.column_{name}"), "right") for name in figures),
        Column(say("coverage.column_facts"), "right", rank=3),
        Column(say("coverage.column_pattern"), rank=2, least=16),
        Column(say("coverage.column_conflicts"), rank=2, least=16),
        Column(say("coverage.column_explained"), rank=3, least=16),
        Column(say("coverage.column_reason"), rank=1, least=24, prose=True),
    )


def _cells(row: Row) -> tuple[Cell, ...]:
    shares = (row.role_percent, row.specific_percent, row.scan, row.label_exam, row.stages_verified)
    figures = (row.ops, row.unknown, *shares, row.stages_failed)
    return (
        cell(row.model_type),
        cell(row.device or ""),
        *(cell("" if value is None else f"{value:,}") for value in figures),
        cell("" if row.facts is None else str(row.facts)),
        cell(row.pattern or ""),
        cell(words.listed(row.conflicts)),
        cell(words.listed(row.explained)),
        cell(row.reason),
    )
