"""The tutorial: every step shows what ran, in both languages, on about one screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.messages import messages, speaking
from inspector.render.document import Figures, Heading, Table, plain
from inspector.render.markdown import Page, markdown
from inspector.reporting import tutorial
from inspector.reporting.report_material import Material

REPORTS = Path(__file__).parents[2] / "reports"
TRIO = ("bert", "gpt2", "llama")


@pytest.fixture(scope="module")
def trio(found: Callable[..., Material]) -> Material:
    return found(*TRIO)


@pytest.mark.parametrize("code", ["en", "zh"])
def test_each_step_has_a_table_of_what_ran(code: str, trio: Material) -> None:
    with speaking(code):
        blocks = tutorial.document(trio)
    titles = [plain(block.text) for block in blocks if isinstance(block, Heading) and block.level == 2]
    steps = [title for title in titles if re.match(r"\d\. ", title)]
    tables = [block for block in blocks if isinstance(block, Table)]

    assert len(steps) == len(tutorial.STEPS) == 9
    assert all(table.groups[0].rows for table in tables)
    assert len([block for block in blocks if isinstance(block, Figures)]) == len(tutorial.PICTURES)


def test_shapes_are_those_of_the_graph(trio: Material) -> None:
    """Llama's keys have fewer heads than its queries, until they are repeated."""
    said = markdown(tutorial.document(trio), Page(compact=True))
    nodes = {(node.path, node.operand): node for node in trio.portraits[2].record.nodes if node.block == 0}

    for path, operand in (("attention.k_proj", "k"), ("attention.split_heads", "q"), ("attention.repeat_kv", "k")):
        node = nodes[path, operand]
        assert f"{node.inputs[0].symbolic} → {node.outputs[0].symbolic}" in said


def test_what_a_model_does_not_do_is_a_dash(trio: Material) -> None:
    said = markdown(tutorial.document(trio), Page(compact=True))
    (row,) = [line for line in said.splitlines() if line.startswith("| `attention.rope` ")]

    assert [cell.strip() for cell in row.split("|")[3:5]] == ["`–`", "`–`"]


@pytest.mark.parametrize("names", [("mixtral", "gemma2"), ("bloom",), ("gptj", "olmo2")], ids="-".join)
def test_it_walks_through_other_models_too(names: tuple[str, ...], found: Callable[..., Material]) -> None:
    assert markdown(tutorial.document(found(*names)), Page(compact=True)).count("\n## ") == 12


@pytest.mark.parametrize("code", ["en", "zh"])
def test_every_step_has_its_sentences(code: str) -> None:
    for step in tutorial.STEPS:
        said = messages(code)[f"learn_{step.name}"]
        assert {"title", "in", "out", "why", "think"} <= said.keys()
        assert step.fact or any(key.startswith("each") for key in said)


@pytest.mark.parametrize("name", ["attention-shapes.md", "attention-shapes.zh-CN.md"])
def test_a_step_fits_a_screen(name: str) -> None:
    steps = (REPORTS / name).read_text("utf-8").split("\n## ")

    assert len(steps) > 10
    assert max(len(step.splitlines()) for step in steps) <= 34
