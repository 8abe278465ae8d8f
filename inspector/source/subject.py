"""A model that is ready to be run: the one interface that the tracer uses, whatever the model came from."""

from __future__ import annotations

__all__ = ["Arguments", "Inputs", "Subject", "live_subject", "subject_of"]

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.errors import UsageError
from inspector.records import Claims, Scenario
from inspector.source.resolve import Origin

if TYPE_CHECKING:
    import torch

Arguments = dict[str, Any] | tuple[Any, ...]
"""Arguments of a forward pass, by name or by position."""

Inputs = Arguments | Callable[[int, int, int], Any]
"""Fixed arguments, or a function that makes them from (batch, sequence, past)."""


@dataclass(frozen=True)
class Subject(ABC):
    """What can be run, and what it claims of itself.

    >>> from inspector.source.resolve import resolve
    >>> subject = subject_of(resolve("gpt2"))
    >>> scenario, notes = subject.settle(Scenario())
    >>> module = subject.make(scenario)
    >>> {name: tuple(value.shape) for name, value in subject.inputs(module, scenario).items()}
    {'input_ids': (2, 16), 'attention_mask': (2, 16)}

    source: where the config stands, in words.
    notes: what a reader must know of the model itself: quantized, adapters, custom code.
    identity: what tells this model from another, for the trace store; None for what is never stored.
    """

    name: str
    model_type: str | None
    source: str
    claims: Claims
    notes: tuple[str, ...]
    identity: dict[str, Any] | None

    @property
    def resizable(self) -> bool:
        """Whether `inputs` follows the scenario's sizes; fixed tensors do not."""
        return True

    @abstractmethod
    def settle(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        """The scenario as it will be run, and what was changed and why; UsageError where it cannot be met."""

    @abstractmethod
    def make(self, scenario: Scenario) -> torch.nn.Module:
        """The module, in eval mode, as a settled scenario asks for it."""

    @abstractmethod
    def inputs(self, module: torch.nn.Module, scenario: Scenario) -> dict[str, Any]:
        """Fresh keyword arguments of `module.forward`; with a past, the cache of an unrecorded prefill too."""

    def shallow(self) -> Subject | None:
        """The same model with as few layers as keep its pattern of layers; None where that is not known."""
        return None


def subject_of(origin: Origin) -> Subject:
    """Read the config, or import the factory, that `origin` names."""
    if origin.kind == "saved":
        raise UsageError(
            f"{origin.name} is a saved {origin.source} document, not a model",
            hint="give it to `inspector diff`, `inspector report` or `inspector check`",
        )
    if origin.kind == "factory":
        from inspector.source.live import factory_subject

        return factory_subject(origin.target, origin.inputs)
    from inspector.source.configured import config_subject

    return config_subject(origin)


def live_subject(model: Any, inputs: Any = None, name: str | None = None) -> Subject:
    """A module, or a function of tensors, that already exists.

    >>> live_subject(abs, lambda batch, seq, past: ()).name
    'abs'

    inputs: a tensor, a tuple, list or dict of arguments, a function of (batch, sequence, past) that returns such, or
    words: "x:BxSx64:float32", one for each tensor.
    Without them, a transformers model is given token ids that its config allows.
    """
    from inspector.source.live import live

    return live(model, inputs, name)
