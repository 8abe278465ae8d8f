"""What has become of a model since it was locked.

Two runs of one model are compared as any two architectures are. But they should be one and the same, so what the
rules leave alone between strangers counts here too: where a stage gets its inputs, how its ops are called, all facts.
"""

from __future__ import annotations

__all__ = ["LOCK_RULES", "compare_locked"]

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from inspector.alignment.parts import Side
from inspector.comparison.changes import Row, text
from inspector.comparison.judge import Comparison, Finding, compare, fingerprint
from inspector.comparison.maths import formula
from inspector.comparison.rules import RULES, Rule
from inspector.comparison.saved import side_of_record
from inspector.messages import messages
from inspector.records import Plain
from inspector.stage_graph.record import Call, GraphNode, GraphRecord
from inspector.vocabulary import FACTS, ROLES

LOCK_RULES: tuple[Rule, ...] = (
    Rule("graph.wiring", "breaking"),
    Rule("graph.arguments", "notable"),
    Rule("graph.outputs", "notable"),
    Rule("graph.format", "cosmetic"),
)
"""What is asked of two runs of one model beyond the rules for any two."""

_RULED = frozenset(rule.id for rule in RULES)

_DERIVED = frozenset(
    {"model.parameters.untied", "model.parameters.embedding", "model.parameters.active", "cache.bytes_per_token"}
)
"""They follow from other facts, and are told where no other finding says why."""

_COMMUTE = frozenset("add mul eq ne bitwise_and bitwise_or logical_and logical_or maximum minimum".split())


def compare_locked(then: GraphRecord, now: GraphRecord) -> Comparison:
    """Both graphs without sizes, as `inspector.stage_graph.export.lock` reads them. `a` is as locked, `b` is now."""
    one, two = _named(side_of_record(then), " as locked"), side_of_record(now)
    if now.model.name == then.model.name:
        two = _named(two, " now")
    found = compare(one, two)
    beyond = (*_differing_nodes(found, then, now), *_outputs(found.names, then, now))
    findings = (*found.findings, *beyond)
    findings += tuple(_facts(found, told=any(finding.severity != "cosmetic" for finding in findings)))
    sentences = (finding.sentence for finding in findings if finding.severity != "cosmetic")
    return replace(found, findings=findings, sentences=(*sentences, found.sentences[-1]))


def _named(side: Side, suffix: str) -> Side:
    name = side.model.name or side.model.class_name
    return replace(side, model=replace(side.model, name=f"{name}{suffix}"))


# facts


def _facts(found: Comparison, *, told: bool) -> Iterator[Finding]:
    """Facts that no rule speaks of."""
    one, two = _values(found.a), _values(found.b)
    for fact in dict.fromkeys((*one, *two)):
        if fact in _RULED or (told and fact in _DERIVED) or one.get(fact) == two.get(fact):
            continue
        yield _finding(
            Rule(fact, "notable"), "fact", found.names, one.get(fact), two.get(fact), part=FACTS.get(fact, fact)
        )


def _values(side: Side) -> dict[str, Plain]:
    found: dict[str, tuple[Plain, ...]] = {}
    for fact in side.facts:
        found[fact.id] = (*found.get(fact.id, ()), fact.value)
    return {id: values[0] if len(set(values)) == 1 else values for id, values in found.items()}


def _outputs(names: tuple[str, str], then: GraphRecord, now: GraphRecord) -> Iterator[Finding]:
    one, two = ({output.name for output in record.outputs} for record in (then, now))
    if one != two:
        gone, new = (", ".join(sorted(left)) or "none" for left in (one - two, two - one))
        yield _finding(LOCK_RULES[2], "graph.outputs", names, gone, new)


# nodes


class _Use(NamedTuple):
    """A call that computes. sources: (argument, what it is)."""

    name: str
    sources: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Plain], ...]

    @property
    def origins(self) -> list[str]:
        return sorted(source for _, source in self.sources)


_Uses = tuple[_Use, ...]


class _Run:
    """One side of the rows: its nodes by the ids that rows use, and where their inputs come from."""

    def __init__(self, record: GraphRecord, rows: dict[str, Row]) -> None:
        """rows: id of a part -> its row, where that row is told to be no other function."""
        self._record, self._rows = record, rows
        self.nodes = _by_part(record)
        self._parts = {node.id: part for part, node in self.nodes.items()}

    def uses(self, node: GraphNode) -> _Uses | None:
        """The calls of a node that compute; None where it reads from a row about which there is something to say."""
        known = {f"weight.{place}": f"weight {place}" for place in range(len(node.weights))}
        for place, view in enumerate(node.inputs):
            known[f"input.{place}"] = view.name
        for edge in self._record.incoming[node.id]:
            row = self._rows.get(self._parts[edge.source])
            if row is None:
                return None
            known[f"input.{edge.input}"] = _output(row, self._record.node(edge.source), edge.output)
        return tuple(_uses(node.calls, known))


def _output(row: Row, node: GraphNode, index: int) -> str:
    """Which output of a stage: by its number; where the stage is written otherwise, by its shape and format.

    Another spelling may hand on more than it did, as a mask of the tokens that no expert takes, and that shifts the
    numbers. Which of two outputs of one shape and format is read is then not told apart.
    """
    if row.status != "re-expressed":
        return f"{row.id}#{index}" if index else row.id
    view = node.outputs[index]
    return f"{row.id}#{view.symbolic} {view.dtype}"


def _by_part(record: GraphRecord) -> dict[str, GraphNode]:
    """The nodes by the ids that `side_of_record` gives to their parts."""
    found: dict[str, GraphNode] = {}
    seen = Counter[str]()
    for node in record.nodes:
        id = f"{node.span.replace(':', '/') or 'model'}.{node.name}"
        seen[id] += 1
        found[id if seen[id] == 1 else f"{id}.{seen[id]}"] = node
    return found


def _uses(calls: tuple[Call, ...], known: dict[str, str]) -> Iterator[_Use]:
    """Calls that compute, with their operands followed through views to what they are."""
    count = 0
    for place, call in enumerate(calls):
        sources = [(name, known.get(source, source)) for name, source in call.operands]
        if call.effect == "noop" or call.kind in ("view", "plumb"):
            made = sources[0][1] if sources else call.name
        else:
            count += 1
            made = f"step {count}"
            if call.name in _COMMUTE:
                sources = [("", source) for source in sorted(source for _, source in sources)]
            yield _Use(call.name, tuple(sources), call.attributes)
        known[f"call.{place}"] = made
        known |= {f"call.{place}.{output}": f"{made}#{output}" for output in range(len(call.outputs))}


def _differing_nodes(found: Comparison, then: GraphRecord, now: GraphRecord) -> Iterator[Finding]:
    """Stages that are the same by all rules, and yet read something else, or are called in another way."""
    alike = [row for row in found.rows if row.status in ("same", "renamed", "re-expressed")]
    one, two = (
        _Run(record, {part.id: row for row in alike for part in getattr(row, side)})
        for record, side in ((then, "a"), (now, "b"))
    )
    called = {row.id: row.parts[0].name for row in alike}
    formats: dict[tuple[str, str], list[Row]] = {}
    for row in alike:
        if row.status == "re-expressed":
            continue
        a, b = one.nodes[row.a[0].id], two.nodes[row.b[0].id]
        uses, now_uses = one.uses(a), two.uses(b)
        if uses is not None and now_uses is not None and not _alike(found, uses, now_uses):
            yield _differing(row, found, (uses, now_uses), called)
        if a.outputs and b.outputs and a.outputs[0].dtype != b.outputs[0].dtype:
            formats.setdefault((a.outputs[0].dtype, b.outputs[0].dtype), []).append(row)
    for (before, after), rows in formats.items():
        parts = ", ".join(dict.fromkeys(row.parts[0].name for row in rows))
        yield _finding(LOCK_RULES[3], "graph.format", found.names, before, after, parts, tuple(row.id for row in rows))


def _alike(found: Comparison, one: Sequence[_Use], two: Sequence[_Use]) -> bool:
    """As many calls on both sides: rows that are the same are spelt the same."""
    return all(_same_call(found, before, after) for before, after in zip(one, two, strict=True))


def _same_call(found: Comparison, one: _Use, two: _Use) -> bool:
    """Whether sources and arguments are equal; a number that follows from the size of an axis may follow it."""
    if one.sources != two.sources or dict(one.attributes).keys() != dict(two.attributes).keys():
        return False
    values = zip(dict(one.attributes).values(), dict(two.attributes).values(), strict=True)
    return all(a == b or _axes(found.a, a) & _axes(found.b, b) for a, b in values)


def _axes(side: Side, value: Plain) -> set[str]:
    """The axes that have this size, or `1/sqrt(K)` and the like where the number follows from one."""
    flat = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    found = {letter for letter, sizes in side.sizes.items() if flat in sizes}
    if isinstance(flat, float):
        made = {formula(flat, letter, side.sizes.get(letter, ())) for letter in ("K", "D")}
        found |= {text for text in made if isinstance(text, str)}
    return found


def _differing(row: Row, found: Comparison, uses: tuple[_Uses, _Uses], called: dict[str, str]) -> Finding:
    before, after = next((a, b) for a, b in zip(*uses, strict=True) if not _same_call(found, a, b))
    wiring = any(a.origins != b.origins for a, b in zip(*uses, strict=True))
    if wiring:
        before, after = next((a, b) for a, b in zip(*uses, strict=True) if a.origins != b.origins)
    rule = LOCK_RULES[0] if wiring else LOCK_RULES[1]
    part = row.parts[0]
    meaning = ROLES.get(part.section, {}).get(part.role, "")
    said = f"{part.name}{f' ({meaning})' if meaning else ''}"
    one, two = (_said(use, called, wiring=wiring) for use in (before, after))
    return _finding(rule, rule.id, found.names, one, two, said, (row.id,))


def _said(use: _Use, called: dict[str, str], *, wiring: bool) -> str:
    """What a call reads, or how it is called."""
    sources = [(name, _called(source, called)) for name, source in use.sources]
    if wiring:
        return ", ".join(sorted(source for _, source in sources)) or "nothing"
    arguments = [f"{name}: {source}" if name else source for name, source in sources]
    arguments += [f"{name}={text(value)}" for name, value in use.attributes]
    return f"{use.name}({', '.join(arguments)})"


def _called(source: str, called: dict[str, str]) -> str:
    """A row's part in place of its id: `moe.dispatch#2`."""
    row, mark, output = source.partition("#")
    return f"{called.get(row, row)}{mark}{output}"


def _finding(
    rule: Rule,
    message: str,
    names: tuple[str, str],
    a: Plain,
    b: Plain,
    part: str = "",
    rows: tuple[str, ...] = (),
) -> Finding:
    fields = {"part": part, "a": text(a), "b": text(b), "a_name": names[0], "b_name": names[1]}
    sentence = str(messages()[message]["other"]).format(**fields)
    return Finding(rule.id, rule.severity, sentence, fingerprint(rule.id, part, a, b), a, b, rows, part)
