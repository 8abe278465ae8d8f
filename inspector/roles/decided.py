"""What is added on the activation plane and is no stream: masks that the tokens decide, biases of their scores."""

from __future__ import annotations

__all__ = ["is_decided", "is_scores"]

from inspector.records import Op
from inspector.roles.flow import Flow

_COMPARING = frozenset("le lt ge gt eq ne".split())
_FILLING = frozenset("masked_fill rsub mul repeat_interleave repeat logical_not bitwise_not".split())
_MOST_STEPS = 16


def is_decided(flow: Flow, value: int) -> bool:
    """Whether a comparison made `value`, which was only moved, repeated, turned round and filled since.

    Beside it nothing else may come in but further decisions: what weighs numbers by a mask decides nothing.
    """
    for _ in range(_MOST_STEPS):
        op = flow.maker(value)
        if op is None or op.name in _COMPARING:
            return op is not None
        if not (flow.kind[op.id] in ("plumb", "view", "select") or op.name in _FILLING):
            return False
        acts = flow.act_inputs(op)
        if not acts or any(flow.values[item].dtype.startswith(("float", "bfloat")) for item in acts[1:]):
            return False
        value = acts[0]
    return False


def is_scores(flow: Flow, op: Op) -> bool:
    """Whether a softmax takes the result of `op` as it is, but for its shape, scale, mask and further biases."""
    for _ in range(_MOST_STEPS):
        after = flow.consumers(op.outputs[0])
        if any(user.name == "softmax" for user in after):
            return True
        step = next((user for user in after if flow.kind[user.id] == "plumb" or user.name in _SCORING), None)
        if step is None:
            return False
        op = step
    return False


_SCORING = frozenset("add mul div masked_fill where".split())
