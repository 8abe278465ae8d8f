"""`inspector schema NAME`."""

from __future__ import annotations

__all__ = ["command"]

import json

import click

from inspector.api.schemas import SCHEMAS, schema
from inspector.cli.options import output_file
from inspector.cli.output import Output, write


@click.command("schema")
@click.argument("name", type=click.Choice(list(SCHEMAS)))
@output_file
def command(name: str, file: str | None) -> None:
    """Print the JSON Schema of what --format json writes.

    A field is only ever added within a major version.
    """
    write(json.dumps(schema(name), indent=2) + "\n", Output("json", file))
