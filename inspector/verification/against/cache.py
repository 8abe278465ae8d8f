"""Decode steps against the full forward: each stage on the full forward's tensors, cut to the new tokens.

So it is seen whether a slot of the cache holds what the full forward has there, whether a row of the mask is the same,
whether positions go on counting, and in which stage it begins where that is not so.
"""

from __future__ import annotations

__all__ = ["decode_steps"]

from collections.abc import Callable, Iterable

from inspector.errors import UsageError
from inspector.records import Scenario
from inspector.verification.against.layout import Window
from inspector.verification.against.report import AgainstReport
from inspector.verification.against.run import against
from inspector.verification.verify import Running


def decode_steps(
    running: Callable[[Scenario], Running], scenario: Scenario, chunks: Iterable[int] = (1, 3, 2)
) -> tuple[AgainstReport, ...]:
    """One report per step: the last tokens of `scenario` in steps of so many, each against one forward of all before.

    running: a run of the model at a scenario; with a past, its inputs hold the cache of the tokens before. With P past
    and n new tokens they have to be those of P + n tokens at once, as they are in `source.inputs`. At least six tokens
    come before the first step, so that the prompt is padded alike.
    """
    chunks = tuple(chunks)
    past = scenario.past + scenario.seq - sum(chunks)
    if past < _LEAST or min(chunks, default=0) < 1:
        total = scenario.past + scenario.seq
        raise UsageError(
            f"{total} tokens are too few for steps of {', '.join(map(str, chunks)) or 'none'}",
            hint=f"{_LEAST} come before the first step",
        )
    reports = []
    for new in chunks:
        full, step = (running(scenario.resized(scenario.batch, *size)) for size in ((past + new, 0), (new, past)))
        reports.append(against(full, step, weights="keep", window=Window(past, new, past + new)))
        past += new
    return tuple(reports)


_LEAST = 6
