"""One spelling for every torch function: its canonical name, its argument names, and how it treats its arguments."""

from __future__ import annotations

__all__ = ["Spec", "spec_of"]

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.overrides import get_testing_overrides

_ALIASES = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "and": "bitwise_and",
    "bfloat16": "to",
    "byte": "to",
    "char": "to",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "cpu": "to",
    "cuda": "to",
    "divide": "div",
    "double": "to",
    "flex_attention": "scaled_dot_product_attention",
    "float": "to",
    "greater": "gt",
    "greater_equal": "ge",
    "half": "to",
    "int": "to",
    "invert": "bitwise_not",
    "less": "lt",
    "less_equal": "le",
    "long": "to",
    "mod": "remainder",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "or": "bitwise_or",
    "radd": "add",
    "rand": "bitwise_and",
    "rmatmul": "matmul",
    "rmul": "mul",
    "ror": "bitwise_or",
    "short": "to",
    "rtruediv": "rdiv",
    "subtract": "sub",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "true_divide": "div",
    "truediv": "div",
    "type": "to",
    "type_as": "to",
    "xor": "bitwise_xor",
}
"""Other spellings of the same function, after namespaces, underscores and dunders are gone."""

_TENSOR_PROPERTIES = {"T": "t", "mT": "mT", "H": "t", "mH": "mT", "data": "detach", "real": "real", "imag": "imag"}
"""The attributes whose reading makes a tensor. All others tell about a tensor without touching its values."""

_METADATA = frozenset(
    "size dim ndimension stride numel nelement element_size storage_offset data_ptr untyped_storage storage "
    "is_contiguous is_floating_point is_complex is_signed is_pinned is_shared get_device has_names is_same_size "
    "is_tensor is_storage is_inference is_conj is_neg requires_grad_ register_hook retain_grad backward result_type "
    "can_cast promote_types _is_view __hash__ __dir__ __repr__ __format__ __reduce_ex__ __deepcopy__ __len__ "
    "is_nested broadcast_shapes".split()
)
"""Calls that read or set what a tensor is, not what it holds: nothing flows through them."""

_VALUE_READS = frozenset(
    "__bool__ item tolist __int__ __float__ __index__ __complex__ __contains__ equal allclose is_nonzero numpy "
    "__array__ __nonzero__ __long__".split()
)
"""Calls through which Python sees a value."""

_RANDOM = frozenset(
    "rand randn randint rand_like randn_like randint_like randperm bernoulli multinomial normal".split()
)

_DONORS = {
    "expand_as": {1},
    "view_as": {1},
    "reshape_as": {1},
    "to": {1},
    "zeros_like": {0},
    "ones_like": {0},
    "empty_like": {0},
    "full_like": {0},
    "rand_like": {0},
    "randn_like": {0},
    "randint_like": {0},
    "new_zeros": {0},
    "new_ones": {0},
    "new_empty": {0},
    "new_full": {0},
    "new_tensor": {0},
    "new_empty_strided": {0},
}
"""Positions of the tensors that lend only a shape, a dtype or a device: no value flows from them."""


class Spec(NamedTuple):
    """How one torch function is recorded.

    ignored: tells about tensors only · reads: Python sees a value · inplace: writes into its first argument
    rest: name under which surplus positional arguments are gathered.
    """

    name: str
    call: str
    arguments: tuple[str, ...]
    rest: str | None
    donors: frozenset[int]
    ignored: bool
    reads: bool
    inplace: bool
    random: bool
    expanded: bool


def _canonical(raw: str) -> tuple[str, bool]:
    """The canonical name of `raw`, and whether it writes into its first argument."""
    dunder = raw.startswith("__") and raw.endswith("__")
    name = raw.strip("_") if dunder else raw.rstrip("_").lstrip("_")
    inplace = (raw.endswith("_") and not dunder) or raw == "__setitem__"
    if dunder and name[:1] == "i" and name[1:] in ("add", "sub", "mul", "truediv", "and", "or", "xor", "matmul", "pow"):
        name, inplace = name[1:], True
    if raw in ("__float__", "__int__"):  # Python reads a number: no cast
        return raw, False
    if raw == "bool":
        return "to", False
    if raw == "rand":
        return "rand", False
    return _ALIASES.get(name, name), inplace


_SIGNATURES = {
    "repeat_interleave": ("input", "repeats", "dim"),
    "logsumexp": ("input", "dim", "keepdim"),
    "topk": ("input", "k", "dim", "largest", "sorted"),
    "scaled_dot_product_attention": ("query", "key", "value", "attn_mask", "dropout_p", "is_causal"),
}
"""Argument names of functions written in C for which torch's own table has others."""


@cache
def _overrides() -> dict[Callable[..., Any], Callable[..., Any]]:
    return get_testing_overrides()  # type: ignore[no-any-return]


def _signature(function: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """Argument names of `function`, from torch's own table for functions written in C."""
    corrected = _SIGNATURES.get(getattr(function, "__name__", ""))
    if corrected:
        return corrected, None
    for candidate in (function, _overrides().get(function)):
        try:
            parameters = inspect.signature(candidate).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        named = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        if named or rest:
            return tuple("input" if name == "self" else name for name in named), rest
    return (), None


def _call_name(function: Callable[..., Any], raw: str) -> str:
    owner = getattr(function, "__objclass__", None)
    if owner is not None:
        return f"Tensor.{raw}"
    qualified = getattr(function, "__qualname__", raw)
    if qualified.startswith(("Tensor.", "TensorBase.", "_TensorBase.")):
        return f"Tensor.{raw}"
    module = getattr(function, "__module__", None) or "torch"
    return f"{module.replace('torch._C._nn', 'torch.nn.functional').replace('torch._VariableFunctions', 'torch')}.{raw}"


_SPECS: dict[Callable[..., Any], Spec] = {}


def spec_of(function: Callable[..., Any]) -> Spec:
    """How `function` is recorded.

    >>> spec_of(torch.Tensor.__rsub__).name, spec_of(torch.concat).name, spec_of(torch.Tensor.add_).inplace
    ('rsub', 'cat', True)
    """
    spec = _SPECS.get(function)
    if spec is None:
        spec = _SPECS[function] = _make_spec(function)
    return spec


def _make_spec(function: Callable[..., Any]) -> Spec:
    raw = getattr(function, "__name__", type(function).__name__)
    if raw in ("__get__", "__set__", "__delete__"):
        attribute = getattr(getattr(function, "__self__", None), "__name__", "")
        name = _TENSOR_PROPERTIES.get(attribute, attribute)
        if raw == "__set__" and attribute == "data":  # y.data = x: from here on y holds what x holds
            return Spec("copy", "Tensor.data=", ("input", "src"), None, frozenset(), False, False, True, False, False)
        ignored = raw != "__get__" or attribute not in _TENSOR_PROPERTIES
        return Spec(name, f"Tensor.{attribute}", ("input",), None, frozenset(), ignored, False, False, False, False)
    raw = raw.rpartition(".")[2] if raw.endswith(".default") else raw
    if type(function).__name__ == "OpOverload":  # torch.ops.aten.x.default
        raw = function.__name__.partition(".")[0]
    name, inplace = _canonical(raw)
    arguments, rest = _signature(function)
    return Spec(
        name=name,
        call=_call_name(function, raw),
        arguments=arguments,
        rest=rest,
        donors=frozenset(_DONORS.get(name, ())),
        ignored=raw in _METADATA,
        reads=raw in _VALUE_READS,
        inplace=inplace and raw not in _METADATA,
        random=name in _RANDOM,
        expanded=function is torch.nn.functional.multi_head_attention_forward,
    )
