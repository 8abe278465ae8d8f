"""Products of matrices: 2·m·n·k each, whatever kernel runs them.

Attention counts every query against every key, also where a causal mask hides half of them: the kernel may skip that
half, the architecture does not.
"""

from __future__ import annotations

__all__ = ["CONTRACTIONS"]

from math import isqrt, prod

from inspector.costs.cost import Cost, Formula, Shape, Shapes
from inspector.costs.einsum import einsum
from inspector.costs.pointwise import SOFTMAX_PASSES
from inspector.records import Op


def matmul(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """All six cases of `torch.matmul`, broadcast ones too: every output element is a sum over the left's last axis."""
    return Cost(contraction=2 * prod(outputs[0]) * inputs[0][-1])


def linear(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    bias = prod(outputs[0]) if len(inputs) > 2 else 0
    return Cost(2 * prod(outputs[0]) * inputs[0][-1], bias)


def added(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """`addmm`, `addmv`, `baddbmm`: a product, then one addition per output element, where anything is added."""
    return Cost(2 * prod(outputs[0]) * inputs[-2][-1], prod(outputs[0]) if len(inputs) > 2 else 0)


def addbmm(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    batch, _, inner = inputs[-2]
    return Cost(2 * batch * prod(outputs[0]) * inner, prod(outputs[0]) if len(inputs) > 2 else 0)


def outer(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    return Cost(contraction=2 * prod(outputs[0]))


def tensordot(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """Contracted axes are in both operands and not in the output, so `a·b / output` is their size squared."""
    size = prod(outputs[0])
    return Cost(contraction=2 * size * isqrt(prod(inputs[0]) * prod(inputs[1]) // size) if size else 0)


def grouped_mm(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """Each row visits one expert only: a ragged axis (one operand is 2-D) is cut into groups, not repeated for each."""
    left, right = inputs[0], inputs[1]
    groups = left[0] if len(left) == len(right) == 3 else 1
    return Cost(contraction=2 * groups * left[-2] * left[-1] * right[-1])


def convolution(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """A weight is (out channels, in channels / groups, *kernel): all but its first axis is summed over."""
    return _convolved(outputs[0], inputs, outputs)


def transposed_convolution(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """A weight is (in channels, out channels / groups, *kernel): each input element is spread over the rest."""
    return _convolved(inputs[0], inputs, outputs)


def _convolved(sites: Shape, inputs: Shapes, outputs: Shapes) -> Cost:
    bias = prod(outputs[0]) if len(inputs) > 2 else 0
    return Cost(2 * prod(sites) * prod(inputs[1][1:]), bias)


def attention(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """One fused kernel: queries times keys, scale, mask, softmax, then probabilities times values.

    The output has one row per query and query head, so grouped-query attention and broadcast batches need no case.
    """
    rows, keys = prod(outputs[0][:-1]), inputs[1][-2]
    masked = len(inputs) > 3 or bool(op.attribute("is_causal"))
    per_score = 1 + masked + SOFTMAX_PASSES
    return Cost(2 * rows * keys * (inputs[0][-1] + inputs[2][-1]), rows * keys * per_score)


CONTRACTIONS: dict[str, Formula] = {
    "linear": linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"), matmul),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), added),
    "addbmm": addbmm,
    **dict.fromkeys(("outer", "ger"), outer),
    "tensordot": tensordot,
    "einsum": einsum,
    "grouped_mm": grouped_mm,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed_convolution),
    "scaled_dot_product_attention": attention,
}
"""Canonical op name -> its formula."""
