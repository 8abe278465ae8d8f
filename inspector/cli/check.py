"""`inspector check LOCK... [MODEL]`."""

from __future__ import annotations

__all__ = ["command"]

import os
from typing import TYPE_CHECKING, Any

import click

from inspector.cli.diff import SEVERITIES
from inspector.cli.options import input_option, output_options
from inspector.cli.output import Output, emit, spoken_here
from inspector.cli.progress import Progress
from inspector.cli.summary import SummaryFile, step_summary_option
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.api.check import Check

EPILOG = """\b
LOCK is a file that `inspector lock` wrote, or a folder of *.arch.json. Without MODEL the model is built
from the config in the lock; nothing else in a lock is looked up, imported or opened.

\b
Examples:
  inspector check gpt2.arch.json                    has an upgrade changed my model?
  inspector check gpt2.arch.json ./checkpoint       is this the model that was locked?
  inspector check locks/ --fail-on breaking
  inspector check locks/*.arch.json --update        yes, that is how it shall be

\b
Exit code: 0 as locked, or only findings below --fail-on; 1 a finding at or above it;
3 a lock that is missing, broken or of a newer version, a model that does not run, nothing compared.
Of several locks the highest.
"""


@click.command("check", epilog=EPILOG)
@click.argument("names", nargs=-1, required=True, metavar="LOCK... [MODEL]")
@click.option(
    "--fail-on", type=SEVERITIES, default="notable", show_default=True, help="Exit 1 on a finding of this weight."
)
@click.option("--update", is_flag=True, help="Write the locks anew.")
@click.option("--all", "every", is_flag=True, help="Show equal rows one by one.")
@step_summary_option
@click.option("--seq", type=click.IntRange(1), metavar="N", help="Fewer tokens than the usual 16.")
@click.option("--device", help="cpu, cuda, ...  [default: meta, which has shapes but no numbers]")
@click.option("--no-trace-cache", "trace_cache", flag_value=False, default=True, help="Run even if a run is stored.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on the way.")
@input_option
@output_options
def command(
    names: tuple[str, ...],
    quiet: bool,
    step_summary: bool,
    format: str,
    file: str | None,
    color: str,
    width: int | None,
    **ask: Any,
) -> int:
    """Run the model of each LOCK again, and say what has become of it and whether that matters.

    Parts that were only renamed, or are written in another way, are reported and are no failure.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    page = SummaryFile() if step_summary else None
    locks, model = _split(names)
    with Progress(quiet=quiet) as say:
        result = _checked(locks, model, progress=say, **ask)
    if page:
        page.add(result.to_summary(page.room, lang=spoken_here()))
    if len(result.held) == 1 and result.held[0].error:
        raise result.held[0].error
    emit(result, Output(format, file, color, width))
    return result.exit_code


def _split(names: tuple[str, ...]) -> tuple[list[str], str | None]:
    """Locks, and the model that may stand after one."""
    from inspector.api.check import is_lock

    locks, others = list(names), []
    if len(names) > 1:
        locks = [name for name in names if is_lock(name)]
        others = [name for name in names if not is_lock(name)]
    if len(others) > 1 or (others and (len(locks) != 1 or names[-1] != others[0])):
        raise UsageError(
            f"{others[0]} is no lock",
            why="a model comes after the one lock that it is held against",
            hint="name locks only: files that `inspector lock` wrote, or folders of *.arch.json",
        )
    return locks, others[0] if others else None


def _checked(locks: list[str], model: str | None, **ask: Any) -> Check:
    """All locks, each with its answer or with what prevents one."""
    from inspector.api.check import check

    return check(locks if model is None else locks[0], model, **ask)
