"""What it costs to check every stage of a model: the only other file here that calls inspector's own code."""

from __future__ import annotations

__all__ = ["Checked", "check", "look", "mistakes", "peak", "plain", "ready"]

import resource
import subprocess
import sys
from typing import Any, NamedTuple

import torch

from inspector.records import Scenario
from inspector.source.prepared import prepare
from inspector.tracing.run import model_info
from inspector.tracing.tape import Taping
from inspector.verification.claims import claimed_by
from inspector.verification.mutants.run import run_mutants
from inspector.verification.plan import Plan, plan
from inspector.verification.verify import Running, verify


class Checked(NamedTuple):
    """A model that is ready to be checked."""

    running: Running
    config: dict[str, Any]

    def claimed(self, inputs: Any) -> Any:
        return claimed_by(self.running.info.model_type, self.running.module, self.config, inputs)


def ready(model: str, *, twin: bool = False, **sizes: Any) -> Checked:
    """Build `model`. Not timed."""
    scenario = Scenario(**{"device": "cpu", "dtype": "float32", "weights": "random", **sizes})
    found = prepare(model, None, scenario, None, twin=twin)
    info = model_info(found.subject, found.module)
    return Checked(Running(found.module, found.inputs, found.scenario, info), found.config)


def plain(subject: Checked) -> Any:
    """The forward pass that nobody checks."""
    with torch.no_grad():
        return subject.running.module(**subject.running.inputs())


def look(subject: Checked) -> Plan:
    """The first pass, and the part of every op; its calls are kept, as a check keeps them."""
    run = subject.running
    return plan(run.module, run.inputs(), run.scenario, run.info, run.claims, by=Taping)


def check(subject: Checked, first: Plan | None = None) -> Any:
    """Every stage against the reference; with `first`, the second pass alone."""
    return verify(subject.running, subject.claimed, first=first)


def mistakes(models: tuple[str, ...]) -> int:
    """How many mistakes were made in small twins of the models, and judged."""
    subjects = [ready(model, twin=True, batch=3, seq=31) for model in models]
    return sum(run_mutants(subject.running, subject.claimed).total for subject in subjects)


def peak(what: str, seq: int) -> float:
    """Megabytes at the highest, of a process of its own that runs GPT-2 once, plainly or checked."""
    command = [sys.executable, __file__, what, str(seq)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    what, seq = sys.argv[1], int(sys.argv[2])
    subject = ready("gpt2", batch=1, seq=seq, padding="none")
    (check if what == "checked" else plain)(subject)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
