"""`inspector shapes MODEL`."""

from __future__ import annotations

__all__ = ["command"]

import os
import sys
from typing import Any

import click

from inspector.cli.options import input_option, model_argument, output_options, run_options, twin_option
from inspector.cli.output import Output, emit

EPILOG = """\b
MODEL is a catalogue name (see `inspector models`), model_type:TYPE, a folder or a
config.json, package.module:factory, or a Hub id owner/name[@revision].

\b
Examples:
  inspector shapes gpt2
  inspector shapes bert-base-uncased --section attention
  inspector shapes llama-3-8b --role attention.rope --layer 3
  inspector shapes gpt2 --past 16 --seq 1              one step of decoding
  inspector shapes gpt2 --attention eager,sdpa         side by side
  inspector shapes gpt2 --generate 8                   eight tokens, with a cache and without
  inspector shapes gpt2 --explain                      which axes each matmul sums, in words
  inspector shapes model_type:deepseek_v3 --twin       small numbers, every kind of layer
  inspector shapes mistral-7b --ops --format csv -o mistral.csv
"""


@click.command("shapes", epilog=EPILOG)
@model_argument
@click.option("--section", help="Only this section: attention, mlp, embedding, ...")
@click.option("--role", help="Only this role: attention.rope, mlp.activation, ...")
@click.option("--layer", type=click.IntRange(0), metavar="N", help="Only this layer, counted from 0.")
@click.option("--ops", is_flag=True, help="One row per op instead of one per stage.")
@click.option("--explain", is_flag=True, help="Every product of matrices in words: which axes meet, which are summed.")
@click.option(
    "--generate",
    type=click.IntRange(1),
    metavar="N",
    help="Write N tokens, with a KV cache and without; exit 1 if they differ.",
)
@click.option("--text", metavar="TEXT", help="With --generate: the prompt in words, where MODEL holds a tokenizer.")
@twin_option
@input_option
@run_options
@output_options
def command(model: str, quiet: bool, format: str, file: str | None, color: str, width: int | None, **ask: Any) -> int:
    """Name every op of MODEL's forward pass and print its shapes.

    The model is run once, by default on the meta device: true shapes, no weights, no download. Equal layers are shown
    once. Letters are axes (B batch, S sequence, ...), numbers are constants of the model.
    """
    from inspector.api.verbs import shapes

    # Its advice on kernels and its progress bars would land between our lines; a user who sets it is still obeyed.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    result = shapes(model, progress=None if quiet or not _watched() else _say, **ask)
    emit(result, Output(format, file, color, width))
    return getattr(result, "exit_code", 0)


def _watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _say(message: str) -> None:
    click.echo(f"{message} ...", err=True)
