"""`inspector facts MODEL`."""

from __future__ import annotations

__all__ = ["command"]

import os
import sys
from typing import Any

import click

from inspector.cli.options import input_option, model_argument, output_options, run_options, twin_option
from inspector.cli.output import Output, emit

EPILOG = """\b
MODEL is as for `inspector shapes`.

\b
Examples:
  inspector facts gpt2
  inspector facts falcon-180b --no-probes      from the run alone
  inspector facts llama-3-8b --attention sdpa
  inspector facts ./checkpoint --format json -o facts.json
"""


@click.command("facts", epilog=EPILOG)
@model_argument
@click.option(
    "--probes/--no-probes",
    default=True,
    show_default=True,
    help="Find out a second time, by experiments on a small twin.",
)
@input_option
@twin_option
@run_options
@output_options
def command(model: str, quiet: bool, format: str, file: str | None, color: str, width: int | None, **ask: Any) -> None:
    """Say what MODEL is, from what it did.

    Each fact comes with the ops that show it. What the config claims of the same thing is held against it: what does
    not agree stands first.
    """
    from inspector.api.facts import facts

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    watched = sys.stderr is not None and sys.stderr.isatty()
    result = facts(model, progress=_say if watched and not quiet else None, **ask)
    emit(result, Output(format, file, color, width))


def _say(message: str) -> None:
    click.echo(f"{message} ...", err=True)
