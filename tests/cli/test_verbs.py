"""The verbs: what they ask of source, tracing and the store, and what they refuse."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import inspector
from inspector.api import traces, verbs
from inspector.errors import TraceFailed, UsageError
from inspector.records import ModelInfo, Scenario, Trace


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tables: SimpleNamespace) -> list[Any]:
    """Everything below the verbs, replaced: which model was run, how, and what was asked of its table."""
    calls: list[Any] = []

    def trace(self: traces.Source, scenario: Scenario) -> Scenario:
        calls.append((self, scenario))
        return scenario

    def shape_table(scenario: Scenario, **asked: Any) -> Any:
        calls.append(asked)
        wanted = asked.get("role") in (None, "attention")
        return replace(tables.gpt2(scenario.attention), rows=tables.gpt2(scenario.attention).rows if wanted else ())

    monkeypatch.setattr(traces.Source, "trace", trace)
    monkeypatch.setitem(sys.modules, "inspector.shape_table.build", _module(shape_table=shape_table))
    return calls


def _module(**members: Any) -> ModuleType:
    module = ModuleType("fake")
    vars(module).update(members)
    return module


def test_the_default_is_a_prefill_on_meta(ran: list[Any]) -> None:
    inspector.shapes("gpt2")
    (source, scenario), asked = ran

    assert scenario == Scenario()
    assert (source.model, source.weights, source.stored) == ("gpt2", "none", True)
    assert asked == {"ops": False, "layer": None, "role": None, "section": None}


@pytest.mark.parametrize(
    ("options", "device", "weights"),
    [
        ({}, "meta", "none"),
        ({"device": "meta"}, "meta", "none"),
        ({"device": "cpu"}, "cpu", "random"),
        ({"weights": "random"}, "cpu", "random"),
        ({"weights": "checkpoint"}, "cpu", "checkpoint"),
        ({"weights": "some/folder", "device": "cuda"}, "cuda", "checkpoint"),
    ],
)
def test_weights_and_device_follow_one_another(options: Any, device: str, weights: str, ran: list[Any]) -> None:
    inspector.shapes("gpt2", **options)
    source, scenario = ran[0]

    assert (scenario.device, scenario.weights) == (device, weights)
    assert source.weights == options.get("weights", "none")


def test_several_kinds_of_attention_are_several_runs(ran: list[Any]) -> None:
    result = inspector.shapes("gpt2", attention="eager, sdpa,eager")

    assert [table.scenario.attention for table in result.tables] == ["eager", "sdpa"]
    assert result.to_json() == inspector.shapes("gpt2", attention=["eager", "sdpa"]).to_json()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "random", "device": "meta"}, "the meta device holds no weights"),
        ({"attention": " , "}, "attention names no implementation"),
        ({"batch": 0}, "batch must be at least 1, but is 0"),
        ({"seq": 0}, "seq must be at least 1, but is 0"),
        ({"past": -1}, "past must be at least 0, but is -1"),
        ({"batch": "2"}, "batch is a whole number, but got '2'"),
        ({"seq": 2.5}, "seq is a whole number, but got 2.5"),
        ({"seed": "x"}, "seed is a whole number, but got 'x'"),
        ({"layer": "3"}, "layer is a whole number, but got '3'"),
    ],
)
def test_what_cannot_be_met_is_refused(options: Any, said: str, ran: list[Any]) -> None:
    with pytest.raises(UsageError, match=said):
        inspector.shapes("gpt2", **options)

    assert ran == []


def test_a_filter_that_matches_nothing_says_what_there_is(ran: list[Any]) -> None:
    with pytest.raises(UsageError) as caught:
        inspector.shapes("gpt2", role="rope", layer=3)

    assert caught.value.what == "nothing in gpt2 has role rope, layer 3"
    assert caught.value.why.startswith("roles: embedding.token, positions.ids, embedding.position")
    assert caught.value.why.endswith("layers: 0-11")
    assert caught.value.hint == ""


@pytest.mark.parametrize(
    ("role", "meant"), [("softmax", "attention.softmax"), ("atention.sofmax", "attention.softmax")]
)
def test_a_role_that_is_nearly_right_is_named(role: str, meant: str, ran: list[Any]) -> None:
    with pytest.raises(UsageError) as caught:
        inspector.shapes("gpt2", role=role)

    assert caught.value.hint == f"did you mean --role {meant}?"


@pytest.mark.parametrize("role", ["attention.rope", "attention.rope.k"])
def test_a_role_that_this_model_has_not_is_no_slip_of_the_pen(role: str, ran: list[Any]) -> None:
    """attention.dropout is spelled much like it, and is something else."""
    with pytest.raises(UsageError) as caught:
        inspector.shapes("gpt2", role=role)

    assert caught.value.what == f"gpt2 has no {role}"
    assert caught.value.why.startswith("roles of its attention: attention.norm, attention.qkv_proj, ")
    assert "mlp" not in caught.value.why
    assert caught.value.hint == ""


def test_a_role_of_a_section_that_this_model_has_not(ran: list[Any]) -> None:
    with pytest.raises(UsageError) as caught:
        inspector.shapes("gpt2", role="ssm.conv")

    assert (caught.value.what, caught.value.why) == ("gpt2 has no ssm.conv", "")
    assert caught.value.hint.startswith("sections: embedding, ")


def test_nothing_is_suggested_that_is_not_near(ran: list[Any]) -> None:
    with pytest.raises(UsageError) as caught:
        inspector.shapes("gpt2", role="attention.forks")

    assert (caught.value.what, caught.value.hint) == ("nothing in gpt2 has role attention.forks", "")


def test_torch_names_of_devices_and_formats_are_understood(ran: list[Any]) -> None:
    import torch

    inspector.shapes("gpt2", dtype=torch.float32, device=torch.device("cpu"))  # type: ignore[arg-type]

    assert (ran[0][1].dtype, ran[0][1].device) == ("float32", "cpu")


def test_importing_inspector_offers_the_verbs() -> None:
    assert inspector.shapes is verbs.shapes
    assert dir(inspector) == sorted(["__version__", *verbs.__all__])
    with pytest.raises(AttributeError, match="no attribute 'shape'"):
        _ = inspector.shape


def test_a_verb_has_the_options_of_its_command() -> None:
    from inspector.cli.shapes import command

    options = {parameter.name for parameter in command.params} - {"format", "file", "color", "width", "quiet", "lang"}

    assert options == set(inspect.signature(inspector.shapes).parameters) - {"progress"}


class Store:
    """A trace store in memory."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self.kept = kept

    def get(self, identity: dict[str, Any], scenario: Scenario) -> Trace | None:
        return self.kept.get(f"{identity}{scenario}")

    def put(self, identity: dict[str, Any], scenario: Scenario, trace: Trace, files: Any) -> None:
        self.kept[f"{identity}{scenario}"] = trace
        self.kept["files"] = list(files)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Source, tracing and store, replaced. `identity` is what the model says of itself to the store."""
    world = SimpleNamespace(observed=[], kept={}, identity={"name": "gpt2"}, told=[])
    trace = Trace(ModelInfo("gpt2", "gpt2", "GPT2Model", 1, 1), Scenario(), (), (), (), ())

    def observe(subject: Any, scenario: Scenario) -> Trace:
        world.observed.append(subject)
        return trace

    def resolve(name: str, *, weights: str, inputs: Any = None) -> Any:
        return SimpleNamespace(name=name, weights=weights, identity=lambda: world.identity)

    monkeypatch.setattr("inspector.source.resolve", resolve)
    monkeypatch.setattr("inspector.source.subject_of", lambda origin: origin.name)
    monkeypatch.setattr("inspector.source.live_subject", lambda model, inputs: (model, inputs))
    monkeypatch.setattr("inspector.tracing.observe", observe)
    monkeypatch.setattr("inspector.api.store.TraceStore", lambda: Store(world.kept))
    return world


def test_a_run_is_watched_once_and_then_read_from_the_store(world: SimpleNamespace) -> None:
    first = traces.Source("gpt2").trace(Scenario())
    second = traces.Source("gpt2").trace(Scenario())

    assert first == second
    assert world.observed == ["gpt2"]
    traces.Source("gpt2").trace(Scenario(seq=8))
    assert world.observed == ["gpt2", "gpt2"]


@pytest.mark.parametrize("unsafe", ["no identity", "not stored"])
def test_a_model_that_may_change_unseen_is_never_stored(unsafe: str, world: SimpleNamespace) -> None:
    if unsafe == "no identity":
        world.identity = None
    for _ in range(2):
        traces.Source("gpt2", stored=unsafe == "no identity").trace(Scenario())

    assert world.observed == ["gpt2", "gpt2"]
    assert world.kept == {}


def test_a_live_model_is_run_on_its_inputs(world: SimpleNamespace) -> None:
    traces.Source(len, ("x",)).trace(Scenario())

    assert world.observed == [(len, ("x",))]
    assert world.kept == {}


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        (7, ("x",), "a model is a name, a module or a function, but got a int"),
    ],
)
def test_models_and_inputs_that_do_not_fit_are_refused(model: Any, inputs: Any, said: str, world: Any) -> None:
    with pytest.raises(UsageError, match=said):
        traces.Source(model, inputs).trace(Scenario())


def test_the_wait_is_announced_only_when_there_is_one(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    source = traces.Source("gpt2", progress=world.told.append)
    source.trace(Scenario())
    source.trace(Scenario())

    assert world.told == ["loading torch and transformers (a few seconds the first time)"]


@pytest.mark.parametrize(
    ("why", "scenario", "hint"),
    [
        ("expected scalar type bfloat16 but found float32", Scenario(), "try --dtype float32 --device cpu"),
        ("mat1 and mat2 must have the same dtype", Scenario(device="cpu"), "try --dtype float32"),
        ("mat1 and mat2 must have the same dtype", Scenario(dtype="float32"), ""),
        ("Tensor on device meta is not on the expected device cpu!", Scenario(), "try --device cpu"),
        ("no luck", Scenario(), ""),
    ],
)
def test_a_model_that_makes_tensors_of_its_own_may_run_otherwise(
    why: str, scenario: Scenario, hint: str, world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(subject: Any, scenario: Scenario) -> Trace:
        raise TraceFailed("gpt2: running the model failed", why=f"RuntimeError: {why}")

    monkeypatch.setattr("inspector.tracing.observe", fails)
    with pytest.raises(TraceFailed) as caught:
        traces.Source("gpt2").trace(scenario)

    assert (caught.value.what, caught.value.hint) == ("gpt2: running the model failed", hint)


def test_the_store_is_told_which_code_ran(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers.models.gpt2.modeling_gpt2", "transformers.masking_utils", "transformersish"):
        monkeypatch.setitem(sys.modules, name, _module(__file__=f"{name}.py"))
    traces.Source("gpt2").trace(Scenario())

    assert "transformers.models.gpt2.modeling_gpt2.py" in world.kept["files"]
    assert "transformers.masking_utils.py" in world.kept["files"]
    assert "transformersish.py" not in world.kept["files"]
