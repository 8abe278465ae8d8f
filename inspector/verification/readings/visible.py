"""Who may look at whom: the mask of each kind of layer, as a set."""

from __future__ import annotations

__all__ = ["mask"]

import torch

from inspector.reference.attention import apply_mask
from inspector.reference.layout import pieces
from inspector.reference.masks import build_masks, hidden_masks
from inspector.roles.flow import PAR
from inspector.stage_graph.masks import MaskKind, describe
from inspector.stage_graph.stages import Stage
from inspector.verification.readings.look import Draft, Flowing, Inner, Leaf, Look, Reading, Said, draft

Pattern = tuple[str, int | None, int | None]
"""Direction, window, chunk."""


def mask(look: Look, stage: Stage) -> Reading:
    """The masks that a stage makes, by direction, window and padding."""
    made = [value for value in look.told(stage) if value not in stage.inputs]
    if not made:
        return "what it makes is read by no attention"
    shapes = {look.shape(value)[-2:] for value in made if len(look.shape(value)) > 1}
    if len(shapes) != 1 or any(len(look.shape(value)) < 2 for value in made):
        return "masks of several shapes"
    (queries, keys), padding = shapes.pop(), _padding(look, stage)
    if isinstance(padding, str) or (padding is not None and look.shape(padding)[-1] < keys):
        return padding if isinstance(padding, str) else "padding of another length"
    if keys == 1 and padding is not None and look.shape(padding)[-1] == queries > 1:
        return "a mask of padding alone"  # one number for each token
    if any(len(look.shape(value)) == 2 and look.shape(value)[0] == look.shape(padding)[0] for value in made if padding):
        return "a mask of padding alone"
    over = _over_bias(look, stage)
    if over is not None and -1 not in over:
        return _laid_over(look, over, (queries, keys), padding)
    senses = {_hides(look, value) for value in made}
    hides = True in senses
    said = [_pattern(look, value) for value in made]
    if len(senses) > 1 or any(isinstance(one, str) for one in said):
        return next((one for one in said if isinstance(one, str)), "masks of both senses")
    patterns = tuple(dict.fromkeys(one.value for one in said if isinstance(one, Said)))
    claimed = all(one.claimed for one in said if isinstance(one, Said))
    before, tokens = _tokens(look, padding, keys)
    return [
        *before,
        draft(
            hidden_masks if hides else build_masks,
            queries=queries,
            keys=keys,
            patterns=Said(patterns, claimed),
            attention_mask_BT=tokens,
            mutual=_is_mutual(look, made[0], hidden=hides),
        ),
    ]


def _is_mutual(look: Look, value: int, *, hidden: bool) -> Said | None:
    """Whether a mask to both sides has queries that see nothing: then padding does not look, either."""
    known, width = look.contents(value), look.shape(value)[-1]
    if known is None or look.shape(value)[-2] == 1:
        return None
    flat = known.flat()
    shown = [not number if hidden else number == 0 if known.dtype != "bool" else bool(number) for number in flat]
    rows = [any(shown[start : start + width]) for start in range(0, len(shown), width)]
    last = [shown[start + width - 1] for start in range(0, len(shown), width)]
    if all(rows) or not any(last[: look.shape(value)[-2]] + last):
        return None
    first = next((row for row in range(len(rows)) if rows[row]), 0)
    to_both_sides = any(shown[first * width + place] for place in range(first % look.shape(value)[-2] + 1, width))
    return Said(True, claimed=False) if to_both_sides else None


def _tokens(look: Look, padding: int | None, keys: int) -> tuple[list[Draft], Flowing | Leaf | Inner | None]:
    """Which of the keys are tokens: of a cache that keeps a window, the last of what was given."""
    if padding is None:
        return [], None
    length = look.shape(padding)[-1]
    if length == keys:
        return [], look.read(padding)
    return [draft(pieces, x=look.read(padding), bounds=((length - keys, length, 1),))], Inner(0)


def _laid_over(look: Look, over: tuple[int, int], sizes: tuple[int, int], padding: int | None) -> Reading:
    choice, bias = over
    said = _pattern(look, choice)
    if isinstance(said, str):
        return said
    patterns = Said((said.value,), said.claimed)
    tokens = None if padding is None else look.read(padding)
    return [
        draft(build_masks, queries=sizes[0], keys=sizes[1], patterns=patterns, attention_mask_BT=tokens),
        draft(apply_mask, scores_BHST=look.read(bias), allowed=Inner(0)),
    ]


def _over_bias(look: Look, stage: Stage) -> tuple[int, int] | None:
    """(who is chosen, the bias) where a mask is laid over a learned bias."""
    found = set()
    for op in look.live(stage):
        if op.name == "where" and look.flow.taint[op.outputs[0]] & PAR:
            named = dict(op.operands)
            bias = look.border(stage, named["x"]) if "x" in named else None
            found.add((named.get("condition", -1), -1 if bias is None else bias))
    return found.pop() if len(found) == 1 else None


def _padding(look: Look, stage: Stage) -> int | str | None:
    """The attention mask that was given, 1 for a token."""
    inputs = [value for value in stage.inputs if not look.flow.taint[value] & PAR]
    found = [value for value in inputs if len(look.shape(value)) == 2]
    others = [value for value in inputs if len(look.shape(value)) not in (0, 2)]
    if others or len(found) > 1:
        return "a mask that is made of more than padding"
    if not found:
        return None
    known = look.contents(found[0])
    if known is not None and not set(known.values) <= {0, 1}:
        return "a mask that is made of numbers"
    return found[0]


def _hides(look: Look, value: int) -> bool:
    """Whether true means hidden: so it is where scores are filled."""
    if look.values[value].dtype != "bool":
        return False
    return any(
        op.name == "masked_fill" for reader in look.readers(value) for op in look.live(reader) if value in op.inputs
    )


def _pattern(look: Look, value: int) -> Said | str:
    """The pattern of one mask: as claimed of the layers that read it, else as it is."""
    known = look.contents(value)
    if known is None:
        return "the contents of the mask are not known"
    dtype = look.values[value].dtype
    if dtype != "bool" and not dtype.startswith(("float", "bfloat")):
        return "a mask of whole numbers"
    if dtype != "bool" and any(0 > number > torch.finfo(getattr(torch, dtype)).min / 2 for number in set(known.values)):
        return "a mask that hides with a small number"
    found = describe(known, hides=_hides(look, value))
    ran = _of_kind(look, found, look.shape(value))
    if ran is None:
        return "a mask of a pattern that has no name"
    return _claimed(look, value, ran)


def _of_kind(look: Look, found: MaskKind, shape: tuple[int, ...]) -> Pattern | None:
    if shape[-2] == 1 and shape[-1] > 1 and found.kind in ("full", "causal"):  # one query shows no direction
        return ("causal" if look.graph.trace.scenario.past else "bidirectional", None, None)
    named: dict[str, Pattern] = {
        "full": ("bidirectional", None, None),
        "causal": ("causal", None, None),
        "sliding": ("causal", found.size, None),
        "chunked": ("causal", None, found.size),
        "bidirectional-sliding": ("bidirectional", None if found.size is None else found.size + 1, None),
    }
    return named.get(found.kind)


def _claimed(look: Look, value: int, ran: Pattern) -> Said:
    """Direction and reach that are claimed of the layers that read a mask.

    A window is claimed for the layers that a config's list calls sliding, or for all where there is no list.
    """
    readers = list(look.readers(value))
    direction, told = _direction(look, readers, ran[0])
    size, kinds = look.facts.get("attention.window"), look.kinds(reader.layer for reader in readers)
    if isinstance(look.facts.get("model.layer_pattern"), tuple) and not kinds:
        return Said((direction, *ran[1:]), claimed=False)
    if not isinstance(size, int):
        return Said((direction, *ran[1:]), told and ran[1:] == (None, None))
    if not kinds:
        slides, chunks = ran[1] is not None, ran[2] is not None
        full = ran[1:] == (None, None)
        width = _reach(size, ran[1]) if direction == "bidirectional" else size
        reach = (None, None) if full else (width, None) if slides else (None, size)
        return Said((direction, *reach), told and (slides or chunks))
    chunked = all("chunk" in kind for kind in kinds)
    sliding = all("sliding" in kind or "local" in kind for kind in kinds)
    if not chunked and not sliding and any(word in kind for kind in kinds for word in ("chunk", "sliding", "local")):
        return Said((direction, *ran[1:]), claimed=False)
    width = _reach(size, ran[1]) if direction == "bidirectional" else size
    return Said((direction, width if sliding else None, size if chunked else None), told)


def _reach(size: int, ran: int | None) -> int:
    """To both sides a size counts both (ModernBERT), or each, with the token itself or without."""
    return ran if ran in (size, size + 1) else size // 2 + 1


def _direction(look: Look, readers: list[Stage], ran: str) -> tuple[str, bool]:
    """Where one stack reads and another writes, the first sees all and the second what came before (Vaswani 2017)."""
    crossing = {stage.layer for stage in look.graph.stages if stage.section == "cross_attention"}
    if any(reader.section == "cross_attention" for reader in readers):
        return ("bidirectional", ran == "bidirectional") if ran == "bidirectional" else (ran, False)
    claim = look.facts.get("attention.direction")
    if crossing or look.facts.get("model.family") == "encoder-decoder":
        usual = "causal" if any(reader.layer in crossing for reader in readers) else "bidirectional"
        return (usual, True) if ran == usual else (ran, False)
    return (str(claim), True) if claim in ("causal", "bidirectional") else (ran, False)
