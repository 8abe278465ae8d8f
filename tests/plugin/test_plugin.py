"""The fixtures, as a user's test suite sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inspector
from inspector.api.lock import Lock

pytest_plugins = ["pytester"]

ROOT = Path(inspector.__file__).parents[1]

MODEL = """
import pytest

@pytest.fixture(scope="session")
def build():
    from transformers import GPT2Config, GPT2LMHeadModel

    def built(**changes):
        sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 19, "n_positions": 64, "n_inner": 48}
        return GPT2LMHeadModel(GPT2Config(**{**sizes, "bos_token_id": 1, "eos_token_id": 2, **changes})).eval()

    return built
"""


SIZES = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 19, "n_positions": 64, "n_inner": 48}


def built(**changes: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**SIZES, bos_token_id=1, eos_token_id=2, **changes)).eval()


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """A run inside this process forgets what it imports, and numpy cannot be imported twice."""
    inspector.assert_same_architecture(built(), built())
    inspector.parity(built(), batch=2, seq=8)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Any:
    """`suite(test, *options)`: the result of running one test in a folder of its own."""
    pytester.makeconftest(MODEL)

    def run(test: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_model=test)
        # Python's cache of a file that changes within a second would be taken for the file.
        options += ("-p", "inspector.pytest_plugin", "-p", "no:cacheprovider", "-q")
        return pytester.runpytest_inprocess(*options)

    return run


LOCKED = """
def test_it(arch_lock, build):
    arch_lock("locks/mine.arch.json", build({}))
"""


def test_a_lock_is_written_and_then_held(suite: Any, pytester: pytest.Pytester) -> None:
    written = suite(LOCKED.format(""), "--inspector-update")
    written.assert_outcomes(passed=1)
    written.stdout.fnmatch_lines(["*1 written: mine.arch.json*"])
    path = pytester.path / "locks" / "mine.arch.json"
    before = path.read_bytes()
    assert Lock.load(path).config is None

    suite(LOCKED.format("")).assert_outcomes(passed=1)

    failed = suite(LOCKED.format("layer_norm_epsilon=1e-3"))
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        [
            "*arch_lock(*",
            "E*mine.arch.json",
            "E*GPT2LMHeadModel is not as locked: 1 notable finding.",
            "E*norm.eps*0.001*",
        ]
    )
    assert "inspector/api" not in failed.stdout.str(), "our own frames are not the reader's concern"
    assert path.read_bytes() == before

    suite(LOCKED.format("layer_norm_epsilon=1e-3"), "--inspector-update").assert_outcomes(passed=1)
    suite(LOCKED.format("layer_norm_epsilon=1e-3")).assert_outcomes(passed=1)
    assert path.read_bytes() != before


def test_a_failure_reads_as_the_command_does(suite: Any, pytester: pytest.Pytester) -> None:
    suite(LOCKED.format(""), "--inspector-update").assert_outcomes(passed=1)
    failed = suite(LOCKED.format("layer_norm_epsilon=1e-3"))
    said = [line[1:].strip() for line in failed.stdout.lines if line.startswith("E ")]
    said = [line.removeprefix("inspector.api.check.ArchitectureError: ") for line in said if line]

    printed = inspector.check(pytester.path / "locks" / "mine.arch.json", built(layer_norm_epsilon=1e-3)).to_text()

    expected = [line.strip() for line in printed.splitlines() if line]

    assert said == expected


def test_a_lock_that_is_not_there_is_no_pass(suite: Any, pytester: pytest.Pytester) -> None:
    failed = suite(LOCKED.format(""))

    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        ["*there is no lock mine.arch.json beside test_model.py", "*write it: pytest --inspector-update"]
    )
    assert not (pytester.path / "locks").exists()


def test_a_broken_lock_is_no_pass(suite: Any, pytester: pytest.Pytester) -> None:
    (pytester.path / "locks").mkdir()
    (pytester.path / "locks" / "mine.arch.json").write_text("<<<<<<< HEAD")
    failed = suite(LOCKED.format(""))

    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*mine.arch.json is not JSON"])


BY_CONFIG = """
def test_it(arch_lock):
    assert arch_lock("mine.arch.json", {}).verdict == "same"
"""


def test_a_lock_with_a_config_needs_no_model(suite: Any, pytester: pytest.Pytester) -> None:
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 19, "n_positions": 64}
    (pytester.path / "c.json").write_text(json.dumps({**config, "bos_token_id": 1, "eos_token_id": 2}))
    inspector.lock(str(pytester.path / "c.json")).save(pytester.path / "mine.arch.json")

    suite(BY_CONFIG.format("None")).assert_outcomes(passed=1)


def test_without_lock_and_model_there_is_nothing_to_write(suite: Any) -> None:
    failed = suite(BY_CONFIG.format("None"), "--inspector-update")

    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*no model that it could be of"])


TWO = """
def test_it(assert_same_architecture, build):
    assert_same_architecture(build(), build({}))
"""


@pytest.mark.parametrize(("changes", "outcome"), [("", "passed"), ("activation_function='relu'", "failed")])
def test_two_models(suite: Any, changes: str, outcome: str) -> None:
    suite(TWO.format(changes)).assert_outcomes(**{outcome: 1})


PARITY = """
def test_it(assert_parity, build):
    model = build()
    {}
    assert_parity(model, batch=2, seq=8)
"""


@pytest.mark.parametrize(
    ("spoil", "outcome"), [("", "passed"), ("model.transformer.h[0].attn.scaling = 1.0", "failed")]
)
def test_parity(suite: Any, spoil: str, outcome: str) -> None:
    suite(PARITY.format(spoil)).assert_outcomes(**{outcome: 1})


IMPORTED = """
import sys
before = set(sys.modules)
import inspector.pytest_plugin
new = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*sorted(new))
"""


def test_the_plugin_imports_nothing_but_pytest() -> None:
    code = "import pytest\n" + IMPORTED
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.split() == ["inspector"]


def test_a_run_that_asks_for_nothing_imports_none_of_us(pytester: pytest.Pytester, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(
        """
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.partition(".")[0] == "inspector"}
            assert ours == {"inspector", "inspector.pytest_plugin"}
            assert not {"torch", "transformers", "numpy"} & sys.modules.keys()
        """
    )
    pytester.runpytest_subprocess("-p", "inspector.pytest_plugin", "-q").assert_outcomes(passed=1)


def test_the_plugin_is_declared() -> None:
    """Under its own module's name: `-p inspector.pytest_plugin` then means the same, installed or not."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"inspector.pytest_plugin": "inspector.pytest_plugin"}
