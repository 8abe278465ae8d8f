"""One layer of a forward: its stages have its number, its weights stand under its name."""

from __future__ import annotations

__all__ = ["Layer", "layers_of"]

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from inspector.reference.norms import layer_norm, rms_norm
from inspector.reference.projections import Layout, linear
from inspector.reference.steps import Composition
from inspector.reference.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")


class Layer(NamedTuple):
    """Calls stages as `Composition` does, under the number of a layer.

    >>> import torch
    >>> run = Composition()
    >>> layer = Layer(run, Weights({"h.0.up.weight": torch.ones(3, 2)}, run, anchor="h.0.up.weight"), 0, "h.0")
    >>> x = layer.linear("mlp.up_proj", "up", run.enter("input", "x", torch.ones(2)))
    >>> x.tolist(), run.steps[0].name, run.steps[0].layer
    ([2.0, 2.0, 2.0], 'mlp.up_proj', 0)

    name: what stands before the names of its weights, without the last dot. section: what its attention goes by.
    """

    run: Composition
    weights: Weights
    number: int
    name: str
    section: str = "attention"

    def __call__(self, stage: str, function: Callable[..., Result], /, **arguments: Any) -> Result:
        return self.run(stage, function, layer=self.number, **arguments)

    def weight(self, name: str) -> Tensor:
        return self.weights(f"{self.name}.{name}")

    def linear(self, stage: str, name: str, x: Tensor, *, bias: bool = False, layout: Layout = "out_in") -> Tensor:
        """An affine map by the weights of that name; `bias` says whether one is claimed."""
        return self(stage, linear, x=x, layout=layout, **self.weights.affine(f"{self.name}.{name}", bias=bias))

    def rms_norm(self, stage: str, name: str, x: Tensor, eps: float, offset: float = 0.0) -> Tensor:
        return self(stage, rms_norm, x=x, weight=self.weight(f"{name}.weight"), eps=eps, offset=offset)

    def layer_norm(self, stage: str, name: str, x: Tensor, eps: float) -> Tensor:
        return self(stage, layer_norm, x=x, eps=eps, **self.weights.affine(f"{self.name}.{name}"))


def layers_of(weights: Weights, run: Composition, count: int, name: str, first: int = 0) -> Iterator[Layer]:
    """The layers of a stack, whose weights are called `name.0`, `name.1` and so on. first: the number of the first."""
    for number in range(count):
        yield Layer(run, weights, first + number, f"{name}.{number}")
