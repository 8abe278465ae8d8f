"""One line on a terminal that says what is being done, and is gone when it is done."""

from __future__ import annotations

__all__ = ["Progress"]

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType

from inspector.render.escape import ascii_only, visible

_PAUSE = 0.1
"""Seconds between two lines: a terminal is slower than a stage."""


class Progress:
    """Gives a function that is told what is done; None where nobody watches."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._watched = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._last = 0.0
        self._shown = False

    def __enter__(self) -> Callable[[str], None] | None:
        return self._say if self._watched else None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._shown:
            self._write("")

    def _say(self, message: str) -> None:
        now = time.monotonic()
        if now - self._last >= _PAUSE:
            self._last, self._shown = now, True
            self._write(f"{ascii_only(visible(message))} ...")

    def _write(self, text: str) -> None:
        room = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{text[:room]:<{room}}\r{text[:room]}")
        sys.stderr.flush()
