"""`inspector models`."""

from __future__ import annotations

__all__ = ["command"]

import click

from inspector.cli.options import output_options
from inspector.cli.output import Output, emit


@click.command("models")
@output_options
def command(format: str, file: str | None, color: str, width: int | None) -> None:
    """List the models that are known by name.

    Their configurations are part of inspector: no network is needed.
    """
    from inspector.api.verbs import models

    emit(models(), Output(format, file, color, width))
