"""Watches one forward pass: every call into torch, the module it was made in, and which value went where."""

from __future__ import annotations

__all__ = ["Raw", "Ref", "Watcher"]

import numbers
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
_LONGEST_VECTOR = 1 << 12
_LARGEST_INPUT = 1 << 16


class Ref(int):
    """A value id that stands where a tensor stood among the arguments."""


class Raw(NamedTuple):
    """One call as it was seen: value ids stand where tensors stood. `module` is an index into `Watcher.modules`."""

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
        self.stack = [0]
        self._parts = self._register(module)  # held: one that is put aside in the run must not leave its id to another
        self.paths = {id(child): index for index, child in enumerate(self._parts)}

    def _register(self, module: nn.Module) -> list[nn.Module]:
        named = list(module.named_modules())
        self.modules = [(path, type(child).__name__) for path, child in named]
        return [child for _, child in named]

    # entering and leaving

    def __enter__(self) -> Self:
        _WATCHING.enter(self)
        try:
            super().__enter__()
        except BaseException:
            _WATCHING.leave(self)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            super().__exit__(*exc)
        finally:
            _WATCHING.leave(self)

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
        self.records.append(Raw(spec, encoded, keywords, self.stack[-1], outputs, effect))
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
        if isinstance(value, numbers.Number) and hasattr(value, "item"):
            return value.item()  # numpy's numbers: 1 / np.sqrt(64)
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
                self.records.append(Raw(_SYNC, inputs, {}, self.stack[-1], (new,), "view"))
            else:
                self.concrete.append(self._leaf_is_concrete(tensor, book.kinds[index]))
                self._keep_input(tensor, index)
                self._keep_vector(tensor, index)
        return index

    def _keep_input(self, tensor: Tensor, index: int) -> None:
        """A float input may be a mask: only its contents can tell."""
        if self.book.kinds[index] == "input" and tensor.is_floating_point() and tensor.numel() <= _LARGEST_INPUT:
            twin = self._shadows.twin(tensor)
            if twin is not None and twin.numel():
                self.snapshots[index] = twin.detach().clone()

    def _keep_vector(self, tensor: Tensor, index: int) -> None:
        """A short vector that came with the model (rotary frequencies) says in full what its tables only round."""
        kind = self.book.kinds[index]
        if self.concrete[index] and kind in ("buffer", "constant") and tensor.dim() == 1 and tensor.is_floating_point():
            twin = self._shadows.twin(tensor)
            if twin is not None and 0 < twin.numel() <= _LONGEST_VECTOR:
                self.snapshots[index] = twin.detach().clone()

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
        targets = self._written(spec, args, kwargs, out) if spec.inplace or kwargs else None
        if targets:
            for target in targets:
                if not concrete and target.device.type == "meta":
                    self._shadows.forget(target)
            self.concrete.extend([concrete] * len(targets))
            return "inplace", tuple([book.write(target) for target in targets])
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

    @staticmethod
    def _written(spec: Spec, args: Any, kwargs: dict[str, Any], out: Any) -> list[Tensor]:
        """The tensors that a call wrote into."""
        target = kwargs.get("out") if "out" in kwargs else args[0] if spec.inplace and args else None
        if target is None and kwargs.get("inplace") is True and args and out is args[0]:
            target = out
        return _tensors(target if isinstance(target, (tuple, list)) else [target])

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
                setattr(functional, name, _unseen(saved[name]))
            super().__enter__()
            try:
                return function(*args, **kwargs)
            finally:
                super().__exit__(None, None, None)
        finally:
            for name, value in saved.items():
                setattr(functional, name, value)


def _unseen(original: Callable[..., Any]) -> Callable[..., Any]:
    """Tells this thread that no mode is active, and every other one the truth."""
    thread = threading.get_ident()
    return lambda *args: threading.get_ident() != thread and original(*args)


def _tensors(out: Any) -> list[Tensor]:
    """The tensors in a result, in order."""
    found: list[Tensor] = []
    for item in out:
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (tuple, list)):
            found.extend(_tensors(item))
    return found


class _Watching:
    """The one patch of `nn.Module.__call__`, shared by all watchers of all threads.

    It is there from the first watcher's entering to the last one's leaving, in whatever order they come and go; each
    thread's calls go to the watcher that was entered last in that thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._active = threading.local()
        self._original: Any = None

    def enter(self, watcher: Watcher) -> None:
        with self._lock:
            if not self._count:
                self._original = nn.Module.__call__
                nn.Module.__call__ = self._dispatching(self._original)  # type: ignore[method-assign]
            self._count += 1
        self._active.stack = [*getattr(self._active, "stack", ()), watcher]

    def leave(self, watcher: Watcher) -> None:
        self._active.stack = [other for other in self._active.stack if other is not watcher]
        with self._lock:
            self._count -= 1
            if not self._count:
                nn.Module.__call__ = self._original  # type: ignore[method-assign]

    def _dispatching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        active = self._active

        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            watchers: list[Watcher] = getattr(active, "stack", [])
            index = watchers[-1].paths.get(id(module)) if watchers else None
            if index is None:
                return original(module, *args, **kwargs)
            stack = watchers[-1].stack
            stack.append(index)
            try:
                return original(module, *args, **kwargs)
            finally:
                stack.pop()

        return watched


_WATCHING = _Watching()
