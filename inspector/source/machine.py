"""What this machine and torch can do of a scenario: sizes, dtype, device, weights, kernels."""

from __future__ import annotations

__all__ = ["arithmetic", "settle_machine"]

from dataclasses import replace

from inspector.errors import UsageError
from inspector.records import Plain, Scenario

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
_KNOWN_DTYPES = ("bfloat16", "float16", "float32", "float64")


def settle_machine(scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario with its device, dtype and weights fitting each other, and what was changed.

    >>> settled, notes = settle_machine(Scenario(dtype="fp32", weights="random"))
    >>> settled.dtype, settled.device, notes
    ('float32', 'cpu', ('device cpu, for weights have values',))
    """
    _check_sizes(scenario)
    _check_attention(scenario.attention)
    scenario = replace(scenario, dtype=_dtype(scenario.dtype))
    _check_device(scenario.device)
    if scenario.weights == "none" and scenario.device != "meta":
        return replace(scenario, weights="random"), (f"random weights, for {scenario.device} needs values",)
    if scenario.weights != "none" and scenario.device == "meta":
        return replace(scenario, device="cpu"), ("device cpu, for weights have values",)
    return scenario, ()


def arithmetic() -> tuple[tuple[str, Plain], ...]:
    """Settings of torch that change how numbers are added up.

    >>> dict(arithmetic())["float32_matmul_precision"]
    'highest'
    """
    import torch

    products = torch.backends.cuda.matmul
    flags: dict[str, Plain] = {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        flags |= {
            "allow_tf32": products.allow_tf32,
            "allow_bf16_reduced_precision_reduction": products.allow_bf16_reduced_precision_reduction,
            "allow_fp16_reduced_precision_reduction": products.allow_fp16_reduced_precision_reduction,
        }
    return tuple(flags.items())


def _check_sizes(scenario: Scenario) -> None:
    for name, size, least in (("batch", scenario.batch, 1), ("seq", scenario.seq, 1), ("past", scenario.past, 0)):
        if size < least:
            raise UsageError(f"--{name} is at least {least}, but got {size}")
    if scenario.padding not in ("none", "left", "right"):
        raise UsageError(f"--pad is none, left or right, but got {scenario.padding!r}")
    if scenario.weights not in ("none", "random", "checkpoint"):
        raise UsageError(f"weights are none, random or checkpoint, but got {scenario.weights!r}")


def _check_attention(name: str) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    # A name with a slash would fetch a kernel and run it.
    known = ["eager", *sorted(key for key in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in key)]
    if name not in known:
        why = f"transformers has {', '.join(known)}"
        raise UsageError(f"--attention {name} is not known", why=why, hint="eager and sdpa run on every machine")


def _dtype(name: str) -> str:
    full = _DTYPES.get(name, name).removeprefix("torch.")
    if full not in _KNOWN_DTYPES:
        raise UsageError(f"--dtype {name} is not known", why=f"one of {', '.join(_KNOWN_DTYPES)}")
    return full


def _check_device(name: str) -> None:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name} is not known", why="meta, cpu, cuda, cuda:1, mps, ...") from error
    if device.type in ("cpu", "meta"):
        return
    count = torch.accelerator.device_count() if _accelerator() == device.type else 0
    if not count:
        raise UsageError(f"--device {name}: this machine has none", hint="leave it out, or use --device cpu")
    if (device.index or 0) >= count:
        raise UsageError(f"--device {name}: this machine has {count} of them, counted from 0")


def _accelerator() -> str:
    """The kind of accelerator that is here, or ""."""
    import torch

    if not torch.accelerator.is_available():
        return ""
    return str(torch.accelerator.current_accelerator()).partition(":")[0]
