"""Holds what the graph shows against what the experiments say. Without torch: results are plain values."""

from __future__ import annotations

__all__ = ["with_probes"]

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from inspector.fact_sheet.facts import Evidence, Fact, FactSheet
from inspector.records import Plain
from inspector.stage_graph.spans import layers_of

Answer = tuple[str, int | None, str, Plain]
"""(fact, layer or None for the model, what was done, what came of it)."""

REACH = 23
"""How far a change can reach on the twin: as far as its sequence is long."""


def _relative(value: Plain) -> bool:
    return not {"learned", "sinusoidal"} & set(str(value).split(" + "))


def _is_as_wide(value: Plain, reach: Plain) -> bool:
    """A window that is wider than the twin's sequence hides nothing there."""
    seen = isinstance(reach, int) and reach < REACH
    return not seen if isinstance(value, int) and value > REACH else (value is not None) == seen


FITS: dict[str, Callable[[Plain, Plain], bool]] = {
    "attention.direction": lambda value, both: (value == "bidirectional") == both,
    "attention.window": _is_as_wide,
    "position.kind": lambda value, shifts: _relative(value) != shifts,
    "norm.kind": lambda value, moves: (value == "rms") == moves,
    "norm.offset": lambda value, stays: (1 if stays else 0) in (value if isinstance(value, tuple) else (value,)),
    "embedding.tied": lambda value, moves: value == moves,
}
"""Fact -> whether its value fits what an experiment says."""

SAYS: dict[str, Callable[[Plain], Plain]] = {
    "attention.direction": lambda both: "bidirectional" if both else "causal",
    "embedding.tied": lambda moves: moves,
}
"""Fact -> its value, for those that an experiment alone can tell."""


def with_probes(sheet: FactSheet, answers: Sequence[Answer], missing: Iterable[tuple[str, str]]) -> FactSheet:
    """The sheet with the answers as evidence, and what they alone could tell as facts.

    >>> from inspector.records import ModelInfo, Scenario
    >>> sheet = FactSheet(ModelInfo("m", None, "M", 0, 0), Scenario(), (Fact("attention.direction", "causal"),))
    >>> with_probes(sheet, [("attention.direction", None, "earlier outputs move", True)], ()).conflicts[0].probed
    False
    """
    facts = tuple(_held(fact, answers) for fact in sheet.facts)
    there = {fact.id for fact in facts}
    new = tuple(
        Fact(fact, SAYS[fact](value), evidence=Evidence(probes=((name, value),), shown="experiment"))
        for fact, layer, name, value in answers
        if fact not in there and fact in SAYS and layer is None
    )
    known = there | {fact.id for fact in new} | {fact for fact, _ in sheet.unanswered}
    gone = {fact.id for fact in new}
    notes = sheet.notes
    if any(fact == "padding" and value for fact, _, _, value in answers):
        notes = (*notes, "padding is not hidden: another padding token moves the outputs of others")
    return replace(
        sheet,
        facts=(*facts, *new),
        unanswered=(
            *(item for item in sheet.unanswered if item[0] not in gone),
            *((fact, reason) for fact, reason in missing if fact not in known),
        ),
        notes=(*notes, *(f"{fact}: {reason}" for fact, reason in missing if fact in there)),
    )


def _held(fact: Fact, answers: Sequence[Answer]) -> Fact:
    about = [(name, value) for id, layer, name, value in answers if id == fact.id and _covers(fact, layer)]
    rule = FITS.get(fact.id)
    if rule is None or not about:
        return fact
    fits = _of_layers(fact, rule, [(name, value) for name, value in about])
    return replace(fact, evidence=fact.evidence._replace(probes=tuple(about)), probed=fits)


def _of_layers(fact: Fact, rule: Callable[[Plain, Plain], bool], about: Sequence[tuple[str, Plain]]) -> bool:
    return all(rule(fact.value, value) for _, value in about)


def _covers(fact: Fact, layer: int | None) -> bool:
    """Whether an answer is about this fact: of the model, when the fact is; of a layer, when it is one of its own."""
    if layer is None:
        return not fact.layers
    return not fact.layers or (fact.layers[0].isdigit() and layer in layers_of(fact.layers))
