"""What the rules write: the part each op plays."""

from __future__ import annotations

__all__ = ["Part", "Parts"]

from collections.abc import Iterable
from typing import NamedTuple

from inspector.vocabulary import UNKNOWN


class Part(NamedTuple):
    """One op's part in the architecture.

    path: `section.role` or `unknown`. operand: "q", "k", "v" or "". layer: number of the block, or None outside blocks.
    also: further roles of an op that does several things at once. rule: the rule that decided, as evidence.
    """

    path: str
    operand: str = ""
    layer: int | None = None
    also: tuple[str, ...] = ()
    rule: str = ""

    @property
    def section(self) -> str:
        return self.path.partition(".")[0]

    @property
    def role(self) -> str:
        return self.path.partition(".")[2]


NOTHING = Part(UNKNOWN)


class Parts:
    """Side table op id -> `Part`. The first rule that claims an op keeps it."""

    def __init__(self, count: int) -> None:
        self._parts: list[Part | None] = [None] * count
        self.log: list[int] = []  # ops in the order in which they were claimed

    def __getitem__(self, op: int) -> Part:
        return self._parts[op] or NOTHING

    def __len__(self) -> int:
        return len(self._parts)

    def taken(self, op: int) -> bool:
        return self._parts[op] is not None

    def claim(
        self, ops: Iterable[int], path: str, operand: str = "", *, also: tuple[str, ...] = (), rule: str = ""
    ) -> None:
        """Give `path` to those of `ops` that have no part yet."""
        part = Part(path, operand, None, also, rule)
        for op in ops:
            if self._parts[op] is None:
                self._parts[op] = part
                self.log.append(op)

    def change(self, op: int, **fields: object) -> None:
        """Replace fields of a part that is there."""
        part = self._parts[op]
        if part is not None:
            self._parts[op] = part._replace(**fields)  # type: ignore[arg-type]

    def open(self) -> list[int]:
        """Ops without a part."""
        return [op for op, part in enumerate(self._parts) if part is None]
