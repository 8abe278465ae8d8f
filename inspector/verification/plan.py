"""The first pass: what runs, which part each op plays, and what has to be held in the second.

The roles are found afresh in the model as it is now, by somebody who knows nothing of what was done to it.
"""

from __future__ import annotations

__all__ = ["Plan", "plan"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inspector.records import Claims, ModelInfo, Scenario, Trace
from inspector.roles import infer
from inspector.stage_graph.stages import Stage, StageGraph, build
from inspector.tracing.again import Wanted, wanted
from inspector.tracing.run import Run, glimpse
from inspector.tracing.watcher import Watcher

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Plan:
    """The stages of one model, and the run that showed them. Values are canonical ids unless they are called raw."""

    graph: StageGraph
    run: Run

    @property
    def trace(self) -> Trace:
        return self.graph.trace

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.graph.stages

    @cached_property
    def raw(self) -> dict[int, int]:
        """Value id -> the watcher's."""
        return {canonical: raw for raw, canonical in self.run.seen.place.items()}

    @cached_property
    def wanted(self) -> Wanted:
        """Of every stage what crosses its border; group and stage have one number."""
        order, raw = self.run.seen.order, self.raw
        return wanted(
            self.run.watcher,
            [
                (
                    [order[op] for op in self._working(stage)],
                    [raw[v] for v in (*stage.inputs, *stage.outputs, *stage.parameters)],
                )
                for stage in self.stages
            ],
        )

    def _working(self, stage: Stage) -> Sequence[int]:
        """Its ops without idle calls on what it has made: those may run late, when somebody wrote into it already."""
        ops, made = self.trace.ops, set(stage.outputs)
        return [op for op in stage.ops if ops[op].effect != "noop" or not made.issuperset(ops[op].inputs)] or stage.ops


def plan(
    module: nn.Module,
    inputs: Mapping[str, Any],
    scenario: Scenario,
    info: ModelInfo,
    claims: Claims,
    by: type[Watcher] = Watcher,
) -> Plan:
    """Run `module(**inputs)` once and name what ran. The module and its inputs are spent as by any forward."""
    trace, run = glimpse(module, inputs, scenario, info, claims, by)
    return Plan(build(trace, infer(trace)), run)
