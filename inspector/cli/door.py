"""The one place where an exception becomes a message and an exit code."""

from __future__ import annotations

__all__ = ["guarded"]

import os
import sys
from collections.abc import Callable, Iterable

import click

from inspector.errors import InspectorError
from inspector.render.escape import ascii_only, visible

INTERRUPTED = 130


def guarded(run: Callable[[], object]) -> int:
    """Call `run` and say how it ended. INSPECTOR_DEBUG=1 shows the traceback of whatever went wrong."""
    try:
        code = run()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except InspectorError as error:
        _tell(error.what, error.why, error.hint)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last door: nothing may end in a bare traceback
        _tell(*_unexpected(error))
        return InspectorError.exit_code


def _unexpected(error: Exception) -> Iterable[str]:
    kind, said = type(error).__name__, str(error).strip()
    yield f"unexpected {kind}: {said.splitlines()[0]}" if said else f"unexpected {kind}"
    yield "this is a fault in inspector, or something that it does not know yet"
    yield "" if _debug() else "set INSPECTOR_DEBUG=1 to see where"


def _tell(what: str, *more: str) -> None:
    """One line each on stderr. Messages quote names that strangers chose, so they are made harmless too."""
    if _debug():
        import traceback

        traceback.print_exc()
    if sys.stderr is None:
        return
    said = "\n".join([f"inspector: {visible(what)}", *(f"  {visible(line)}" for line in more if line)]) + "\n"
    try:
        sys.stderr.write(said)
    except UnicodeEncodeError:
        sys.stderr.write("".join(ascii_only(line) + "\n" for line in said.splitlines()))


def _debug() -> bool:
    return os.environ.get("INSPECTOR_DEBUG", "") not in ("", "0")
