"""The verb `graph`: what flows between the parts of a model."""

from __future__ import annotations

__all__ = ["Graph", "graph"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.api.asking import scenario
from inspector.api.results import Result
from inspector.errors import UsageError
from inspector.records import Padding, Scenario
from inspector.stage_graph.record import GraphRecord

if TYPE_CHECKING:
    from inspector.render.document import Document


@dataclass(frozen=True, slots=True, repr=False)
class Graph(Result):
    """The graph of one model in one run.

    >>> import inspector
    >>> drawn = inspector.graph("gpt2")  # doctest: +SKIP
    >>> drawn.networkx().number_of_nodes(), drawn.unfold("all").networkx().number_of_nodes()  # doctest: +SKIP
    (33, 297)
    """

    record: GraphRecord

    def unfold(self, layers: str | Iterable[int]) -> Graph:
        """The same graph with these layers one by one: "all", "0,4-6" or numbers."""
        from inspector.stage_graph.unfolded import unfold

        return Graph(unfold(self.record, _layers(layers)))

    def networkx(self) -> Any:
        """A `networkx.MultiDiGraph`: one node per stage, with what the saved document says of it."""
        from inspector.stage_graph.export.multigraph import multigraph

        return multigraph(self.record)

    def to_graphml(self) -> str:
        """GraphML, for yEd, Gephi, Cytoscape and networkx."""
        from inspector.reporting.exports.graphml import graphml

        return graphml(self.record)

    def to_dot(self) -> str:
        """DOT, for Graphviz."""
        from inspector.reporting.exports.dot import dot

        return dot(self.record)

    def to_mermaid(self) -> str:
        """A Mermaid flowchart, which GitHub draws. UsageError beyond the size that it draws."""
        from inspector.reporting.exports.mermaid import mermaid

        return mermaid(self.record)

    def to_model_explorer(self) -> str:
        """JSON for Google's Model Explorer."""
        from inspector.reporting.exports.model_explorer import model_explorer

        return model_explorer(self.record)

    def document(self) -> Document:
        from inspector.reporting.graphs import document

        return document(self.record)

    def envelope(self) -> dict[str, Any]:
        from inspector.stage_graph.export.node_link import to_document

        return to_document(self.record)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.graphs import records

        return records(self.record)

    def __repr__(self) -> str:
        from inspector.render.escape import visible
        from inspector.reporting.words import counted

        counts = f"{counted(len(self.record.nodes), 'node')}, {counted(len(self.record.edges), 'edge')}"
        return f"<Graph of {visible(self.record.model.name)}, {visible(self.record.scenario.attention)}: {counts}>"


def graph(
    model: Any,
    inputs: Any = None,
    *,
    batch: int = 2,
    seq: int = 16,
    past: int = 0,
    attention: str = "eager",
    dtype: str | None = None,
    device: str | None = None,
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    unfold: str | Iterable[int] | None = None,
    twin: bool = False,
    trace_cache: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Graph:
    """Run a model once and say what flows between its parts, equal layers folded into one.

    >>> import inspector
    >>> inspector.graph("gpt2")  # doctest: +SKIP
    <Graph of gpt2, eager: 33 nodes, 37 edges>
    >>> inspector.graph("gpt2.json").to_dot()  # doctest: +SKIP

    model: as for `shapes`, or the path of a saved graph, which is read as it is.
    unfold: "all", or the layers to show one by one: [0, 1], "0-3,11". twin: of a small copy of the same config.
    The other options are those of `shapes`; a graph is of one kind of attention.
    """
    asked = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=_one(attention),
        dtype=dtype,
        device=device,
        pad=pad,
        seed=seed,
        weights=weights,
        head=head,
    )
    saved = _saved(model, asked)
    if saved is not None and twin:
        raise UsageError("a saved graph is shown as it is", hint="leave out --twin")
    if saved is None:
        from inspector.api.traces import Source
        from inspector.fact_sheet.recorded import recorded

        source = Source(model, inputs, weights=weights or "none", stored=trace_cache, progress=progress, twin=twin)
        saved = recorded(source.trace(asked))
        if not saved.nodes:
            raise UsageError("the forward pass ran no op")
    return Graph(saved) if unfold is None else Graph(saved).unfold(unfold)


def _one(attention: str) -> str:
    kinds = [kind.strip() for kind in attention.split(",") if kind.strip()]
    if len(kinds) != 1:
        raise UsageError(f"a graph is of one kind of attention, but got {attention!r}", hint="make one graph of each")
    return kinds[0]


def _saved(model: Any, asked: Scenario) -> GraphRecord | None:
    """The graph in the file that `model` names, None when it names no saved document."""
    if not isinstance(model, str) or not Path(model).expanduser().is_file():
        return None
    from inspector.source import resolve
    from inspector.stage_graph.export.lock import load_record

    origin = resolve(model)
    if origin.kind != "saved":
        return None
    if asked != Scenario():
        raise UsageError(
            f"{origin.name} is a saved graph: it cannot be run in another way", hint="give the model itself"
        )
    return load_record(origin.target, origin.source)


def _layers(layers: str | Iterable[int]) -> Any:
    if layers == "all" or not isinstance(layers, str):
        return layers
    from inspector.stage_graph.spans import layers_of

    try:
        return layers_of(layers.replace(" ", ""))
    except ValueError as error:
        raise UsageError(f"cannot unfold {layers!r}", why=str(error), hint="give all, or layers as 0,4-6") from error
