"""`inspector lock MODEL`."""

from __future__ import annotations

__all__ = ["command"]

import os
from typing import Any

import click

from inspector.cli.options import input_option, model_argument, output_file, run_options
from inspector.cli.output import Output, write
from inspector.cli.progress import Progress

EPILOG = """\b
MODEL is as for `inspector shapes`. A lock of code (package.module:factory) holds no config: to check
it, the code has to be named again.

\b
Examples:
  inspector lock gpt2 > gpt2.arch.json
  inspector lock ./checkpoint -o locks/mine.arch.json
  inspector lock llama-3-8b --attention sdpa --past 16 --seq 1 -o decode.arch.json
  inspector check gpt2.arch.json
"""


@click.command("lock", epilog=EPILOG)
@model_argument
@input_option
@run_options
@output_file
def command(model: str, quiet: bool, file: str | None, **ask: Any) -> None:
    """Keep what MODEL is: its parts, what flows between them, its facts, its config, and the versions that made it.

    A lock holds no weights, no sizes of batch and sequence, no device, path or date: the same model and versions give
    the same bytes. --past, and a --seq of 1, say which graph is kept: prefill or decoding.
    """
    from inspector.api.lock import lock

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    with Progress(quiet=quiet) as say:
        result = lock(model, progress=say, **ask)
    write(result.to_json(), Output("json", file))
