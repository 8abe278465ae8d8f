"""Subjects that are code: a module or function that already exists, and a factory that makes one."""

from __future__ import annotations

__all__ = ["FactorySubject", "LiveSubject", "factory_subject", "live"]

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from inspector.errors import InspectorError, ModelAtFault, ModelNotFound, UsageError
from inspector.records import Claims, Scenario
from inspector.source.arguments import by_name, fixed, made_for, normalised, required, signature_of, tensors
from inspector.source.build import first_line, text_config
from inspector.source.claims import claims_of
from inspector.source.declared import Declared
from inspector.source.inputs import token_inputs
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
        return not fixed(self.given)

    def settle(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        owned = [*self.module.parameters(), *self.module.buffers(), *(tensors(self.given) if fixed(self.given) else ())]
        home = next((tensor for tensor in owned if tensor.is_floating_point()), torch.empty(0))
        scenario, notes = _as_given(scenario, self.given)
        scenario = replace(
            scenario,
            device=str(home.device),
            dtype=str(home.dtype).removeprefix("torch."),
            weights="none" if home.is_meta else "checkpoint",
        )
        if self.module.training:
            notes = ("the module is in training mode: dropout is not idle", *notes)
        return scenario, notes

    def make(self, scenario: Scenario) -> torch.nn.Module:
        return self.module if self.given is None else by_name(self.module)

    def inputs(self, module: torch.nn.Module, scenario: Scenario) -> dict[str, Any]:
        return _arguments(module, self.given, scenario)


@dataclass(frozen=True)
class FactorySubject(Subject):
    """A module that a factory makes anew: on the meta device, or seeded on the device that is asked for."""

    factory: Callable[[], Any]
    asked: Any = None
    """Inputs in place of those that may come along."""
    given: dict[torch.nn.Module, Inputs | None] = field(default_factory=dict, compare=False, repr=False)
    """The inputs that came along with the module that was made last."""
    ready: dict[Scenario, Any] = field(default_factory=dict, compare=False, repr=False)
    """What `settle` made: whether inputs come along, and of which size, is only known then."""

    @property
    def resizable(self) -> bool:
        return not any(fixed(given) for given in self.given.values())

    def settle(self, scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
        if scenario.weights == "checkpoint":
            raise UsageError(f"{self.name} cannot take weights", hint="load them inside the factory")
        scenario, notes = settle_machine(scenario)
        made = self._call(scenario)
        scenario, said = _as_given(scenario, made[1])
        # On meta it is made once more, where what becomes of its tables is followed; there that costs little.
        self.ready.clear()
        if scenario.device != "meta":
            self.ready[scenario] = made
        return scenario, (*notes, *said, *_recast(made[1], scenario))

    def make(self, scenario: Scenario) -> torch.nn.Module:
        made, given = self.ready.pop(scenario, None) or self._call(scenario)
        module = _brought(made, scenario).eval().requires_grad_(False)
        module = module if given is None else by_name(module)
        if scenario.device == "meta" and not isinstance(module, torch.jit.ScriptModule):
            module.forward = _on_meta(module.forward)
        self.given.clear()
        self.given[module] = given
        return module

    def inputs(self, module: torch.nn.Module, scenario: Scenario) -> dict[str, Any]:
        with torch.device(scenario.device):
            return _alike(_arguments(module, self.given[module], scenario), scenario)

    def _call(self, scenario: Scenario) -> tuple[torch.nn.Module, Inputs | None]:
        """The module and its inputs, as they come from the factory."""
        place = torch.device("meta") if scenario.device == "meta" else nullcontext()
        try:
            with torch.random.fork_rng(devices=[]), place:
                torch.default_generator.manual_seed(scenario.seed)
                made = self.factory()
        except InspectorError:
            raise
        except (Exception, SystemExit) as error:  # it is the user's code
            what = f"the factory {self.name} raised {type(error).__name__}"
            raise ModelAtFault(what, why=first_line(error)) from error
        made, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        module = _module(made, self.name)
        return module, normalised(given if self.asked is None else self.asked, module)


def live(model: Any, inputs: Any, name: str | None) -> LiveSubject:
    """See live_subject."""
    label = name or str(getattr(model, "__name__", type(model).__name__))
    module = _module(model, label)
    config: Any = getattr(module, "config", None)
    stated = hasattr(config, "to_diff_dict")
    claims = claims_of(text_config(config), config.to_diff_dict(), config) if stated else Claims()
    model_type = getattr(config, "model_type", None)
    return LiveSubject(label, model_type, "live module", claims, (), None, module, normalised(inputs, module))


def factory_subject(target: str, inputs: Any = None) -> FactorySubject:
    """Import `package.module:factory`; the working directory counts as a place to import from.

    inputs: what the model reads, where that does not come along with it. Then `factory` may be a function of tensors
    itself: one that cannot be called without any.
    """
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
    except (Exception, SystemExit) as error:  # it is the user's code
        what = f"{target}: importing {module_name} raised {type(error).__name__}"
        raise ModelAtFault(what, why=first_line(error)) from error
    finally:
        sys.path.remove(here)
    made = _factory(factory, target, read=inputs is not None)
    return FactorySubject(target, None, "factory", Claims(), (), None, made, inputs)


def _factory(found: Any, target: str, *, read: bool) -> Callable[[], Any]:
    """What makes the model that `target` names, from what was found under that name."""
    if isinstance(found, torch.nn.Module):
        # The model itself. A copy of it is run, for a module that others hold is not moved to another device.
        return lambda: deepcopy(found)
    if not callable(found):
        raise ModelAtFault(f"{target} is a {type(found).__name__}, not a factory")
    if (needed := required(found)) and read and not isinstance(found, type):
        return lambda: found  # a function of tensors: it is the model itself
    if needed:
        name = target.partition(":")[2]
        made = f"{name}({', '.join(needed)})" if isinstance(found, type) else f"({name}, inputs)"
        raise UsageError(
            f"{target} takes {', '.join(needed)}, and nothing says what to give it",
            hint=_how(found, f"name a function that takes nothing and returns {made}"),
        )
    return found  # type: ignore[no-any-return]


def _how(found: Any, without: str) -> str:
    """What to do about a function that takes arguments: if they are tensors, say which."""
    return without if isinstance(found, type) else f"{without}; or, for a function of tensors, give --input for each"


def _as_given(scenario: Scenario, given: Inputs | None) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario as the inputs that come along make it: of their size, and padded only if they are."""
    if given is None:
        return scenario, ()
    scenario = replace(scenario, padding="none")
    if not fixed(given):
        return scenario, ()
    shape = next((tensor.shape for tensor in tensors(given) if tensor.dim() > 1), None)
    scenario = scenario.resized(shape[0], shape[1], 0) if shape else scenario
    return scenario, ("the inputs are fixed: sizes stay numbers, where a function of (batch, seq, past) shows B and S",)


def _on_meta(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The same forward where tensors that it makes without naming a device lie beside the others.

    Code that was written for the CPU says `torch.ones(length, length)`; meta is our choice, not its author's.
    """

    def called(*args: Any, **named: Any) -> Any:
        with torch.device("meta"):
            return forward(*args, **named)

    if hasattr(forward, "__wrapped__"):
        return wraps(forward)(called)  # its arguments may change on their way, and that is still to be seen
    called.__signature__ = signature_of(forward)  # type: ignore[attr-defined]
    return called


def _recast(given: Inputs | None, scenario: Scenario) -> tuple[str, ...]:
    """That a declared format gives way to the one of the run: one format for the module and all it reads."""
    if not isinstance(given, Declared):
        return ()
    formats = {str(item.dtype).removeprefix("torch.") for item in given.items if item.dtype.is_floating_point}
    other = sorted(formats - {scenario.dtype})
    return (f"declared as {', '.join(other)}, run in {scenario.dtype}: --dtype decides",) if other else ()


def _alike(arguments: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """The arguments where and in the format that the module was brought to."""
    dtype = getattr(torch, scenario.dtype)

    def moved(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(map(moved, value))
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(scenario.device, dtype if value.is_floating_point() else value.dtype)

    return {name: moved(value) for name, value in arguments.items()}


def _brought(module: torch.nn.Module, scenario: Scenario) -> torch.nn.Module:
    """The module where and in the format that is asked for.

    transformers keeps tables that no checkpoint holds (rotary frequencies) in fp32, whatever format it loads a model
    in; casting the module would cast them too, and make another model of it.
    """
    tables = [
        (child, name, table)
        for child in (module.modules() if hasattr(module, "_init_weights") else ())
        for name, table in child.named_buffers(recurse=False)
        if name in child._non_persistent_buffers_set  # noqa: SLF001
    ]
    module = module.to(scenario.device, getattr(torch, scenario.dtype))
    for child, name, table in tables:
        setattr(child, name, table.to(scenario.device))
    return module


def _module(made: Any, name: str) -> torch.nn.Module:
    if isinstance(made, torch.nn.Module):
        return made
    if callable(made):
        return Function(made)
    raise ModelAtFault(
        f"{name} returned {type(made).__name__}, not a module",
        hint="a factory returns a module, or a pair (module or function, inputs)",
    )


def _arguments(module: torch.nn.Module, given: Inputs | None, scenario: Scenario) -> dict[str, Any]:
    """The keyword arguments of a forward, from what was given, or from a config when nothing was."""
    if given is None:
        return token_inputs(module, _config_of(module), scenario)
    return made_for(module, given, scenario)


def _config_of(module: torch.nn.Module) -> Any:
    """The config of a transformers model; without one nothing says which tokens there are."""
    config = getattr(module, "config", None)
    if hasattr(config, "get_text_config"):
        return config
    signature = signature_of(module.forward)
    raise UsageError(
        f"nothing says what {type(module).__name__} reads",
        why=f"its forward takes {', '.join(signature.parameters)}" if signature else "",
        hint="say what it reads: --input NAME:SHAPE:DTYPE, such as ids:BxS:int64; in Python, inputs",
    )
