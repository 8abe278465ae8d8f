"""Subjects that are code: a module or function that already exists, and a factory that makes one."""

from __future__ import annotations

__all__ = ["FactorySubject", "LiveSubject", "factory_subject", "live"]

import importlib
import inspect
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from inspector.errors import InspectorError, ModelAtFault, ModelNotFound, UsageError
from inspector.records import Claims, Scenario
from inspector.source.build import first_line, text_config
from inspector.source.claims import claims_of
from inspector.source.inputs import accepted, token_inputs
from inspector.source.machine import settle_machine
from inspector.source.subject import Inputs, Subject


class Function(torch.nn.Module):
    """A function of tensors, as a module without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.forward = function
        self.eval()  # a function has no mode


@dataclass(frozen=True)
class LiveSubject(Subject):
    """A module that is run as it is: where it lies, in its own dtype, in its own mode."""

    module: torch.nn.Module
    given: Inputs | None

    @property
    def resizable(self) -> bool:
        return not isinstance(self.given, (dict, tuple))

    def settle(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        arguments = self.given if isinstance(self.given, (dict, tuple)) else ()
        tensors = [*self.module.parameters(), *self.module.buffers(), *_tensors(arguments)]
        home = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))
        shape = next((tensor.shape for tensor in _tensors(arguments) if tensor.dim() > 1), None)
        if shape:
            scenario = scenario.resized(shape[0], shape[1], 0)
        scenario = replace(
            scenario,
            device=str(home.device),
            dtype=str(home.dtype).removeprefix("torch."),
            weights="none" if home.is_meta else "checkpoint",
            padding=scenario.padding if self.given is None else "none",
        )
        return scenario, ("the module is in training mode: dropout is not idle",) if self.module.training else ()

    def make(self, scenario: Scenario) -> torch.nn.Module:
        return self.module

    def inputs(self, module: torch.nn.Module, scenario: Scenario) -> dict[str, Any]:
        return _arguments(module, self.given, scenario)


@dataclass(frozen=True)
class FactorySubject(Subject):
    """A module that a factory makes anew: on the meta device, or seeded on the device that is asked for."""

    factory: Callable[[], Any]
    given: dict[torch.nn.Module, Inputs | None] = field(default_factory=dict, compare=False, repr=False)
    """The inputs that came along with the module that was made last."""

    def settle(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        if scenario.weights == "checkpoint":
            raise UsageError(f"{self.name} cannot take weights", hint="load them inside the factory")
        return settle_machine(scenario)

    def make(self, scenario: Scenario) -> torch.nn.Module:
        made = self._call(scenario)
        made, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        module = _module(made, self.name).to(scenario.device, getattr(torch, scenario.dtype))
        self.given.clear()
        self.given[module] = given
        return module.eval().requires_grad_(False)

    def inputs(self, module: torch.nn.Module, scenario: Scenario) -> dict[str, Any]:
        given = self.given[module]
        if isinstance(given, (dict, tuple)):
            what = f"the inputs that {self.name} returns are fixed tensors"
            raise UsageError(what, hint="return a function of (batch, seq, past) that makes them")
        with torch.device(scenario.device):
            return _arguments(module, given, scenario)

    def _call(self, scenario: Scenario) -> Any:
        place = torch.device("meta") if scenario.device == "meta" else nullcontext()
        try:
            with torch.random.fork_rng(devices=[]), place:
                torch.default_generator.manual_seed(scenario.seed)
                return self.factory()
        except InspectorError:
            raise
        except Exception as error:  # it is the user's code
            what = f"the factory {self.name} raised {type(error).__name__}"
            raise ModelAtFault(what, why=first_line(error)) from error


def live(model: Any, inputs: Inputs | None, name: str | None) -> LiveSubject:
    """See live_subject."""
    label = name or str(getattr(model, "__name__", type(model).__name__))
    module = _module(model, label)
    config: Any = getattr(module, "config", None)
    claims = claims_of(text_config(config), config.to_diff_dict()) if hasattr(config, "to_diff_dict") else Claims()
    model_type = getattr(config, "model_type", None)
    return LiveSubject(label, model_type, "live module", claims, (), None, module, inputs)


def factory_subject(target: str) -> FactorySubject:
    """Import `package.module:factory`; the working directory counts as a place to import from."""
    module_name, _, attribute = target.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        what = f"{target}: there is no module {error.name}"
        raise ModelNotFound(what, hint="is it installed, or in this folder?") from error
    except AttributeError as error:
        raise ModelNotFound(f"{target}: {module_name} has no {attribute}") from error
    except Exception as error:  # it is the user's code
        what = f"{target}: importing {module_name} raised {type(error).__name__}"
        raise ModelAtFault(what, why=first_line(error)) from error
    finally:
        sys.path.remove(here)
    if not callable(factory):
        raise ModelAtFault(f"{target} is a {type(factory).__name__}, not a factory")
    return FactorySubject(target, None, "factory", Claims(), (), None, factory)


def _module(made: Any, name: str) -> torch.nn.Module:
    if isinstance(made, torch.nn.Module):
        return made
    if callable(made):
        return Function(made)
    raise ModelAtFault(
        f"{name} gave a {type(made).__name__}, not a module",
        hint="a factory returns a module, or a pair (module or function, inputs)",
    )


def _arguments(module: torch.nn.Module, given: Inputs | None, scenario: Scenario) -> dict[str, Any]:
    """The keyword arguments of a forward, from what was given, or from a config when nothing was."""
    if given is None:
        return token_inputs(module, _config_of(module), scenario)
    arguments = given if isinstance(given, (dict, tuple)) else given(scenario.batch, scenario.seq, scenario.past)
    if isinstance(arguments, dict):
        return arguments
    return dict(inspect.signature(module.forward).bind(*arguments).arguments)


def _config_of(module: torch.nn.Module) -> Any:
    """The config of a transformers model; without one nothing says which tokens there are."""
    config = getattr(module, "config", None)
    if hasattr(config, "get_text_config"):
        return config
    raise UsageError(
        f"nothing says what {type(module).__name__} reads",
        why=f"its forward takes {', '.join(accepted(module))}",
        hint="give inputs: a function of (batch, seq, past); a factory returns a pair (module, inputs)",
    )


def _tensors(arguments: dict[str, Any] | tuple[Any, ...]) -> list[torch.Tensor]:
    values = arguments.values() if isinstance(arguments, dict) else arguments
    return [value for value in values if isinstance(value, torch.Tensor)]
