"""The graph of stages: what flows between the parts of a model, with its axes named and its equal blocks folded."""

from __future__ import annotations

__all__ = ["AxisNames", "Block", "Edge", "FoldedGraph", "Stage", "StageGraph", "build", "fold_graph"]

from inspector.stage_graph.axes import AxisNames
from inspector.stage_graph.blocks import Block, FoldedGraph, fold_graph
from inspector.stage_graph.stages import Edge, Stage, StageGraph, build
