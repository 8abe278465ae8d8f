"""The parts that every JSON document has alike: which model was run how, and a tensor."""

from __future__ import annotations

__all__ = ["model_fields", "tensor_fields"]

from dataclasses import asdict
from typing import Any

from inspector.records import ModelInfo, Scenario
from inspector.stage_graph.tensors import TensorView


def model_fields(model: ModelInfo, scenario: Scenario) -> dict[str, Any]:
    """A model and its run.

    >>> model_fields(ModelInfo("gpt2", "gpt2", "GPT2LMHeadModel", 124439808, 163037184), Scenario())["class"]
    'GPT2LMHeadModel'
    """
    return {
        "name": model.name,
        "model_type": model.model_type,
        "class": model.class_name,
        "parameters": model.parameters,
        "untied": model.untied,
        "scenario": {"mode": scenario.mode, **asdict(scenario)},
    }


def tensor_fields(view: TensorView) -> dict[str, Any]:
    """A tensor that enters or leaves a stage."""
    return {
        "name": view.name,
        "shape": list(view.shape),
        "symbolic": view.symbolic,
        "axes": [dim.axis for dim in view.dims],
        "dtype": view.dtype,
        "device": view.device,
    }
