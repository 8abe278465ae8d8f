"""Parity reports made by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from inspector.records import ModelInfo, Scenario
from inspector.verification.mutants.report import MutantReport, MutantRow
from inspector.verification.report import Attribute, Check, Link, Mutants, Report, Row, Worst

INFO = ModelInfo("tiny", "gpt2", "GPT2LMHeadModel", 1000, 1200, "test")
RUN = Scenario(batch=3, seq=31, device="cpu", dtype="float32", weights="random")
TOOL = (("inspector", "0.1.0"), ("torch", "2.13.0"), ("transformers", "5.23.0"))


def row(path: str, layer: int | None, rho: float | None, verdict: str = "pass", **more: object) -> Row:
    check = None if rho is None else Check("bound", rho, rho * 1e-7)
    return replace(Row(path, "", layer, verdict, check, dtype="float32", module=f"h.{layer}"), **more)


def report(*rows: Row, **more: object) -> Report:
    rows = rows or (
        row("embedding.token", None, 0.0),
        *(row("attention.scores", layer, 0.1 + layer / 100) for layer in range(12)),
        *(row("attention.scale", layer, 0.0) for layer in range(12)),
        row("head.norm", None, 0.07),
        row("control.unused", None, None, "exempt"),
    )
    rows = tuple(sorted(rows, key=lambda one: (one.path == "head.norm", one.layer is not None, one.layer or 0)))
    made = Report(INFO, RUN, rows, "the reference forward of gpt2", calls=26, elements=12345, tool=TOOL)
    return replace(made, **more)


def broken(layer: int = 3) -> Row:
    worst = Worst((0, 1, 2, 3), 4.0, 1.0, 1e-6, 90, 120)
    return row(
        "attention.scale",
        layer,
        3e6,
        "fail",
        check=Check("bound", 3e6, 3.0, worst),
        attributes=(Attribute("factor", 0.25, 1.0, "config n_embd"),),
        wiring=(Link("scores", "layer 3 attention.scores", "layer 2 attention.scores"),),
        culprit="factor is 1.0, claimed is 0.25; 90 of 120 values differ",
        looks_like="the scores are not scaled at all",
        mutants=Mutants(3, 4, ("scale-one-percent-off",)),
        module=f"transformer.h.{layer}.attn",
    )


def mutants(*rows: MutantRow) -> MutantReport:
    rows = rows or (
        MutantRow("scale-missing", "layer 1 attention.scale", "no scale", caught=True, at="layer 1 attention.scale"),
        MutantRow("bias-zero", "layer 1 mlp.up_proj", "no bias", equivalent="its bias is zero"),
        MutantRow("mask-shifted", "mask.build", "one key too many", caught=True, at="mask.build"),
    )
    rows = tuple(replace(one, localised=one.caught and one.at == one.stage) for one in rows)
    return MutantReport(INFO, RUN, rows, ("rope-backwards",))


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    return SimpleNamespace(row=row, report=report, broken=broken, mutants=mutants)
