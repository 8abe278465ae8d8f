"""What a kind of block shows of its norms, its feed-forward and its experts."""

from __future__ import annotations

__all__ = ["READERS"]

from collections.abc import Callable

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.look import MIXERS, folded, has, parts, said, size
from inspector.records import Plain


def _sublayers(side: Side, block: Scope) -> Plain:
    sections = dict.fromkeys(part.section for part in block.parts)
    return " + ".join(name for name in (*MIXERS, "ssm", "mlp", "moe", "indexer") if name in sections) or None


def _placement(side: Side, block: Scope) -> Plain:
    found = {
        _place([part for part in block.parts if part.section == section])
        for section in ("attention", "mlp", "moe", "ssm")
    }
    return folded(sorted(found - {""})) or "none"


def _place(parts: list[Part]) -> str:
    """pre, post, sandwich or output of one sublayer; "" where it has no norm of its own."""
    before = any(part.role == "norm" for part in parts)
    after = [part for part in parts if part.role == "post_norm"]
    inside = any(not any(name.endswith(".residual") for name in part.feeds) for part in after)
    if after:
        return "sandwich" if before else "output" if inside else "post"
    return "pre" if before else ""


def _gated(side: Side, block: Scope) -> Plain:
    if not has(block, "mlp.down_proj", "moe.expert_down"):
        return None
    return has(block, "mlp.multiply", "moe.expert_multiply", "mlp.gate_proj", "mlp.up_gate_proj")


def _activation(side: Side, block: Scope) -> Plain:
    return said(parts(block, "mlp.activation", "moe.expert_activation"), "function")


_FEEDS = (
    *("up_proj", "gate_proj", "up_gate_proj", "down_proj"),
    *("router", "expert_up", "expert_gate", "expert_down"),
)


def _bias(*roles: str) -> Callable[[Side, Scope], Plain]:
    """All, none, or which of these projections add a bias."""

    def read(side: Side, block: Scope) -> Plain:
        parts = [part for part in block.parts if part.role in roles and part.get("bias") is not None]
        biased = [part for part in parts if part.get("bias")]
        if len(biased) in (0, len(parts)):
            return bool(biased) if parts else None
        return ", ".join(dict.fromkeys(part.operand or part.role for part in biased))

    return read


def _layout(side: Side, block: Scope) -> Plain:
    feeds = {name for part in block.parts if part.section in ("mlp", "moe") for name in part.feeds}
    if not feeds or not has(block, ".o_proj"):
        return None
    joined = {f"{section}.{role}" for section in MIXERS for role in ("residual", "post_norm")}
    entries = [part for part in block.parts if part.section in ("mlp", "moe") and part.role != "residual"]
    return "sequential" if any(joined & set(part.feeds) for part in entries) else "parallel"


def _experts(side: Side, block: Scope) -> Plain:
    sizes = [shape[-1] for part in parts(block, "moe.router") for shape in part.shapes[:1] if shape]
    return int(sizes[0]) if sizes and sizes[0].isdigit() else size(side, "E") if sizes else None


def _router(side: Side, block: Scope) -> Plain:
    order = [part for part in block.parts if part.path in ("moe.router_score", "moe.top_k")]
    scores = [part for part in order if str(part.get("function")) in ("softmax", "sigmoid")]
    if not scores or not has(block, "moe.top_k"):
        return None
    if scores[0].get("function") == "sigmoid":
        return "sigmoid"
    first = [part.role for part in order].index("top_k") > order.index(scores[0])
    return "softmax-then-topk" if first else "topk-then-softmax"


def _shared_norm(side: Side, block: Scope) -> Plain:
    """In a parallel block: whether attention and feed-forward read one normalised stream."""
    return not has(block, "mlp.norm", "moe.norm") if _layout(side, block) == "parallel" else None


READERS: dict[str, Callable[[Side, Scope], Plain]] = {
    "graph.sublayers": _sublayers,
    "graph.block_scale": lambda side, block: said(parts(block, "block.scale"), "factor") or "none",
    "graph.shared_norm": _shared_norm,
    "norm.placement": _placement,
    "mlp.gated": _gated,
    "mlp.activation": _activation,
    "bias.qkv": _bias("q_proj", "k_proj", "v_proj", "qkv_proj", "kv_proj"),
    "bias.o": _bias("o_proj"),
    "bias.mlp": _bias(*_FEEDS),
    "block.layout": _layout,
    "moe.experts": _experts,
    "moe.active": lambda side, block: said(parts(block, "moe.top_k"), "k"),
    "moe.shared": lambda side, block: (
        any(p.weights for p in parts(block, "moe.shared_expert")) if has(block, "moe.router") else None
    ),
    "moe.router": _router,
}
"""Id -> what one kind of block shows."""
