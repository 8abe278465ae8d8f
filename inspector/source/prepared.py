"""A model that is ready to be checked on real numbers: its weights hide nothing, and it fits into memory."""

from __future__ import annotations

__all__ = ["Prepared", "attention_of", "prepare"]

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import ModelAtFault, UsageError
from inspector.records import Scenario
from inspector.source.build import text_config
from inspector.source.checkpoint import counted, holds_weights, some
from inspector.source.configured import ConfigSubject
from inspector.source.machine import settle_machine
from inspector.source.memory import available, needed
from inspector.source.resolve import resolve
from inspector.source.subject import Subject, live_subject, subject_of
from inspector.source.tiny import randomise, twin_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Prepared:
    """A module with values, and the scenario as it will be run. notes: what a reader must know."""

    subject: Subject
    module: torch.nn.Module
    scenario: Scenario
    notes: tuple[str, ...]

    @property
    def model_type(self) -> str | None:
        """What transformers calls this architecture; None for code of one's own."""
        found = self.subject.model_type or self.config.get("model_type")
        return str(found) if found else None

    @property
    def config(self) -> dict[str, Any]:
        """Every key of the config, with its defaults; empty where there is none."""
        config: Any = getattr(self.module, "config", None)
        return dict(config.to_dict()) if hasattr(config, "to_dict") else {}

    def inputs(self) -> dict[str, Any]:
        """Fresh arguments of a forward: a cache is spent by one."""
        return self.subject.inputs(self.module, self.scenario)


def prepare(model: Any, inputs: Any, scenario: Scenario, weights: str | None, *, twin: bool = False) -> Prepared:
    """The model that `model` names, or is, with the weights that were asked for.

    >>> found = prepare("gpt2", None, Scenario(device="cpu", dtype="float32"), None, twin=True)
    >>> found.model_type, found.module.num_parameters() < 1_000_000, found.notes[0][:27]
    ('gpt2', True, 'a small twin of the same co')

    weights: None, "random", "checkpoint" or a folder. Without, a model that brings weights along keeps them: a module,
    what a factory made, a folder. twin: take a small copy of the same config, with random weights.
    """
    if scenario.device == "meta":
        raise UsageError("numbers are checked, and the meta device has none", hint="use --device cpu")
    if twin and weights not in (None, "random"):
        raise UsageError("a twin has random weights of its own", hint="use --twin or --weights, not both")
    scenario, _ = settle_machine(scenario)
    subject, weights = _subject(model, inputs, weights, twin=twin)
    if twin:
        return _twin(subject, scenario, "it was asked for")
    if not isinstance(subject, ConfigSubject):
        return _as_made(subject, scenario, weights)
    scenario = replace(scenario, weights="random" if weights in (None, "random") else "checkpoint")
    if (reason := _too_large(subject, scenario)) is None:
        return _of_config(subject, scenario)
    if scenario.weights == "checkpoint":
        raise UsageError(
            f"{subject.name} with its own weights {reason}",
            hint="--twin checks a small copy of the same config, with random weights; --dtype bfloat16 takes half",
        )
    return _twin(subject, scenario, f"{subject.name} {reason}")


def _subject(model: Any, inputs: Any, weights: str | None, *, twin: bool) -> tuple[Subject, str | None]:
    """What is to be run, and where its weights come from once that is known."""
    if not isinstance(model, str):
        if not callable(model):
            raise UsageError(f"a model is a name, a module or a function, but got a {type(model).__name__}")
        if weights not in (None, "checkpoint"):
            raise UsageError("a module keeps its own weights", hint="leave weights out")
        return live_subject(model, inputs), None
    if weights is None and not twin and holds_weights(Path(model).expanduser()):
        weights = "checkpoint"
    origin = resolve(model, weights=weights or "none", inputs=inputs)
    if origin.kind == "factory" and weights not in (None, "random"):
        raise UsageError(f"{model} cannot take weights", hint="load them inside the factory")
    return subject_of(origin), weights


def _of_config(subject: ConfigSubject, scenario: Scenario) -> Prepared:
    settled, notes = subject.settle(scenario)
    module = subject.make(settled)
    if settled.weights == "random":
        randomise(module, settled.seed)
    return Prepared(subject, module, settled, (*subject.notes, *notes))


def _twin(subject: Subject, scenario: Scenario, reason: str) -> Prepared:
    """The twin is built in the dtype of the run: casting it afterwards would cast tables that stay in fp32."""
    small, _ = twin_of(subject, scenario)
    found = _of_config(small, replace(scenario, weights="random"))
    size = sum(parameter.numel() for parameter in found.module.parameters())
    note = f"a small twin of the same config was run, with {size:,} parameters and random weights: {reason}"
    return replace(found, notes=(note, *subject.notes, *found.notes))


def _as_made(subject: Subject, scenario: Scenario, weights: str | None) -> Prepared:
    """A module as somebody made it: with its own weights, unless random ones are asked of a factory's."""
    settled, notes = subject.settle(replace(scenario, weights="random"))
    if settled.device == "meta":
        raise UsageError(f"{subject.name} is on the meta device: it has no numbers to check", hint="give it weights")
    module = subject.make(settled)
    if weights == "random":
        randomise(module, settled.seed)
    _require_finite(subject.name, module)
    settled = replace(settled, weights=weights or "checkpoint", attention=attention_of(module) or settled.attention)
    return Prepared(subject, module, settled, (*subject.notes, *notes))


def attention_of(module: torch.nn.Module) -> str:
    """The kind of attention that a module was made with."""
    config = getattr(module, "config", None)
    if not hasattr(config, "get_text_config"):
        return ""
    return str(getattr(text_config(config), "_attn_implementation", None) or "")


def _require_finite(name: str, module: torch.nn.Module) -> None:
    broken = [
        key
        for key, value in module.named_parameters()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if broken:
        raise ModelAtFault(f"NaN or Inf in {counted(broken, 'tensor')} of {name}", why=some(broken))


def _too_large(subject: ConfigSubject, scenario: Scenario) -> str | None:
    """Why a model does not fit into memory; None when it does, or nobody says how much there is."""
    room = available(scenario.device)
    if room is None:
        return None
    shape, _ = subject.settle(replace(scenario, device="meta", weights="none"))
    size = needed(subject.make(shape), shape)
    if size <= 0.9 * room:
        return None
    return f"takes about {_gigabytes(size)} in {shape.dtype}, and {_gigabytes(room)} are free on {scenario.device}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
