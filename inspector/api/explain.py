"""`shapes(..., explain=True)`: every product of matrices in words."""

from __future__ import annotations

__all__ = ["Explained"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.api.results import Shapes

if TYPE_CHECKING:
    from inspector.render.document import Document
    from inspector.shape_table.rows import ShapeRow


@dataclass(frozen=True, slots=True, repr=False)
class Explained(Shapes):
    """The products of matrices of one run: which axes are walked in step, which are used again, which are summed.

    >>> import torch, inspector
    >>> found = inspector.shapes(torch.matmul, (torch.ones(2, 3, 4), torch.ones(4, 5)), explain=True)
    >>> found.products[0].signature.text, found.products[0].signature.broadcast
    ('2 3 4, 4 5 -> 2 3 5', ('2',))
    """

    @property
    def products(self) -> tuple[ShapeRow, ...]:
        """The rows that multiply matrices; equal blocks are folded."""
        from inspector.reporting.explain_view import products

        return products(self.table)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What each of them does."""
        from inspector.reporting.explain_view import sentence

        return tuple(map(sentence, self.products))

    def document(self) -> Document:
        from inspector.reporting.explain_view import document

        return document(self.table)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.explain_view import envelope

        return envelope(self.table)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.explain_view import records

        return records(self.table)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        return f"<Explained {visible(self.table.model.name)}: {counted(len(self.products), 'product')}>"
