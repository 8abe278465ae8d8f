"""`inspector graph MODEL`."""

from __future__ import annotations

__all__ = ["FORMATS", "command"]

import os
import sys
from typing import Any

import click

from inspector.cli.options import input_option, lang_option, model_argument, output_file, run_options, twin_option
from inspector.cli.output import Output, emit
from inspector.errors import UsageError

FORMATS = {
    "text": (".txt",),
    "model-explorer": (".me.json",),
    "json": (".json",),
    "graphml": (".graphml",),
    "dot": (".dot", ".gv"),
    "mermaid": (".mmd", ".mermaid"),
}
"""Format -> endings of files in it; the first that fits is taken."""

EPILOG = """\b
MODEL is as for `inspector shapes`, or a graph that was saved as JSON.

\b
Examples:
  inspector graph gpt2                         what reads what, as a table
  inspector graph gpt2 -o gpt2.json            to keep, and to compare later
  inspector graph gpt2 -o gpt2.dot             .graphml .mmd .me.json: by the ending
  inspector graph llama-3-8b --unfold 0,31 --format graphml
  inspector graph gpt2.json --format mermaid   a saved graph in another format
"""


@click.command("graph", epilog=EPILOG)
@model_argument
@click.option("--unfold", metavar="LAYERS", help="Show layers one by one: all, or as in 0,4-6.")
@input_option
@twin_option
@run_options
@click.option(
    "--format",
    "format",
    type=click.Choice(list(FORMATS)),
    help="Form of the answer.  [default: by the ending of FILE, else text]",
)
@output_file
@lang_option
def command(model: str, quiet: bool, format: str | None, file: str | None, **ask: Any) -> None:
    """Say what flows between the parts of MODEL.

    One node per part, equal layers folded into one. Letters in shapes are axes (B batch, S sequence, ...).
    """
    from inspector.api.graph import graph

    form = format or _by_ending(file)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    watched = sys.stderr is not None and sys.stderr.isatty()
    result = graph(model, progress=_say if watched and not quiet else None, **ask)
    emit(result, Output(form.replace("-", "_"), file))


def _by_ending(file: str | None) -> str:
    if file in (None, "-"):
        return "text"
    for form, endings in FORMATS.items():
        if str(file).lower().endswith(endings):
            return form
    known = ", ".join(ending for endings in FORMATS.values() for ending in endings)
    raise UsageError(f"the ending of {file} is no format of a graph", why=f"endings are {known}", hint="give --format")


def _say(message: str) -> None:
    click.echo(f"{message} ...", err=True)
