"""Watches one forward pass: every call into torch, the module it was made in, and which value went where."""

from __future__ import annotations

__all__ = ["Raw", "Ref", "Watcher"]

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from inspector.tracing.book import Book
from inspector.tracing.names import Spec, spec_of
from inspector.tracing.shadows import Shadows, call

_ATOMS = frozenset((int, float, bool, str, type(None)))
_LARGEST_SNAPSHOT = 1 << 26


class Ref(int):
    """A value id that stands where a tensor stood among the arguments."""


class Raw(NamedTuple):
    """One call as it was seen. `outputs` are value ids; `reads` are those of all tensor arguments, in order."""

    spec: Spec
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: int
    outputs: tuple[int, ...]
    effect: str


_SYNC = Spec("sync", "sync", (), None, frozenset(), False, False, False, False, False)


class Watcher(TorchFunctionMode):
    """Records what runs while it is entered. Hooks nothing permanently: leaving it restores torch, whatever was raised.

    module: the model whose parts give the module paths. shadows: twins of meta tensors.
    """

    def __init__(self, module: nn.Module, shadows: Shadows, *, keep: bool) -> None:
        super().__init__()
        self.book = Book(keep)
        self.records: list[Raw] = []
        self.snapshots: dict[int, Tensor] = {}
        self.modules: list[tuple[str, str]] = [("", type(module).__name__)]
        self._shadows = shadows
        self.concrete: list[bool] = []
        self._stack = [0]
        self._paths = {id(child): index for index, child in enumerate(self._register(module))}
        self._thread = threading.get_ident()
        self._call: Any = None

    def _register(self, module: nn.Module) -> list[nn.Module]:
        named = list(module.named_modules())
        self.modules = [(path, type(child).__name__) for path, child in named]
        return [child for _, child in named]

    # entering and leaving

    def __enter__(self) -> Self:
        self._call = nn.Module.__call__
        nn.Module.__call__ = _module_call(self, self._call)  # type: ignore[method-assign]
        try:
            super().__enter__()
        except BaseException:
            nn.Module.__call__ = self._call  # type: ignore[method-assign]
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        nn.Module.__call__ = self._call  # type: ignore[method-assign]
        super().__exit__(*exc)

    # what is seen

    def value(self, tensor: Tensor) -> int:
        """The value that `tensor` holds now, at the door: an input before the run, an output after it."""
        return self._read(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        spec = spec_of(func)
        kwargs = kwargs or {}
        if spec.ignored:
            return func(*args, **kwargs)
        if spec.expanded:
            return self._expanded(func, args, kwargs)
        seen: list[tuple[Tensor, int]] = []
        encoded = tuple([self._encode(arg, seen) for arg in args])
        keywords = {key: self._encode(arg, seen) for key, arg in kwargs.items()} if kwargs else kwargs
        concrete = self._is_concrete(spec, args, seen)
        follows = concrete or spec.reads
        out = call(self._shadows, spec, func, args, kwargs) if follows else func(*args, **kwargs)
        if not seen and not isinstance(out, (Tensor, tuple, list)):
            return out  # not about tensors
        effect, outputs = self._outputs(spec, args, kwargs, out, seen, concrete)
        self.records.append(Raw(spec, encoded, keywords, self._stack[-1], outputs, effect))
        return out

    def _encode(self, value: Any, seen: list[tuple[Tensor, int]]) -> Any:
        """`value` with value ids for tensors; `seen` gathers the tensors."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        if isinstance(value, Tensor):
            index = self._read(value)
            seen.append((value, index))
            return Ref(index)
        if kind is list or isinstance(value, tuple):
            return tuple([self._encode(item, seen) for item in value])
        if kind is slice:
            return (
                "slice",
                self._encode(value.start, seen),
                self._encode(value.stop, seen),
                self._encode(value.step, seen),
            )
        return "..." if value is Ellipsis else str(value)

    def _read(self, tensor: Tensor) -> int:
        book = self.book
        syncs = len(book.syncs)
        index = book.read(tensor)
        if index >= len(self.concrete):
            if len(book.syncs) > syncs:
                old, since, new = book.syncs[-1]
                self.concrete.append(self.concrete[old] and all(self.concrete[value] for value in since))
                inputs = tuple(map(Ref, (old, *since)))
                self.records.append(Raw(_SYNC, inputs, {}, self._stack[-1], (new,), "view"))
            else:
                self.concrete.append(self._leaf_is_concrete(tensor, book.kinds[index]))
        return index

    def _leaf_is_concrete(self, tensor: Tensor, kind: str) -> bool:
        if kind == "parameter":
            return False
        if tensor.device.type == "meta":
            return self._shadows.twin(tensor) is not None
        return kind != "input" or not (tensor.is_floating_point() or tensor.is_complex())

    def _is_concrete(self, spec: Spec, args: Any, seen: list[tuple[Tensor, int]]) -> bool:
        """Whether the result needs no weights. Operands that stop being concrete here are kept."""
        concrete = self.concrete
        donors = spec.donors
        flags = [concrete[index] for tensor, index in seen if not (donors and self._lends(donors, args, tensor))]
        if all(flags):
            return not spec.random
        if any(flags):
            for tensor, index in seen:
                if concrete[index] and index not in self.snapshots:
                    twin = self._shadows.twin(tensor)
                    if twin is not None and 0 < twin.numel() <= _LARGEST_SNAPSHOT:
                        self.snapshots[index] = twin.detach().clone()
        return False

    @staticmethod
    def _lends(donors: frozenset[int], args: Any, tensor: Tensor) -> bool:
        return any(position < len(args) and args[position] is tensor for position in donors)

    def _outputs(
        self, spec: Spec, args: Any, kwargs: Any, out: Any, seen: list[tuple[Tensor, int]], concrete: bool
    ) -> tuple[str, tuple[int, ...]]:
        book = self.book
        target = kwargs.get("out") if "out" in kwargs else args[0] if spec.inplace and args else None
        if target is None and kwargs.get("inplace") is True and out is args[0]:
            target = out
        if isinstance(target, Tensor):
            if not concrete and target.device.type == "meta":
                self._shadows.forget(target)
            self.concrete.append(concrete)
            return "inplace", (book.write(target),)
        if isinstance(out, Tensor):
            for tensor, index in seen:
                if tensor is out:
                    return "noop", (index,)
            storages = {book.storage(index) for _, index in seen}
            value = book.produce(out, storages)
            self.concrete.append(concrete)
            return ("view" if book.storage(value) in storages else ""), (value,)
        if isinstance(out, (tuple, list)):
            storages = {book.storage(index) for _, index in seen}
            found = [self._one_output(item, seen, storages, concrete) for item in _tensors(out)]
            shared = found and all(book.storage(value) in storages for value in found)
            return ("view" if shared else ""), tuple(found)
        return "", ()

    def _one_output(self, tensor: Tensor, seen: list[tuple[Tensor, int]], storages: set[int], concrete: bool) -> int:
        for known, index in seen:
            if known is tensor:
                return index
        value = self.book.produce(tensor, storages)
        self.concrete.append(concrete)
        return value

    def _expanded(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a composite function of torch with its interior visible.

        Such a function hands itself over as one call when a mode is active; told that none is, it runs its body, whose
        calls come here one by one.
        """
        functional = torch.nn.functional
        names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
        saved = {name: getattr(functional, name) for name in names}
        try:
            for name in names:
                setattr(functional, name, lambda *_: False)
            super().__enter__()
            try:
                return function(*args, **kwargs)
            finally:
                super().__exit__(None, None, None)
        finally:
            for name, value in saved.items():
                setattr(functional, name, value)


def _tensors(out: Any) -> list[Tensor]:
    """The tensors in a result, in order."""
    found: list[Tensor] = []
    for item in out:
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (tuple, list)):
            found.extend(_tensors(item))
    return found


def _module_call(watcher: Watcher, original: Callable[..., Any]) -> Callable[..., Any]:
    stack, paths = watcher._stack, watcher._paths

    def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        index = paths.get(id(module))
        if index is None or threading.get_ident() != watcher._thread:
            return original(module, *args, **kwargs)
        stack.append(index)
        try:
            return original(module, *args, **kwargs)
        finally:
            stack.pop()

    return watched
