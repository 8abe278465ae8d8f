"""Where an answer goes, and in which form: a terminal, a pipe or a file."""

from __future__ import annotations

__all__ = ["Output", "apart", "emit", "spoken_here", "write"]

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TextIO

import click

from inspector.api.files import write_whole
from inspector.cli.options import LANG
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.api.results import Result


@dataclass(frozen=True, slots=True)
class Output:
    """What the user asked for. file: None or "-" is standard output."""

    format: str = "text"
    file: str | None = None
    color: str = "auto"
    width: int | None = None

    @property
    def to_file(self) -> bool:
        return self.file not in (None, "-")


_STDOUT: ContextVar[TextIO | None] = ContextVar("standard output")
"""The real one, while `sys.stdout` is another."""


def apart(command: Callable[..., Any]) -> Callable[..., Any]:
    """`command` with the answer alone on standard output: what a model's own code prints goes to standard error."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        before = _STDOUT.set(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                return command(*args, **options)
        finally:
            _STDOUT.reset(before)

    return run


def _stdout() -> TextIO | None:
    return _STDOUT.get(sys.stdout)


def emit(result: Result, output: Output) -> None:
    """Print the result as the user asked."""
    if output.format == "text":
        encoding = "utf-8" if output.to_file else getattr(_stdout(), "encoding", None) or "utf-8"
        write(_text(result, output, encoding), output, encoding)
    else:
        said = {"lang": spoken_here()} if output.format in _SAID else {}
        write(str(getattr(result, f"to_{output.format}")(**said)), output)


_SAID = ("markdown", "html")
"""Formats that speak to a reader, besides text: the others hold data, which is English."""


def spoken_here() -> str:
    """The language that this command was asked to answer in."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(LANG, "en")) if context else "en"


def write(text: str, output: Output, encoding: str = "utf-8") -> None:
    """Write `text` to the file or to standard output; whatever prevents that is the user's to mend (exit 2)."""
    data = text.encode(encoding)
    try:
        if output.to_file:
            write_whole(str(output.file), data)
        else:
            _write_stdout(data)
    except OSError as error:
        place = output.file if output.to_file else "standard output"
        raise UsageError(f"cannot write {place}", why=error.strerror or str(error)) from error


def _text(result: Result, output: Output, encoding: str) -> str:
    stdout = _stdout()
    terminal = not output.to_file and stdout is not None and stdout.isatty()
    color = _color(output.color, terminal)
    if not (terminal or color or output.width):
        return result.to_text(encoding=encoding, lang=spoken_here())
    width = output.width or (shutil.get_terminal_size().columns if terminal else None)
    return result.to_terminal(width=width, color=color, encoding=encoding, lang=spoken_here())


def _color(choice: str, terminal: bool) -> bool:
    """--color first, then NO_COLOR and FORCE_COLOR (no-color.org, force-color.org), then what we see."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def _write_stdout(data: bytes) -> None:
    stdout = _stdout()
    if stdout is None:
        raise OSError("it is closed")
    try:
        stdout.flush()
        stdout.buffer.write(data)
        stdout.buffer.flush()
    except BrokenPipeError:
        # `| head` has read enough. Python flushes once more when it exits: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
