"""How much memory a run on real numbers takes, and how much there is."""

from __future__ import annotations

__all__ = ["available", "needed"]

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.records import Scenario

if TYPE_CHECKING:
    import torch

_COPIES = 3
"""float64 copies of one weight that a check holds at once: itself, its absolute values, a product."""

_MEMINFO = Path("/proc/meminfo")
_GROUP = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Limit and use of the container we may be in, in version 2 and version 1."""


def needed(module: torch.nn.Module, scenario: Scenario) -> int:
    """Bytes that checking `module` takes: its weights in the dtype of the run, and room to work in float64.

    >>> import torch
    >>> needed(torch.nn.Linear(8, 4, device="meta"), Scenario(batch=1, seq=2, dtype="bfloat16"))
    1352
    """
    import torch

    size: int = getattr(torch, scenario.dtype).itemsize
    weights = [parameter.numel() for parameter in module.parameters()]
    widest = max((max(parameter.shape, default=1) for parameter in module.parameters()), default=1)
    tokens = scenario.batch * (scenario.seq + scenario.past)
    return sum(weights) * size + _COPIES * 8 * max(weights, default=0) + 4 * 8 * tokens * widest


def available(device: str) -> int | None:
    """Free bytes on a device; None where nobody says.

    >>> available("cpu") > 0
    True
    """
    if device.partition(":")[0] == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return min(_free(), default=None)


def _free() -> Iterator[int]:
    """What the machine has left, and what the container we may be in has left."""
    with suppress(OSError, ValueError):
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        yield int(lines["MemAvailable"].split()[0]) * 1024
        for limit, used in _GROUP:
            with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
                yield max(0, int(limit.read_text()) - int(used.read_text()))
        return
    with suppress(OSError, ValueError, AttributeError):  # what sysconf knows differs from system to system
        yield os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
