"""The work that is timed: what inspector does, step by step. The only file here that calls inspector's own code."""

from __future__ import annotations

__all__ = [
    "Subject",
    "asked",
    "folded",
    "named",
    "observed",
    "plain",
    "prepare",
    "seen",
    "told_apart",
    "traced",
    "watched",
]

from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from inspector.api.quick import uncollected
from inspector.api.verbs import facts
from inspector.comparison.judge import compare
from inspector.comparison.sides import side_of
from inspector.records import ModelInfo, Scenario, Trace
from inspector.roles import Naming, infer
from inspector.source.resolve import resolve
from inspector.source.subject import subject_of
from inspector.stage_graph import FoldedGraph, build, fold_graph
from inspector.tracing.run import Run, observe, watch
from inspector.tracing.shadows import Following, Shadows


class Subject(NamedTuple):
    """A model that is built, with the inputs of one forward pass."""

    module: torch.nn.Module
    inputs: dict[str, Any]
    shadows: Shadows
    scenario: Scenario


def prepare(model: str, *, layers: int | None = None, **sizes: Any) -> Subject:
    """Build `model`, with `layers` instead of its own number of them. Not timed."""
    origin = resolve(model)
    if layers is not None:
        origin = replace(origin, config={**origin.config, "num_hidden_layers": layers})
    subject = subject_of(origin)
    scenario, _ = subject.settle(Scenario(padding="none", **sizes))
    shadows = Shadows()
    with torch.no_grad(), Following(shadows) if scenario.device == "meta" else nullcontext():
        module = subject.make(scenario)
        return Subject(module, subject.inputs(module, scenario), shadows, scenario)


def plain(subject: Subject) -> Any:
    """The forward pass that nobody watches."""
    with torch.no_grad():
        return subject.module(**subject.inputs)


def watched(subject: Subject) -> Run:
    """Every op with its shapes, in canonical order."""
    return watch(subject.module, subject.inputs, subject.shadows, keep=subject.scenario.device == "meta")


def traced(subject: Subject, run: Run) -> Trace:
    """The record that roles are read from. Its symbols are not solved: that takes runs of a shallow model."""
    info = ModelInfo("benchmark", None, type(subject.module).__name__, 0, 0)
    sizes = tuple(tuple(map(str, value.shape)) for value in run.seen.values)
    return Trace(info, subject.scenario, run.seen.ops, run.seen.values, run.inputs, run.outputs, sizes)


def named(trace: Trace) -> Naming:
    """The part of every op."""
    return infer(trace)


def folded(trace: Trace) -> FoldedGraph:
    """Named, then cut into stages, equal blocks folded."""
    return fold_graph(build(trace, named(trace)))


def seen(subject: Subject) -> Naming:
    """All that naming the ops of a forward pass takes."""
    return named(traced(subject, watched(subject)))


def observed(model: str) -> Trace:
    """A model's trace as the verbs get it, dimensions solved."""
    return observe(subject_of(resolve(model)), Scenario())


def asked(model: str) -> Any:
    """All facts of a model, experiments included, nothing stored."""
    return facts(model, trace_cache=False)


def told_apart(one: Trace, other: Trace, *, unfolded: bool = False) -> Any:
    """Two traces named, cut into stages, aligned and judged."""
    with uncollected():
        return compare(side_of(one, unfolded=unfolded), side_of(other, unfolded=unfolded))
