"""Fixtures for tests of a model.

    def test_nothing_moved(arch_lock):
        arch_lock("gpt2.arch.json", build_model())

    def test_it_computes_what_it_claims(assert_parity):
        assert_parity("gpt2", twin=True)

Every pytest run of everyone who installed us imports this, so it imports nothing but pytest.
"""

from __future__ import annotations

__all__ = ["arch_lock", "assert_parity", "assert_same_architecture", "pytest_addoption", "pytest_terminal_summary"]

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from inspector.api.check import Check

UPDATE = "--inspector-update"

_WRITTEN = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("inspector", "architectures of models")
    group.addoption(UPDATE, action="store_true", help="write the locks that `arch_lock` names instead of checking them")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    written = config.stash.get(_WRITTEN, [])
    if written:
        terminalreporter.section("inspector")
        terminalreporter.write_line(f"{len(written)} written: {', '.join(dict.fromkeys(written))}")


@pytest.fixture
def arch_lock(request: pytest.FixtureRequest) -> Callable[..., Check]:
    """Hold a model against a lock that lies beside the test: `arch_lock("gpt2.arch.json", model, inputs)`.

    The options are those of `inspector.check`. Without a model it is built from the config in the lock. With
    --inspector-update the lock is written instead; one that is there keeps how its model is run.
    """

    def held(path: str, model: Any = None, inputs: Any = None, **options: Any) -> Check:
        __tracebackhide__ = True
        import inspector

        file = request.path.parent / path
        if request.config.getoption(UPDATE):
            _write(file, model, inputs, options)
            request.config.stash.setdefault(_WRITTEN, []).append(file.name)
        elif not file.exists():
            raise AssertionError(f"there is no lock {file.name} beside {request.path.name}\nwrite it: pytest {UPDATE}")
        return inspector.assert_same_architecture(file, model, inputs, **options)

    return held


def _write(file: Path, model: Any, inputs: Any, options: dict[str, Any]) -> None:
    import inspector

    if file.exists():
        inspector.check(file, model, inputs, **{**options, "update": True})
        return
    run = {name: value for name, value in options.items() if name in ("seq", "device") and value}
    if model is None:
        raise AssertionError(f"there is no lock {file.name}, and no model that it could be of\ngive the model")
    file.parent.mkdir(parents=True, exist_ok=True)
    inspector.lock(model, inputs, **run).save(file)


@pytest.fixture
def assert_parity() -> Callable[..., Any]:
    """`inspector.assert_parity`, imported when it is used."""

    def checked(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        import inspector

        return inspector.assert_parity(*args, **options)

    return checked


@pytest.fixture
def assert_same_architecture() -> Callable[..., Check]:
    """`inspector.assert_same_architecture`, imported when it is used."""

    def checked(*args: Any, **options: Any) -> Check:
        __tracebackhide__ = True
        import inspector

        return inspector.assert_same_architecture(*args, **options)

    return checked
