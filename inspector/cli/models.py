"""`inspector models` and `inspector models --coverage`."""

from __future__ import annotations

__all__ = ["command"]

import os
from typing import Any

import click

from inspector.cli.options import output_options
from inspector.cli.output import Output, emit
from inspector.cli.progress import Progress
from inspector.errors import UsageError

EPILOG = """\b
Examples:
  inspector models
  inspector models --coverage gpt2 t5 deepseek_v3
  inspector models --coverage --format json -o coverage.json      all types: some minutes
  inspector models --coverage --sample 20 --baseline coverage.json

\b
Exit code: 0 done; with --baseline 1 a row is worse; 3 nothing was traced, or nothing compared.
"""


@click.command("models", epilog=EPILOG)
@click.argument("types", nargs=-1, metavar="[TYPE...]")
@click.option("--coverage", is_flag=True, help="Make a small twin of each model type, and say how much of it is known.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Every N-th type, and each kind of attention.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Processes at once.  [default: one per core]")
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=120,
    show_default=True,
    metavar="N",
    help="Time for one type.",
)
@click.option("--baseline", metavar="FILE", help="Exit 1 where a row is worse than in this file.")
@click.option("--no-trace-cache", "trace_cache", flag_value=False, default=True, help="Find out what is stored, too.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on the way.")
@output_options
def command(
    types: tuple[str, ...],
    coverage: bool,
    quiet: bool,
    format: str,
    file: str | None,
    color: str,
    width: int | None,
    **ask: Any,
) -> int:
    """List the models that are known by name, or survey the model types of transformers.

    The configurations of those known by name are part of inspector: no network is needed, nor for --coverage.
    """
    output = Output(format, file, color, width)
    if not coverage:
        _require_coverage(types, ask)
        from inspector.api.verbs import models

        emit(models(), output)
        return 0
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    from inspector.api.survey import coverage as survey

    with Progress(quiet=quiet) as say:
        result = survey(types, progress=say, **ask)
    emit(result, output)
    return result.exit_code


def _require_coverage(types: tuple[str, ...], ask: dict[str, Any]) -> None:
    given = [*types, *(f"--{name}" for name in ("sample", "jobs", "baseline") if ask[name] is not None)]
    if given:
        raise UsageError(f"{' '.join(given)} is for a survey", hint="add --coverage")
