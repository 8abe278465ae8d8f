"""The shape of the code itself. Who imports whom is in pyproject.toml (`lint-imports`); this is what it cannot see.

Each rule is a function from one file to its offences, and is shown to find one before it is trusted to find none.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import inspector
from inspector.costs import FORMULAS
from inspector.vocabulary import ROLES

PACKAGE = Path(inspector.__file__).parent
TESTS = Path(__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_SOURCES = SOURCES + sorted(TESTS.rglob("*.py"))

LONGEST_FUNCTION = 60
LONGEST_FILE = 400

LATE = {"pandas", "networkx", "tabulate", "jinja2", "rich"}
"""Imported inside the functions that need them: `--help` and a stored answer do without."""

HEAVY = LATE | {"torch", "transformers", "numpy"}


def eager_imports(text: str) -> Iterator[str]:
    """Late packages that importing the module would import. `if TYPE_CHECKING` is not run."""
    todo: list[ast.AST] = list(ast.parse(text).body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo.extend(node.orelse)
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.partition(".")[0] in LATE)
        todo.extend(ast.iter_child_nodes(node))


def long_functions(text: str) -> Iterator[str]:
    """Docstrings do not count: examples are welcome."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or 0) - first.lineno + (node.body[0].lineno - node.lineno) + 1
            if length > LONGEST_FUNCTION:
                yield f"{node.name}: {length} lines"


def long_file(text: str) -> Iterator[str]:
    lines = len(text.splitlines())
    if lines > LONGEST_FILE:
        yield f"{lines} lines"


def unexplained_excepts(text: str) -> Iterator[str]:
    """Handlers for any exception that swallow it, without a comment on their line that says why."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "BaseException"
            line = lines[node.lineno - 1]
            raised_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if re.search(r"\b(Base)?Exception\b", caught) and "#" not in line and not raised_again:
                yield f"line {node.lineno}: {line.strip()}"


def late_exports(text: str) -> Iterator[str]:
    """`__all__` stands before anything else but the docstring and `from __future__`."""
    body = ast.parse(text).body
    first = [node for node in body if not isinstance(node, ast.Expr) and "__future__" not in ast.unparse(node)]
    if first and not ast.unparse(first[0]).startswith("__all__"):
        yield ast.unparse(first[0]).splitlines()[0]


TELLTALES = {"module", "module_class", "model", "model_type", "class_name", "claims", "config"}
"""Attributes of records that say what a part is called. A rule that reads one knows names, not structure."""


@cache
def model_names() -> set[str]:
    """Names of all model types, except words that mean an op or a role too (`clip`, `align`)."""
    (folder,) = find_spec("transformers").submodule_search_locations
    types = {path.name for path in Path(folder, "models").iterdir() if (path / "__init__.py").exists()}
    return types - FORMULAS.keys() - {role for roles in ROLES.values() for role in roles}


def names_that_decide(text: str) -> Iterator[str]:
    """Reads of what things are called, and model names in literals. Docstrings may speak of models."""
    tree = ast.parse(text)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in TELLTALES:
            yield f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            words = set(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", node.value.lower()))
            if words & model_names():
                yield f"line {node.lineno}: {node.value!r}"


RULES = [
    (long_functions, ALL_SOURCES),
    (long_file, ALL_SOURCES),
    (unexplained_excepts, ALL_SOURCES),
    (eager_imports, SOURCES),
    (late_exports, [path for path in SOURCES if path.name != "__main__.py"]),
    (names_that_decide, [path for path in SOURCES if path.is_relative_to(PACKAGE / "roles")]),
]


@pytest.mark.parametrize(("rule", "paths"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_every_file_keeps_the_rule(rule, paths):
    offences = {path.relative_to(PACKAGE.parent).as_posix(): list(rule(path.read_text("utf-8"))) for path in paths}

    assert offences
    assert {path: found for path, found in offences.items() if found} == {}


OFFENCES = [
    (eager_imports, "import pandas as pd", ["pandas"]),
    (eager_imports, "class A:\n    from rich.table import Table", ["rich.table"]),
    (eager_imports, "try:\n    import networkx\nexcept ImportError:\n    pass", ["networkx"]),
    (eager_imports, "if TYPE_CHECKING:\n    import pandas\nelse:\n    import rich", ["rich"]),
    (eager_imports, "def f():\n    import pandas\nimport json", []),
    (long_functions, "def f():\n" + "    x = 1\n" * 60, ["f: 61 lines"]),
    (long_functions, "def f():\n" + "    x = 1\n" * 59, []),
    (long_functions, "def f():\n    '''" + "Doc.\n" * 99 + "'''\n" + "    x = 1\n" * 59, []),
    (long_functions, "def f():\n    '''Doc.'''\n" + "    x = 1\n" * 60, ["f: 61 lines"]),
    (long_file, "x = 1\n" * 401, ["401 lines"]),
    (long_file, "x = 1\n" * 400, []),
    (unexplained_excepts, "try:\n    f()\nexcept Exception:\n    pass", ["line 3: except Exception:"]),
    (unexplained_excepts, "try:\n    f()\nexcept:\n    pass", ["line 3: except:"]),
    (unexplained_excepts, "try:\n    f()\nexcept (OSError, Exception) as e:\n    pass", 1),
    (unexplained_excepts, "try:\n    f()\nexcept Exception:  # a model may raise anything\n    pass", []),
    (unexplained_excepts, "try:\n    f()\nexcept BaseException:\n    undo()\n    raise", []),
    (unexplained_excepts, "try:\n    f()\nexcept OSError:\n    pass", []),
    (late_exports, '"""Doc."""\nfrom __future__ import annotations\nimport os\n__all__ = []', ["import os"]),
    (late_exports, '"""Doc."""\nfrom __future__ import annotations\n__all__ = []\nimport os', []),
    (names_that_decide, "if trace.model.model_type == 'x':\n    pass", 2),
    (names_that_decide, "op.module_class.endswith('Norm')", ["line 1: op.module_class"]),
    (names_that_decide, "kind = 'gpt2'", ["line 1: 'gpt2'"]),
    (names_that_decide, "KINDS = {'LLaMA-like': 1}", ["line 1: 'LLaMA-like'"]),
    (names_that_decide, "'''As in llama and gpt2.'''\nx = op.name == 'softmax'", []),
    (names_that_decide, "x = 'attention.norm'", []),
]


@pytest.mark.parametrize(("rule", "text", "expected"), OFFENCES)
def test_each_rule_finds_its_offence_and_no_other(rule, text, expected):
    found = list(rule(text))

    assert (len(found) if isinstance(expected, int) else found) == expected


def test_importing_any_package_imports_nothing_heavy():
    """What a package offers at its door is used before torch is needed, and often instead of it."""
    packages = [inspector.__name__]
    packages += [f"inspector.{module.name}" for module in pkgutil.iter_modules([str(PACKAGE)]) if module.name[0] != "_"]
    code = f"import sys, {', '.join(packages)}; print(sorted({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_no_module_hides_a_public_function():
    """`inspector.shapes` would be the module as soon as anyone imports it."""
    modules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}

    assert not modules & set(inspector.__all__)
