"""A report of several models as a document: sentences first, then tables, rows, pictures, and how it was made."""

from __future__ import annotations

__all__ = ["LEVELS", "document", "figures", "left_out"]

from collections.abc import Iterator

from inspector.axes import AXES
from inspector.errors import UsageError
from inspector.messages import say
from inspector.render.document import (
    Block,
    Details,
    Diagram,
    Document,
    Figure,
    Figures,
    Fold,
    Heading,
    Line,
    Note,
    Pairs,
    Paragraph,
    Rows,
    Span,
    Strip,
    Table,
    cell,
    line,
)
from inspector.reporting import retold, words
from inspector.reporting.exports.mermaid import mermaid
from inspector.reporting.pictures import pictures
from inspector.reporting.report_material import Material, Portrait
from inspector.reporting.report_parity import parity
from inspector.reporting.report_rows import rows
from inspector.reporting.report_tables import costs, facts, findings, shapes

LEVELS = ("", "alike", "shapes", "diagrams", "pictures", "rows", "facts")
"""What is left out where there is no room, one thing more at each level."""


def left_out(level: int) -> str:
    """What is left out up to this level, in words.

    >>> left_out(2)
    'rows and facts that are alike, the shapes of each model'
    """
    return words.listed(say(f"left_out.{name}") for name in LEVELS[1 : level + 1])


def document(found: Material, *, page: bool = False, level: int = 0, exact: bool = False) -> Document:
    """page: rows as rows, for a format that draws them; else what is alike is folded away. level: see LEVELS.

    exact: only what is the same on every machine and with every version: no versions, nothing that was measured.
    """
    return tuple(_blocks(found, page, level, exact))


def _blocks(found: Material, page: bool, level: int, exact: bool) -> Iterator[Block]:
    yield Heading(1, line(words.joined(found.names)))
    yield from _sentences(found)
    if level:
        yield Note(line(say("report.save", left=left_out(level))))
    if found.comparisons:
        yield from _differences(found)
    if level < 6:
        yield from _facts(found, level)
    if level < 5:
        yield Heading(2, line(say("report.side by side" if found.comparisons else "report.part by part")))
        yield Pairs(((say("label.axes"), cell(*_axes(found))),))
        yield from _rows(rows(found), page, level)
    if level < 4:
        yield Heading(2, line(say("report.pictures")))
        yield from pictures(found.portraits)
    if level < 2:
        yield Heading(2, line(say("report.shapes")))
        yield from (Details(line(portrait.name), (shapes(portrait),)) for portrait in found.portraits)
    if level < 3 and not page:
        yield from _diagrams(found)
    yield from parity(found, exact=exact or level > 3)
    yield Heading(2, line(say("report.cost")))
    yield costs(found)
    yield from _made(found, exact)


def _sentences(found: Material) -> Iterator[Block]:
    """What is another function, and how much is alike; of more than two models, of each with the next."""
    for comparison in found.comparisons:
        if len(found.comparisons) > 1:
            yield Paragraph(line(Span(say("report.pair", names=words.joined(comparison.names)), "title")))
        worst = [finding for finding in comparison.findings if finding.severity == "breaking"]
        said = [finding.sentence for finding in retold.findings(comparison, worst)]
        yield from (Paragraph(line(sentence)) for sentence in (*said, retold.summary(comparison)))
    if not found.comparisons:
        yield Paragraph(line(words.described(found.portraits[0].record.model, kind=False)))


def _differences(found: Material) -> Iterator[Block]:
    yield Heading(2, line(say("report.what differs")))
    for comparison in found.comparisons:
        if len(found.comparisons) > 1:
            yield Heading(3, line(words.joined(comparison.names)))
        if comparison.findings:
            yield findings(retold.findings(comparison, comparison.findings), comparison.names)
        else:
            yield Paragraph(line(say("report.nothing")))


def _facts(found: Material, level: int) -> Iterator[Block]:
    yield Heading(2, line(say("label.facts")))
    if not found.comparisons:
        yield facts(found)
        return
    if (other := facts(found, alike=False)).groups:
        yield other
    if level < 1 and (same := facts(found, alike=True)).groups:
        yield Details(line(say("report.alike", rows=words.counted(_lines(same), "fact"))), (same,))


def _lines(table: Table) -> int:
    return sum(len(group.rows) for group in table.groups)


def _axes(found: Material) -> Iterator[Line]:
    for letter in AXES:
        sizes = [
            say("joint.and").join(f"{size:,}" for size in each.side.sizes.get(letter, ())) for each in found.portraits
        ]
        if any(sizes):
            said = sizes[0] if len(set(sizes)) == 1 else " | ".join(size or "–" for size in sizes)
            yield line(Span(f"{letter}={said}", letter), f" {words.meaning('axis', letter)}")


def _rows(drawn: Rows, page: bool, level: int) -> Iterator[Block]:
    if page or len(drawn.names) == 1:
        yield drawn
        return
    yield Rows(drawn.names, tuple(_only(fold, quiet=False) for fold in drawn.folds if _any(fold, quiet=False)))
    same = tuple(_only(fold, quiet=True) for fold in drawn.folds if _any(fold, quiet=True))
    if same and level < 1:
        count = sum(_count(fold) for fold in same)
        yield Details(line(say("report.alike", rows=words.counted(count, "row"))), (Rows(drawn.names, same),))


def _only(fold: Fold, *, quiet: bool) -> Fold:
    items = (
        _only(item, quiet=quiet) if isinstance(item, Fold) else item for item in fold.items if _any(item, quiet=quiet)
    )
    return fold._replace(items=tuple(items), said="")


def _any(item: Strip | Fold, *, quiet: bool) -> bool:
    return item.quiet == quiet if isinstance(item, Strip) else any(_any(inner, quiet=quiet) for inner in item.items)


def _count(fold: Fold) -> int:
    return sum(_count(item) if isinstance(item, Fold) else 1 for item in fold.items)


def _diagrams(found: Material) -> Iterator[Block]:
    """What flows between the parts; of a model that is too large for Mermaid, nothing."""
    for portrait in found.portraits:
        if source := _diagram(portrait):
            yield Details(line(say("report.flows", name=portrait.name)), (Diagram(portrait.name, source),))


def _diagram(portrait: Portrait) -> str:
    try:
        return mermaid(portrait.record)
    except UsageError:
        return ""


def _made(found: Material, exact: bool) -> Iterator[Block]:
    yield Heading(2, line(say("report.made")))
    tool = " · ".join(f"{name} {version}" for name, version in found.tool.items())
    runs = [(portrait.name, cell(*_run(portrait))) for portrait in found.portraits]
    yield Pairs((*runs, *(((say("label.versions"), cell(tool)),) if tool and not exact else ())))
    yield Paragraph(line(say("report.watched")))
    notes = dict.fromkeys(f"{each.name}: {note}" for each in found.portraits for note in words.notes(each.record.notes))
    yield from (Note(line(note)) for note in notes)


def _run(portrait: Portrait) -> tuple[str, ...]:
    """How it ran; the seed too where there were no weights: it made the inputs."""
    run = portrait.record.scenario
    seed = () if run.weights == "random" else (say("run.seed", seed=run.seed),)
    return (*words.scenario(run), *seed)


def figures(document: Document) -> Iterator[Figure]:
    """The pictures of a document, each once."""
    for block in document:
        if isinstance(block, Figures):
            yield from block.figures
