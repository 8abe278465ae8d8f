"""One process for each of many questions: one that crashes, hangs or takes all memory costs its own answer only."""

from __future__ import annotations

__all__ = ["Lost", "answers"]

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Answer = TypeVar("Answer")

_MEMORY = 12 << 30
"""Bytes of address space that one process may have; torch alone reserves a few."""


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no whole answer. reason: what became of the process; last: as much as it had said by then."""

    reason: str
    last: Any = None


@dataclass(slots=True)
class _Asked:
    name: str
    process: BaseProcess
    until: float
    last: Any = None


def answers(
    ask: Callable[[str], Iterable[Answer]], names: Sequence[str], *, jobs: int, seconds: float
) -> Iterator[tuple[str, Answer | Lost]]:
    """Each name with the last that `ask` says of it; at most `jobs` are asked at once, for `seconds` each.

    >>> sorted(answers(str.upper, ["ab", "c"], jobs=2, seconds=60))
    [('ab', 'B'), ('c', 'C')]
    """
    # A copy has torch and transformers loaded already; where there are no copies, each process loads them again.
    context: Any = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    left, asked = list(reversed(names)), dict[Connection, _Asked]()
    try:
        while left or asked:
            while left and len(asked) < jobs:
                here, there = context.Pipe(duplex=False)
                name = left.pop()
                process = context.Process(target=_answer, args=(ask, name, there), daemon=True)
                process.start()
                there.close()
                asked[here] = _Asked(name, process, time.monotonic() + seconds)
            yield from _heard(asked, seconds)
    finally:
        for connection in list(asked):
            _close(asked, connection)


def _heard(asked: dict[Connection, _Asked], seconds: float) -> Iterator[tuple[str, Any]]:
    """What has come by now, or will have when the first of them runs out of time."""
    patience = max(min(one.until for one in asked.values()) - time.monotonic(), 0)
    for connection in wait(list(asked), timeout=patience):
        assert isinstance(connection, Connection)
        try:
            asked[connection].last = connection.recv()
        except (EOFError, OSError):
            yield asked[connection].name, _ended(asked, connection)
    for connection, one in list(asked.items()):
        if time.monotonic() >= one.until:
            _close(asked, connection)
            yield one.name, Lost(f"no answer in {seconds:g} seconds", one.last)


def _ended(asked: dict[Connection, _Asked], connection: Connection) -> Any:
    """The last that a process said, if it ended well."""
    one = asked[connection]
    one.process.join(5)
    code = one.process.exitcode
    _close(asked, connection)
    return Lost(f"the process ended without an answer (exit code {code})", one.last) if code else one.last


def _close(asked: dict[Connection, _Asked], connection: Connection) -> None:
    process = asked.pop(connection).process
    process.kill()
    process.join()
    connection.close()


def _answer(ask: Callable[[str], Iterable[Any]], name: str, answer: Connection) -> None:
    """What runs in the process. It prints nothing, works on one core, and has only so much memory."""
    _limit_memory()
    _end_with_parent()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        for said in ask(name):
            answer.send(said)


def _end_with_parent() -> None:
    """Nobody waits for an answer any more when whoever asked was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
