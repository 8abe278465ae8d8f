"""Small models, ready to be verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inspector.records import Scenario
from inspector.source import Subject
from inspector.source.tiny import randomise
from inspector.tracing.run import model_info
from inspector.verification.claiming import whole_claims
from inspector.verification.report import Report
from inspector.verification.verify import Running, verify

PROBE = Scenario(batch=3, seq=31, device="cpu", dtype="float32", weights="random")
"""Sizes that are pairwise different, and weights that hide nothing."""


def running(subject: Subject, scenario: Scenario = PROBE) -> Running:
    """The model of `subject`, with weights that hide nothing."""
    scenario, _ = subject.settle(scenario)
    module = subject.make(scenario)
    randomise(module, scenario.seed)
    info = model_info(subject, module)
    return Running(module, lambda: subject.inputs(module, scenario), scenario, info, subject.claims)


def report(run: Running, *, power: bool = False) -> Report:
    """What the reference forward of its own type says of a model."""
    module: Any = run.module

    claims: Any = whole_claims(run, run.info.model_type, module.config.to_dict())
    return verify(run, claims, power=power)


@pytest.fixture(scope="session")
def ready(tiny: Callable[..., Subject]) -> Callable[..., Running]:
    """`ready("gpt2", dtype="bfloat16")`: fields of the scenario by name; `config` changes the config."""

    def make(model_type: str, config: dict[str, Any] | None = None, **changes: Any) -> Running:
        return running(tiny(model_type, **(config or {})), replace(PROBE, **changes))

    return make


@pytest.fixture(scope="session")
def verified(ready: Callable[..., Running]) -> Callable[..., Report]:
    """The report of a small model, as `ready` makes it."""
    return lambda *args, **changes: report(ready(*args, **changes))


@pytest.fixture(scope="session")
def report_of() -> Callable[[Running], Report]:
    """The report of a model that is ready, after something was done to it."""
    return report
