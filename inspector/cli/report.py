"""`inspector report MODEL...`."""

from __future__ import annotations

__all__ = ["command"]

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector.cli.options import input_option, output_options, run_options
from inspector.cli.output import Output, emit, spoken_here, write
from inspector.cli.progress import Progress
from inspector.cli.summary import SummaryFile, step_summary_option
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.api.report import Report

EPILOG = """\b
MODEL is what `inspector shapes` takes, or a saved graph or lock; - reads one of these from standard
input. Each is compared with the next.

\b
Examples:
  inspector report bert-base-uncased gpt2 llama-3-8b --output-dir out
  inspector report gpt2 ./checkpoint --format markdown --max-bytes 60000
  inspector report llama-3-8b --attention eager,sdpa --format html -o page.html
  inspector report bert gpt2 --step-summary -o /dev/null
  inspector graph gpt2 --format json | inspector report - llama-3-8b
  inspector report --all                        make the gallery anew, in reports/
  inspector report --all --check                exit 1 if it is not what a fresh run makes

\b
With --output-dir: report.md, report.html, report.json and pictures/*.svg.
"""


@click.command("report", epilog=EPILOG)
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "--output-dir", "directory", metavar="DIR", type=click.Path(file_okay=False), help="Write all files here."
)
@click.option("--name", default="report", show_default=True, help="Name of the files, without ending.")
@click.option(
    "--flavor", type=click.Choice(["github", "hf", "plain"]), default="github", show_default=True, help="Of Markdown."
)
@click.option("--max-bytes", type=click.IntRange(1000), metavar="N", help="Size of Markdown; equal rows go first.")
@click.option("--parity", is_flag=True, help="Check each stage by stage, too; a small twin where it does not fit.")
@click.option("--all", "every", is_flag=True, help="The gallery, instead of MODEL; DIR is reports.")
@click.option("--check", is_flag=True, help="With --all: only compare, byte for byte.")
@step_summary_option
@input_option
@run_options
@output_options
def command(
    models: tuple[str, ...],
    directory: str | None,
    quiet: bool,
    format: str,
    file: str | None,
    color: str,
    width: int | None,
    **ask: Any,
) -> int:
    """Put models side by side in one document: sentences, facts, rows, pictures, shapes and costs."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice would land between our lines
    name, every, check, summary = (ask.pop(option) for option in ("name", "every", "check", "step_summary"))
    if every or check:
        return _gallery(models, directory or "reports", check=check, every=every, quiet=quiet)
    page = SummaryFile() if summary else None
    result = _made(models, quiet, ask)
    if page:
        room = page.room if result.most is None else min(result.most, page.room)
        page.add(replace(result, most=room, flavor="github").to_markdown(lang=spoken_here()))
    if directory is None:
        emit(result, Output(format, file, color, width))
    else:
        _tell(result.save(directory, _plain(name), lang=spoken_here()))
    return 0


def _made(models: tuple[str, ...], quiet: bool, ask: dict[str, Any]) -> Report:
    from inspector.api.report import report
    from inspector.cli.piped import taken

    with Progress(quiet=quiet) as say:
        return report(*map(taken, models), progress=say, **ask)


def _plain(name: str) -> str:
    """A name of files, and no path: what is written stays in the folder that was given."""
    if Path(name).name != name or name in (".", ".."):
        raise UsageError(f"{name!r} is no name of a file", hint="give the folder as --output-dir")
    return name


def _tell(paths: list[Path]) -> None:
    """The documents that were written, one per line; pictures are beside them."""
    documents = [path for path in paths if path.suffix != ".svg"]
    write("".join(f"{path}\n" for path in documents), Output())


def _gallery(models: tuple[str, ...], directory: str, *, check: bool, every: bool, quiet: bool) -> int:
    from inspector.api.report import check_gallery, save_gallery

    if models or not every:
        asked = "--all" if every else "--check"
        raise UsageError(
            f"{asked} is for the gallery, which has its own list of models", hint="give --all and no MODEL"
        )
    with Progress(quiet=quiet) as say:
        found = check_gallery(directory, progress=say) if check else save_gallery(directory, progress=say)
    write("".join(f"{line}\n" for line in found), Output())
    return int(check and bool(found))
