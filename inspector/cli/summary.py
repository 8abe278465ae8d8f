"""The page that GitHub shows of a job: Markdown that is added to the file it names."""

from __future__ import annotations

__all__ = ["SummaryFile", "step_summary_option"]

import os
from pathlib import Path

import click

from inspector.errors import UsageError

VARIABLE = "GITHUB_STEP_SUMMARY"

LIMIT = 1000 << 10
"""GitHub drops a summary of more than 1024 KiB as a whole; a few are left for what other commands of the step add."""

step_summary_option = click.option(
    "--step-summary", is_flag=True, help=f"Also add the answer, as Markdown, to the page of ${VARIABLE}."
)


class SummaryFile:
    """The file of the step that runs. UsageError where there is none."""

    def __init__(self) -> None:
        named = os.environ.get(VARIABLE)
        if not named:
            raise UsageError(f"{VARIABLE} is not set", why="--step-summary is for GitHub Actions", hint="leave it out")
        self._path = Path(named)

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return max(LIMIT - (self._path.stat().st_size if self._path.exists() else 0), 0)

    def add(self, text: str) -> None:
        """Add Markdown to what is there; of what does not fit, the lines that do."""
        from inspector.render.budget import cut

        try:
            with self._path.open("ab") as file:
                file.write(cut(text, self.room).encode())
        except OSError as error:
            raise UsageError(f"cannot write {VARIABLE}", why=error.strerror or str(error)) from error
