"""What is known of one model type, found out on a small twin of its default config."""

from __future__ import annotations

__all__ = ["Exam", "surveyed", "surveying"]

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from inspector.errors import InspectorError
from inspector.records import Scenario, Trace
from inspector.reporting.coverage_rows import Row

if TYPE_CHECKING:
    from inspector.roles import Naming
    from inspector.source.configured import ConfigSubject
    from inspector.verification.report import Report

Exam = Callable[[Trace, "Naming"], tuple[int, int, Sequence[str]]]
"""Holds the roles of a trace against names that people gave: (labels, wrong ones, each of these in words with its
reason). Nothing here reads names.
"""


def surveyed(model_type: str, exam: Exam | None = None) -> Row:
    """Make a twin, run it, name it, fold it, check it. Whatever fails on the way ends the row, and is its reason.

    >>> row = surveyed("gpt2")
    >>> row.traced, row.role_percent, row.pattern
    (True, 100.0, '2')
    """
    *_, row = surveying(model_type, exam)
    return row


def surveying(model_type: str, exam: Exam | None = None) -> Iterator[Row]:
    """The row as it grows: whoever runs out of time keeps what was found by then."""
    row = Row(model_type)
    try:
        twin, row = _twin(row)
        trace, row = _traced(row, twin)
        yield row
        row = _named(row, trace, exam)
        yield row
        row = _described(row, trace)
        yield row
        row = _verified(row, twin)
    except InspectorError as error:
        row = replace(row, reason=_joined(row.reason, error.why or error.what))
    except Exception as error:  # noqa: BLE001  one row must not cost the others theirs
        row = replace(row, reason=_joined(row.reason, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"))
    yield row


def _twin(row: Row) -> tuple[ConfigSubject, Row]:
    from inspector.source import resolve, subject_of
    from inspector.source.tiny import twin_of

    twin, module = twin_of(subject_of(resolve(f"model_type:{row.model_type}")), Scenario())
    return twin, replace(row, parameters=sum(parameter.numel() for parameter in module.parameters()))


def _traced(row: Row, twin: ConfigSubject) -> tuple[Trace, Row]:
    from inspector.api.twins import on_meta_or_cpu

    trace = on_meta_or_cpu(twin, Scenario())
    device = trace.scenario.device
    reason = trace.notes[-1] if device != "meta" else ""
    return trace, replace(row, traced=True, device=device, ops=len(trace.ops), reason=reason)


def _named(row: Row, trace: Trace, exam: Exam | None) -> Row:
    from inspector.roles import infer
    from inspector.vocabulary import UNKNOWN, is_specific

    naming = infer(trace)
    parts = [naming.parts[op.id] for op in trace.ops]
    blocks = [part.path for part in parts if part.layer is not None]
    inside = [path for path in blocks if path != "ssm.scan"]  # one recurrence, declared as such
    unknown = sum(part.path == UNKNOWN for part in parts)
    labels, wrong, mismatches = exam(trace, naming) if exam else (0, 0, ())
    return replace(
        row,
        unknown=unknown,
        role_percent=_percent(len(parts) - unknown, len(parts)),
        specific_percent=_percent(sum(map(is_specific, inside)), len(inside)),
        scan=len(blocks) - len(inside),
        softmax=any(part.path.endswith((".softmax", ".fused")) for part in parts),
        label_exam=_percent(labels - wrong, labels),
        label_mismatches=tuple(mismatches),
    )


def _described(row: Row, trace: Trace) -> Row:
    from inspector.fact_sheet.scene import Scene
    from inspector.fact_sheet.sheet import fact_sheet

    sheet = fact_sheet(trace, Scene(trace))
    pattern = sheet.get("model.layer_pattern")
    return replace(
        row,
        pattern=None if pattern is None else str(pattern),
        facts=len(sheet.facts),
        conflicts=tuple(sorted({fact.id for fact in sheet.conflicts})),
        explained=tuple(sorted({fact.id for fact in sheet.explained})),
    )


def _verified(row: Row, twin: ConfigSubject) -> Row:
    """Every stage of one forward on real numbers, each against its own reading of what it read."""
    report = _checked(twin)
    counts = report.counts
    whole = sum(counts.values()) - counts["exempt"]
    return replace(
        row,
        stages=whole,
        stages_verified=_percent(counts["pass"] + counts["unclaimed"], whole),
        stages_failed=counts["fail"],
    )


def _checked(twin: ConfigSubject) -> Report:
    from inspector.source.tiny import randomise
    from inspector.tracing.run import model_info
    from inspector.tracing.steady import warm_up
    from inspector.verification.readings import claimed_from
    from inspector.verification.verify import Running, verify

    scenario, _ = twin.settle(Scenario(3, 31, 0, "eager", "float32", "cpu", weights="random"))
    module = twin.make(scenario)
    randomise(module, 0)
    warm_up(module, twin.inputs(module, scenario))
    running = Running(module, lambda: twin.inputs(module, scenario), scenario, model_info(twin, module), twin.claims)
    return verify(running, lambda inputs, plan: claimed_from(plan, module, inputs, twin.claims))


def _percent(part: int, whole: int) -> float | None:
    """In percent, rounded down to one digit: 100.0 is all of them."""
    return (part * 1000 // whole) / 10 if whole else None


def _joined(*reasons: str) -> str:
    """One reason of several. Where a file lies on this machine is nobody's business: its name is enough."""
    return _FOLDERS.sub("", "; ".join(reason for reason in reasons if reason))


_FOLDERS = re.compile(r"(?<![\w./:])(?:~|[A-Za-z]:)?[/\\](?:[^\s'\"<>:/\\]+[/\\])+")
