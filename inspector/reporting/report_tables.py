"""The tables of a report: facts side by side, findings, what it costs, the shapes of each."""

from __future__ import annotations

__all__ = ["COST_TOKENS", "bytes_at", "costs", "facts", "findings", "position_rows", "shapes"]

from collections.abc import Iterator, Sequence

from inspector.comparison.judge import Finding
from inspector.comparison.rules import SEVERITIES
from inspector.comparison.wording import said
from inspector.messages import again, say
from inspector.render.document import Cell, Column, Group, Line, Span, Table, cell, line
from inspector.reporting import words
from inspector.reporting.fact_view import text as fact_text
from inspector.reporting.report_boxes import shape
from inspector.reporting.report_material import Material, Portrait
from inspector.stage_graph.record import GraphFact, GraphNode
from inspector.stage_graph.spans import layers_of
from inspector.vocabulary import FACTS

COST_TOKENS = (1024, 8192, 131_072)
"""Lengths at which the cache is weighed."""


def facts(found: Material, *, alike: bool | None = None) -> Table:
    """One line per fact, one column per model. alike: only those that are the same, or that are not."""
    groups: dict[str, list[tuple[Cell, ...]]] = {}
    for name in _asked(found):
        values = [_answer(portrait, name) for portrait in found.portraits]
        same = len({tuple(map(str, value)) for value in values}) == 1
        if alike is None or same == alike:
            section, _, rest = name.partition(".")
            style = "muted" if same and len(values) > 1 else ""
            meant = [cell(words.meaning("fact_meaning", name))] if words.glossed() else []
            row = (cell(rest), *meant, *(cell(*(line(Span(told, style)) for told in value)) for value in values))
            groups.setdefault(section, []).append(row)
    gloss = [Column(say("label.meaning"), rank=1, least=16, prose=True)] if words.glossed() else []
    columns = (Column(say("label.fact"), least=16), *gloss, *(Column(name, least=14) for name in found.names))
    return Table(columns, tuple(Group(_title(name), 1, tuple(rows)) for name, rows in groups.items()))


def _title(section: str) -> Line:
    meaning = words.meaning("section", section)
    return line(Span(section, "title"), Span(f"  {meaning}" if meaning else "", "muted"))


def _asked(found: Material) -> list[str]:
    """The facts that any model answers, in the vocabulary's order; costs have a table of their own."""
    known = {fact.id for portrait in found.portraits for fact in portrait.facts}
    return [name for name in FACTS if name in known and not name.startswith(("cost.", "cache."))]


def _answer(portrait: Portrait, name: str) -> list[str]:
    """What a model answers; of layers that answer differently, each."""
    answers = [fact for fact in portrait.facts if fact.id == name]
    several = len(answers) > 1
    return [f"{fact_text(fact)}{_about(fact.layers) if several else ''}{_claimed(fact)}" for fact in answers] or ["–"]


def _claimed(fact: GraphFact) -> str:
    """What is claimed instead, where a model is not what it says."""
    if fact.agrees is not False or fact.claim is None:
        return ""
    where, value = fact.claim
    reason = say("joint.meant", meaning=again(fact.explained, "explained")) if fact.explained else ""
    return say("facts.but", where=where, value=said(value)) + reason


def _about(layers: str) -> str:
    return say("joint.meant", meaning=words.layers(layers) if layers[:1].isdigit() else layers) if layers else ""


def findings(found: Sequence[Finding], names: Sequence[str]) -> Table:
    """What differs and whether it matters, the worst first."""
    columns = (Column(say("label.rule"), least=16), *(Column(name, rank=2, least=12) for name in names))
    columns = (*columns, Column(say("label.in words"), rank=1, least=30, prose=True))
    groups = tuple(
        Group(words.severity(severity), 1, tuple(map(_finding, chosen)))
        for severity in SEVERITIES
        if (chosen := [finding for finding in found if finding.severity == severity])
    )
    return Table(columns, groups)


def _finding(finding: Finding) -> tuple[Cell, ...]:
    return cell(finding.rule), cell(said(finding.a)), cell(said(finding.b)), cell(finding.sentence)


def costs(found: Material) -> Table:
    """What a model weighs: parameters, the FLOPs of this run, and what the cache holds at some lengths."""
    columns = (
        Column(say("cost.what"), least=16, prose=words.glossed()),
        *(Column(name, "right", least=14) for name in found.names),
    )
    rows = [
        _cost(found, label, name)
        for label, name in (
            (say("label.parameters"), "model.parameters"),
            (say("cost.embeddings"), "model.parameters.embedding"),
            (say("cost.active"), "model.parameters.active"),
            (say("label.FLOPs of this run"), "cost.flops"),
            (say("label.cache bytes per token"), "cache.bytes_per_token"),
        )
    ]
    rows += [
        (cell(say("cost.cache at", n=f"{length:,}")), *(cell(_cache(each, length)) for each in found.portraits))
        for length in COST_TOKENS
    ]
    shown = tuple(row for row in rows if any(row[1:]))
    return Table(columns, (Group(line(), 1, shown),))


def _cost(found: Material, label: str, name: str) -> tuple[Cell, ...]:
    numbers = [portrait.number(name) for portrait in found.portraits]
    if not any(numbers):
        return (cell(label), *(Cell() for _ in numbers))
    return (cell(label), *(cell(say("diff.none") if number is None else f"{number:,}") for number in numbers))


def _cache(portrait: Portrait, tokens: int) -> str:
    held = bytes_at(portrait, tokens)
    if held is None:
        return say("cost.no cache")
    beyond = position_rows(portrait)
    return say("cost.beyond", n=f"{beyond:,}") if beyond and tokens > beyond else _binary(held)


def bytes_at(portrait: Portrait, tokens: int) -> int | None:
    """Bytes of cache for one sequence of `tokens`; a layer that keeps a window keeps no more than that."""
    whole = portrait.number("cache.bytes_per_token")
    if whole is None:
        return None
    windows = _windows(portrait)
    sizes = _by_layer(portrait, whole, windows)
    return sum(size * min(tokens, windows.get(layer, tokens)) for layer, size in sizes.items()) + (
        0 if sizes else whole * tokens
    )


def _windows(portrait: Portrait) -> dict[int, int]:
    """Layer -> tokens that its cache keeps, for layers whose cache was seen to keep a window."""
    kept = {layer for node in portrait.record.nodes if node.attribute("keeps") == "a window" for layer in node.layers}
    every = [layer for block in portrait.record.blocks for layer in block.layers]
    return {
        layer: fact.value
        for fact in portrait.facts
        if fact.id == "attention.window" and isinstance(fact.value, int)
        for layer in (layers_of(fact.layers) if fact.layers[:1].isdigit() else every)
        if layer in kept
    }


def _by_layer(portrait: Portrait, whole: int, windows: dict[int, int]) -> dict[int, int]:
    """Layer -> bytes per token, where layers have to be told apart."""
    each = {
        layer: fact.value
        for fact in portrait.facts
        if fact.id == "cache.bytes_per_token.layer" and isinstance(fact.value, int) and fact.layers[:1].isdigit()
        for layer in layers_of(fact.layers)
    }
    if each or not windows:
        return each
    caching = sorted({layer for node in portrait.record.nodes if node.role == "cache_update" for layer in node.layers})
    return dict.fromkeys(caching, whole // len(caching)) if caching else {}


def position_rows(portrait: Portrait) -> int | None:
    """Rows of the position table, beyond which there is no place for a token."""
    tables = [
        node.weights[0].shape for node in portrait.record.nodes if node.path == "embedding.position" and node.weights
    ]
    return tables[0][0] if tables and len(tables[0]) == 2 else None


def _binary(size: int) -> str:
    """Bytes as memory is sold.

    >>> _binary(37_748_736), _binary(17_179_869_184)
    ('36 MiB', '16 GiB')
    """
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):,.4g} {unit}"
    return say("cost.bytes", n=f"{size:,}")


def shapes(portrait: Portrait) -> Table:
    """Every stage of one model with its shapes: one line each, equal blocks folded."""
    columns = (
        Column(say("label.role"), least=18),
        *([Column(say("label.meaning"), rank=1, least=16, prose=True)] if words.glossed() else []),
        Column(say("label.input"), least=18),
        Column(say("label.output"), least=18),
        Column(say("label.parameters"), "right"),
        Column(say("label.FLOPs"), "right", rank=3),
    )
    return Table(columns, tuple(_shape_groups(portrait)))


def _shape_groups(portrait: Portrait) -> Iterator[Group]:
    """Runs of one section in one block; what has no part of its own stays where it is."""
    held: list[GraphNode] = []
    key: tuple[int | None, str] | None = None
    for node in portrait.record.nodes:
        here = (node.block, node.section)
        if held and here != key:
            yield _shape_group(held)
            held = []
        key = here
        held.append(node)
    if held:
        yield _shape_group(held)


def _shape_group(nodes: Sequence[GraphNode]) -> Group:
    span = words.layers(nodes[0].span)
    title = line(Span(nodes[0].section, "title"), Span(f"  {span}" if span else "", "muted"))
    return Group(title, 1, tuple(map(_shape_row, nodes)))


def _shape_row(node: GraphNode) -> tuple[Cell, ...]:
    operand = f" {node.operand}" if node.operand and not node.role.startswith(f"{node.operand}_") else ""
    before = dict.fromkeys(view.symbolic for view in node.inputs)
    after = {view.symbolic: view.dims for view in node.outputs}
    return (
        cell(f"{node.role}{operand}"),
        *([cell(words.meaning(f"role_{node.section}", node.role))] if words.glossed() else []),
        cell(*before),
        cell(*(shape(dims) for dims in after.values())),
        cell(words.number(node.parameters)),
        cell(words.number(node.flops)),
    )
