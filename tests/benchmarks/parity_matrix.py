"""Write `reports/measured/parity-DEVICE.md`: what a parity run of three models finds on this machine, in every setting.

    python tests/benchmarks/parity_matrix.py [--device cuda] [--attention eager,sdpa,flex_attention] [-o FILE]

rho differs from processor to processor in its digits, and where a kernel adds up in another order. So the table is
kept beside the reports, names its machine in words, and nothing is compared with it.
"""

from __future__ import annotations

__all__ = ["main", "matrix", "written"]

import argparse
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import inspector
from inspector.errors import InspectorError

MODELS = {"bert-base-uncased": False, "gpt2": False, "llama-3-8b": True}
"""Name -> whether a small twin of it is run."""

DTYPES = ("float32", "bfloat16", "float16")
MODES = {"prefill": {"seq": 31, "past": 0}, "decode": {"seq": 1, "past": 30}}
FOLDER = Path(__file__).parents[2] / "reports" / "measured"


class Cell(NamedTuple):
    """One run. worst: the stage with the largest rho. result: None where the setting cannot be run, for `why`."""

    model: str
    attention: str
    dtype: str
    mode: str
    result: Any
    why: str = ""

    @property
    def worst(self) -> Any:
        return max((row for row in self.result.rows if row.check is not None), key=lambda row: row.check.rho)


def matrix(device: str, kinds: Sequence[str], models: Sequence[str]) -> Iterator[Cell]:
    """Every setting, one after the other."""
    for model, attention, dtype, mode in product(models, kinds, DTYPES, MODES):
        if mode == "decode" and model.startswith("bert"):
            continue  # it keeps no cache
        how: dict[str, Any] = {"attention": attention, "dtype": dtype, "device": device, "twin": MODELS[model]}
        try:
            yield Cell(model, attention, dtype, mode, inspector.parity(model, **how, **MODES[mode]))
        except InspectorError as error:
            yield Cell(model, attention, dtype, mode, None, error.what)


def written(cells: Sequence[Cell], device: str) -> str:
    """The page."""
    reports = [cell.result.report for cell in cells if cell.result is not None]
    tool = ", ".join(f"{name} {version}" for name, version in reports[0].tool)
    flags = ", ".join(f"{name} {value}" for name, value in reports[0].flags)
    twins = " and ".join(f"{name} as a small twin of the same config" for name in MODELS if MODELS[name])
    lines = [
        f"# Parity on {_machine(device)}",
        "",
        "Every stage of each model against the float64 reference, on what the stage itself read. rho is the largest",
        "error of a stage as a share of what its number format allows; the limit is 1, whatever the format. Sums of",
        "two tensors round once and come close to it; stages that add up many products stay far below.",
        "",
        f"Made with {tool}; {flags}.",
        "Batch 3, 31 tokens (decode: 1 token after 30), one row padded on the left, seeded random weights that hide",
        f"nothing; {twins}.",
        "Each line is `inspector parity MODEL --attention KIND --dtype FORMAT`, decode with `--seq 1 --past 30`.",
        "`python tests/benchmarks/parity_matrix.py` writes this page anew; figures differ a little from processor to",
        "processor, so nothing compares them.",
        "",
        "| model | attention | format | mode | verdict | stages | largest rho | at | values compared | said |",
        "|---|---|---|---|---|---:|---:|---|---:|---|",
        *map(_line, cells),
    ]
    return "\n".join([*lines, ""])


def _line(cell: Cell) -> str:
    start = f"| {cell.model} | {cell.attention} | {cell.dtype} | {cell.mode} |"
    if cell.result is None:
        return f"{start} not run | | | | | {cell.why} |"
    report, worst = cell.result.report, cell.worst
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count)
    rho = f"{worst.check.rho:.3g}"
    return f"{start} {cell.result.verdict} | {counts} | {rho} | {worst.where} | {report.elements:,} | {_said(report)} |"


def _said(report: Any) -> str:
    """Findings, each once, and which stages a format cannot tell from wrong ones."""
    found = dict.fromkeys(f"{row.name} {row.finding}" for row in report.findings)
    blind = dict.fromkeys(f"{row.name}: {row.culprit}" for row in report.rows if row.verdict == "undetermined")
    return "; ".join(re.sub(r"by \d[\d.e+]* times", "by many times", text) for text in (*found, *blind))


def _machine(device: str) -> str:
    if device == "cpu":
        kind = "x86" if platform.machine() in ("x86_64", "AMD64") else platform.machine()
        return f"a {os.cpu_count()}-core {kind} CPU"
    import torch

    return str(torch.cuda.get_device_name(device))


def _file(device: str) -> Path:
    name = "cpu" if device == "cpu" else re.sub(r"[^a-z0-9]+", "-", _machine(device).lower()).strip("-")
    return FOLDER / f"parity-{name}.md"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attention", default="eager,sdpa")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args(arguments)
    cells = []
    for cell in matrix(given.device, given.attention.split(","), given.models.split(",")):
        print(_line(cell), file=sys.stderr, flush=True)
        cells.append(cell)
    path = given.output or _file(given.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written(cells, given.device), encoding="utf-8")


if __name__ == "__main__":
    main()
