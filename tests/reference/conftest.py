"""Random values that hide nothing, and small models of transformers with weights off their special values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from inspector.records import Scenario
from inspector.source.tiny import randomise


class Made(NamedTuple):
    """A model, what its config claims, and its weights in float64 by name."""

    module: nn.Module
    config: dict[str, Any]
    weights: dict[str, Tensor]


@pytest.fixture
def rand() -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(7)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="session")
def made(tiny: Callable[..., Any]) -> Callable[..., Made]:
    """`made("gpt2", head=True, n_inner=40)`: a small model of a type, eager, fp32, on the CPU; made once."""
    known: dict[str, Made] = {}

    def make(model_type: str, *, head: bool = True, **changes: Any) -> Made:
        key = repr((model_type, head, sorted(changes.items())))
        if key not in known:
            known[key] = build(model_type, head, changes)
        return known[key]

    def build(model_type: str, head: bool, changes: dict[str, Any]) -> Made:
        subject = tiny(model_type, **changes)
        module = subject.make(Scenario(device="cpu", dtype="float32", weights="random", head=head)).eval()
        randomise(module, 3)
        weights = {name: tensor.double() for name, tensor in module.state_dict().items()}
        return Made(module, module.config.to_dict(), weights)

    return make
