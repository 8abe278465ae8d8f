"""The answers of a model against the float64 reference forward, and against what its number format costs anyhow.

Informative: stages are what is judged. The floor is the error of another implementation in the same format, our
reference forward; a model that is as far from float64 as that has lost nothing of its own.
"""

from __future__ import annotations

__all__ = ["whole_of"]

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from inspector.reference.models import forward_of
from inspector.reference.steps import Composition
from inspector.tracing.run import outputs_of
from inspector.verification.against.report import Figure
from inspector.verification.against.whole import divergence
from inspector.verification.claims import has_head, past_of, tensors_of
from inspector.verification.verify import Running

_LARGEST = 8 * 2**30
"""Bytes of weights in float64 beyond which the reference forward is not run."""

_ANSWERS = ("last_hidden_state", "logits", "pooler_output")


def whole_of(running: Running, model_type: str | None = None, *, limit: int = _LARGEST) -> tuple[Figure, ...] | str:
    """Figures of every answer that both give, or why there are none, as text.

    limit: bytes that the weights may take in float64. Of each answer: the largest error, the same of the reference in
    the model's own format, and their ratio; of logits besides the divergence of the next token's distribution, in nats.
    """
    model_type = model_type or running.info.model_type
    forward = forward_of(model_type)
    if forward is None:
        return f"there is no reference forward of {model_type}"
    size = 8 * sum(parameter.numel() for parameter in running.module.parameters())
    if size > limit:
        return f"its weights take {size / 2**30:.1f} GiB in float64, and {limit / 2**30:.1f} GiB are allowed"
    with torch.no_grad():
        return tuple(_figures(running, forward))


def _figures(running: Running, forward: Callable[..., Any]) -> list[Figure]:
    module = running.module
    dtype = next(tensor.dtype for tensor in module.parameters() if tensor.is_floating_point())
    exact, floor = (_answers(running, forward, to) for to in (torch.float64, dtype))
    got = {name.rpartition(".")[2]: tensor for name, tensor in outputs_of(module(**running.inputs()))}
    found: list[Figure] = []
    for name in _ANSWERS:
        if name in got and name in exact:
            found += _compared(name, got[name], floor[name], exact[name], running.inputs())
    return found


def _answers(running: Running, forward: Callable[..., Any], dtype: torch.dtype) -> dict[str, Tensor]:
    """What the reference gives, all that is not whole numbers in one format."""
    module, inputs = running.module, running.inputs()
    weights = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    answer = forward(
        {name: _in(tensor, dtype) for name, tensor in weights.items()},
        module.config.to_dict(),  # type: ignore[union-attr, operator]
        {name: _in(tensor, dtype) for name, tensor in tensors_of(inputs).items()},
        Composition(),
        past_of(inputs, lambda tensor: _in(tensor, dtype)),
        head=has_head(module),
    )
    found = {name: getattr(answer, name) for name in _ANSWERS}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _in(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(dtype) if tensor.is_floating_point() else tensor


def _compared(name: str, got: Tensor, floor: Tensor, exact: Tensor, inputs: Mapping[str, Any]) -> list[Figure]:
    got, floor, exact = (_real(tensor, inputs).to(torch.float64) for tensor in (got, floor, exact))
    error, least = (float((tensor - exact).abs().max()) for tensor in (got, floor))
    found = [
        Figure(f"{name}: max abs error", error),
        Figure(f"{name}: max abs error of the reference in this format", least),
    ]
    found += [Figure(f"{name}: error over that", error / least)] if least else []
    if name == "logits":
        for whose, tensor in (("", got), (" of the reference in this format", floor)):
            mean, most = divergence(exact, tensor)
            found += [
                Figure(f"{name}: mean divergence{whose}", mean, "nats"),
                Figure(f"{name}: max divergence{whose}", most, "nats"),
            ]
    return found


def _real(answer: Tensor, inputs: Mapping[str, Any]) -> Tensor:
    """Without what stands at padding. The answers of an encoder-decoder are the decoder's."""
    side = "decoder_" if "decoder_input_ids" in inputs else ""
    mask, ids = inputs.get(f"{side}attention_mask"), inputs[f"{side}input_ids"]
    if mask is None or answer.shape[:2] != ids.shape[:2]:
        return answer
    return answer[mask[:, -ids.shape[1] :].to(answer.device).bool()]
