"""What a forward is called with: the forms in which inputs are given, made into arguments by name."""

from __future__ import annotations

__all__ = ["by_name", "fixed", "made_for", "normalised", "required", "signature_of", "tensors"]

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import torch

from inspector.errors import InspectorError, UsageError
from inspector.records import Scenario
from inspector.source.build import first_line
from inspector.source.declared import declared, is_declared
from inspector.source.subject import Arguments, Inputs

_FORMS = (
    "inputs are a tensor, a tuple, list or dict of arguments, a function of (batch, seq, past) that returns such, or "
    "words: x:BxSx64:float32"
)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def normalised(given: Any, module: torch.nn.Module | None = None) -> Inputs | None:
    """Inputs in one of the forms that the rest knows: a dict, a tuple or a function. module: what reads them.

    >>> normalised([1, 2]), normalised(None)
    ((1, 2), None)
    """
    if is_declared(given):
        made = declared(given) if module is None else declared(given).read_by(module)
        return made if made.follows else _arguments(made(0, 0, 0), "inputs are")
    return given if given is None or callable(given) else _arguments(given, "inputs are")


def fixed(given: Any) -> TypeGuard[Arguments]:
    """Whether normalised inputs are tensors that follow no size."""
    return isinstance(given, (dict, tuple))


def tensors(arguments: Arguments) -> list[torch.Tensor]:
    """The tensors among the arguments themselves."""
    values = arguments.values() if isinstance(arguments, dict) else arguments
    return [value for value in values if isinstance(value, torch.Tensor)]


def made_for(module: torch.nn.Module, given: Inputs, scenario: Scenario) -> dict[str, Any]:
    """The keyword arguments of a forward at the sizes of a scenario; UsageError where they do not fit it."""
    arguments = _called(given, scenario) if callable(given) else given
    signature = signature_of(module.forward)
    if isinstance(arguments, dict) and (_decorated(module) or signature is None):
        return arguments
    if signature is None:
        raise UsageError(f"nothing says what {type(module).__name__} calls its arguments", hint="give them as a dict")
    positional, named = _split(signature, arguments)
    try:
        bound = signature.bind(*positional, **named)
    except TypeError as error:
        raise _misfit(module, signature, named, error) from error
    return arguments if isinstance(arguments, dict) else dict(bound.arguments)


def by_name(module: torch.nn.Module) -> torch.nn.Module:
    """A module whose forward takes every argument by name: the module itself, or a twin that shares all it has.

    The tracer names what comes in, and an argument that only has a place (`forward(self, *xs)`) has no name to call.
    """
    signature = signature_of(module.forward)
    if isinstance(module, torch.jit.ScriptModule):
        return module
    if signature and not any(parameter.kind in _BY_POSITION for parameter in signature.parameters.values()):
        return module
    twin = object.__new__(type(module))
    # Not a wrapper around it: the paths of the parts, the class and the hooks are to stay what they are.
    twin.__dict__ = {**vars(module), "forward": _named(module.forward, signature), "_compiled_call_impl": None}
    return twin


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Its signature; None for builtins that tell none."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def required(function: Callable[..., Any]) -> list[str]:
    """The parameters that a call cannot leave out.

    >>> required(lambda x, y=1, *rest: x)
    ['x']
    """
    signature = signature_of(function)
    parameters = signature.parameters.values() if signature else ()
    return [item.name for item in parameters if item.default is item.empty and item.kind not in _ANY_NUMBER]


def _arguments(value: Any, what: str) -> Arguments:
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, Mapping):  # a tokenizer's answer is one, and no dict
        return dict(value)
    if isinstance(value, (list, tuple)):
        return tuple(value)
    raise UsageError(f"{what} {type(value).__name__}, not arguments", hint=_FORMS)


def _called(given: Callable[[int, int, int], Any], scenario: Scenario) -> Arguments:
    try:
        made = given(scenario.batch, scenario.seq, scenario.past)
    except InspectorError:
        raise
    except (Exception, SystemExit) as error:  # it is the user's code
        what = f"the inputs function raised {type(error).__name__}"
        raise UsageError(what, why=first_line(error), hint="it is called with (batch, seq, past)") from error
    return _arguments(made, "the inputs function returned")


def _decorated(module: torch.nn.Module) -> bool:
    """Whether arguments may change on their way to what the signature describes."""
    return hasattr(module.forward, "__wrapped__") or bool(module._forward_pre_hooks)  # noqa: SLF001


def _split(signature: inspect.Signature, arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
    """The arguments by position and by name; those that only have a place may be given by name too."""
    if not isinstance(arguments, dict):
        return list(arguments), {}
    named, positional = dict(arguments), list[Any]()
    for parameter in signature.parameters.values():
        if parameter.kind in _BY_POSITION and parameter.name in named:
            value = named.pop(parameter.name)
            positional += value if parameter.kind is parameter.VAR_POSITIONAL else [value]
    return positional, named


def _misfit(
    module: torch.nn.Module, signature: inspect.Signature, named: dict[str, Any], error: TypeError
) -> UsageError:
    """The error for arguments that the forward does not take."""
    forward, takes = f"the forward of {type(module).__name__}", ", ".join(signature.parameters) or "nothing"
    foreign = [str(name) for name in named if name not in signature.parameters]
    if foreign:
        return UsageError(f"{forward} takes {takes}, not {', '.join(foreign)}")
    return UsageError(f"the inputs do not fit {forward}", why=f"it takes {takes}: {error}")


def _named(forward: Callable[..., Any], signature: inspect.Signature | None) -> Callable[..., Any]:
    """The same forward, called by names alone."""
    if signature is None:
        kinds = {"inputs": inspect.Parameter.VAR_POSITIONAL, "options": inspect.Parameter.VAR_KEYWORD}
        signature = inspect.Signature([inspect.Parameter(name, kind) for name, kind in kinds.items()])
    declared = [key for key, value in signature.parameters.items() if value.kind is not value.VAR_KEYWORD]

    def called(**named: Any) -> Any:
        known = {name: value for name, value in named.items() if name in declared}
        bound = inspect.BoundArguments(signature, known)  # type: ignore[arg-type]
        others = {name: value for name, value in named.items() if name not in known}
        return forward(*bound.args, **bound.kwargs, **others)

    called.__signature__ = signature  # type: ignore[attr-defined]
    return called
