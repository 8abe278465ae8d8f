"""Why two spellings are one function, where no numbers were run: what is known of the ops that were recorded."""

from __future__ import annotations

__all__ = ["equality"]

from collections.abc import Callable

from inspector.comparison.changes import Row

BY_FORM: dict[str, str] = {
    "kernel": "softmax(scale · q kᵀ + mask) v on both sides, with the same scale and the same mask",
    "qkv": "one product with stacked rows is the products one by one",
    "kv": "one product with stacked rows is the products one by one",
    "up_gate": "one product with stacked rows is the products one by one",
    "heads": "no head reads another, and each has rows of its own in the weights of all",
    "scale": "s (q kᵀ) = (s q) kᵀ",
    "mask": "both masks hide the same keys",
    "joined": "only views lie between",
}

_STORED = "x W + b on both sides, the weight stored (in, out) on one and (out, in) on the other"
_NORM = "the same formula with the same eps, one kernel or step by step"
_FUNCTION = "the recorded ops give the same function of one number"
_MOVED = "only data movement, and the same shape at the end"
_PRODUCT = "the same product: the same axes of the same operands are summed"
_FACTOR = "the same factor"
_TABLE = "computed without weights, and read in the same way"
_UNREAD = "nothing reads it"

BY_ROLE: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda role: role.endswith("_proj") or role in ("lm_head", "pooler", "router"), _STORED),
    (lambda role: role.endswith("norm"), _NORM),
    (lambda role: role.endswith("activation") or role == "softcap", _FUNCTION),
    (lambda role: role in ("scores", "weighted_sum", "expert_up", "expert_gate", "expert_down"), _PRODUCT),
    (lambda role: role == "scale", _FACTOR),
    (lambda role: role in ("ids", "build", "rope_table", "alibi", "sinusoid", "segment"), _TABLE),
    (lambda role: role == "unused", _UNREAD),
    (lambda _: True, _MOVED),
)


def equality(row: Row) -> str:
    """The reason in words, for a row that is written otherwise.

    >>> equality(Row("r", "re-expressed", (), (), (), "", 1.0, form="scale"))
    's (q kᵀ) = (s q) kᵀ'
    """
    if row.form:
        return BY_FORM.get(row.form, _MOVED)
    return next(said for fits, said in BY_ROLE if fits(row.parts[0].role))
