"""`inspector parity MODEL`."""

from __future__ import annotations

__all__ = ["command"]

import os
from typing import Any

import click

from inspector.cli.options import input_option, model_argument, output_options, values_options
from inspector.cli.output import Output, emit
from inspector.cli.progress import Progress

EPILOG = """\b
MODEL is as for `inspector shapes`. A folder with safetensors and what a factory makes keep their
own weights; anything else gets random ones in which no mistake can hide.

\b
Examples:
  inspector parity gpt2
  inspector parity ./checkpoint --dtype bfloat16 --attention sdpa
  inspector parity llama-3-8b --twin           a small copy of the same config
  inspector parity gpt2 --past 16 --seq 1      one step of decoding
  inspector parity gpt2 --against mypackage.model:build
  inspector parity gpt2 --compare eager,sdpa   also float32,bfloat16, prefill,decode, dynamic,static
  inspector parity gpt2 --mutants              is every known mistake noticed?
  inspector parity ./checkpoint --baseline parity.json --update-baseline

\b
Verdict of a stage:
  pass          as claimed, and every element within the bound: rho is at most 1
  fail          another attribute, another input, or a value beyond the bound
  undetermined  this number format cannot tell it from a wrong one
  unclaimed     the value agrees, but nothing claims an attribute that matters
  unchecked     no reference covers it
  exempt        there is nothing to check in it, or its failure is waived

\b
Exit code: 0 all is as claimed, 1 something fails, 3 something was not checked.
"""


@click.command("parity", epilog=EPILOG)
@model_argument
@click.option("--twin", is_flag=True, help="Check a small copy of the same config, with random weights.")
@click.option("--mutants", is_flag=True, help="Make known mistakes in MODEL; exit 1 if one goes unnoticed.")
@click.option("--against", metavar="MODEL", help="Hold another implementation against MODEL, stage by stage.")
@click.option(
    "--compare",
    metavar="A,B",
    help="MODEL under settings: eager,sdpa or float32,bfloat16 or prefill,decode or dynamic,static (caches).",
)
@click.option("--strict", is_flag=True, help="Exit 1 if a stage cannot be told from a wrong one.")
@click.option(
    "--baseline", metavar="FILE", type=click.Path(dir_okay=False), help="What came out before, and what is waived."
)
@click.option("--update-baseline", is_flag=True, help="Write what comes out to that FILE; waivers stay.")
@click.option("--whole", is_flag=True, help="Hold the answers of a large model against the reference forward too.")
@click.option("--all", "every", is_flag=True, help="Show every stage of every layer by itself.")
@input_option
@values_options(batch=3, seq=31)
@output_options
def command(model: str, quiet: bool, format: str, file: str | None, color: str, width: int | None, **ask: Any) -> int:
    """Check that every stage of MODEL computes what it claims.

    MODEL is run on real numbers. Each stage is evaluated again, in float64, on what the stage itself read, and may
    differ by what its number format explains, element by element. So the first stage that fails is where it goes wrong.
    """
    from inspector.api.parity import parity

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    with Progress(quiet=quiet) as say:
        result = parity(model, progress=say, **ask)
    emit(result, Output(format, file, color, width))
    return result.exit_code
