"""The small grammar of solved dimensions, apart from the solver so that reading one needs no torch."""

from __future__ import annotations

__all__ = ["UNSOLVED"]

UNSOLVED = "?"
"""Prefix of a dimension that did not solve: `?16` is a 16 that follows no form."""
