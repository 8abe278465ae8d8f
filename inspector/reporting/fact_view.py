"""The fact sheet: as a document, as an envelope, as flat records."""

from __future__ import annotations

__all__ = ["document", "envelope", "records"]

from collections.abc import Iterator, Sequence
from typing import Any

from inspector.fact_sheet.facts import Fact, FactSheet
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
from inspector.vocabulary import SECTIONS

_COLUMNS = (
    Column("fact", least=16),
    Column("value", least=16),
    Column("claim", least=14),
    Column("what shows it", rank=1, least=16),
    Column("who claims it", rank=2, least=18),
)

_SHARES = "cost.flops."
_HEADS = {
    "model": "the model as a whole",
    "norm": "the norms",
    "position": "how positions enter",
    "bias": "which projections add a bias",
    "cache": "what the KV cache stores",
    "cost": "what this run costs",
}


def document(sheet: FactSheet) -> Document:
    """Conflicts first, then every fact by section, then what stayed open."""
    return (*_header(sheet), *_conflicts(sheet), _table(sheet), *_footer(sheet))


def _header(sheet: FactSheet) -> Iterator[Block]:
    model = sheet.model
    kind = f" ({model.model_type})" if model.model_type else ""
    yield Heading(1, line(model.name or model.class_name))
    yield Paragraph(line(f"{model.class_name}{kind}, {words.counted(model.parameters, 'parameter')}"))
    held = sum(fact.agrees is True for fact in sheet.facts)
    tried = sum(fact.probed is True for fact in sheet.facts)
    summary = [f"{words.counted(held, 'claim')} met", f"{words.counted(len(sheet.conflicts), 'conflict')}"]
    if tried:
        summary.append(f"{words.counted(tried, 'fact')} confirmed by experiment")
    yield Pairs((("run", cell(*words.scenario(sheet.scenario))), ("facts", cell(*summary))))


def _conflicts(sheet: FactSheet) -> Iterator[Block]:
    if sheet.conflicts:
        yield Heading(2, line(Span(words.counted(len(sheet.conflicts), "conflict"), "warning")))
        yield from (Note(line(Span(_complaint(fact), "warning"))) for fact in sheet.conflicts)


def _complaint(fact: Fact) -> str:
    """What was executed, and who says otherwise."""
    where = f" ({words.layers(fact.layers)})" if fact.layers[:1].isdigit() else ""
    said = f"{fact.id}{where} is {text(fact)}"
    if fact.agrees is False and fact.claim is not None:
        said += f", but {fact.claim[0]} says {_value(fact.claim[1])}"
    if fact.probed is False:
        tried = "; ".join(f"{name}: {_value(value)}" for name, value in fact.evidence.probes)
        said += f", but an experiment says otherwise ({tried})"
    return said


def _table(sheet: FactSheet) -> Table:
    groups: dict[str, list[tuple[Cell, ...]]] = {}
    for fact in sheet.facts:
        if not fact.id.startswith(_SHARES):
            groups.setdefault(fact.id.partition(".")[0], []).append(_row(fact))
    return Table(_COLUMNS, tuple(Group(_title(name), 1, tuple(rows)) for name, rows in groups.items()))


def _title(section: str) -> Any:
    meaning = _HEADS.get(section) or SECTIONS.get(section, "")
    return line(Span(section, "title"), Span(f"  {meaning}" if meaning else "", "muted"))


def _row(fact: Fact) -> tuple[Cell, ...]:
    name = fact.id.partition(".")[2]
    about = words.layers(fact.layers) if fact.layers[:1].isdigit() else fact.layers
    shown = fact.evidence.shown.split(", ") if fact.evidence.shown else []
    return (
        cell(line(name, Span(f"  {about}" if about else "", "muted"))),
        cell(line(Span(text(fact), "warning" if fact.conflict else ""))),
        _verdict(fact),
        cell(*(line(Span(part, "muted")) for part in shown)),
        cell(line(Span(fact.claim[0] if fact.claim else "", "muted"))),
    )


def _verdict(fact: Fact) -> Cell:
    """What is claimed where it is not the value, and whether an experiment came to the same."""
    if fact.conflict:
        other = f": {_value(fact.claim[1])}" if fact.agrees is False and fact.claim else ""
        return cell(line(Span(f"CONFLICT{other}", "warning")))
    said = "agrees" if fact.agrees else f"({_value(fact.claim[1])})" if fact.claim else ""
    return cell(line(Span(", ".join(filter(None, (said, "probed" if fact.probed else ""))), "muted")))


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
    return ", ".join(shown if len(shown) <= 8 else [*shown[:6], f"... {len(shown) - 6} more"])


def _footer(sheet: FactSheet) -> Iterator[Block]:
    shares = [fact for fact in sheet.facts if fact.id.startswith(_SHARES)]
    if shares:
        yield Details(line("where the FLOPs go"), (_costs(shares),))
    if sheet.unanswered:
        yield Heading(2, line("unanswered"))
        yield from (Note(line(f"{fact}: {reason}")) for fact, reason in sheet.unanswered)
    yield from (Note(line(note)) for note in sheet.notes)


def _costs(shares: Sequence[Fact]) -> Table:
    total = sum(fact.value for fact in shares if isinstance(fact.value, int)) or 1
    columns = (Column("part", least=18), Column("FLOPs", "right"), Column("of all", "right"))
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
            "shown": fact.evidence.shown,
        }
        for fact in sheet.facts
    ]


def _flat(value: Plain) -> object:
    return _several(value) if isinstance(value, tuple) else value
