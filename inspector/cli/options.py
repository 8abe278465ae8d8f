"""Options that several commands share."""

from __future__ import annotations

__all__ = [
    "LANG",
    "input_option",
    "lang_option",
    "model_argument",
    "output_file",
    "output_options",
    "run_options",
    "twin_option",
    "values_options",
]

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, TypeVar

import click

FORMATS = ("text", "json", "markdown", "html", "csv")

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

_option = partial(click.option, show_default=True)
_size = partial(click.option, show_default=True, metavar="N")


def _complete_model(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from inspector.source.catalogue import presets

    return [preset.name for preset in presets() if preset.name.startswith(incomplete)]


model_argument = click.argument("model", shell_complete=_complete_model)
"""MODEL, completed with the names of the catalogue."""


def _some(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...] | None:
    return value or None


input_option = click.option(
    "--input",
    "inputs",
    metavar="NAME:SHAPE:DTYPE",
    multiple=True,
    callback=_some,
    help="What a model that is code reads, once per tensor: ids:1x16:int64, x:BxSx64:float32, ids:BxS:int64<100.",
)
"""--input, for package.module:factory."""

twin_option = click.option(
    "--twin", is_flag=True, help="Run a small copy of the same config, on meta or else on the CPU."
)
"""--twin, for what shows a model and does not check it."""

_FILE = click.Path(dir_okay=False, allow_dash=True)
output_file = click.option("-o", "--output", "file", metavar="FILE", type=_FILE, help="Write to FILE.")


def _keep_language(context: click.Context, _parameter: click.Parameter, value: str) -> None:
    context.meta[LANG] = "zh" if value == "zh-CN" else value


LANG = "inspector.lang"
"""Where the context of a command keeps the language of its answer."""

lang_option = click.option(
    "--lang",
    type=click.Choice(["en", "zh", "zh-CN"]),
    default="en",
    show_default=True,
    expose_value=False,
    callback=_keep_language,
    help="Language of sentences and headings; JSON, flags and ids are English.",
)


def output_options(command: Command) -> Command:
    """How and where the answer is written."""
    return _all(
        command,
        _option("--format", "format", type=click.Choice(FORMATS), default="text", help="Form of the answer."),
        output_file,
        _option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            help="Colour of text; auto looks at the terminal, NO_COLOR and FORCE_COLOR.",
        ),
        click.option("--width", type=click.IntRange(40), metavar="N", help="Fit text into N columns."),
        lang_option,
    )


def run_options(command: Command) -> Command:
    """How the model is run where shapes are enough."""
    return _all(
        command,
        *_sizes(2, 16),
        _option("--attention", metavar="KIND", default="eager", help="eager, sdpa, ...; eager,sdpa: side by side."),
        click.option("--dtype", help="Number format.  [default: bfloat16, so that casts show]"),
        click.option("--device", help="cpu, cuda, ...  [default: meta, which has shapes but no numbers]"),
        *_numbers("Run on real numbers."),
        click.option(
            "--no-trace-cache", "trace_cache", flag_value=False, default=True, help="Run even if this run is stored."
        ),
        _QUIET,
    )


def values_options(*, batch: int, seq: int) -> Callable[[Command], Command]:
    """How the model is run where it has to have numbers."""
    return lambda command: _all(
        command,
        *_sizes(batch, seq),
        _option("--attention", metavar="KIND", default="eager", help="eager, sdpa, ..."),
        _option("--dtype", default="float32", help="Number format."),
        _option("--device", default="cpu", help="cpu, cuda, ..."),
        *_numbers("Where the weights come from.  [default: MODEL's own where it brings some along, else random]"),
        _QUIET,
    )


_QUIET = click.option("-q", "--quiet", is_flag=True, help="Say nothing on the way.")


def _sizes(batch: int, seq: int) -> tuple[Decorator[Any], ...]:
    return (
        _size("--batch", type=click.IntRange(1), default=batch, help="Sequences in the batch (B)."),
        _size("--seq", type=click.IntRange(1), default=seq, help="New tokens of each sequence (S)."),
        _size("--past", type=click.IntRange(0), default=0, help="Tokens already in the KV cache (P)."),
    )


def _numbers(weights: str) -> tuple[Decorator[Any], ...]:
    return (
        click.option(
            "--pad",
            type=click.Choice(["none", "left", "right"]),
            help="Side on which one sequence is padded; without padding some ops never run.  [default: left]",
        ),
        click.option("--weights", metavar="random|checkpoint|FOLDER", help=weights),
        _size("--seed", type=int, default=0, help="Seed of random weights and inputs."),
        click.option(
            "--head/--no-head",
            default=None,
            help="Run with the language-model head, or without.  [default: with for decoders only]",
        ),
    )


def _all(command: Command, *options: Decorator[Command]) -> Command:
    """The options in the order of --help: a decorator that is applied later stands earlier."""
    return reduce(lambda made, option: option(made), reversed(options), command)
