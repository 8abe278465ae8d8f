"""`inspector cache dir` and `inspector cache clear`."""

from __future__ import annotations

__all__ = ["command"]

import click

from inspector.cli.output import Output, write


@click.group("cache")
def command() -> None:
    """Where traces are kept, and how to forget them.

    What a model's run looked like is stored, so that the next question about it is answered at once. A stored trace is
    used only while the model's code, the versions and inspector itself are the same. INSPECTOR_CACHE_DIR moves it.
    """


@command.command("dir")
def directory() -> None:
    """Print the folder."""
    from inspector.api.store import TraceStore

    write(f"{TraceStore().directory()}\n", Output())


@command.command("clear")
def clear() -> None:
    """Remove every stored trace."""
    from inspector.api.store import TraceStore

    removed = TraceStore().clear()
    click.echo(f"{removed} stored trace{'' if removed == 1 else 's'} removed", err=True)
