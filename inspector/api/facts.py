"""The verb `facts`: what a model is, found out from what it did."""

from __future__ import annotations

__all__ = ["Facts", "facts"]

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inspector.api.asking import scenario
from inspector.api.quick import uncollected
from inspector.api.results import Result
from inspector.errors import InspectorError, UsageError
from inspector.records import Padding, Plain

if TYPE_CHECKING:
    from inspector.fact_sheet.facts import Fact, FactSheet
    from inspector.fact_sheet.scene import Scene
    from inspector.render.document import Document


@dataclass(frozen=True, slots=True, repr=False)
class Facts(Result):
    """The facts of one model, each with what shows it and what claims it.

    >>> import inspector
    >>> found = inspector.facts("llama-3-8b")  # doctest: +SKIP
    >>> found.get("attention.kind"), found.get("position.rope.theta"), len(found.conflicts)  # doctest: +SKIP
    ('gqa', 500000.0, 0)
    """

    sheet: FactSheet

    @property
    def rows(self) -> tuple[Fact, ...]:
        """All facts in reading order; one that differs from layer to layer has a row for each answer."""
        return self.sheet.facts

    @property
    def conflicts(self) -> tuple[Fact, ...]:
        """The facts that are not as claimed, or on which graph and experiment disagree."""
        return self.sheet.conflicts

    @property
    def explained(self) -> tuple[Fact, ...]:
        """The facts that are not as claimed for a known reason."""
        return self.sheet.explained

    def get(self, fact: str, layers: str = "") -> Plain:
        """The value of a fact, None when it is not there."""
        return self.sheet.get(fact, layers)

    def document(self) -> Document:
        from inspector.reporting.fact_view import document

        return document(self.sheet)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.fact_view import envelope

        return envelope(self.sheet)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.fact_view import records

        return records(self.sheet)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        counts = f"{counted(len(self.rows), 'fact')}, {counted(len(self.conflicts), 'conflict')}"
        return f"<Facts of {visible(self.sheet.model.name)}: {counts}>"


def facts(
    model: Any,
    inputs: Any = None,
    *,
    batch: int = 2,
    seq: int = 16,
    past: int = 0,
    attention: str = "eager",
    dtype: str | None = None,
    device: str | None = None,
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    probes: bool = True,
    twin: bool = False,
    trace_cache: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Facts:
    """Run a model once, say what it is, and hold what its config claims against that.

    >>> import inspector
    >>> inspector.facts("gpt2").get("attention.direction")  # doctest: +SKIP
    'causal'
    >>> inspector.facts("falcon-180b", probes=False).explained[0].id  # doctest: +SKIP
    'cache.bytes_per_token'

    probes: find out a second time, by experiments on a small twin with random weights. Without, a stored run answers
        at once and without torch.
    twin: of a small copy of the same config.
    The other options are those of `shapes`; facts are of one kind of attention.
    """
    asked = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=_one(attention),
        dtype=dtype,
        device=device,
        pad=pad,
        seed=seed,
        weights=weights,
        head=head,
    )
    from inspector.api.traces import Source
    from inspector.fact_sheet.scene import Scene
    from inspector.fact_sheet.sheet import fact_sheet

    source = Source(model, inputs, weights=weights or "none", stored=trace_cache, progress=progress, twin=twin)
    with uncollected():
        trace = source.trace(asked)
        if not trace.ops:
            raise UsageError("the forward pass ran no op")
        scene = Scene(trace)
        sheet = fact_sheet(trace, scene)
    return Facts(_probed(sheet, scene, model, inputs) if probes else sheet)


def _one(attention: str) -> str:
    kinds = [kind.strip() for kind in attention.split(",") if kind.strip()]
    if len(kinds) != 1:
        raise UsageError(f"facts are of one kind of attention, but got {attention!r}", hint="ask once for each")
    return kinds[0]


def _probed(sheet: FactSheet, scene: Scene, model: Any, inputs: Any) -> FactSheet:
    """The sheet with experiments. That none can be made is said, and is no error."""
    from inspector.fact_sheet.verdicts import with_probes

    try:
        from inspector.fact_sheet.probes import probe
        from inspector.source import live_subject, resolve, subject_of

        subject = subject_of(resolve(model, inputs=inputs)) if isinstance(model, str) else live_subject(model, inputs)
        found = probe(subject, scene.trace, scene)
    except InspectorError as error:
        return replace(sheet, notes=(*sheet.notes, f"no experiments: {error.what}"))
    return with_probes(sheet, found.results, found.missing)
