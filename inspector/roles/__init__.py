"""Names every op by its part in the architecture, from the dataflow alone."""

from __future__ import annotations

__all__ = ["Naming", "Part", "Parts", "infer"]

from inspector.roles.infer import Naming, infer
from inspector.roles.parts import Part, Parts
