"""Random weights with which a deep model still tells its tokens apart.

Every block writes into the stream what attention has averaged over tokens, and what all tokens have in common (biases,
the mean of a non-linearity). Where norms stand behind the sum, that share grows from block to block until all tokens
are alike (Dong et al. 2021, arXiv 2103.03404): attention is uniform then, and no fault inside it shows. So what writes
into the stream is made small, the smaller the more there is of it (Radford et al. 2019, section 2.3).
"""

from __future__ import annotations

__all__ = ["keep_apart", "writers"]

import torch
from torch import nn

from inspector.stage_graph.stages import Stage, StageGraph

SHALLOW = 8
"""Sums up to which nothing is lost: four blocks."""

_SHARE = 0.5
"""Of all that is written into the stream together, in units of what is in it; measured on BERT of 12 layers."""


def keep_apart(graph: StageGraph, module: nn.Module) -> None:
    """Make small what writes into the stream of a deep model. Its weights have to be random ones, of our own making."""
    sums = sum(stage.role == "residual" for stage in graph.stages)
    if sums <= SHALLOW:
        return
    found, named = writers(graph), dict(module.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name in found:
            named[name].mul_(_SHARE * sums**-0.5)


def writers(graph: StageGraph) -> tuple[str, ...]:
    """The names of the matrices whose product is added to the stream, each once."""
    values = graph.trace.values
    read = (value for stage in graph.stages if stage.role == "residual" for value in stage.inputs)
    found = (value for start in read for stage in _sources(graph, start) for value in stage.parameters)
    named = (values[value] for value in found)
    return tuple(
        dict.fromkeys(one.name for one in named if one.kind == "parameter" and one.name and len(one.shape) > 1)
    )


def _sources(graph: StageGraph, value: int) -> list[Stage]:
    """The stages with weights that a value comes from, behind those that have none; the stream itself is none."""
    found, left, seen = [], [value], set[int]()
    while left:
        place = graph.maker.get(left.pop())
        if place is None or place in seen:
            continue
        seen.add(place)
        stage = graph.stages[place]
        if stage.role == "residual" or stage.section == "embedding":
            continue
        if stage.parameters:
            found.append(stage)
        else:
            left += stage.inputs
    return found
