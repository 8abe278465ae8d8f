"""The store answers only while everything that an entry depends on is as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

import inspector
from inspector.api import fingerprint, store
from inspector.api.store import TraceStore, default_directory
from inspector.records import ModelInfo, Op, Scenario, Trace, Value

IDENTITY = {"model_type": "gpt2", "class": "GPT2LMHeadModel", "config": {"n_layer": 12, "n_embd": 768}}
SCENARIO = Scenario()


def trace_named(name, ops=1):
    values = tuple(Value(i, "op", None, (2, 16, 768), "bfloat16", "meta", i) for i in range(ops))
    calls = tuple(Op(i, "add", "torch.add", f"h.{i}", "Block", (("input", i),), (), (), (i,), "") for i in range(ops))
    return Trace(ModelInfo(name, "gpt2", "GPT2LMHeadModel", 0, 0), SCENARIO, calls, values, (), ())


@pytest.fixture(autouse=True)
def _sources_are_old(monkeypatch):
    """These tests write the files that they digest, so they pretend that the process begins later."""
    monkeypatch.setattr(fingerprint, "_STARTED", time.time() + 1000)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one modeling file."""
    root = tmp_path / "site" / "modelhub"
    (root / "gpt2").mkdir(parents=True)
    (root / "__init__.py").touch()
    (root / "gpt2" / "modeling.py").write_text("scale = 1.0\n")
    monkeypatch.syspath_prepend(str(root.parent))
    fingerprint._root.cache_clear()
    return root


@pytest.fixture
def traces(tmp_path):
    return TraceStore(tmp_path / "store")


def entries(traces):
    return sorted(traces.directory().glob("*"))


def test_what_was_put_is_got(traces, package):
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [str(package / "gpt2" / "modeling.py")])

    assert trace_named("a") == traces.get(IDENTITY, SCENARIO)


def test_the_order_of_config_keys_does_not_matter(traces):
    traces.put({"a": 1, "b": 2}, SCENARIO, trace_named("a"), [])

    assert traces.get({"b": 2, "a": 1}, SCENARIO) is not None


@pytest.mark.parametrize(
    ("identity", "scenario"),
    [
        ({**IDENTITY, "config": {"n_layer": 11, "n_embd": 768}}, SCENARIO),
        ({**IDENTITY, "class": "GPT2Model"}, SCENARIO),
        (IDENTITY, replace(SCENARIO, seq=17)),
        (IDENTITY, replace(SCENARIO, dtype="float32")),
    ],
)
def test_another_model_or_scenario_is_a_miss(traces, identity, scenario):
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [])

    assert traces.get(identity, scenario) is None


@pytest.mark.parametrize("distribution", ["python", "torch", "transformers", "inspector"])
def test_another_version_is_a_miss(traces, monkeypatch, distribution):
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [])
    other = {**fingerprint.versions(), distribution: "0.0.0"}
    monkeypatch.setattr(store, "versions", lambda: other)

    assert traces.get(IDENTITY, SCENARIO) is None


def test_an_edited_modeling_file_is_a_miss(traces, package):
    """The size and the time stay: only the contents tell."""
    source = package / "gpt2" / "modeling.py"
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [str(source)])
    before = source.stat()
    source.write_text("scale = 2.0\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert traces.get(IDENTITY, SCENARIO) is None

    source.write_text("scale = 1.0\n")

    assert traces.get(IDENTITY, SCENARIO) is not None


def test_a_removed_modeling_file_is_a_miss(traces, package):
    source = package / "gpt2" / "modeling.py"
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [str(source)])
    source.unlink()

    assert traces.get(IDENTITY, SCENARIO) is None


def test_a_real_transformers_file_is_digested():
    pytest.importorskip("transformers")
    from transformers.models.gpt2 import modeling_gpt2

    (found,) = fingerprint.digest_files([modeling_gpt2.__file__])

    assert ("transformers", "models/gpt2/modeling_gpt2.py") == found[:2]
    assert fingerprint.unchanged([found])
    assert not fingerprint.unchanged([found._replace(digest="0" * 64)])


def test_an_edited_rule_of_ours_is_a_miss(tmp_path, traces, monkeypatch):
    """On a copy of this very package."""
    copy = tmp_path / "copy" / "inspector"
    for path in Path(inspector.__file__).parent.rglob("*.py"):
        target = copy / path.relative_to(Path(inspector.__file__).parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(inspector, "__file__", str(copy / "__init__.py"))
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [])

    assert traces.get(IDENTITY, SCENARIO) is not None

    with (copy / "records.py").open("a") as source:
        source.write("# edited\n")

    assert traces.get(IDENTITY, SCENARIO) is None


def test_a_file_written_after_the_process_began_is_not_vouched_for(traces, package, monkeypatch):
    """What is loaded is older than the file: its digest would belong to another trace."""
    monkeypatch.setattr(fingerprint, "_STARTED", time.time() - 1000)
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [str(package / "gpt2" / "modeling.py")])

    assert not traces.directory().exists()


def test_a_file_outside_any_package_is_not_stored(traces, tmp_path):
    loose = tmp_path / "factory.py"
    loose.touch()
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [str(loose)])

    assert traces.get(IDENTITY, SCENARIO) is None


def test_no_path_of_this_machine_is_stored(traces, package):
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [str(package / "gpt2" / "modeling.py")])
    (entry,) = entries(traces)
    text = zlib.decompress(entry.read_bytes(), wbits=31).decode()

    assert '"modelhub","gpt2/modeling.py"' in text
    assert str(package.parent) not in text


def rewritten(change):
    """A damage that unpacks an entry, changes its document, and packs it again."""

    def damage(data):
        return zlib.compress(json.dumps(change(json.loads(zlib.decompress(data, wbits=31)))).encode(), wbits=31)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:-20], id="torn"),
        pytest.param(lambda data: data[:40] + b"\0\0\0\0" + data[44:], id="overwritten"),
        pytest.param(lambda data: b'{"schema": "inspector/trace-store/1"}', id="not packed"),
        pytest.param(lambda data: zlib.compress(b"\xff\xfe", wbits=31), id="not text"),
        pytest.param(rewritten(lambda document: []), id="not an object"),
        pytest.param(rewritten(lambda document: {**document, "schema": "inspector/trace-store/0"}), id="older store"),
        pytest.param(rewritten(lambda document: {**document, "trace": None}), id="no trace"),
        pytest.param(rewritten(lambda document: {**document, "files": None}), id="no files"),
        pytest.param(rewritten(lambda document: {**document, "files": [[1]]}), id="not a file"),
        pytest.param(
            rewritten(lambda document: {**document, "trace": {**document["trace"], "schema": "inspector/trace/0"}}),
            id="older trace",
        ),
        pytest.param(
            rewritten(lambda document: {**document, "trace": {**document["trace"], "ops": [[0]]}}), id="not an op"
        ),
    ],
)
def test_a_broken_or_foreign_entry_is_a_miss(traces, damage):
    traces.put(IDENTITY, SCENARIO, trace_named("a", ops=50), [])
    (entry,) = entries(traces)
    entry.write_bytes(damage(entry.read_bytes()))

    assert traces.get(IDENTITY, SCENARIO) is None

    traces.put(IDENTITY, SCENARIO, trace_named("a", ops=50), [])

    assert traces.get(IDENTITY, SCENARIO) is not None


def test_repacking_alone_breaks_nothing(traces):
    """The negative control of the damages above."""
    traces.put(IDENTITY, SCENARIO, trace_named("a"), [])
    (entry,) = entries(traces)
    entry.write_bytes(rewritten(lambda document: document)(entry.read_bytes()))

    assert trace_named("a") == traces.get(IDENTITY, SCENARIO)


def test_beyond_the_limit_the_entry_used_longest_ago_goes(tmp_path):
    unlimited = TraceStore(tmp_path)
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        unlimited.put({"name": name}, SCENARIO, trace_named(name, ops=50), [])
        entry = max(entries(unlimited), key=lambda path: path.stat().st_mtime)
        os.utime(entry, (time.time() - age, time.time() - age))
    assert unlimited.get({"name": "a"}, SCENARIO) is not None  # now b is the oldest

    limited = TraceStore(tmp_path, limit=unlimited.size() + 100)
    limited.put({"name": "d"}, SCENARIO, trace_named("d", ops=50), [])

    assert [True, False, True, True] == [limited.get({"name": name}, SCENARIO) is not None for name in "abcd"]
    assert limited.size() <= unlimited.size() + 100


def test_clear_removes_our_entries_and_nothing_else(traces):
    assert traces.clear() == 0

    traces.put(IDENTITY, SCENARIO, trace_named("a"), [])
    (traces.directory() / "notes.txt").touch()

    assert traces.size() > 0
    assert traces.clear() == 1
    assert traces.size() == 0
    assert [path.name for path in entries(traces)] == ["notes.txt"]


def test_a_store_that_cannot_be_used_is_an_empty_one(tmp_path):
    """The directory is a file."""
    (tmp_path / "store").touch()
    blocked = TraceStore(tmp_path / "store" / "inside")
    blocked.put(IDENTITY, SCENARIO, trace_named("a"), [])

    assert blocked.get(IDENTITY, SCENARIO) is None


def test_a_write_that_breaks_off_leaves_the_old_entry(traces, monkeypatch):
    def break_off(path, data):
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left on device")

    traces.put(IDENTITY, SCENARIO, trace_named("old"), [])
    monkeypatch.setattr(Path, "write_bytes", break_off)
    traces.put(IDENTITY, SCENARIO, trace_named("new"), [])

    assert trace_named("old") == traces.get(IDENTITY, SCENARIO)
    assert len(entries(traces)) == 1


WRITER = """
import sys, time
from inspector.api import fingerprint
from inspector.api.store import TraceStore
from test_store import IDENTITY, SCENARIO, trace_named

fingerprint._STARTED = time.time() + 1000
store, name = TraceStore(sys.argv[1]), sys.argv[2]
for _ in range(20):
    store.put(IDENTITY, SCENARIO, trace_named(name, ops=400), [])
    found = store.get(IDENTITY, SCENARIO)
    assert found is not None and found == trace_named(found.model.name, ops=400), found
"""


def test_two_processes_may_write_the_same_entry_at_once(traces):
    """Each always reads a whole entry, its own or the other's, and nothing is left behind."""
    folders = [str(Path(inspector.__file__).parent.parent), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(traces.directory()), name], env=environment)
        for name in ("first", "second")
    ]

    assert [0, 0] == [writer.wait(timeout=120) for writer in writers]
    assert [".gz"] == [path.suffix for path in entries(traces)]


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"INSPECTOR_CACHE_DIR": "chosen", "XDG_CACHE_HOME": "/xdg"}, "linux", "chosen/traces"),
        ({"XDG_CACHE_HOME": "/xdg"}, "linux", "/xdg/inspector/traces"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "/home/me/.cache/inspector/traces"),
        ({}, "linux", "/home/me/.cache/inspector/traces"),
        ({}, "darwin", "/home/me/Library/Caches/inspector/traces"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/inspector/traces"),
    ],
)
def test_where_traces_are_kept(monkeypatch, environment, platform, expected):
    for name in ("INSPECTOR_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(store.sys, "platform", platform)

    assert Path(expected) == default_directory()


def test_reading_needs_neither_torch_nor_transformers():
    """Nor the slow parts of the standard library that have lean ways around them."""
    code = (
        "import sys; from inspector.api.store import TraceStore; from inspector.records import Scenario; "
        "TraceStore('nowhere').get({}, Scenario()); "
        "print(sorted({'torch', 'transformers', 'numpy', 'importlib.metadata'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
