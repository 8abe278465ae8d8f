"""The fact sheet: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.fact_sheet.facts import Fact, FactSheet
from inspector.messages import again, say
from inspector.records import Plain
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
from inspector.reporting import words
from inspector.stage_graph.fields import model_fields
from inspector.stage_graph.record import GraphFact


def _columns() -> tuple[Column, ...]:
    """The titles; where ids are foreign words, what they mean stands beside them."""
    return (
        Column(say("label.fact"), least=16),
        *([Column(say("label.meaning"), rank=1, least=16, prose=True)] if words.glossed() else []),
        Column(say("facts.value"), least=16),
        Column(say("facts.claim"), least=14),
        Column(say("facts.shows"), rank=1, least=16),
        Column(say("facts.claims"), rank=2, least=18),
    )


_SHARES = "cost.flops."
_HEADS = ("model", "norm", "position", "bias", "cache", "cost")
"""Groups of facts that are named otherwise than sections of a graph, or are about more than one."""


def document(sheet: FactSheet) -> Document:
    """Conflicts first, then what differs for a known reason, every fact by section, and what stayed open."""
    return (*_header(sheet), *_conflicts(sheet), *_explained(sheet), _table(sheet), *_footer(sheet))


def _header(sheet: FactSheet) -> Iterator[Block]:
    model = sheet.model
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(words.described(model)))
    held = sum(fact.agrees is True for fact in sheet.facts)
    tried = sum(fact.probed is True for fact in sheet.facts)
    summary = [say("facts.met", claims=words.counted(held, "claim")), words.counted(len(sheet.conflicts), "conflict")]
    if sheet.explained:
        summary.append(words.counted(len(sheet.explained), "difference explained"))
    if tried:
        summary.append(say("facts.confirmed", facts=words.counted(tried, "fact")))
    yield Pairs(((say("label.run"), cell(*words.scenario(sheet.scenario))), (say("label.facts"), cell(*summary))))


def _conflicts(sheet: FactSheet) -> Iterator[Block]:
    if sheet.conflicts:
        yield Heading(2, line(Span(words.counted(len(sheet.conflicts), "conflict"), "warning")))
        yield from (Note(line(Span(_complaint(fact), "warning"))) for fact in sheet.conflicts)


def _explained(sheet: FactSheet) -> Iterator[Block]:
    if sheet.explained:
        yield Heading(2, line(words.counted(len(sheet.explained), "difference explained")))
        yield from (Note(line(f"{_complaint(fact)}: {again(fact.explained, 'explained')}")) for fact in sheet.explained)


def _complaint(fact: Fact) -> str:
    """What was executed, and who says otherwise."""
    where = f" ({words.layers(fact.layers)})" if fact.layers[:1].isdigit() else ""
    said = say("facts.is", fact=f"{fact.id}{where}", value=text(fact))
    if fact.agrees is False and fact.claim is not None:
        said += say("facts.but", where=fact.claim[0], value=_value(fact.claim[1]))
    if fact.probed is False:
        tried = [f"{again(name, 'probe')}: {_value(value)}" for name, value in fact.evidence.probes]
        said += say("facts.otherwise", tried=say("joint.reason").join(tried))
    return said


def _table(sheet: FactSheet) -> Table:
    groups: dict[str, list[tuple[Cell, ...]]] = {}
    for fact in sheet.facts:
        if not fact.id.startswith(_SHARES):
            groups.setdefault(fact.id.partition(".")[0], []).append(_row(fact))
    return Table(_columns(), tuple(Group(_title(name), 1, tuple(rows)) for name, rows in groups.items()))


def _title(section: str) -> Any:
    meaning = say(f"fact_group.{section}") if section in _HEADS else words.meaning("section", section)
    return line(Span(section, "title"), Span(f"  {meaning}" if meaning else "", "muted"))


def _row(fact: Fact) -> tuple[Cell, ...]:
    name = fact.id.partition(".")[2]
    about = words.layers(fact.layers) if fact.layers[:1].isdigit() else fact.layers
    shown = fact.evidence.shown.split(", ") if fact.evidence.shown else []
    return (
        cell(line(name, Span(f"  {about}" if about else "", "muted"))),
        *([cell(words.meaning("fact_meaning", fact.id))] if words.glossed() else []),
        cell(line(Span(text(fact), "warning" if fact.conflict else ""))),
        _verdict(fact),
        cell(*(line(Span(part, "muted")) for part in shown)),
        cell(line(Span(fact.claim[0] if fact.claim else "", "muted"))),
    )


def _verdict(fact: Fact) -> Cell:
    """What is claimed where it is not the value, and whether an experiment came to the same."""
    if fact.conflict:
        other = f": {_value(fact.claim[1])}" if fact.agrees is False and fact.claim else ""
        return cell(line(Span(f"{say('facts.CONFLICT')}{other}", "warning")))
    if fact.explained and fact.claim:
        return cell(f"{say('facts.explained')}: {_value(fact.claim[1])}")
    said = say("facts.agrees") if fact.agrees else f"({_value(fact.claim[1])})" if fact.claim else ""
    return cell(line(Span(words.listed(filter(None, (said, say("facts.probed") if fact.probed else ""))), "muted")))


def text(fact: Fact | GraphFact) -> str:
    """The value with its formula and its unit: `0.125 = 1/sqrt(64)`."""
    formula = f" = {fact.formula}" if fact.formula else ""
    return f"{_value(fact.value)}{formula}{' ' + fact.unit if fact.unit else ''}"


def _value(value: Plain) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{int(value):,}" if value.is_integer() and 1 < abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, tuple):
        return _several(value)
    return str(value)


def _several(values: tuple[Plain, ...]) -> str:
    """Pairs as `factor 8`, runs of equal words counted."""
    runs: list[tuple[str, int]] = []
    for value in values:
        pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
        said = " ".join(map(_value, value)) if pair and isinstance(value, tuple) else _value(value)
        if runs and runs[-1][0] == said:
            runs[-1] = (said, runs[-1][1] + 1)
        else:
            runs.append((said, 1))
    shown = [said if count == 1 else f"{count} {said}" for said, count in runs]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:6], say("facts.more", n=len(shown) - 6)])


def _footer(sheet: FactSheet) -> Iterator[Block]:
    shares = [fact for fact in sheet.facts if fact.id.startswith(_SHARES)]
    if shares:
        yield Details(line(say("facts.where")), (_costs(shares),))
    if sheet.unanswered:
        yield Heading(2, line(say("facts.unanswered")))
        yield from (Note(line(f"{fact}: {again(reason, 'note')}")) for fact, reason in sheet.unanswered)
    yield from (Note(line(note)) for note in words.notes(sheet.notes))


def _costs(shares: Sequence[Fact]) -> Table:
    total = sum(fact.value for fact in shares if isinstance(fact.value, int)) or 1
    columns = (Column(say("label.part"), least=18), Column("FLOPs", "right"), Column(say("facts.of all"), "right"))
    rows = tuple(
        (
            cell(fact.id.removeprefix(_SHARES)),
            cell(words.scaled(fact.value, "FLOPs")),
            cell(f"{100 * fact.value / total:.1f} %"),
        )
        for fact in shares
        if isinstance(fact.value, int)
    )
    return Table(columns, (Group(line(), 1, rows),))


# JSON


def envelope(sheet: FactSheet) -> dict[str, Any]:
    """The envelope `inspector/facts/1`."""
    return {
        "schema": "inspector/facts/1",
        "tool": dict(sheet.tool),
        "models": [
            {**model_fields(sheet.model, sheet.scenario), "notes": list(sheet.notes)},
        ],
        "rows": [_json(fact) for fact in sheet.facts],
        "unanswered": [{"id": fact, "reason": reason} for fact, reason in sheet.unanswered],
        "summary": {
            "facts": len(sheet.facts),
            "claims": sum(fact.claim is not None for fact in sheet.facts),
            "conflicts": len(sheet.conflicts),
            "explained": len(sheet.explained),
            "unanswered": len(sheet.unanswered),
        },
    }


def _json(fact: Fact) -> dict[str, Any]:
    evidence = fact.evidence
    return {
        "id": fact.id,
        "value": fact.value,
        "unit": fact.unit,
        "formula": fact.formula,
        "layers": fact.layers,
        "evidence": {
            "ops": list(evidence.ops),
            "shown": evidence.shown,
            "probes": [{"name": name, "value": value} for name, value in evidence.probes],
        },
        "claim": None if fact.claim is None else {"where": fact.claim[0], "value": fact.claim[1]},
        "agrees": fact.agrees,
        "probed": fact.probed,
        "conflict": fact.conflict,
        "explained": fact.explained,
    }


def records(sheet: FactSheet) -> list[dict[str, object]]:
    """Flat rows: values that are no single word or number as text."""
    return [
        {
            "model": sheet.model.name,
            "fact": fact.id,
            "layers": fact.layers,
            "value": _flat(fact.value),
            "unit": fact.unit,
            "formula": fact.formula,
            "claim": _flat(fact.claim[1]) if fact.claim else None,
            "claimed_by": fact.claim[0] if fact.claim else "",
            "agrees": fact.agrees,
            "probed": fact.probed,
            "explained": fact.explained,
            "shown": fact.evidence.shown,
        }
        for fact in sheet.facts
    ]


def _flat(value: Plain) -> object:
    return _several(value) if isinstance(value, tuple) else value
