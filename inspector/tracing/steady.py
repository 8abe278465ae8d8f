"""Whether a model gives the same bits twice: what it draws at random, or keeps between calls, no check can follow."""

from __future__ import annotations

__all__ = ["require_steady", "warm_up"]

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from inspector.errors import TraceFailed
from inspector.tracing.tensors import named_tensors


class Call(NamedTuple):
    """One kernel: where it ran, what it gave, and whether it draws random numbers."""

    name: str
    place: str
    digest: tuple[str, ...]
    draws: bool


class _Log(TorchDispatchMode):
    """Writes down what every kernel gives."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._tracker = ModuleTracker()

    def __enter__(self) -> Self:
        self._tracker.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._tracker.__exit__(*exc)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        # Fresh memory holds what was there before.
        tensors = [] if "empty" in name else [tensor for _, tensor in named_tensors({"out": out})]
        digest = tuple(map(_digest, tensors))
        self.calls.append(Call(name, self._place(), digest, torch.Tag.nondeterministic_seeded in func.tags))
        return out

    def _place(self) -> str:
        """The innermost module: the tracker names those that are being run, each below the class of the outermost."""
        inner = max(self._tracker.parents - {"Global"}, key=lambda path: path.count("."), default="")
        return inner.partition(".")[2]


def require_steady(module: nn.Module, inputs: Callable[[], Mapping[str, Any]]) -> tuple[str, ...]:
    """TraceFailed where two forwards on equal inputs differ in a bit; it names the first kernel that does.

    >>> require_steady(nn.Linear(2, 2), lambda: {"input": torch.ones(1, 2)})
    ()

    A kernel that adds up in no fixed order, as some do on accelerators, is no fault of the model: that is a note.
    """
    with torch.no_grad():
        if _bits(module(**inputs())) == _bits(module(**inputs())):
            return ()
        culprit = _first_difference(_logged(module, inputs()), _logged(module, inputs()))
    if culprit is None:
        return ("the model did not give the same bits twice, and did when it was watched",)
    where = f"{culprit.name} in {culprit.place or type(module).__name__}"
    if not culprit.draws and any(parameter.device.type != "cpu" for parameter in module.parameters()):
        return (f"{where} does not give the same bits twice here: it adds up in no fixed order",)
    training = module.training or any(child.training for child in module.modules())
    raise TraceFailed(
        "the model does not give the same output twice on the same inputs",
        why=f"{where} {'draws random numbers' if culprit.draws else 'is the first call that differs'}"
        + ("; the model is in training mode" if training else ""),
        hint="call .eval() before" if training else "parity needs a model that depends on its inputs alone",
    )


def warm_up(module: nn.Module, inputs: Mapping[str, Any]) -> None:
    """One forward, for what a model does in its first alone: it makes modules, fills tables, rescales weights.

    >>> warm_up(nn.Linear(2, 2), {"input": torch.ones(1, 2)})
    """
    with torch.no_grad():
        module(**inputs)


def _logged(module: nn.Module, inputs: Mapping[str, Any]) -> list[Call]:
    with _Log() as log:
        module(**inputs)
    return log.calls


def _first_difference(first: list[Call], second: list[Call]) -> Call | None:
    return next((b for a, b in zip(first, second, strict=False) if a != b), None)


def _bits(output: Any) -> list[tuple[str, str]]:
    return [(name, _digest(tensor)) for name, tensor in named_tensors({"output": output})]


def _digest(tensor: Tensor) -> str:
    """A digest of every bit, in order: two draws of a dropout mask may hold as many ones."""
    if not tensor.numel() or tensor.is_quantized or tensor.layout is not torch.strided:
        return str(tuple(tensor.shape))
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.blake2b(data, digest_size=16).hexdigest()
