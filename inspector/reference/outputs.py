"""From the last hidden state to the answer. (The LM head is `projections.linear`.)

Shapes: B batch, S new tokens, D width. Weights are (out, in).
"""

from __future__ import annotations

__all__ = ["pooler", "transform"]

import torch
from torch import Tensor

from inspector.reference.activations import activate
from inspector.reference.norms import layer_norm
from inspector.reference.projections import linear


def pooler(x_BSD: Tensor, weight_DD: Tensor, bias_D: Tensor | None = None) -> Tensor:
    """tanh(W·first token + b): (B, D).

    >>> pooler(torch.tensor([[[0.0], [9.0]]]), torch.ones(1, 1)).tolist()
    [[0.0]]

    Source: Devlin et al. 2018 (arXiv 1810.04805), section 3.1, and the authors' code.
    """
    return torch.tanh(linear(x_BSD[:, 0], weight_DD, bias_D))


def transform(
    x_BSD: Tensor,
    dense_DD: Tensor,
    dense_bias_D: Tensor,
    norm_D: Tensor,
    norm_bias_D: Tensor,
    kind: str,
    eps: float,
) -> Tensor:
    """norm(f(Wx + b)), what BERT does before it looks for words: (B, S, D).

    >>> one, none = torch.eye(2), torch.zeros(2)
    >>> transform(torch.tensor([[[-1.0, 2.0]]]), one, none, torch.ones(2), none, "relu", 0.0).tolist()
    [[[-1.0, 1.0]]]
    """
    return layer_norm(activate(linear(x_BSD, dense_DD, dense_bias_D), kind), norm_D, norm_bias_D, eps)
