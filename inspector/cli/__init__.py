"""The command `inspector`: one file per command, imported when it is asked for.

Exit codes: 0 done · 1 the answer is no · 2 usage · 3 could not answer · 130 interrupted.
"""

from __future__ import annotations

__all__ = ["cli", "main"]

import sys
from collections.abc import Sequence
from copy import copy
from importlib import import_module
from typing import NoReturn

import click

from inspector import __version__
from inspector.cli.door import guarded
from inspector.cli.output import apart

COMMANDS = {
    "shapes": "Name every op of a model's forward pass and print its shapes.",
    "facts": "Say what a model is, from what it did; hold its config against that.",
    "graph": "Say what flows between the parts of a model; save or export it.",
    "diff": "Say how two architectures differ, part by part and in words.",
    "report": "Put models side by side in one document, with pictures.",
    "parity": "Check that every stage of a model computes what it claims.",
    "lock": "Keep what a model is: its graph and its facts, without weights and sizes.",
    "check": "Say what has become of a model since it was locked.",
    "models": "List the models that are known by name.",
    "schema": "Print the JSON Schema of what --format json writes.",
    "cache": "Where traces are kept, and how to forget them.",
}
"""Command -> its line in --help. The command itself is `inspector.cli.<name>.command`."""


class Lazy(click.Group):
    """A group that imports a command when it is called.

    Each command is also registered as a stub: click takes its "did you mean" from the registered names.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if super().get_command(ctx, cmd_name) is None:
            return None
        command: click.Command = copy(import_module(f"inspector.cli.{cmd_name}").command)
        if command.callback is not None:
            command.callback = apart(command.callback)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, stub.short_help or "") for name, stub in self.commands.items()])


cli = Lazy(
    "inspector",
    commands={name: click.Command(name, short_help=line) for name, line in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Runs a transformer and names every op of its forward pass by its part in the architecture.",
    epilog="""\b
Examples:
  inspector shapes gpt2
  inspector shapes llama-3-8b --role attention
  inspector shapes --help

\b
Shell completion (bash, zsh, fish):
  eval "$(_INSPECTOR_COMPLETE=bash_source inspector)"
""",
)
click.version_option(__version__, prog_name="inspector", message="%(prog)s %(version)s")(cli)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(guarded(lambda: cli.main(args, prog_name="inspector", standalone_mode=False)))
