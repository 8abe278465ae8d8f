"""Runs that take turns, so that a busy moment of the machine falls on all of them."""

from __future__ import annotations

__all__ = ["Figure", "Timings", "alternate", "run_time"]

import gc
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One measured number. `bar` is what it should stay under, where there is such a bar."""

    group: str
    name: str
    value: float
    unit: str
    bar: float | None = None


class Timings(NamedTuple):
    """Seconds of each piece of work, one entry per round."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def ratio(self, name: str, base: str) -> float:
        """How many times `base` takes, round by round: what slows one round slows both."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[base], strict=True))

    def gap(self, name: str, base: str) -> float:
        """Seconds more than `base`, round by round."""
        return median(a - b for a, b in zip(self.seconds[name], self.seconds[base], strict=True))


def alternate(work: Mapping[str, Callable[[], Any]], rounds: int) -> Timings:
    """Time each piece of work in turn, `rounds` times, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            gc.collect()
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return Timings(seconds)


def run_time(command: Sequence[str], environment: Mapping[str, str], rounds: int) -> float:
    """Seconds that a whole process takes, median."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return median(taken)
