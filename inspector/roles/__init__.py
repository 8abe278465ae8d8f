"""Names every op by its part in the architecture, from the dataflow alone."""

from __future__ import annotations

__all__ = ["Part", "Parts", "infer"]

from inspector.roles.infer import infer
from inspector.roles.parts import Part, Parts
