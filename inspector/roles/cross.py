"""Cross-attention: the keys and values come from another stream than the queries."""

from __future__ import annotations

__all__ = ["name_cross_attentions"]

from inspector.roles.context import Context
from inspector.roles.flow import FUSED_ATTENTION as FUSED
from inspector.roles.trunk import Residual

_QUERIES = frozenset({"attention.q_proj", "attention.q_down"})
_PRODUCTS = frozenset({"attention.scores", "attention.fused"})
_KEYS = frozenset({"attention.k_proj", "attention.kv_proj", "attention.kv_down"})


def name_cross_attentions(context: Context) -> None:
    """Rename the attentions whose keys are projected from something that the queries' stream is not made of.

    Those of a cache to which nothing is added are another sequence's: a token of one's own would have its key there.
    """
    parts = context.parts
    streams = _streams(context)
    for ops in _by_region(context):
        paths = {op: parts[op].path for op in ops}
        products = [(op, path) for op, path in paths.items() if context.flow.weighted[op]]
        queries = {_stream(context, op, streams) for op, path in products if path in _QUERIES}
        keys = {_stream(context, op, streams) for op, path in products if path in _KEYS}
        if not keys:  # the latent was made before, once for all blocks
            keys = {_behind_latent(context, op, streams) for op, path in products if path == "attention.kv_up"}
        if (len(queries) == len(keys) == 1 and queries != keys) or (queries and not keys and _are_kept(context, ops)):
            for op, path in paths.items():
                if path.startswith("attention."):
                    parts.change(op, path=f"cross_{path}", also=tuple(f"cross_{role}" for role in parts[op].also))


def _are_kept(context: Context, ops: list[int]) -> bool:
    """Whether the keys enter the forward as they are."""
    flow = context.flow
    products = [flow.ops[op] for op in ops if context.parts[op].path in _PRODUCTS]
    multiplied = [value for op in products for value in op.inputs[:2] if flow.is_product(op) or op.name == FUSED]
    roots = (flow.values[flow.through(value, ("plumb", "view"))] for value in multiplied)
    return any(root.kind == "input" and flow.on_act(root.id) for root in roots)


def _by_region(context: Context) -> list[list[int]]:
    """The ops of attention in each outer region. Keys may be projected before the region, once for all blocks."""
    outer = [residual for residual in context.residuals if not residual.nested]
    return [[op for op in residual.region if context.parts.taken(op)] for residual in outer]


def _streams(context: Context) -> dict[int, int]:
    """Value of the stream -> the value that its first block took in."""
    streams: dict[int, int] = {}
    for residual in context.residuals:
        if residual.nested:
            continue
        first = _first(residual)
        streams.update({residual.skip: first, residual.result: first})
    return streams


def _first(residual: Residual) -> int:
    while residual.parent is not None:
        residual = residual.parent
    return residual.skip


def _behind_latent(context: Context, op: int, streams: dict[int, int]) -> int:
    """Which stream the projection reads that made the latent."""
    flow = context.flow
    latent = _stream(context, op, streams)
    maker = flow.maker(latent)
    return latent if maker is None or not flow.weighted[maker.id] else _stream(context, maker.id, streams)


def _stream(context: Context, op: int, streams: dict[int, int]) -> int:
    """Which stream a projection reads: back over norms, views and plumbing. A value on no stream stands for itself."""
    flow = context.flow
    value = flow.unit(flow.ops[op])[1] if flow.weighted[op] else flow.ops[op].inputs[0]
    for _ in range(12):
        if value in streams:
            return streams[value]
        norm = context.norm_into.get(value)
        before = norm.source if norm is not None else flow.through(value, ("plumb", "view", "select"))
        if before == value:
            break
        value = before
    return value
