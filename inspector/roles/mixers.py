"""Sequence mixers that are no attention: state-space models, linear attention, convolutions, recurrences.

A feed-forward treats each token by itself. A region in which tokens meet without a softmax is a mixer: its projections
and its convolution are named, what lies between is one declared `ssm.scan`.
"""

from __future__ import annotations

__all__ = ["name_mixer"]

from inspector.records import Op
from inspector.roles.context import Context
from inspector.roles.flow import Flow

_MIXING = frozenset("cumsum cumprod fft fftn rfft irfft scan associative_scan".split())


def name_mixer(context: Context, region: list[int]) -> bool:
    """Name the ops of `region` when tokens meet in it. Returns whether they do."""
    flow, parts = context.flow, context.parts
    ops = [flow.ops[index] for index in region if not parts.taken(index)]
    if any(parts[index].section == "attention" for index in region) or not any(_mixes(flow, op) for op in ops):
        return False
    weighted = [op for op in ops if flow.weighted[op.id] and not _is_convolution(op)]
    reached: set[int] = set()
    for op in ops:
        if _is_convolution(op) or _mixes(flow, op) or reached & set(op.inputs):
            reached.update(op.outputs)
    for op in weighted:
        later = any(other.id > op.id for other in weighted)
        role = "in_proj" if not reached & set(op.inputs) else "parameters" if later else "out_proj"
        parts.claim(flow.unit(op)[0], f"ssm.{role}", rule="projection of a region in which tokens meet")
    for op in ops:
        if op.id in context.norm_of or not flow.live[op.id] or parts.taken(op.id):
            continue
        role = "conv" if _is_convolution(op) else "activation" if _follows_convolution(flow, op) else "scan"
        parts.claim([op.id], f"ssm.{role}", rule="inside a region in which tokens meet")
    return True


def _mixes(flow: Flow, op: Op) -> bool:
    return op.name in _MIXING or flow.is_product(op) or _is_convolution(op)


def _is_convolution(op: Op) -> bool:
    """A convolution over the sequence, each channel by itself."""
    groups = op.attribute("groups")
    return op.name.startswith("conv") and isinstance(groups, int) and groups > 1


def _follows_convolution(flow: Flow, op: Op) -> bool:
    """The non-linearity right after the convolution, a cut to the sequence's length aside."""
    if op.name not in ("silu", "gelu", "relu") or not op.inputs:
        return False
    maker = flow.maker(flow.through(op.inputs[0], ("plumb", "view", "select")))
    return maker is not None and _is_convolution(maker)
