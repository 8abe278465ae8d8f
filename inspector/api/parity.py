"""The verb `parity`: whether each stage of a model computes what it claims, as exactly as its number format allows."""

from __future__ import annotations

__all__ = ["Mutation", "Parity", "ParityError", "assert_parity", "parity"]

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.api.asking import scenario
from inspector.api.results import Result, spoken
from inspector.errors import InspectorError, UsageError
from inspector.records import Padding, Scenario

if TYPE_CHECKING:
    from inspector.api.baseline import Baseline
    from inspector.api.checking import Ran
    from inspector.api.versus import Versus
    from inspector.render.document import Document
    from inspector.verification.mutants.report import MutantReport, MutantRow
    from inspector.verification.report import Report, Row

Progress = Callable[[str], None]
_EXITS = {"pass": 0, "fail": 1, "incomplete": 3}


@dataclass(frozen=True, slots=True, repr=False)
class Parity(Result):
    """What came of checking every stage of a model.

    >>> import inspector
    >>> found = inspector.parity("gpt2", twin=True)  # doctest: +SKIP
    >>> found.verdict, found.exit_code, found.first_failure  # doctest: +SKIP
    ('pass', 0, None)

    report: all that is known. strict: whether a stage that cannot be told from a wrong one counts as a failure.
    every: show every stage by itself in text too.
    """

    report: Report
    strict: bool = False
    every: bool = False

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per stage of each layer, in reading order."""
        return self.report.rows

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `incomplete` where something was not checked."""
        return self.report.verdict

    @property
    def first_failure(self) -> Row | None:
        """The stage in which things go wrong: each is judged by what it read, so it is no other's fault."""
        return self.report.first_failure

    @property
    def exit_code(self) -> int:
        """0 pass · 1 fail · 3 incomplete."""
        if self.strict and self.verdict == "pass" and self.report.counts["undetermined"]:
            return 1
        return _EXITS[self.verdict]

    def document(self) -> Document:
        from inspector.reporting.parity_view import document

        return document(self.report, every=self.every, strict=self.strict)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.parity_view import envelope

        return envelope(self.report)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.parity_view import records

        return records(self.report)

    def to_markdown(self, *, lang: str = "en") -> str:
        """GitHub-flavoured Markdown, with every stage in a part that unfolds."""
        from inspector.render.markdown import markdown
        from inspector.reporting.parity_view import document

        with spoken(lang):
            return markdown(document(self.report, every=True, strict=self.strict))

    def to_html(self, *, lang: str = "en") -> str:
        """A page that opens from disk and needs nothing else, with every stage."""
        from inspector.render.html import page
        from inspector.reporting.parity_view import document

        with spoken(lang):
            return page(document(self.report, every=True, strict=self.strict))

    def __repr__(self) -> str:
        from inspector.render.escape import visible

        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.report.counts.items() if count)
        return f"<Parity of {visible(self.report.model.name)}: {self.verdict}, {counts}>"


@dataclass(frozen=True, slots=True, repr=False)
class Mutation(Result):
    """Which mistakes a parity run of a model notices, and where.

    >>> import inspector
    >>> found = inspector.parity("gpt2", mutants=True)  # doctest: +SKIP
    >>> found.report.total - found.report.equivalent == found.report.localised  # doctest: +SKIP
    True
    """

    report: MutantReport
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> tuple[MutantRow, ...]:
        """One row per mistake."""
        return self.report.rows

    @property
    def verdict(self) -> str:
        """`pass` where every mistake is caught at its stage, `fail`, or `incomplete` where none could be made."""
        return self.report.verdict

    @property
    def first_failure(self) -> MutantRow | None:
        """The first mistake that went unnoticed."""
        return next(iter(self.report.survivors), None)

    @property
    def exit_code(self) -> int:
        """0 pass · 1 fail · 3 incomplete."""
        return _EXITS[self.verdict]

    def document(self) -> Document:
        from inspector.reporting.mutant_view import document

        return document(self.report, self.notes)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.mutant_view import envelope

        return envelope(self.report, self.notes, dict(self.tool))

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.mutant_view import records

        return records(self.report)

    def __repr__(self) -> str:
        from inspector.render.escape import visible

        found = self.report
        counts = f"{found.total} mistakes, {found.caught} caught, {found.equivalent} equivalent"
        return f"<Mutation of {visible(found.model.name)}: {self.verdict}, {counts}>"


class ParityError(AssertionError):
    """A model is not what it claims to be, or that could not be found out. result: all that is known."""

    def __init__(self, text: str, result: Parity) -> None:
        super().__init__(text)
        self.result = result


def parity(
    model: Any,
    inputs: Any = None,
    *,
    batch: int = 3,
    seq: int = 31,
    past: int = 0,
    attention: str = "eager",
    dtype: str = "float32",
    device: str = "cpu",
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    twin: bool = False,
    mutants: bool = False,
    against: Any = None,
    compare: str | Sequence[str] | None = None,
    strict: bool = False,
    every: bool = False,
    whole: bool = False,
    baseline: str | os.PathLike[str] | None = None,
    update_baseline: bool = False,
    progress: Progress | None = None,
) -> Parity | Mutation | Versus:
    """Run a model once and hold every stage of it against a reference in float64, on what the stage itself read.

    >>> import inspector
    >>> inspector.parity("gpt2").verdict  # doctest: +SKIP
    'pass'
    >>> inspector.parity(my_model, attention="sdpa").first_failure.where  # doctest: +SKIP
    'layer 0 attention.scale'

    model: a name, or a module, with `inputs` as for `shapes`. What is made here gets random weights that hide nothing;
        a module, what a factory makes, and a folder with weights keep their own.
    weights: None, "random", "checkpoint" or a folder. twin: a small copy of the same config instead, which is also
        taken where the model does not fit into memory, and then said.
    mutants: make known mistakes in the model, one after the other, and see whether each is noticed at its stage.
    against: another implementation, a module or what `model` can be: it gets the weights of the first and the same
        tokens, and the first stage that gives something else is named.
    compare: the same model under several settings, `"eager,sdpa"`, `"float32,bfloat16"`, `"cpu,cuda"`; or
        `"prefill,decode"`: steps with a cache against the whole forward; or `"dynamic,static"`: a cache that grows
        against one of fixed size, with room to spare.
    strict: a stage that this number format cannot tell from a wrong one is a failure.
    whole: hold the answers of a large model against the reference forward too; of a small one they always are.
    baseline: a file with what came out before, and with waivers; update_baseline: write it.
    every: each stage by itself in text too. The other options are those of `shapes`.
    """
    if update_baseline and baseline is None:
        raise UsageError("there is no baseline to update", hint="name the file: --baseline FILE --update-baseline")
    _require_one_question(mutants, against, compare, judged=strict or baseline is not None)
    given = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=_one(attention),
        dtype=dtype,
        device=device,
        pad=pad,
        seed=seed,
        weights="random" if device != "meta" else None,
        head=head,
    )
    if against is not None or compare is not None:
        asked = inputs, given, weights
        return _versus(model, against, compare, asked, twin=twin, every=every, progress=progress)
    before = _before(baseline, update=update_baseline)
    from inspector.api.checking import checked, set_up

    ran = set_up(model, inputs, given, weights, twin=twin, progress=progress)
    if mutants:
        return _mutated(ran, progress)
    report = checked(ran, progress, whole=whole)
    if baseline is not None:
        report = _held_against(report, baseline, before)
    return Parity(report, strict, every)


def assert_parity(model: Any, inputs: Any = None, **options: Any) -> Parity:
    """Do nothing where `parity` passes, and else raise an AssertionError that names the stages.

    >>> import inspector
    >>> inspector.assert_parity("gpt2", twin=True)  # doctest: +SKIP
    <Parity of gpt2: pass, 46 pass, 2 exempt>

    The options are those of `parity`. A run in which something was not checked proves nothing, and raises too.
    """
    if any(options.get(name) for name in ("mutants", "against", "compare")):
        raise UsageError("only parity itself is asserted", hint="look at inspector.parity(...).exit_code")
    result = parity(model, inputs, **options)
    assert isinstance(result, Parity)
    if result.exit_code:
        from inspector.reporting.failures import complaint

        raise ParityError(complaint(result.report, strict=result.strict), result)
    return result


def _require_one_question(mutants: bool, against: Any, compare: Any, *, judged: bool) -> None:
    questions = {"--mutants": mutants, "--against": against is not None, "--compare": compare is not None}
    asked = [name for name, is_asked in questions.items() if is_asked]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} are two questions", hint="ask one at a time")
    if asked and judged:
        raise UsageError(f"{asked[0]} is judged by itself", hint="leave --baseline and --strict out")


def _versus(
    model: Any,
    other: Any,
    settings: Any,
    asked: tuple[Any, Scenario, str | None],
    *,
    twin: bool,
    every: bool,
    progress: Progress | None,
) -> Versus:
    from inspector.api import versus

    if other is not None:
        pairs = [versus.against(model, other, *asked, twin=twin, progress=progress)]
    else:
        pairs = versus.compare(model, settings, *asked, twin=twin, progress=progress)
    return versus.Versus(tuple(report for report, _ in pairs), tuple(title for _, title in pairs), every)


def _one(attention: str) -> str:
    kinds = [kind.strip() for kind in attention.split(",") if kind.strip()]
    if len(kinds) != 1:
        raise UsageError(f"parity is of one kind of attention, but got {attention!r}", hint="ask once for each")
    return kinds[0]


def _before(path: str | os.PathLike[str] | None, *, update: bool) -> Baseline | None:
    """What the file holds, read before anything takes long. Of one that is to be updated only the waivers count."""
    from inspector.api import baseline

    if path is None or (update and not os.path.exists(path)):
        return None
    found = baseline.load(path)
    return replace(found, rows={}, model={}) if update else found


def _held_against(report: Report, path: str | os.PathLike[str], before: Baseline | None) -> Report:
    from inspector.api import baseline

    if before is None or not before.model:
        baseline.save(path, report, before.waivers if before else ())
        before = baseline.load(path)
    return baseline.apply(report, before, name=os.path.basename(path))


def _mutated(ran: Ran, progress: Progress | None) -> Mutation:
    from inspector.api.fingerprint import versions
    from inspector.verification.mutants.run import run_mutants

    if ran.missing:
        raise InspectorError(f"{ran.running.info.name} cannot be checked, and so no mistake in it", why=ran.missing)
    report = run_mutants(ran.running, ran.claimed, progress)  # type: ignore[arg-type]  # a forward asks for no plan
    tool = {name: version for name, version in versions().items() if name != "python"}
    return Mutation(replace(report, model=ran.running.info), ran.notes, tuple(tool.items()))
