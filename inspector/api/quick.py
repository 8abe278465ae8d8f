"""Python's collector, out of the way while a verb names and compares thousands of ops."""

from __future__ import annotations

__all__ = ["uncollected"]

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: with torch and transformers in memory each takes a fifth of a second.

    >>> with uncollected():
    ...     gc.isenabled()
    False
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
