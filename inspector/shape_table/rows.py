"""The shapes table as data: one row per stage of the folded graph, or per op."""

from __future__ import annotations

__all__ = ["ShapeRow", "ShapeSummary", "ShapeTable"]

from dataclasses import dataclass, field

from inspector.records import ModelInfo, Scenario
from inspector.shape_table.signatures import Signature
from inspector.stage_graph.tensors import TensorView


@dataclass(frozen=True, slots=True)
class ShapeRow:
    """One stage, standing for `repeat` equal ones in the layers `layers` ("0-11", "0-40:2", "" outside the blocks).

    role: the role without its section; operand: "q", "k", "v" or ""; also: further roles that the same ops play.
    op: the functions it calls, in order, without plumbing; module: where it lives, `{}` for the layer number.
    parameters, flops: of one stage (not times `repeat`). ops: ids in the trace of the first of the equal stages.
    block: index into `ShapeTable.blocks` of the folded group this row belongs to, or None outside the blocks.
    weights: the parameters and buffers it reads. attributes: the numbers that change its maths (eps, scale, ...).
    signature: of its product of matrices, where it has one, and no more than one.
    """

    id: str
    section: str
    role: str
    operand: str
    also: tuple[str, ...]
    layers: str
    repeat: int
    op: str
    module: str
    inputs: tuple[TensorView, ...]
    outputs: tuple[TensorView, ...]
    parameters: int
    flops: int
    ops: tuple[int, ...]
    block: int | None = None
    weights: tuple[TensorView, ...] = ()
    attributes: tuple[tuple[str, object], ...] = ()
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class ShapeSummary:
    """Counts over the whole forward pass (every layer, not the folded rows).

    unknown: ops without a role; specific: fraction of activation-plane ops whose role names a part; orphans: tensors
    from nowhere; unsolved_dims: dimensions shown as their number; flops: contractions, 2·m·n·k each.
    """

    ops: int
    stages: int
    unknown: int
    specific: float
    orphans: int
    parameters: int
    flops: int
    flops_other: int
    cache_bytes_per_token: int | None
    unsolved_dims: int


@dataclass(frozen=True, slots=True)
class ShapeTable:
    """What `inspector shapes` answers for one model.

    axes: (letter, size) of the constants found: (("D", 768), ("H", 12), ...), as named by provenance.
    blocks: the text of each folded group, in order: ("x12", ) or ("[sliding, full] x21", ).
    cache: per layer kind: (layers, name, symbolic shape, bytes per token) of what the KV cache holds.
    per_op: whether a row is an op, not a stage.
    """

    model: ModelInfo
    scenario: Scenario
    rows: tuple[ShapeRow, ...]
    summary: ShapeSummary
    axes: tuple[tuple[str, int], ...] = ()
    blocks: tuple[str, ...] = ()
    cache: tuple[tuple[str, str, str, int], ...] = ()
    notes: tuple[str, ...] = ()
    tool: tuple[tuple[str, str], ...] = field(default=())
    per_op: bool = False
