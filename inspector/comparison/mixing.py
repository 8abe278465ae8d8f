"""What a kind of block shows of its attention and its positions."""

from __future__ import annotations

__all__ = ["READERS"]

from collections.abc import Callable
from math import prod

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.look import MIXERS, folded, has, parts, said, size
from inspector.records import Plain


def _masks(block: Scope) -> list[Part]:
    return [
        part for part in block.parts if part.section in MIXERS and part.role in ("mask", "fused") and part.get("kind")
    ]


_DIRECTIONS = {"causal": "causal", "sliding": "causal", "chunked": "causal", "full": "bidirectional"}


def _direction(side: Side, block: Scope) -> Plain:
    kinds = [str(part.get("kind")) for part in _masks(block) if part.section == "attention"]
    return folded(_DIRECTIONS.get(kind, "bidirectional" if "bidirectional" in kind else None) for kind in kinds)


def _window(side: Side, block: Scope) -> Plain:
    """How far a token looks, and whether that slides or jumps; `none` where the mask is known to be unlimited."""
    kinds = _masks(block)
    if not kinds:
        return None
    return folded(f"{part.get('kind')} {part.get('size')}" if part.get("size") else "none" for part in kinds)


def _kind(side: Side, block: Scope) -> Plain:
    if not has(block, ".scores", ".fused"):
        return "linear" if has(block, "ssm.scan", "ssm.state_update", "ssm.in_proj") else None
    if has(block, "attention.kv_up"):
        return "mla"
    heads, shared = size(side, "H"), _kv_heads(side, block)
    if not isinstance(heads, int) or not isinstance(shared, int):
        return None
    return "mha" if heads == shared else "mqa" if shared == 1 else "gqa"


def _kv_heads(side: Side, block: Scope) -> Plain:
    """Heads of keys before they are shared among queries; None where they are shared in a way that is not read here."""
    if not has(block, ".scores", ".fused"):
        return None
    keys = [
        part for part in block.parts if part.operand == "k" and part.role in ("split_heads", "rope", "cache_update")
    ]
    if any("1" in shape[1:3] for part in keys for shape in part.shapes[:1] if len(shape) == 4):
        return 1
    if "G" in side.sizes or not has(block, ".repeat_kv"):
        return size(side, "G") or size(side, "H")
    cut = [shape for part in block.parts if part.name.endswith("split_qkv.k") for shape in part.shapes[:1]]
    numbers = [int(axis) for shape in cut for axis in shape if axis.isdigit()]
    return prod(numbers) if numbers else None


def _scale(side: Side, block: Scope) -> Plain:
    if not has(block, "attention.scores", "attention.fused"):
        return None
    factors = [part.get("factor") for part in parts(block, "attention.scale", "attention.fused")]
    return folded(factors) or 1.0


def _qkv(side: Side, block: Scope) -> Plain:
    roles = {part.role for part in block.parts if part.section == "attention"}
    ways = (("low-rank", "kv_down"), ("fused", "qkv_proj"), ("kv-fused", "kv_proj"), ("separate", "k_proj"))
    return next((way for way, role in ways if role in roles), None)


def _qk_norm(side: Side, block: Scope) -> Plain:
    if not has(block, "attention.scores", "attention.fused"):
        return None
    norms = parts(block, "attention.q_norm", "attention.k_norm")
    if not norms:
        return "none"
    axes = {letter for part in norms for shape in part.weights for axis in shape for letter in axis.split("·")}
    width = "full" if axes & {"H", "G"} else "head"
    order = [part.role for part in block.parts if part.role in ("q_norm", "rope")]
    when = (
        "" if "rope" not in order else " before-rope" if order.index("q_norm") < order.index("rope") else " after-rope"
    )
    return f"{norms[0].get('kind')}/{width}{when}" if "q_norm" in order else f"{norms[0].get('kind')}/{width}"


def _cap(side: Side, block: Scope) -> Plain:
    return said(parts(block, "attention.softcap"), "cap") or ("none" if has(block, ".scores") else None)


def _attends(*paths: str) -> Callable[[Side, Scope], Plain]:
    """Whether a block with attention has such a stage."""
    return lambda side, block: has(block, *paths) if has(block, ".scores", ".fused") else None


def _softmax(side: Side, block: Scope) -> Plain:
    return said(parts(block, "attention.softmax"), "dtype")


def _position(side: Side, block: Scope) -> Plain:
    if has(block, ".rope"):
        return "rope"
    if has(side, "positions.alibi"):
        return "alibi"
    if has(block, ".position_bias") or has(side, "positions.relative_bias"):
        return "relative"
    tables = parts(side, "embedding.position")
    if tables:
        return "learned" if any(part.get("learned") for part in tables) else "sinusoidal"
    return "none" if has(block, ".scores", ".fused") else None


READERS: dict[str, Callable[[Side, Scope], Plain]] = {
    "attention.direction": _direction,
    "attention.window": _window,
    "attention.kind": _kind,
    "attention.kv_heads": _kv_heads,
    "attention.scale": _scale,
    "attention.qkv": _qkv,
    "attention.qk_norm": _qk_norm,
    "attention.softcap": _cap,
    "attention.sinks": _attends(".sink"),
    "attention.gate": _attends("attention.gate"),
    "attention.softmax_dtype": _softmax,
    "position.kind": _position,
}
"""Id -> what one kind of block shows."""
