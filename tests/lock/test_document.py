"""What a lock holds, what it does not, and which files are refused as locks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from inspector.api.lock import Lock
from inspector.api.schemas import schema
from inspector.errors import SchemaError
from inspector.fact_sheet.recorded import recorded
from inspector.records import Scenario
from inspector.stage_graph.export.lock import (
    Locked,
    _digest,
    load_lock,
    load_record,
    lock_document,
    read_lock,
    written,
)
from inspector.stage_graph.export.sizeless import size

MODELS = ["gpt2", "bert", "llama", "gemma2", "t5", "mixtral"]
SIZES = [(Scenario(), Scenario(batch=5, seq=41)), (Scenario(past=7, seq=1), Scenario(past=30, seq=1, batch=3))]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("pair", SIZES, ids=["prefill", "decode"])
def test_sizes_of_batch_sequence_and_past_leave_no_trace(
    lock_of: Callable[..., Lock], model: str, pair: tuple[Scenario, Scenario]
) -> None:
    if model == "bert" and pair[0].past:
        pytest.skip("an encoder has no step of decoding")
    one, two = (lock_of(model, scenario) for scenario in pair)

    assert one.to_json() == two.to_json()


@pytest.mark.parametrize("model", MODELS)
def test_of_a_prefill_they_would_leave_none_anyway(trace_of: Callable[..., Any], model: str) -> None:
    """Not because all are run with the same sizes: every dimension is solved."""
    texts = {
        written(lock_document(Locked(recorded(trace_of(model, scenario)))))
        for scenario in (Scenario(), Scenario(batch=5, seq=41))
    }

    assert len(texts) == 1


def test_one_token_and_decoding_are_other_graphs(lock_of: Callable[..., Lock]) -> None:
    """The check above can fail."""
    texts = {lock_of("gpt2", Scenario(past=past, seq=seq)).to_json() for past, seq in ((0, 16), (16, 1), (16, 4))}

    assert len(texts) == 3


def keys_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from keys_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys_of(item)


def test_it_holds_no_device_size_date_or_cost(lock_of: Callable[..., Lock]) -> None:
    document = json.loads(lock_of("llama").to_json())
    known = set(keys_of({key: value for key, value in document.items() if key != "config"}))
    devices = [value for node in document["nodes"] for call in node["calls"] for value in call["attributes"].values()]

    assert not known & {"device", "shape", "batch", "seq", "past", "flops", "seed", "date", "path"}
    assert "meta" not in devices
    assert not [fact for fact in document["graph"]["facts"] if fact["id"].startswith("cost.")]
    assert set(document["tool"]) >= {"inspector", "torch", "transformers"}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_read_is_what_was_written(lock_of: Callable[..., Lock], model: str, tmp_path: Any) -> None:
    lock = lock_of(model)
    lock.save(tmp_path / "x.arch.json")
    text = (tmp_path / "x.arch.json").read_text("utf-8")

    assert text == lock.to_json() == Lock.load(tmp_path / "x.arch.json").to_json()
    assert load_lock(tmp_path / "x.arch.json").record == lock.record
    assert text.isascii()
    assert text.count("\n") > len(lock.record.nodes) + len(lock.record.edges)  # one line per part
    Draft202012Validator(schema("lock")).validate(json.loads(text))
    assert [path.name for path in tmp_path.iterdir()] == ["x.arch.json"]


def test_it_is_small(lock_of: Callable[..., Lock]) -> None:
    assert len(lock_of("preset:gpt2").to_json()) < 50_000
    assert len(lock_of("preset:llama-3.1-405b").to_json()) < 75_000


def test_the_config_is_kept_without_where_it_lay(lock_of: Callable[..., Lock]) -> None:
    config = {
        "_name_or_path": "/home/somebody/models/x",
        "transformers_version": "4.1",
        "n_layer": 2,
        "text_config": {"_name_or_path": "x", "hidden_size": 64, "file": "C:\\models\\x", "home": "~/x"},
        "limits": [0.0, math.inf, "/etc/passwd"],
    }
    text = written(lock_document(Locked(lock_of("gpt2").record, config)))

    assert "somebody" not in text
    assert read_lock(json.loads(text)).config == {
        "limits": [0.0, math.inf],
        "n_layer": 2,
        "text_config": {"hidden_size": 64},
    }


@pytest.mark.parametrize(
    ("text", "expected"), [("768", 768), ("12·64", 768), ("B·S", 32), ("2·T+1", 33), ("S-20", 0), ("0", 0)]
)
def test_sizes_of_dimensions(text: str, expected: int) -> None:
    assert size(text, {"B": 2, "S": 16, "P": 0, "T": 16}) == expected


@pytest.mark.parametrize("text", ["", "x", "2*S", "S·", "1e9", "__import__"])
def test_what_is_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no dimension"):
        size(text, {"S": 16})


# refusals


def resealed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with a digest that fits: what a stranger who means harm would send."""
    return {**document, "digest": _digest({key: value for key, value in document.items() if key != "digest"})}


TAMPERED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a fact": lambda document: document["graph"]["facts"][0].update(value="other"),
    "the config": lambda document: document.update(config={"n_layer": 3}),
    "a version": lambda document: document["tool"].update(torch="9"),
    "a node": lambda document: document["nodes"].pop(),
    "the digest": lambda document: document.update(digest="sha256:0"),
    "no digest": lambda document: document.pop("digest"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_lock_is_refused(lock_of: Callable[..., Lock], what: str) -> None:
    document = json.loads(lock_of("gpt2").to_json())
    TAMPERED[what](document)

    with pytest.raises(SchemaError, match="x was changed after it was made") as caught:
        read_lock(document, "x")
    assert caught.value.exit_code == 3
    assert "digest" in caught.value.why
    assert "inspector lock" in caught.value.hint


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no nodes": lambda document: document.pop("nodes"),
    "a node without calls": lambda document: document["nodes"][0].pop("calls"),
    "an edge to nowhere": lambda document: document["edges"][0].update(source="nowhere"),
    "a block that is not there": lambda document: document["nodes"][0].update(block=9),
    "a dimension of another kind": lambda document: document["nodes"][0]["outputs"][0].update(symbolic="(B, ${x})"),
    "a run of another kind": lambda document: document["models"][0].pop("run"),
    "a config that is a text": lambda document: document.update(config="/etc/passwd"),
    "a head of another kind": lambda document: document["models"][0]["run"].update(head="yes"),
    "two models": lambda document: document["models"].append({}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_lock_that_is_not_whole_is_refused(lock_of: Callable[..., Lock], what: str) -> None:
    document = json.loads(lock_of("gpt2").to_json())
    BROKEN[what](document)

    with pytest.raises(SchemaError, match="x is not a whole lock") as caught:
        read_lock(resealed(document), "x")
    assert caught.value.why


def test_an_unchanged_lock_that_is_sealed_again_is_read(lock_of: Callable[..., Lock]) -> None:
    """The control of the refusals above."""
    document = json.loads(lock_of("gpt2").to_json())

    assert resealed(document) == document
    assert read_lock(document).record == lock_of("gpt2").record


FOREIGN = {
    '{"schema": "inspector/lock/2"}': "x.json is inspector/lock/2, which this inspector does not read",
    '{"schema": "inspector/graph/1"}': "x.json is inspector/graph/1, not a lock",
    '{"model_type": "gpt2"}': "x.json is no lock",
    "[]": "x.json is no lock",
    "": "x.json is not JSON",
    '{"schema": "inspector/lock/1",': "x.json is not JSON",
    '<<<<<<< HEAD\n{"schema": "inspector/lock/1"}': "x.json is not JSON",
    "[" * 100_000: "x.json is not JSON",
    '{"schema": "inspector/lock/1", "config": ' + "[" * 900 + "]" * 900 + "}": "x.json was changed",
}


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_other_files_are_refused(text: str, tmp_path: Any) -> None:
    (tmp_path / "x.json").write_text(text)

    with pytest.raises(SchemaError) as caught:
        load_lock(tmp_path / "x.json")
    assert caught.value.what.startswith(FOREIGN[text])
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Any) -> None:
    with pytest.raises(SchemaError, match=r"there is no lock no\.json"):
        load_lock(tmp_path / "no.json")
    with pytest.raises(SchemaError, match="cannot read"):
        load_lock(tmp_path)


BREAKS = [
    lambda document: document.update(date="2026-01-01"),
    lambda document: document["nodes"][0].update(flops=1),
    lambda document: document["nodes"][0]["outputs"][0].update(shape=[2, 16]),
    lambda document: document["models"][0]["run"].update(batch=2),
    lambda document: document.update(digest="0"),
]


@pytest.mark.parametrize("spoil", BREAKS)
def test_the_schema_refuses_what_a_lock_may_not_hold(lock_of: Callable[..., Lock], spoil: Callable[..., Any]) -> None:
    document = json.loads(lock_of("gpt2").to_json())
    spoil(document)

    with pytest.raises(ValidationError):
        Draft202012Validator(schema("lock")).validate(document)


def test_a_graph_and_a_lock_are_told_apart_by_their_schema(lock_of: Callable[..., Lock], tmp_path: Any) -> None:
    from inspector.api.graph import Graph

    lock = lock_of("gpt2")
    (tmp_path / "graph.json").write_text(Graph(lock.record).to_json())
    lock.save(tmp_path / "lock.json")
    both = [load_record(tmp_path / f"{kind}.json", f"inspector/{kind}/1") for kind in ("graph", "lock")]

    assert both[0].nodes == both[1].nodes == lock.record.nodes


def test_every_format_can_be_asked_of_a_lock(lock_of: Callable[..., Lock]) -> None:
    lock = lock_of("gpt2")

    assert lock.to_text().startswith("graph of tiny gpt2")
    assert "<table" in lock.to_html()
    assert len(lock.to_frame()) == len(lock.record.nodes)
    assert repr(lock) == f"<Lock of tiny gpt2: {len(lock.record.nodes)} parts, {len(lock.facts)} facts>"


def test_the_name_of_a_lock_is_no_file(lock_of: Callable[..., Lock], tmp_path: Any) -> None:
    record = lock_of("gpt2").record
    lock = Lock(Locked(replace(record, model=replace(record.model, name=str(tmp_path / "gone.json")))))

    assert Lock.read(json.loads(lock.to_json())).name == str(tmp_path / "gone.json")
