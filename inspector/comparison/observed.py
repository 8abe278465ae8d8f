"""What a side shows of each thing that a rule speaks of: fact id or `graph.*` -> value.

Facts are those of the fact sheet; `graph.*` is read from the stages, for it is about how they are laid out and written.
None means that the side has nothing to say: rules about rotary bases are silent where nothing rotates. A value that
differs from one kind of block to the next is a tuple, one entry per kind, in order of depth.
"""

from __future__ import annotations

__all__ = ["READERS", "observed"]

import re
from collections.abc import Callable, Iterable

from inspector.alignment.parts import Part, Scope, Side
from inspector.comparison.maths import formula
from inspector.records import Plain

_MIXERS = ("attention", "cross_attention")


def observed(side: Side) -> dict[str, Plain]:
    """All facts of a side, in the form in which two sides are compared, and what `READERS` see.

    >>> from inspector.records import ModelInfo, Scenario
    >>> from inspector.stage_graph.record import GraphFact
    >>> part = Part("model.head.lm_head", "head.lm_head")
    >>> facts = (GraphFact("norm.eps", 1e-05, layers="0"), GraphFact("norm.eps", 1e-06, layers="head"))
    >>> seen = observed(Side(ModelInfo("m", None, "M", 0, 0), Scenario(), (Scope("head", (part,)),), facts=facts))
    >>> seen["norm.eps"], seen["graph.lm_head"]
    ((1e-05, 1e-06), True)
    """
    values: dict[str, list[Plain]] = {}
    for fact in side.facts:
        read = COMPARED.get(fact.id)
        values.setdefault(fact.id, []).append(read(side, fact.value) if read else _worded(fact.value))
    found = {name: _folded(said) for name, said in values.items()}
    found |= {name: reader(side) for name, reader in READERS.items()}
    return found | {name: _folded(read(block) for block in side.blocks) for name, read in BLOCK_READERS.items()}


def _folded(values: Iterable[Plain]) -> Plain:
    """One value where all kinds of block agree."""
    distinct = tuple(dict.fromkeys(value for value in values if value is not None))
    return distinct[0] if len(distinct) == 1 else distinct or None


# facts


def _worded(value: Plain) -> Plain:
    """A fact that is not there is silent; one that says "none" is not."""
    return "none" if value is None else value


def _factor(letter: str) -> Callable[[Side, Plain], Plain]:
    """By what is multiplied: one where nothing is, `1/sqrt(K)` where it follows from a size."""

    def read(side: Side, value: Plain) -> Plain:
        factor = float(f"{value:.6g}") if isinstance(value, (int, float)) else 1.0
        return factor if factor == 1.0 else formula(factor, letter, side.sizes.get(letter, ()))

    return read


def _pattern(side: Side, value: Plain) -> Plain:
    """The kinds of block and how they alternate, without the number of repeats: depth is another matter."""
    if len(side.blocks) < 2:
        return "one kind"
    return re.sub(r"(?:^|(?<=\+ ))\d+ | x\d+", "", str(value))


def _scaling(side: Side, value: Plain) -> Plain:
    """`linear, factor 2`; "none" where the frequencies are the plain ones."""
    if not isinstance(value, tuple):
        return value
    if value == ("default",):
        return "none"
    factors = [f"{pair[0]} {pair[1]:g}" for pair in value[1:] if isinstance(pair, tuple) and isinstance(pair[1], float)]
    return ", ".join((str(value[0]), *factors))


COMPARED: dict[str, Callable[[Side, Plain], Plain]] = {
    "model.layer_pattern": _pattern,
    "attention.scale": _factor("K"),
    "embedding.scale": _factor("D"),
    "head.scale": _factor("D"),
    "moe.scale": lambda side, value: float(f"{value:.6g}") if isinstance(value, (int, float)) else value,
    "position.rope.fraction": lambda side, value: round(value, 4) if isinstance(value, float) else value,
    "position.rope.scaling": _scaling,
}
"""Fact -> the form in which it is compared, where that is not its value."""


# stages


def _parts(scope: Scope | Side, *paths: str) -> list[Part]:
    """Stages of these role paths; a path that begins with a dot is a role in any section."""
    return [part for part in scope.parts if part.path in paths or f".{part.role}" in paths]


def _there(*paths: str) -> Callable[[Side], Plain]:
    return lambda side: bool(_parts(side, *paths))


def _table(side: Side) -> Plain:
    rows = [part.weights[0][0] for part in _parts(side, "embedding.position") if part.weights]
    return int(rows[0]) if rows and rows[0].isdigit() else None


def _numbering(side: Side) -> Plain:
    said = [(part.get("first"), part.get("padding")) for part in _parts(side, "embedding.position")]
    return f"from {said[0][0]}, padding {said[0][1]}" if said and said[0][0] is not None else None


def _projected(side: Side) -> Plain:
    """How weights are stored: a linear layer's (out, in), or (in, out)."""
    weighted = [part for part in side.parts if part.get("bias") is not None and part.role.endswith("_proj")]
    ways = {
        "(in, out)" if "addmm" in part.spelling or part.spelling.startswith("matmul") else "(out, in)"
        for part in weighted
    }
    return " and ".join(sorted(ways)) or None


def _kernel(side: Side) -> Plain:
    return "one kernel" if _parts(side, ".fused") else "step by step" if _parts(side, ".scores") else None


def _embedded(side: Side) -> Plain:
    """The width in which tokens are looked up: that of the model, or a number."""
    axes = [shape[-1] for part in _parts(side, "embedding.token") for shape in part.shapes[:1] if shape]
    width = _folded(side.sizes.get("D", ()))
    return _folded(
        f"its own, {axis}" if axis.isdigit() and int(axis) != width else "that of the model" for axis in axes
    )


def _movement(side: Side) -> Plain:
    names = {part.name for part in side.parts if part.role in ("split_heads", "merge_heads")}
    return ", ".join(sorted(name.partition(".")[2] for name in names)) or None


def _dropout(side: Side) -> Plain:
    """Sections with idle dropout; that of the softmax is inside the kernel where attention is one."""
    places = (part for part in side.parts if part.role == "dropout" and "attention.softmax" not in part.feeds)
    return tuple(dict.fromkeys(part.section for part in places)) or "none"


READERS: dict[str, Callable[[Side], Plain]] = {
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
"""What the whole side shows of its layout."""


def _sublayers(block: Scope) -> Plain:
    sections = dict.fromkeys(part.section for part in block.parts)
    return " + ".join(name for name in (*_MIXERS, "ssm", "mlp", "moe", "indexer") if name in sections) or None


def _block_scale(block: Scope) -> Plain:
    return _folded(part.get("factor") for part in _parts(block, "block.scale")) or "none"


def _shared_norm(block: Scope) -> Plain:
    """In a parallel block: whether attention and feed-forward read one normalised stream."""
    entries = [part for part in block.parts if part.section in ("mlp", "moe") and part.role != "residual"]
    joined = {f"{section}.{role}" for section in _MIXERS for role in ("residual", "post_norm")}
    parallel = _parts(block, ".o_proj") and entries and not any(joined & set(part.feeds) for part in entries)
    return not _parts(block, "mlp.norm", "moe.norm") if parallel else None


BLOCK_READERS: dict[str, Callable[[Scope], Plain]] = {
    "graph.sublayers": _sublayers,
    "graph.block_scale": _block_scale,
    "graph.shared_norm": _shared_norm,
}
"""What one kind of block shows of its layout."""
