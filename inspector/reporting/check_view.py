"""Locks held against their models: as a document, as an envelope, as flat records, as a summary of so many bytes."""

from __future__ import annotations

__all__ = ["document", "envelope", "records", "sentence", "summary"]

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.alignment.parts import Part
from inspector.comparison.held import Held, worst
from inspector.comparison.judge import Comparison, Finding
from inspector.comparison.rules import SEVERITIES
from inspector.messages import say
from inspector.render.budget import cut
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
from inspector.render.markdown import markdown
from inspector.reporting import diff_view, retold, words

_STYLES = {"same": "good", "differs": "caution", "unanswered": "warning"}
_FULL, _FINDINGS, _VERDICTS = 2, 1, 0
"""How much of a check is shown."""


def document(held: Sequence[Held], *, every: bool = False, detail: int = _FULL) -> Document:
    """Of one lock the verdict, versions, findings, renamed parts and rows; of several first a table of verdicts."""
    if len(held) == 1:
        return tuple(_one(held[0], 1, every, detail))
    return tuple(_several(held, every, detail))


def sentence(held: Held) -> str:
    """How one lock stands, in words.

    >>> from inspector.errors import InspectorError
    >>> sentence(Held("gpt2.arch.json", error=InspectorError("gpt2.arch.json is not JSON")))
    'Could not answer: gpt2.arch.json is not JSON.'
    """
    found = held.comparison
    if found is None:
        return say("check.could not", why=held.error.what if held.error else say("check.nothing compared"))
    if held.updated:
        return say("check.updated", lock=held.lock, findings=_counted(held) or say("check.nothing differed"))
    then, now = found.names
    if now.endswith(" now"):
        then, now = say("check.as locked"), now.removesuffix(" now")
    if held.failing:
        return say("check.is not", now=now, then=then, findings=_counted(held))
    if held.verdict == "same":
        return say("check.is", now=now, then=then, parts=_parts(found))
    none = say("check.none failing", findings=_counted(held), severity=held.fail_on)
    said = none if held.findings else say("check.no finding")
    return say("check.all that counts", now=now, then=then, parts=_parts(found), findings=said)


def _counted(held: Held) -> str:
    counts = Counter(finding.severity for finding in held.findings)
    said = [f"{counts[severity]:,} {severity}" for severity in SEVERITIES if counts[severity]]
    one = "one" if len(held.findings) == 1 else "many"
    return say(f"check.{one}", findings=say("joint.and").join(said)) if said else ""


def _parts(found: Comparison) -> str:
    counts = found.statuses
    said = [say("check.same", same=f"{counts['same']:,}", all=f"{len(found.rows):,}")]
    said += [say("check.renamed", n=f"{counts['renamed']:,}")] if counts["renamed"] else []
    said += [say("check.otherwise", n=f"{counts['re-expressed']:,}")] if counts["re-expressed"] else []
    return words.listed(said)


# one lock


def _one(held: Held, level: int, every: bool, detail: int) -> Iterator[Block]:
    yield Heading(level, line(held.lock))
    yield Paragraph(line(Span(sentence(held), "warning" if held.exit_code else "good")))
    found = held.comparison
    if found is None:
        yield from (Paragraph(line(text)) for text in _reasons(held))
        return
    yield from (Paragraph(line(each.sentence)) for each in retold.findings(found, _worst(held)))
    yield Pairs(tuple(_figures(held, found)))
    if detail == _VERDICTS:
        return
    yield from _renamed(found, level + 1)
    rows = found.rows if detail == _FULL and (every or _telling(found)) else ()
    blocks = diff_view.document(found, held.findings, rows, every=every)
    start = next(place for place, block in enumerate(blocks) if isinstance(block, Pairs)) + 1
    for block in blocks[start:]:
        yield block._replace(level=block.level + level - 1) if isinstance(block, Heading) else block


def _worst(held: Held) -> list[Finding]:
    return [finding for finding in held.findings if finding.severity == "breaking"]


def _reasons(held: Held) -> tuple[str, ...]:
    return tuple(text for text in (held.error.why, held.error.hint) if text) if held.error else ()


def _figures(held: Held, found: Comparison) -> Iterator[tuple[str, Cell]]:
    assert held.then is not None
    assert held.now is not None
    yield (
        say("label.model"),
        cell(words.described(held.now.record.model, kind=False)),
    )
    then, now = dict(held.then.record.tool), dict(held.now.record.tool)
    yield say("check.locked with"), cell(*(f"{name} {version}" for name, version in then.items()))
    yield say("check.checked with"), cell(*(_version(name, version, then) for name, version in now.items()))
    run = held.then.record.scenario
    step = run.mode == "decode" and run.seq == 1
    graph = say("check.one step", mode=run.mode) if step else run.mode
    yield say("label.run"), cell(graph, say("run.attention", attention=run.attention), run.dtype)
    counts = [(diff_view.SIGNS[status], status, count) for status, count in found.statuses.items() if count]
    yield say("label.rows"), cell(*(f"{sign} {count} {status}" for sign, status, count in counts))
    least = "check.breaking" if held.fail_on == "breaking" else "check.or worse"
    yield say("check.fails on"), cell(say(least, severity=held.fail_on))


def _version(name: str, version: str, then: dict[str, str]) -> Span:
    return Span(f"{name} {version}", "" if then.get(name) == version else "title")


def _telling(found: Comparison) -> bool:
    """Whether a row is more than equal under another name; names have a table of their own."""
    return any(row.status not in ("same", "renamed") for row in found.rows)


def _renamed(found: Comparison, level: int) -> Iterator[Block]:
    rows = [row for row in found.rows if row.status == "renamed"]
    if not rows:
        return
    columns = (
        Column(say("label.part"), least=18),
        Column(say("check.as locked"), least=18),
        Column(say("check.now"), least=18),
    )
    lines = tuple((cell(row.parts[0].name), _module(row.a[0]), _module(row.b[0])) for row in rows)
    yield Heading(level, line(say("check.only renamed")))
    yield Table(columns, (Group(line(), 1, lines),))


def _module(part: Part) -> Cell:
    return cell(part.module or Span(say("check.itself"), "muted"))


# several locks


def _several(held: Sequence[Held], every: bool, detail: int) -> Iterator[Block]:
    yield Heading(1, line(words.counted(len(held), "lock")))
    counts = Counter(_outcome(one) for one in held)
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    yield Paragraph(line(Span(said, "warning" if worst(held) else "good")))
    columns = (
        Column(say("check.lock"), least=16),
        Column(say("label.model"), rank=2, least=12),
        Column(say("label.verdict")),
        Column(say("label.in words"), least=24, prose=True),
    )
    rows = tuple(
        (cell(one.lock), cell(one.name), cell(Span(_outcome(one), _STYLES[one.verdict])), cell(sentence(one)))
        for one in held
    )
    yield Table(columns, (Group(line(), 1, rows),))
    if detail > _VERDICTS:
        for one in sorted(held, key=lambda one: -one.exit_code):
            if one.verdict != "same" or every:
                yield from _one(one, 2, every, detail)


def _outcome(held: Held) -> str:
    if held.updated:
        return "updated"
    return "fails" if held.failing else held.verdict


# formats


def summary(held: Sequence[Held], max_bytes: int) -> str:
    """Markdown of at most so many bytes: rows go first, then findings, then the end."""
    for detail in (_FULL, _FINDINGS, _VERDICTS):
        text = markdown((*document(held, detail=detail), *_left_out(detail)))
        if len(text.encode()) <= max_bytes:
            return text
    return cut(text, max_bytes)


def _left_out(detail: int) -> Iterator[Block]:
    if detail != _FULL:
        left = say("check.left rows" if detail == _FINDINGS else "check.left both")
        yield Note(line(say("check.no room", left=left)))


def envelope(held: Sequence[Held], tool: dict[str, str]) -> dict[str, Any]:
    """The envelope `inspector/check/1`: one row per lock, its `model` an index into `models`."""
    answered = [one for one in held if one.comparison]
    return {
        "schema": "inspector/check/1",
        "tool": tool,
        "models": [_compared(one)["models"][1] for one in answered],
        "rows": [_row(one, answered.index(one) if one in answered else None) for one in held],
        "summary": {
            "locks": len(held),
            **{verdict: sum(one.verdict == verdict for one in held) for verdict in _STYLES},
            "failing": sum(bool(one.failing) and not one.updated for one in held),
            "exit_code": worst(held),
        },
    }


def _compared(held: Held) -> dict[str, Any]:
    assert held.comparison is not None
    return diff_view.envelope(held.comparison, held.findings, held.comparison.rows, {})


def _row(held: Held, model: int | None) -> dict[str, Any]:
    found = _compared(held) if held.comparison else None
    error = held.error
    return {
        "lock": held.lock,
        "model": model,
        "locked": held.then and {"name": held.name, "tool": dict(held.then.record.tool)},
        "verdict": held.verdict,
        "fail_on": held.fail_on,
        "exit_code": held.exit_code,
        "updated": held.updated,
        "sentence": sentence(held),
        "error": error and {"what": error.what, "why": error.why, "hint": error.hint},
        "parts": found["rows"] if found else [],
        "findings": found["findings"] if found else [],
        "statuses": held.comparison.statuses if held.comparison else {},
        "severities": {severity: sum(one.severity == severity for one in held.findings) for severity in SEVERITIES},
    }


def records(held: Sequence[Held]) -> list[dict[str, object]]:
    """One flat record per lock."""
    return [
        {
            "lock": one.lock,
            "model": one.name,
            "verdict": one.verdict,
            "exit_code": one.exit_code,
            **{severity: sum(found.severity == severity for found in one.findings) for severity in SEVERITIES},
            "sentence": sentence(one),
            "findings": " ".join(dict.fromkeys(finding.rule for finding in one.findings)),
        }
        for one in held
    ]
