"""Survey all types, or some, with the label exam: `python tests/survey/run.py [TYPE ...] [-o FOLDER] [--jobs N]`.

The package's own `inspector models --coverage` leaves the exam out: names decide nothing in it, and judge nothing. With
`-o reports/measured` this writes the committed figures, and a page to read.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from inspector.api.files import write_whole
from inspector.api.survey import Coverage, coverage
from inspector.render.markdown import Page, markdown

_EXAM = Path(__file__).parents[1] / "roles" / "exam.py"


class LabelExam:
    """Uses of parameters whose name says what they are for, how many have another role, and which those are and why."""

    def __init__(self) -> None:
        self.digest = _EXAM.read_text("utf-8") + _EXAM.with_name("exam_mismatches.toml").read_text("utf-8")
        self._exam = runpy.run_path(str(_EXAM))

    def __call__(self, trace: Any, naming: Any) -> tuple[int, int, list[str]]:
        uses, wrong = list(self._exam["uses"](trace, naming)), self._exam["mismatches"](trace, naming)
        return len(uses), len(wrong), self._exam["explained"](trace, naming)


def write(found: Coverage, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "coverage.json", found.to_json().encode())
    write_whole(folder / "coverage.md", markdown(found.document(), Page(compact=True)).encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--baseline")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("-q", "--quiet", action="store_true")
    asked = parser.parse_args()
    found = coverage(
        asked.types,
        sample=asked.sample,
        jobs=asked.jobs,
        baseline=asked.baseline,
        exam=LabelExam(),
        progress=None if asked.quiet else lambda text: print(text, file=sys.stderr, flush=True),
    )
    if asked.output:
        write(found, asked.output)
    print(found.to_text())
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main())
