"""The second pass holds what is wanted, for as long as it is wanted, and is the first one over again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from inspector.errors import TraceFailed
from inspector.tracing.again import Again, run_again, wanted
from inspector.tracing.run import watch
from inspector.tracing.steady import warm_up
from inspector.tracing.watcher import Ref


class Two(nn.Module):
    """x -> relu(Wx) + x; `between` is called with the first result."""

    def __init__(self, between=None):
        super().__init__()
        self.map = nn.Linear(4, 4)
        self.between = between

    def forward(self, x):
        y = self.map(x)
        if self.between is not None:
            self.between(y)
        return torch.relu(y) + x


def read(raw):
    return [int(item) for item in raw.args if isinstance(item, Ref)]


def passes(module, whole):
    """Run twice; one group for each op that has tensors, of all values that cross its border."""
    x = torch.randn(2, 4)
    first = watch(module, {"x": x})
    raws = first.watcher.records
    groups = [([index], [*read(raw), *raw.outputs]) for index, raw in enumerate(raws)]
    again = Again(module, first.watcher, wanted(first.watcher, groups), whole)
    run_again(module, {"x": x}, again)
    return first, again, x


def test_tensors_are_the_models_own():
    seen = {}

    def whole(group, held):
        seen[group] = {value: tensor.clone() for value, tensor in held.items()}

    module = Two()
    first, _, x = passes(module, whole)
    names = [raw.spec.name for raw in first.watcher.records]
    assert names == ["linear", "relu", "add"]
    made = seen[0][first.watcher.records[0].outputs[0]]
    assert torch.equal(made, module.map(x))
    assert torch.equal(seen[2][first.watcher.records[2].outputs[0]], torch.relu(made) + x)


def test_nothing_is_held_at_the_end():
    most = []
    _, again, _ = passes(Two(), lambda group, held: most.append(len(held)))
    assert again.held == {}
    assert max(most) < 6


def test_a_visible_write_is_a_value_of_its_own():
    seen = {}
    module = Two(between=lambda y: y.mul_(2))
    first, _, x = passes(module, lambda group, held: seen.update({(group, v): t.clone() for v, t in held.items()}))
    linear, double = first.watcher.records[:2]
    assert double.effect == "inplace"
    before, after = seen[0, linear.outputs[0]], seen[1, double.outputs[0]]
    assert torch.equal(before, module.map(x))
    assert torch.equal(after, 2 * before)


def test_an_invisible_write_is_noticed():
    broken = []

    def double(y):
        array = y.detach().numpy()
        np.multiply(array, 2, out=array)

    def whole(group, held):
        broken.extend((group, value) for value in held if not again_intact(value))

    module = Two(between=double)
    x = torch.randn(2, 4)
    first = watch(module, {"x": x})
    groups = [([index], read(raw)) for index, raw in enumerate(first.watcher.records)]
    again = Again(module, first.watcher, wanted(first.watcher, groups), whole)
    again_intact = again.intact
    run_again(module, {"x": x}, again)
    made = first.watcher.records[0].outputs[0]
    assert {value for _, value in broken} == {made}


def test_another_run_is_an_error():
    module = Two()
    x = torch.randn(2, 4)
    first = watch(module, {"x": x})
    again = Again(module, first.watcher, wanted(first.watcher, []), lambda group, held: None)
    module.between = lambda y: y.add_(1)
    with pytest.raises(TraceFailed, match="did not run the same way twice") as raised:
        run_again(module, {"x": x}, again)
    assert "add_" in str(raised.value)


class Mapped(nn.Module):
    """A mask made place by place, as fallbacks for masks are: its ops see one row at a time."""

    def forward(self, x):
        places = torch.arange(x.shape[-1])
        mask = torch.vmap(lambda here: torch.where(places <= here, 0.0, -9.0))(places)
        return (x.unsqueeze(-2) + mask).sum(-1)


def test_what_a_vmap_hands_out_row_by_row_is_held_whole():
    seen = {}

    def whole(group, held):
        seen.update({value: tensor.clone() for value, tensor in held.items()})

    first, _, _ = passes(Mapped(), whole)

    made = [raw.outputs[0] for raw in first.watcher.records if raw.spec.name == "where"]
    assert len(made) == 1
    assert seen[made[0]].shape == (4, 4)  # all rows, and not the one that the op was shown


class Rescaling(nn.Module):
    """Halves its weight when it is called first, and makes the layer it goes on with."""

    def __init__(self):
        super().__init__()
        self.weight, self.made = nn.Parameter(torch.ones(4, 4)), None

    def forward(self, x):
        if self.made is None:
            self.made = nn.Linear(4, 4)
            self.weight.data.div_(2)
        return self.made(x @ self.weight)


def test_what_a_model_does_in_its_first_forward_alone_is_over_before_it_is_watched():
    with pytest.raises(TraceFailed, match="did not run the same way twice"):
        passes(Rescaling(), lambda group, held: None)
    ready = Rescaling()
    warm_up(ready, {"x": torch.ones(2, 4)})
    first, _, _ = passes(ready, lambda group, held: None)

    assert [raw.spec.name for raw in first.watcher.records] == ["matmul", "linear"]
