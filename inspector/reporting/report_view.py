"""A report of several models as a document: sentences first, then tables, rows, pictures, and how it was made."""

from __future__ import annotations

__all__ = ["LEVELS", "document", "figures"]

from collections.abc import Iterator

from inspector.axes import AXES
from inspector.errors import UsageError
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
from inspector.reporting import words
from inspector.reporting.exports.mermaid import mermaid
from inspector.reporting.pictures import pictures
from inspector.reporting.report_material import Material, Portrait
from inspector.reporting.report_rows import rows
from inspector.reporting.report_tables import costs, facts, findings, shapes

LEVELS = (
    "",
    "rows and facts that are alike",
    "the shapes of each model",
    "the diagrams",
    "the pictures",
    "the rows side by side",
    "the facts",
)
"""What is left out where there is no room, one thing more at each level."""


def document(found: Material, *, page: bool = False, level: int = 0, versions: bool = True) -> Document:
    """page: rows as rows, for a format that draws them; else what is alike is folded away. level: see LEVELS."""
    return tuple(_blocks(found, page, level, versions))


def _blocks(found: Material, page: bool, level: int, versions: bool) -> Iterator[Block]:
    yield Heading(1, line(_joined(found.names)))
    yield from _sentences(found)
    if level:
        yield Note(line(f"To save room this leaves out {', '.join(LEVELS[1 : level + 1])}."))
    if found.comparisons:
        yield from _differences(found)
    if level < 6:
        yield from _facts(found, level)
    if level < 5:
        yield Heading(2, line("side by side" if found.comparisons else "part by part"))
        yield Pairs((("axes", cell(*_axes(found))),))
        yield from _rows(rows(found), page, level)
    if level < 4:
        yield Heading(2, line("pictures"))
        yield from pictures(found.portraits)
    if level < 2:
        yield Heading(2, line("shapes"))
        yield from (Details(line(portrait.name), (shapes(portrait),)) for portrait in found.portraits)
    if level < 3 and not page:
        yield from _diagrams(found)
    yield Heading(2, line("cost"))
    yield costs(found)
    yield from _made(found, versions)


def _joined(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _sentences(found: Material) -> Iterator[Block]:
    """What is another function, and how much is alike; of more than two models, of each with the next."""
    for comparison in found.comparisons:
        if len(found.comparisons) > 1:
            yield Paragraph(line(Span(f"{_joined(comparison.names)}:", "title")))
        said = [finding.sentence for finding in comparison.findings if finding.severity == "breaking"]
        yield from (Paragraph(line(sentence)) for sentence in (*said, comparison.sentences[-1]))
    if not found.comparisons:
        model = found.portraits[0].record.model
        yield Paragraph(line(f"{model.class_name}, {words.counted(model.parameters, 'parameter')}"))


def _differences(found: Material) -> Iterator[Block]:
    yield Heading(2, line("what differs"))
    for comparison in found.comparisons:
        if len(found.comparisons) > 1:
            yield Heading(3, line(_joined(comparison.names)))
        if comparison.findings:
            yield findings(comparison.findings, comparison.names)
        else:
            yield Paragraph(line("Nothing differs that a rule speaks of."))


def _facts(found: Material, level: int) -> Iterator[Block]:
    yield Heading(2, line("facts"))
    if not found.comparisons:
        yield facts(found)
        return
    if (other := facts(found, alike=False)).groups:
        yield other
    if level < 1 and (same := facts(found, alike=True)).groups:
        yield Details(line(f"{words.counted(_lines(same), 'fact')} in which they are alike"), (same,))


def _lines(table: Table) -> int:
    return sum(len(group.rows) for group in table.groups)


def _axes(found: Material) -> Iterator[Line]:
    for letter, axis in AXES.items():
        sizes = [" and ".join(f"{size:,}" for size in each.side.sizes.get(letter, ())) for each in found.portraits]
        if any(sizes):
            said = sizes[0] if len(set(sizes)) == 1 else " | ".join(size or "–" for size in sizes)
            yield line(Span(f"{letter}={said}", letter), f" {axis.name}")


def _rows(drawn: Rows, page: bool, level: int) -> Iterator[Block]:
    if page or len(drawn.names) == 1:
        yield drawn
        return
    yield Rows(drawn.names, tuple(_only(fold, quiet=False) for fold in drawn.folds if _any(fold, quiet=False)))
    same = tuple(_only(fold, quiet=True) for fold in drawn.folds if _any(fold, quiet=True))
    if same and level < 1:
        count = sum(_count(fold) for fold in same)
        yield Details(line(f"{words.counted(count, 'row')} in which they are alike"), (Rows(drawn.names, same),))


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
            yield Details(line(f"{portrait.name}: what flows between the parts"), (Diagram(portrait.name, source),))


def _diagram(portrait: Portrait) -> str:
    try:
        return mermaid(portrait.record)
    except UsageError:
        return ""


def _made(found: Material, versions: bool) -> Iterator[Block]:
    yield Heading(2, line("how it was made"))
    tool = " · ".join(f"{name} {version}" for name, version in found.tool.items())
    runs = [(portrait.name, cell(*_run(portrait))) for portrait in found.portraits]
    yield Pairs((*runs, *((("versions", cell(tool)),) if versions and tool else ())))
    yield Paragraph(
        line(
            "Every model ran once and was watched; shapes, facts and rows are read from what ran, not from the config. "
            "Cache sizes are of one sequence, in the number format of the run."
        )
    )
    notes = dict.fromkeys(f"{each.name}: {note}" for each in found.portraits for note in each.record.notes)
    yield from (Note(line(note)) for note in notes)


def _run(portrait: Portrait) -> tuple[str, ...]:
    """How it ran; the seed too where there were no weights: it made the inputs."""
    run = portrait.record.scenario
    seed = () if run.weights == "random" else (f"seed {run.seed}",)
    return (*words.scenario(run), *seed)


def figures(document: Document) -> Iterator[Figure]:
    """The pictures of a document, each once."""
    for block in document:
        if isinstance(block, Figures):
            yield from block.figures
