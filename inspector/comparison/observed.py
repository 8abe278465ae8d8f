"""What a side shows of each thing that a rule speaks of: fact id or `graph.*` -> value.

None means that the side has nothing to say: rules about rotary bases are silent where nothing rotates. A value that
differs from one kind of block to the next is a tuple, one entry per kind, in order of depth.
"""

from __future__ import annotations

__all__ = ["observed"]

import re
from collections.abc import Callable

from inspector.alignment.parts import Part, Side
from inspector.comparison import feeding, mixing
from inspector.comparison.look import folded, has, parts, said, size
from inspector.records import Plain

_NORMS = ("norm", "post_norm")


def observed(side: Side) -> dict[str, Plain]:
    """The value of everything in `READERS`.

    >>> from inspector.alignment.parts import Scope
    >>> from inspector.records import ModelInfo, Scenario
    >>> part = Part("model.embedding.segment", "embedding.segment")
    >>> observed(Side(ModelInfo("m", None, "M", 0, 0), Scenario(), (Scope("stem", (part,)),)))["embedding.segments"]
    True
    """
    found: dict[str, Plain] = {name: reader(side) for name, reader in READERS.items()}
    for name, block_reader in (mixing.READERS | feeding.READERS).items():
        found[name] = folded(block_reader(side, block) for block in side.blocks)
    return found


def _family(side: Side) -> Plain:
    if has(side, "cross_attention.scores", "cross_attention.fused"):
        return "encoder-decoder"
    return {"causal": "decoder", "bidirectional": "encoder"}.get(str(_direction_of(side)))


def _direction_of(side: Side) -> Plain:
    return folded(mixing.READERS["attention.direction"](side, block) for block in side.blocks)


def _pattern(side: Side) -> Plain:
    """The kinds of block and how they alternate, without the number of repeats: depth is another matter."""
    if len(side.blocks) < 2:
        return "one kind" if side.blocks else None
    return re.sub(r"(?:^|(?<=\+ ))\d+ | x\d+", "", side.pattern)


def _fraction(side: Side) -> Plain:
    pairs, width = said(parts(side, "positions.rope_table"), "_pairs"), size(side, "K")
    return round(2 * pairs / width, 4) if isinstance(pairs, int) and isinstance(width, int) else None


def _scaling(side: Side) -> Plain:
    tables = parts(side, "positions.rope_table")
    return folded(part.get("scaling") for part in tables)


def _table(side: Side) -> Plain:
    rows = [part.weights[0][0] for part in parts(side, "embedding.position") if part.weights]
    return int(rows[0]) if rows and rows[0].isdigit() else None


def _numbering(side: Side) -> Plain:
    said = [(part.get("first"), part.get("padding")) for part in parts(side, "embedding.position")]
    return f"from {said[0][0]}, padding {said[0][1]}" if said and said[0][0] is not None else None


def _norms(side: Side) -> list[Part]:
    paths = [f".{role}" for role in _NORMS]
    return parts(side, *paths)


def _of_norms(name: str) -> Callable[[Side], Plain]:
    def read(side: Side) -> Plain:
        values = sorted({part.get(name) for part in _norms(side) if not part.idle} - {None}, key=repr)
        return values[0] if len(values) == 1 else tuple(values) or None

    return read


def _feed_width(side: Side) -> Plain:
    """The feed-forward's width, or an expert's where there is no other."""
    axes = [shape[-1] for part in parts(side, "moe.expert_activation") for shape in part.shapes[:1] if shape]
    return size(side, "F") or folded(int(axis) for axis in axes if axis.isdigit())


def _projected(side: Side) -> Plain:
    """How weights are stored: a linear layer's (out, in), or (in, out)."""
    weighted = [part for part in side.parts if part.get("bias") is not None and part.role.endswith("_proj")]
    ways = {
        "(in, out)" if "addmm" in part.spelling or part.spelling.startswith("matmul") else "(out, in)"
        for part in weighted
    }
    return " and ".join(sorted(ways)) or None


def _kernel(side: Side) -> Plain:
    return "one kernel" if has(side, ".fused") else "step by step" if has(side, ".scores") else None


def _embedded(side: Side) -> Plain:
    """The width in which tokens are looked up: that of the model, or a number."""
    axes = [shape[-1] for part in parts(side, "embedding.token") for shape in part.shapes[:1] if shape]
    return folded(
        f"its own, {axis}" if axis.isdigit() and int(axis) != size(side, "D") else "that of the model" for axis in axes
    )


def _movement(side: Side) -> Plain:
    names = {part.name for part in side.parts if part.role in ("split_heads", "merge_heads")}
    return ", ".join(sorted(name.partition(".")[2] for name in names)) or None


def _there(*paths: str) -> Callable[[Side], Plain]:
    return lambda side: has(side, *paths)


def _dropout(side: Side) -> Plain:
    """Sections with idle dropout; that of the softmax is inside the kernel where attention is one."""
    places = (part for part in side.parts if part.role == "dropout" and "attention.softmax" not in part.feeds)
    return tuple(dict.fromkeys(part.section for part in places)) or "none"


READERS: dict[str, Callable[[Side], Plain]] = {
    "model.family": _family,
    "model.layers": lambda side: side.depth,
    "model.width": lambda side: size(side, "D"),
    "model.vocabulary": lambda side: size(side, "V"),
    "model.layer_pattern": _pattern,
    "attention.heads": lambda side: size(side, "H"),
    "attention.head_dim": lambda side: size(side, "K"),
    "attention.cross": _there("cross_attention.scores", "cross_attention.fused"),
    "position.rope.theta": lambda side: said(parts(side, "positions.rope_table"), "theta"),
    "position.rope.fraction": _fraction,
    "position.rope.layout": lambda side: said(parts(side, ".rope"), "layout"),
    "position.rope.scaling": _scaling,
    "norm.kind": _of_norms("kind"),
    "norm.eps": _of_norms("eps"),
    "norm.bias": _of_norms("bias"),
    "norm.affine": _of_norms("affine"),
    "norm.offset": _of_norms("offset"),
    "norm.final": _there("head.norm"),
    "mlp.width": _feed_width,
    "embedding.norm": _there("embedding.norm"),
    "embedding.scale": lambda side: said(parts(side, "embedding.scale"), "factor") or 1.0,
    "embedding.segments": _there("embedding.segment"),
    "embedding.tied": lambda side: said(parts(side, "head.lm_head"), "_tied"),
    "bias.lm_head": lambda side: said(parts(side, "head.lm_head"), "bias"),
    "head.softcap": lambda side: said(parts(side, "head.softcap"), "cap") or "none",
    "head.scale": lambda side: said(parts(side, "head.scale"), "factor") or 1.0,
    "graph.lm_head": _there("head.lm_head"),
    "graph.pooler": _there("head.pooler"),
    "graph.head_transform": _there("head.transform"),
    "graph.cache": _there(".cache_update"),
    "graph.dropout": _dropout,
    "graph.position_table": _table,
    "graph.position_ids": _numbering,
    "graph.storage": _projected,
    "graph.kernel": _kernel,
    "graph.embedding_width": _embedded,
    "graph.movement": _movement,
    "graph.embedding_projection": _there("embedding.projection"),
}
"""What the whole side shows."""
