"""The axes of a transformer's tensors, written once.

Every symbolic shape, table and picture uses these letters and no others. A dimension is named by the op that made it
and the part that op plays, never by matching numbers: 768 can be `D` or `H·K`, and in GPT-2 it is both.
"""

from __future__ import annotations

__all__ = ["AXES", "Axis"]

from typing import NamedTuple


class Axis(NamedTuple):
    """One axis: its letter, its name, and what it counts."""

    symbol: str
    name: str
    meaning: str


AXES: dict[str, Axis] = {
    axis.symbol: axis
    for axis in (
        Axis("B", "batch", "sequences in the batch"),
        Axis("S", "sequence", "new tokens of this forward (queries)"),
        Axis("P", "past", "tokens already in the KV cache"),
        Axis("T", "keys", "past + sequence: what the queries can look at"),
        Axis("D", "width", "model width (hidden size)"),
        Axis("H", "heads", "query heads"),
        Axis("G", "kv heads", "key/value heads"),
        Axis("K", "head dim", "size of one query/key head"),
        Axis("Kv", "value head dim", "size of one value head, where it differs"),
        Axis("F", "feed-forward", "feed-forward width"),
        Axis("V", "vocabulary", "rows of the token table"),
        Axis("E", "experts", "experts of a mixture"),
        Axis("A", "active experts", "experts that one token visits"),
        Axis("N", "state", "SSM or linear-attention state size"),
        Axis("R", "rank", "width of a low-rank (latent) projection"),
    )
}
