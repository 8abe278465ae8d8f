"""The verb `diff`: what two architectures have in common, what is written otherwise, and what is another function."""

from __future__ import annotations

__all__ = ["Diff", "diff"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.api.asking import scenario
from inspector.api.quick import uncollected
from inspector.api.results import Result
from inspector.errors import UsageError
from inspector.records import Padding, Scenario, Trace
from inspector.stage_graph.record import GraphRecord

if TYPE_CHECKING:
    from inspector.alignment.parts import Side
    from inspector.comparison.changes import Row
    from inspector.comparison.judge import Comparison, Finding
    from inspector.render.document import Document

_SEVERITIES = ("breaking", "notable", "cosmetic")


@dataclass(frozen=True, slots=True, repr=False)
class Diff(Result):
    """How two architectures differ.

    >>> import inspector
    >>> inspector.diff("bert-base-uncased", "gpt2").sentences[1]  # doctest: +SKIP
    'gpt2 masks the future: a token sees itself and what came before. bert-base-uncased sees both sides.'

    comparison: all that is known. rules: show only findings of these rules (`norm.*`), and the rows they speak of.
    severity: show only findings of at least this weight. every: show rows that are equal one by one.
    """

    comparison: Comparison
    tool: tuple[tuple[str, str], ...] = ()
    rules: tuple[str, ...] = ()
    severity: str | None = None
    every: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings that were asked for, in reading order."""
        return tuple(finding for finding in self.comparison.findings if self._wanted(finding))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows in dataflow order; with `rules` or `severity`, those that the findings speak of."""
        if not self.rules and self.severity is None:
            return self.comparison.rows
        chosen = {row for finding in self.findings for row in finding.rows}
        return tuple(row for row in self.comparison.rows if row.id in chosen)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What differs in words, and at the end how much is alike."""
        said = tuple(finding.sentence for finding in self.findings if finding.severity != "cosmetic")
        return (*said, self.comparison.sentences[-1])

    @property
    def differs(self) -> bool:
        """Whether the two are not one and the same: a finding, or a row that is not the same on both sides."""
        return bool(self.comparison.findings) or any(
            row.status not in ("same", "renamed") for row in self.comparison.rows
        )

    def worst(self, least: str) -> bool:
        """Whether a finding that was asked for is of this severity or a worse one."""
        return any(_SEVERITIES.index(finding.severity) <= _SEVERITIES.index(least) for finding in self.findings)

    def _wanted(self, finding: Finding) -> bool:
        named = not self.rules or any(fnmatchcase(finding.rule, pattern) for pattern in self.rules)
        return named and (
            self.severity is None or _SEVERITIES.index(finding.severity) <= _SEVERITIES.index(self.severity)
        )

    def document(self) -> Document:
        from inspector.reporting.diff_view import document

        return document(self.comparison, self.findings, self.rows, every=self.every)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.diff_view import envelope

        return envelope(self.comparison, self.findings, self.rows, dict(self.tool))

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.diff_view import records

        return records(self.rows)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        a, b = (visible(name) for name in self.comparison.names)
        counts = f"{counted(len(self.rows), 'row')}, {counted(len(self.findings), 'finding')}"
        return f"<Diff of {a} and {b}: {counts}>"


def diff(
    a: Any,
    b: Any = None,
    *,
    inputs: Any = None,
    batch: int = 2,
    seq: int = 16,
    past: int = 0,
    attention: str | Sequence[str] = "eager",
    dtype: str | None = None,
    device: str | None = None,
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    rules: str | Sequence[str] = (),
    severity: str | None = None,
    every: bool = False,
    prove: bool | None = None,
    twin: bool = False,
    trace_cache: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Diff:
    """Run two models once each and say part by part what is the same, written otherwise, or another function.

    >>> import inspector
    >>> inspector.diff("llama-2-7b", "llama-3-8b").findings[0].rule  # doctest: +SKIP
    'attention.kind'
    >>> inspector.diff("llama-3-8b", attention="eager,sdpa").sentences  # doctest: +SKIP

    a, b: what `shapes` takes, or a saved graph or lock. Without `b`, `attention` names two implementations and the
        model is compared with itself.
    inputs: what models that are code read, as for `shapes`; both read the same.
    rules: patterns of rule ids ("norm.*"); severity: the least to be shown: breaking, notable or cosmetic.
    every: rows that are equal on both sides one by one, instead of counted.
    prove: run what is written otherwise on the same numbers, with the weights copied across; without it that is done
        where the models have numbers (`device="cpu"`), and elsewhere the recorded ops are compared by algebra.
    twin: small copies of both. The other options are those of `shapes`, for both models alike.
    """
    from inspector.comparison.judge import compare
    from inspector.comparison.sides import side_of
    from inspector.source.resolve import names_code

    wanted = _patterns(rules)
    if severity is not None and severity not in _SEVERITIES:
        raise UsageError(f"there is no severity {severity!r}", hint=f"there is {', '.join(_SEVERITIES)}")
    kinds = _kinds(attention, alone=b is None)
    asked = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=kinds[0],
        dtype=dtype,
        device=device,
        pad=pad,
        seed=seed,
        weights=weights,
        head=head,
    )
    if inputs is not None and not (names_code(a) or names_code(b)):
        raise UsageError("neither model is code, and each makes its own inputs", hint="leave inputs away")
    ask = {"weights": weights or "none", "stored": trace_cache, "progress": progress, "inputs": inputs, "twin": twin}
    one, two = _seen(a, asked, ask), _seen(a if b is None else b, replace(asked, attention=kinds[1]), ask)
    with uncollected():
        if isinstance(one, Trace) and isinstance(two, Trace):
            numeric = asked.device != "meta" if prove is None else prove
            found = compare(side_of(one), side_of(two), _prover(one, two) if numeric else None)
        else:
            found = compare(_written(one), _written(two))
    return Diff(found, one.tool, wanted, severity, every)


def _seen(model: Any, asked: Scenario, ask: dict[str, Any]) -> Trace | GraphRecord:
    """The trace of a model, or the graph that a file holds."""
    if isinstance(model, (Trace, GraphRecord)):
        return model
    if isinstance(model, str) and Path(model).expanduser().is_file():
        from inspector.source import resolve

        origin = resolve(model)
        if origin.kind == "saved":
            from inspector.stage_graph.export.lock import load_record

            return load_record(origin.target, origin.source)
    from inspector.api.traces import Source
    from inspector.source.resolve import names_code

    return Source(model, **{**ask, "inputs": ask["inputs"] if names_code(model) else None}).trace(asked)


def _written(item: Trace | GraphRecord) -> Side:
    """A side of a diff with a saved graph: a trace is read as if it had been saved too."""
    from inspector.comparison.saved import side_of_record
    from inspector.fact_sheet.recorded import recorded

    return side_of_record(recorded(item) if isinstance(item, Trace) else item)


def _prover(one: Trace, two: Trace) -> Callable[[Row], object | None]:
    from inspector.comparison.proofs import prove

    return lambda row: prove(row, one, two)


def _kinds(attention: str | Sequence[str], *, alone: bool) -> tuple[str, str]:
    """The attention of A and of B. Two are needed to compare a model with itself."""
    names = attention.split(",") if isinstance(attention, str) else list(attention)
    kinds = [name.strip() for name in names if name.strip()]
    if alone and len(set(kinds)) != 2:
        raise UsageError(
            "there is only one model to compare",
            hint="give a second one, or two implementations: --attention eager,sdpa",
        )
    if len(kinds) not in (1, 2):
        raise UsageError(f"two sides have one or two kinds of attention, but got {', '.join(kinds) or 'none'}")
    return kinds[0], kinds[-1]


def _patterns(rules: str | Sequence[str]) -> tuple[str, ...]:
    """Patterns that name at least one rule each."""
    from inspector.comparison.rules import RULES, UNEXPLAINED

    ids = [rule.id for rule in (*RULES, UNEXPLAINED)]
    patterns = tuple(part.strip() for part in (rules.split(",") if isinstance(rules, str) else rules) if part.strip())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in ids):
            from difflib import get_close_matches

            close = get_close_matches(pattern, ids, 1)
            hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(ids)}"
            raise UsageError(f"no rule is named {pattern!r}", hint=hint)
    return patterns
