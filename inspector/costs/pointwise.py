"""What is not a product of matrices, by one convention: count the passes, not the arithmetic inside them.

* A function of single elements is 1 per output element: `add`, `exp`, `gelu` and `where` alike.
* A reduction is 1 per input element: `sum`, `max`, `argmax`, `topk`.
* A fused function is the sum of its passes, as if it were written out: a softmax is max, subtract, exp, sum, divide.
  What it does once per row (the square root of a norm) is not counted.
* What adds into another tensor (`index_add`, `scatter_add`) is 1 per element added.
* Moving data is free: views, casts, copies, look-ups, tensors made from nothing; and dropout, idle in eval mode.
"""

from __future__ import annotations

__all__ = ["POINTWISE", "SOFTMAX_PASSES"]

from functools import partial
from math import prod

from inspector.costs.cost import FREE, Cost, Formula, Shapes
from inspector.records import Op

SOFTMAX_PASSES = 5

_ELEMENTWISE = """
abs acos acosh add addcdiv addcmul asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or
bitwise_right_shift bitwise_xor bucketize ceil celu clamp clamp_max clamp_min copysign cos cosh deg2rad digamma div
elu eq erf erfc erfinv exp exp2 expm1 float_power floor floor_divide floordiv fmax fmin fmod frac ge gelu gt
hardshrink hardsigmoid hardswish hardtanh heaviside i0 isclose isfinite isin isinf isnan le leaky_relu lerp lgamma log
log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor logit logsigmoid lshift lt masked_fill
maximum minimum mish mod mul nan_to_num ne neg polar positive pow prelu rdiv reciprocal relu relu6 remainder rfloordiv
rlshift rmod round rpow rrelu rrshift rshift rsqrt rsub searchsorted selu sgn sigmoid sign silu sin sinc sinh softplus
softshrink softsign sqrt square sub tan tanh tanhshrink threshold trunc where xlogy
""".split()

_REDUCTIONS = """
all aminmax any argmax argmin argsort bincount count_nonzero cummax cummin cumprod cumsum diff histc kthvalue
linalg_norm linalg_vector_norm logcumsumexp max mean median min mode msort norm prod sort sum topk unique
unique_consecutive
""".split()

_MOVES = """
adjoint alias alpha_dropout arange argwhere as_strided as_tensor atleast_1d atleast_2d atleast_3d block_diag bool
broadcast_tensors broadcast_to cartesian_prod cat chunk clone column_stack complex conj constant_pad_nd contains
contiguous copy detach diag diag_embed diagonal dropout dstack embedding empty empty_like empty_strided expand
expand_as eye feature_dropout fill flatten flip fliplr flipud from_numpy full full_like gather getitem hsplit hstack
imag index index_copy index_fill index_put index_select interpolate is_nonzero item linspace logspace masked_scatter
masked_select meshgrid moveaxis movedim mT narrow new_empty new_full new_ones new_tensor new_zeros nonzero normal
numpy one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle rand rand_like randint randn randn_like
randperm ravel real repeat repeat_interleave reshape reshape_as resolve_conj resolve_neg roll rot90 scalar_tensor
scatter select select_scatter setitem slice_scatter split split_with_sizes squeeze stack sync t take take_along_dim
tensor tensor_split tile to tolist transpose tril tril_indices triu triu_indices type_as unbind unflatten unfold
uniform unsafe_chunk unsafe_split unsqueeze vander view view_as view_as_complex view_as_real vsplit vstack zero zeros
zeros_like
""".split()

_FUSED = {
    "softmax": SOFTMAX_PASSES,
    "log_softmax": SOFTMAX_PASSES,
    "gumbel_softmax": SOFTMAX_PASSES + 1,
    "logsumexp": 4,  # max, subtract, exp, sum
    "var": 4,  # mean, subtract, square, mean
    "std": 4,
    "var_mean": 4,
    "normalize": 3,  # square, sum, divide
    "cosine_similarity": 6,  # a product and its sum; for each side a square and its sum
    "glu": 1,  # half of the input: a sigmoid and a product
}
"""Passes over the input."""

_NORMS = {
    "layer_norm": 5,  # mean, subtract, square, mean, scale
    "group_norm": 5,
    "instance_norm": 5,
    "rms_norm": 3,  # square, mean, scale
    "batch_norm": 0,  # in eval mode its statistics are operands too: subtract, scale
}
"""Passes over the input, and one more for each further operand: weight, bias, running statistics."""


def _free(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    return FREE


def _elementwise(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    return Cost(other=prod(outputs[0]))


def _reduction(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """`max` of two tensors is no reduction but broadcasts, and then the output is the larger one."""
    return Cost(other=max(prod(inputs[0]), prod(outputs[0])))


def _passes(op: Op, inputs: Shapes, outputs: Shapes, *, count: int) -> Cost:
    return Cost(other=count * prod(inputs[0]))


def _norm(op: Op, inputs: Shapes, outputs: Shapes, *, count: int) -> Cost:
    return Cost(other=(count + len(inputs) - 1) * prod(inputs[0]))


def _accumulation(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    return Cost(other=prod(inputs[-1]))


def _triangular_solve(op: Op, inputs: Shapes, outputs: Shapes) -> Cost:
    """Half of the matrix times the solution, a multiply and an add each."""
    return Cost(other=prod(outputs[0]) * inputs[0][-1])


POINTWISE: dict[str, Formula] = {
    **dict.fromkeys(_MOVES, _free),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("index_add", "index_reduce", "scatter_add", "scatter_reduce"), _accumulation),
    **{name: partial(_passes, count=count) for name, count in _FUSED.items()},
    **{name: partial(_norm, count=count) for name, count in _NORMS.items()},
    "linalg_solve_triangular": _triangular_solve,
}
"""Canonical op name -> its formula."""
