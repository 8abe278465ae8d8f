"""The witness does not know the accused: nothing of transformers is reached from inspector.reference."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import inspector.reference

FOLDER = Path(inspector.reference.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
MODULES = sorted(
    {"inspector.reference"} | {module.name for module in pkgutil.walk_packages([str(FOLDER)], "inspector.reference.")}
)

BORROWED = {"torch.nn", "transformers"}
"""Torch's own layers would be the same code as the model's: the maths is written out."""


def borrowed(text: str) -> Iterator[str]:
    """Imports of, and reaches into, what a witness may not use, and modules imported by a name made at run time."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
            names = [node.value] if node.value.isidentifier() or "." in node.value else []
        else:
            continue
        yield from (name for name in names if any(f"{name}.".startswith(f"{word}.") for word in BORROWED))


def written(text: str) -> Iterator[str]:
    """Writes into a tensor: methods that end in an underscore, `out=`, and assignments to a part."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if (name.endswith("_") and not name.endswith("__")) or any(word.arg == "out" for word in node.keywords):
                yield ast.unparse(node.func)
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [ast.unparse(target) for target in targets if isinstance(target, ast.Subscript)]
            yield from (part for part in parts if not part.startswith("self."))


def loaded(code: str) -> set[str]:
    """Which packages a fresh Python has loaded after running the code."""
    program = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_module_is_listed():
    assert len(MODULES) == len(SOURCES)


def test_no_file_borrows_what_it_should_witness():
    assert {path.name: found for path in SOURCES if (found := list(borrowed(path.read_text("utf-8"))))} == {}


def test_no_file_writes_into_a_tensor():
    assert {path.name: found for path in SOURCES if (found := list(written(path.read_text("utf-8"))))} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x.add_(y)", ["x.add_"]),
        ("x[0] = y", ["x[0]"]),
        ("x[..., :2] += y", ["x[..., :2]"]),
        ("torch.exp(x, out=y)", ["torch.exp"]),
        ("y = x.add(1)\nself.known[0] = y\nsuper().__init__()", []),
    ],
)
def test_the_guard_finds_what_is_written(text, found):
    assert list(written(text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import transformers", ["transformers"]),
        ("def f():\n    from transformers.activations import ACT2FN", ["transformers.activations.ACT2FN"]),
        ("from torch.nn import functional", ["torch.nn.functional"]),
        ("from torch import nn", ["torch.nn"]),
        ("import torch\ny = torch.nn.functional.silu(x)", 3),
        ("import_module('transformers.models')", ["transformers.models"]),
        ("'''What transformers does.'''\nimport torch\ny = torch.exp(x)", []),
    ],
)
def test_the_guard_finds_what_is_borrowed(text, found):
    actual = list(borrowed(text))

    assert (len(actual) if isinstance(found, int) else actual) == found


def test_a_fresh_python_that_imports_it_all_has_no_transformers():
    packages = loaded("\n".join(f"import {name}" for name in MODULES))

    assert "transformers" not in packages
    assert {"torch", "inspector"} <= packages


def test_a_whole_forward_loads_no_transformers():
    """Nothing is imported on the way either."""
    code = """
import torch
from inspector.reference.models import forward_of
from inspector.reference.steps import Composition
maps = [f"self_attn.{part}_proj" for part in "qkvo"] + [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
norms = ["layers.0.input_layernorm.weight", "layers.0.post_attention_layernorm.weight", "norm.weight"]
weights = {f"layers.0.{name}.weight": torch.ones(4, 4) for name in maps} | {name: torch.ones(4) for name in norms}
weights["embed_tokens.weight"] = torch.ones(4, 4)
config = dict(num_hidden_layers=1, hidden_size=4, num_attention_heads=2, hidden_act="silu", tie_word_embeddings=True)
run = Composition()
forward_of("llama")(weights, config, {"input_ids": torch.tensor([[1]])}, run, head=True)
assert run.calls.total() == 34, run.calls
"""
    assert "transformers" not in loaded(code)


def test_the_guard_sees_an_indirect_import():
    """A module of inspector that imports transformers when it is used."""
    code = "from inspector.source.resolve import resolve\nfrom inspector.source.build import read_config\n"

    assert "transformers" not in loaded(code)
    assert "transformers" in loaded(code + "read_config(resolve('model_type:bert'))")


def test_the_package_itself_imports_nothing_heavy():
    assert not {"torch", "transformers"} & loaded("import inspector.reference, inspector.reference.models")
