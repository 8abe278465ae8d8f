"""Experiments on a small twin: what only values can tell, found out by changing one thing and looking what moves.

Each experiment speaks of a fact. None reads a config or a mask: that is what makes its answer a second one.
"""

from __future__ import annotations

__all__ = ["Probed", "Result", "probe"]

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from inspector.errors import InspectorError
from inspector.fact_sheet.across import crosses
from inspector.fact_sheet.norms import block_norms
from inspector.fact_sheet.scene import Kind, Scene
from inspector.records import Plain, Trace
from inspector.roles.rope import Rope
from inspector.source.inputs import accepted
from inspector.source.tiny import twin_of

if TYPE_CHECKING:
    from inspector.source.subject import Subject

LENGTH = 24
_STILL = 1e-4
"""A part of the largest value: what moves less has not moved."""

_FAINT = 1e-6
"""The same for what one token does to one far away through a single block: little, and more than rounding does."""


class Result(NamedTuple):
    """One answer. layer: of the block that was looked at, None for the model. name: what was done."""

    fact: str
    layer: int | None
    name: str
    value: Plain


class Probed(NamedTuple):
    """All answers, and why some are missing."""

    results: tuple[Result, ...]
    missing: tuple[tuple[str, str], ...]


def probe(subject: Subject, trace: Trace, scene: Scene | None = None) -> Probed:
    """Experiments on a small twin of `subject`, of which `trace` was made. `scene`: that trace, named and folded."""
    try:
        _, module = twin_of(subject, trace.scenario)
    except InspectorError as error:
        reason = error.why or error.what
        return Probed((), tuple((fact, f"no experiment: {reason}") for fact in EXPERIMENTS))
    lab = Lab(module, scene or Scene(trace), trace.scenario.seed)
    results: list[Result] = []
    missing: list[tuple[str, str]] = []
    with torch.no_grad():
        for fact, experiment in EXPERIMENTS.items():
            try:
                results += experiment(lab)
            except _CannotTell as error:
                missing.append((fact, f"no experiment: {error}"))
            except Exception as error:  # noqa: BLE001 - a model may raise anything when it is run in another way
                missing.append((fact, f"the experiment failed: {type(error).__name__}"))
    return Probed(tuple(results), tuple(missing))


class _CannotTell(Exception):
    """The experiment does not apply."""


class Lab:
    """The twin, ready to be run on chosen tokens."""

    def __init__(self, module: nn.Module, scene: Scene, seed: int) -> None:
        self.module, self.scene = module, scene
        self.accepts = accepted(module)
        self.generator = torch.Generator().manual_seed(seed)
        self.vocabulary = int(getattr(module, "vocab_size", 0) or 0) or 101
        self.two_sided = "decoder_input_ids" in self.accepts
        self.ids = torch.randint(4, 90, (1, LENGTH), generator=self.generator)

    def run(self, ids: Tensor, **more: Tensor) -> Tensor:
        """The first output that has one row per token. Of two sides, the one that writes gets these tokens."""
        given = {"input_ids": self.ids, "decoder_input_ids": ids} if self.two_sided else {"input_ids": ids}
        output = self.module(**given, **more)
        tensors = output.values() if hasattr(output, "values") else [output]
        for value in tensors:
            if isinstance(value, Tensor) and value.dim() == 3 and value.shape[1] == ids.shape[1]:
                return value
        raise _CannotTell("no output has one row per token")

    def changed(self, place: int) -> Tensor:
        """The tokens with another one at `place`."""
        ids = self.ids.clone()
        ids[0, place] = 4 + (int(ids[0, place]) + 7) % 80
        return ids

    def there(self, kinds: Iterable[Kind]) -> list[Kind]:
        """The kinds whose first block the twin has too: it keeps the first layers, in their order."""
        asked = list(kinds)
        found = [kind for kind in asked if self._has(_path(self.scene, kind))]
        if asked and not found:
            raise _CannotTell("the twin has none of these blocks")
        return found

    def _has(self, path: str) -> bool:
        return any(name == path for name, _ in self.module.named_modules())

    def block(self, path: str) -> nn.Module:
        """The module that is called: what all parts of a block share may be a list, which is not."""
        part = self.part(path)
        return self.block(path.rpartition(".")[0]) if isinstance(part, nn.ModuleList) else part

    def part(self, path: str) -> nn.Module:
        try:
            return self.module.get_submodule(path)
        except AttributeError as error:
            raise _CannotTell(f"the twin has no {path}") from error


def moved(before: Tensor, after: Tensor, still: float = _STILL) -> Tensor:
    """Which rows (tokens) are no longer what they were."""
    return (before - after).abs().amax(-1)[0] > still * before.abs().max()


# who sees whom


def direction(lab: Lab) -> Iterator[Result]:
    """Change the last token: does an earlier output move? And padding: does what it hides move anything?"""
    before = lab.run(lab.ids)
    earlier = moved(before, lab.run(lab.changed(LENGTH - 1)))[:-1]
    word = "bidirectional" if bool(earlier.any()) else "causal"
    layer = next((kind.layers[0] for kind in lab.scene.kinds if crosses(lab.scene, kind)), None)
    yield Result("attention.direction", layer, "another last token moves earlier outputs", word == "bidirectional")
    if "attention_mask" in lab.accepts and not lab.two_sided:  # there it hides tokens of the side that reads
        mask = torch.ones_like(lab.ids)
        mask[0, :3] = 0
        hidden = lab.run(lab.ids, attention_mask=mask), lab.run(lab.changed(1), attention_mask=mask)
        yield Result("padding", None, "another padding token moves outputs", bool(moved(*hidden)[3:].any()))


def window(lab: Lab) -> Iterator[Result]:
    """Change what enters one block at the first and at the last place: how far, and which way, does it reach?"""
    for kind in lab.there(lab.scene.where("attention")):
        block = lab.block(_path(lab.scene, kind))
        still = _through(lab, block, None)
        forward = moved(still, _through(lab, block, 0), _FAINT)
        back = moved(still, _through(lab, block, LENGTH - 1), _FAINT)
        reach = int(forward.nonzero().max()) if bool(forward.any()) else 0
        layer = kind.layers[0]
        yield Result("attention.window", layer, "a change reaches so many tokens on", reach)
        yield Result("attention.direction", layer, "a change reaches back", bool(back[:-1].any()))


def _path(scene: Scene, kind: Kind) -> str:
    """The module that holds the first block of a kind: what all its ops share."""
    layer = kind.layers[0]
    paths = [scene.trace.ops[op].module.split(".") for stage in kind.stages for op in stage.ops if stage.layer == layer]
    paths = [path for path in paths if len(path) > 1]
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    path = ".".join(names[0] for names in shared)
    if not path:
        raise _CannotTell("the blocks are no modules of their own")
    return path


def _through(lab: Lab, block: nn.Module, place: int | None) -> Tensor:
    """What leaves a block when what enters it is changed at one place. Of a block that is run often: the first time."""
    caught: list[Tensor] = []

    def change(_: nn.Module, args: Any, kwargs: Any) -> Any:
        if place is None or caught:
            return None
        stream = args[0] if args and isinstance(args[0], Tensor) else kwargs["hidden_states"]
        if stream.dim() != 3 or stream.shape[1] != LENGTH:
            raise _CannotTell("what enters a block has no row per token")
        new = _changed_at(stream, place)  # wherever it is handed in: Funnel's blocks get it three times
        swap = lambda value: new if value is stream else value  # noqa: E731 - a line that is used twice
        return tuple(map(swap, args)), {name: swap(value) for name, value in kwargs.items()}

    def catch(_: nn.Module, __: Any, output: Any) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])

    hooks = [block.register_forward_pre_hook(change, with_kwargs=True), block.register_forward_hook(catch)]
    try:
        lab.run(lab.ids)
    finally:
        for hook in hooks:
            hook.remove()
    if not caught or caught[0].dim() != 3 or caught[0].shape[1] != LENGTH:
        raise _CannotTell("a block hands on no row per token")
    return caught[0]


def _changed_at(stream: Tensor, place: int) -> Tensor:
    stream = stream.clone()
    stream[:, place] = stream[:, place].flip(-1) * 1.5
    return stream


# positions


def position(lab: Lab) -> Iterator[Result]:
    """Number the same tokens from 5 on: who counts from the beginning notices."""
    if "position_ids" not in lab.accepts:
        raise _CannotTell("it takes no positions")
    if any(lab.scene.has(kind, "attention.temperature") for kind in lab.scene.kinds):
        raise _CannotTell("its queries are scaled by position besides")
    if any(crosses(lab.scene, kind) for kind in lab.scene.kinds):
        raise _CannotTell("it looks at another sequence, whose positions stay")
    if any(_is_weighed_when_turned(lab.scene, kind) for kind in lab.scene.kinds):
        raise _CannotTell("what is turned is weighted afterwards, so that the same turn gives other scores")
    if len({_counted_by(lab.scene, rope) for rope in lab.scene.naming.ropes}) > 1:
        raise _CannotTell("not all of its rotations go by the same positions")
    if _rounding_moves(lab):
        raise _CannotTell("rounding alone moves its outputs")
    places = torch.arange(LENGTH)[None]
    change = moved(lab.run(lab.ids, position_ids=places), lab.run(lab.ids, position_ids=places + 5))
    yield Result("position.kind", None, "outputs move when all positions are shifted", bool(change.any()))


def _is_weighed_when_turned(scene: Scene, kind: Kind) -> bool:
    """Whether queries or keys are normalised behind the rotation: each element has a weight of its own there."""
    turned = {value for stage in scene.stages(kind, "attention.rope") for value in stage.outputs}
    read = [value for stage in scene.stages(kind, "attention.q_norm", "attention.k_norm") for value in stage.inputs]
    return any(scene.flow.through(value, ("plumb", "view")) in turned for value in read)


def _counted_by(scene: Scene, rope: Rope) -> frozenset[int]:
    """The ops that count the positions which a rotation goes by."""
    makers = (scene.flow.maker(value) for value in scene.control(rope.tables))
    return frozenset(op.id for op in makers if op is not None and op.name == "arange")


def _rounding_moves(lab: Lab) -> bool:
    """Whether a change as small as rounding moves the outputs: so it is where very many blocks follow one another."""
    table = lab.module.get_parameter(_table_name(lab.scene, writing=lab.two_sided))
    before = lab.run(lab.ids)
    kept = table.detach().clone()
    table.mul_(1 + 2**-22)
    after = lab.run(lab.ids)
    table.copy_(kept)
    return bool(moved(before, after).any())


# norms


def norms(lab: Lab) -> Iterator[Result]:
    """Add a number to what enters, multiply it, and take the weight away."""
    for kind in lab.there(lab.scene.kinds):
        for stage in block_norms(kind):
            norm = lab.part(lab.scene.graph.module(stage))
            vectors = list(norm.parameters(recurse=False))
            if list(norm.children()) or not vectors or any(vector.dim() != 1 for vector in vectors):
                raise _CannotTell("a norm is no module of its own")
            yield from _of_norm(lab, norm, kind.layers[0])
            break  # one norm stands for its block: the graph says whether they differ


def _of_norm(lab: Lab, norm: nn.Module, layer: int) -> Iterator[Result]:
    width = next(norm.parameters()).shape[-1]
    x = torch.randn(1, 5, width, generator=lab.generator)
    before = norm(x)
    yield Result("norm.kind", layer, "it moves when a number is added to all", bool(moved(before, norm(x + 3)).any()))
    weight = getattr(norm, "weight", None)
    if isinstance(weight, nn.Parameter):
        kept = weight.detach().clone()
        weight.zero_()
        still = norm(x)
        bare = bool((still - still[:, :1]).abs().max() < _STILL)  # all that is left is the bias
        weight.copy_(kept)
        yield Result("norm.offset", layer, "without its weight it is still a norm", not bare)


# tables


def tying(lab: Lab) -> Iterator[Result]:
    """Change the row of a token that is not there: does its logit move?"""
    name = _table_name(lab.scene, writing=lab.two_sided)
    table = lab.module.get_parameter(name)
    before = lab.run(lab.ids)
    if before.shape[-1] != table.shape[0]:
        raise _CannotTell("what ran has no output projection")
    absent = next(row for row in range(4, table.shape[0]) if row not in lab.ids)
    table[absent] += 1
    after = lab.run(lab.ids)
    table[absent] -= 1
    change = bool((before - after)[..., absent].abs().max() > _STILL * before.abs().max())
    yield Result("embedding.tied", None, "the token table moves the logits", change)


def _table_name(scene: Scene, *, writing: bool) -> str:
    """The table of the side that writes, where there are two."""
    stages = scene.stages(None, "embedding.token")
    for stage in reversed(stages) if writing else stages:
        for value in stage.parameters:
            record = scene.trace.values[value]
            if record.kind == "parameter" and record.name and len(record.shape) == 2:
                return record.name
    raise _CannotTell("no token table was recognised")


Experiment = Callable[[Lab], Iterable[Result]]

EXPERIMENTS: dict[str, Experiment] = {
    "attention.direction": direction,
    "attention.window": window,
    "position.kind": position,
    "norm.kind": norms,
    "embedding.tied": tying,
}
"""Fact -> the experiment that speaks of it."""
