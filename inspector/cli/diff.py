"""`inspector diff A B`."""

from __future__ import annotations

__all__ = ["command"]

import os
import sys
from typing import Any

import click

from inspector.cli.options import input_option, model_argument, output_options, run_options, twin_option
from inspector.cli.output import Output, emit, spoken_here
from inspector.cli.summary import SummaryFile, step_summary_option

SEVERITIES = click.Choice(["breaking", "notable", "cosmetic"])

EPILOG = """\b
MODEL and OTHER are what `inspector shapes` takes. Without OTHER, --attention names two
implementations, and the model is compared with itself.

\b
Examples:
  inspector diff bert-base-uncased gpt2
  inspector diff llama-2-7b llama-3-8b --format markdown
  inspector diff llama-3-8b --attention eager,sdpa
  inspector diff gpt2 ./checkpoint --exit-code
  inspector diff bert gpt2 --rules 'norm.*' --all

\b
Status of a row:
  =  same           the same part, the same maths, the same shape
  ≈  renamed        the same, under another module path
  ⇄  re-expressed   the same maths in another storage or op
  ~  changed        the maths differs
  ↕  moved          the same part at another place
  −  only-a   +  only-b   no counterpart
"""


@click.command("diff", epilog=EPILOG)
@model_argument
@click.argument("other", required=False)
@click.option("--rules", metavar="PATTERNS", default="", help="Only findings of these rules: 'norm.*,mlp.gated'.")
@click.option("--severity", type=SEVERITIES, help="Only findings of at least this weight.")
@click.option("--all", "every", is_flag=True, help="Show equal rows one by one.")
@click.option("--prove", is_flag=True, default=None, help="Run what is written otherwise on the same numbers.")
@click.option("--exit-code", is_flag=True, help="Exit 1 if the two differ.")
@click.option("--fail-on", type=SEVERITIES, help="Exit 1 on a finding of at least this weight.")
@step_summary_option
@input_option
@twin_option
@run_options
@output_options
def command(
    model: str,
    other: str | None,
    step_summary: bool,
    quiet: bool,
    format: str,
    file: str | None,
    color: str,
    width: int | None,
    **ask: Any,
) -> int:
    """Say what two architectures have in common, what is written otherwise, and what is another function.

    Both models are run once, by default on the meta device. First in sentences, then as findings, one per rule, then
    part by part, side by side. Without --exit-code or --fail-on, differing is no failure.
    """
    from inspector.api.diff import diff
    from inspector.cli.piped import taken

    # Its advice on kernels and its progress bars would land between our lines; a user who sets it is still obeyed.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    exit_code, fail_on = ask.pop("exit_code"), ask.pop("fail_on")
    page = SummaryFile() if step_summary else None
    result = diff(taken(model), other and taken(other), progress=None if quiet or not _watched() else _say, **ask)
    if page:
        page.add(result.to_markdown(lang=spoken_here()))
    emit(result, Output(format, file, color, width))
    return int((exit_code and result.differs) or (fail_on is not None and result.worst(fail_on)))


def _watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _say(message: str) -> None:
    click.echo(f"{message} ...", err=True)
