"""Which switches a config has: every boolean, and every word of which it is known what else it could be.

What neither an annotation nor a docstring tells stands in `switches.toml`.
"""

from __future__ import annotations

import copy
import inspect
import re
import tomllib
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from inspector.source.build import text_config
from inspector.source.sections import sections
from inspector.source.shrink import head_width


class Flip(NamedTuple):
    """One key of one part of a config, with another value.

    part: where the part is in the document. key: a dot leads inside. along: what the new value says besides, and the
    old one has no use for. beside: what both sides say, so that the switch counts.
    """

    part: tuple[str, ...]
    key: str
    old: Any
    new: Any
    along: tuple[tuple[str, Any], ...] = ()
    beside: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return ".".join((*self.part, self.key))


class Place(NamedTuple):
    """A part of a document, where it is, and the config that it describes."""

    path: tuple[str, ...]
    config: Any
    part: dict[str, Any]

    def own(self, key: str) -> str:
        """A standard key as this config spells it."""
        return str(self.config.attribute_map.get(key, key))

    def said(self, rows: list[dict[str, Any]], what: str) -> list[tuple[str, Any]]:
        """What some rows of the table say besides."""
        return [(self.own(name), value) for row in rows for name, value in row.get(what, {}).items()]


ELSEWHERE = (
    "id2label", "label2id", "architectures", "dtype", "transformers_version", "model_type", "_name_or_path",
    "quantization_config", "problem_type", "init_device", "langs", "languages",
)  # fmt: skip
"""Keys that describe no model."""

APART = ("vision", "audio", "speech", "image", "video", "codec", "t2u", "vocoder", "talker", "code_predictor", "detok")
"""What the name of a part that reads no text begins with."""


def flips(config: Any) -> list[Flip]:
    """Each switch of the parts that read text, thrown once."""
    return [flip for place in _places(config, config.to_dict()) for flip in _flips(place)]


def thrown(config: Any, flip: Flip) -> Any:
    """The config with one switch thrown. It raises what transformers raises, where it refuses that."""
    return _with(config, flip.part, ((flip.key, flip.new), *flip.along, *flip.beside))


def prepared(config: Any, flip: Flip) -> Any:
    """The config that a switch is thrown in."""
    return _with(config, flip.part, flip.beside) if flip.beside else config


def _with(config: Any, path: tuple[str, ...], said: typing.Iterable[tuple[str, Any]]) -> Any:
    document = copy.deepcopy(config.to_dict())
    part = _inside(document, path)
    for key, value in said:
        *inner, last = key.split(".")
        if value is None:
            _inside(part, inner).pop(last, None)
        else:
            _inside(part, inner)[last] = copy.deepcopy(value)
    return type(config).from_dict(document)


def exercised(config: Any) -> Any:
    """The config with the numbers at which its switches count."""
    document = config.to_dict()
    rows = [row for row in table()["exercise"] if config.model_type in row["types"]]
    for row in rows:
        document.update(row["set"])
    return type(config).from_dict(document) if rows else config


def is_mute(flip: Flip) -> bool:
    """Whether it says what is handed back, whatever that is computed from."""
    return any(re.fullmatch(row["keys"], flip.key) for row in table()["mute"])


def reason(flip: Flip, model_type: str) -> str:
    """Why the table says that it changes no answer, or ""."""
    rows = [*table()["mute"], *table().get("reason", ())]
    return next((str(row["why"]) for row in rows if _is_about(row, flip, model_type)), "")


def _is_about(row: dict[str, Any], flip: Flip, model_type: str) -> bool:
    key = flip.key.rpartition(".")[2]
    if not re.fullmatch(row["keys"], key) or model_type not in row.get("types", [model_type]):
        return False
    return "parts" not in row or any(re.fullmatch(row["parts"], name) for name in flip.part)


@cache
def table() -> dict[str, Any]:
    """switches.toml."""
    return tomllib.loads((Path(__file__).parent / "switches.toml").read_text("utf-8"))


def _inside(document: dict[str, Any], path: typing.Iterable[str]) -> dict[str, Any]:
    for name in path:
        document = document[name]
    return document


def _places(config: Any, document: dict[str, Any]) -> list[Place]:
    """The part that reads text and what is inside it; of a model with two sides both."""
    parts = sections(config, document)
    found = [Place(_path(document, section.part) or (), section.config, section.part) for section in parts]
    if getattr(config, "is_encoder_decoder", False):
        return [place for place in found if not _apart(place)]
    text = next(place for place in found if place.config is text_config(config))
    inside = [place for place in found if place.path[: len(text.path)] == text.path]
    return [found[0], *(place for place in inside if place is not found[0] and not _apart(place))]


def _apart(place: Place) -> bool:
    return any(name.startswith(APART) for name in place.path)


def _path(document: dict[str, Any], part: dict[str, Any]) -> tuple[str, ...] | None:
    """Where a part is in a document; None where it is not."""
    if document is part:
        return ()
    for name, inner in document.items():
        if isinstance(inner, dict) and (path := _path(inner, part)) is not None:
            return (name, *path)
    return None


def _flips(place: Place) -> Iterator[Flip]:
    known = [key for key in place.part if key not in ELSEWHERE and key not in getattr(place.config, "sub_configs", {})]
    for key in known:
        yield from _thrown(place, key, place.part[key])
    for row in table()["unset"]:
        if place.config.model_type in row.get("types", ()) and row["keys"] not in place.part:
            yield _unset(place, row["keys"], row)


def _thrown(place: Place, key: str, value: Any) -> Iterator[Flip]:
    """A key with its other values."""
    if isinstance(value, bool):
        yield _flip(place, key, value, not value)
    elif isinstance(value, str):
        other = next((word for word in _words(place.config, key, value) if word != value), None)
        if other is not None:
            yield _flip(place, key, value, other)
    elif isinstance(value, list) and value and all(isinstance(one, (str, bool)) for one in value):
        if (last := _other_kind(value)) is not None:
            yield _flip(place, key, value, [*value[:-1], last])
    elif isinstance(value, dict):
        yield from _within(place, key, value)
    elif value is None:
        yield from _stated(place, key)


def _flip(place: Place, key: str, old: Any, new: Any) -> Flip:
    """With what makes it count."""
    last = new[-1] if isinstance(new, list) else new
    rows = [row for row in table()["beside"] if re.fullmatch(row["keys"], key) and row.get("value", last) == last]
    told = {name: value or None for name, value in place.said(rows, "set") if name in place.part}
    missing = {name: value for name, value in place.said(rows, "need") if not place.part.get(name)}
    return Flip(place.path, key, old, new, tuple(place.said(rows, "along")), tuple({**told, **missing}.items()))


def _within(place: Place, key: str, value: dict[str, Any]) -> Iterator[Flip]:
    """The booleans of a dictionary, and its kind of rotation: of all layers or of each kind of them."""
    if "rope_type" in value:
        yield from _rotations(place, key, value)
    for name, inner in value.items():
        if isinstance(inner, bool):
            yield _flip(place, f"{key}.{name}", inner, not inner)
        elif isinstance(inner, dict) and isinstance(name, str):
            yield from _within(place, f"{key}.{name}", inner)


def _rotations(place: Place, key: str, value: dict[str, Any]) -> Iterator[Flip]:
    old = value["rope_type"]
    # The share of a proportional rotation is another thing: all elements are in its tables, some do not turn.
    whole = {"partial_rotary_factor": 1.0} if old == "proportional" else {}
    pairs = _turned(place.part, {**value, **whole}) // 2
    for kind, row in table()["rotation"].items():
        if kind != old:
            lists = {name: [number] * pairs for name, number in row.get("pairs", {}).items()}
            inside = {f"{key}.{name}": number for name, number in {**row.get("set", {}), **lists, **whole}.items()}
            outside = {place.own(name): number for name, number in row.get("beside", {}).items()}
            yield Flip(place.path, f"{key}.rope_type", old, kind, (*inside.items(), *outside.items()))


def _turned(part: dict[str, Any], rotation: dict[str, Any]) -> int:
    """How many elements of a head are turned: all of a part that is for positions alone."""
    if part.get("qk_rope_head_dim"):
        return int(part["qk_rope_head_dim"])
    width = part.get("kv_channels") or head_width(part)
    return int(width * rotation.get("partial_rotary_factor", 1.0))


def _other_kind(kinds: list[Any]) -> Any:
    """What the last layer could be instead: as another one is, else what the table says."""
    if isinstance(kinds[-1], bool):
        return not kinds[-1]
    return next((kind for kind in kinds if kind != kinds[-1]), table()["layers"].get(kinds[-1]))


def _stated(place: Place, key: str) -> Iterator[Flip]:
    """A switch that is off because nothing is stated: by its annotation it is one, or by the table."""
    kinds, model_type = _annotated(type(place.config), key), place.config.model_type
    row = next((row for row in table()["unset"] if _speaks(row, key, model_type)), None)
    if row is not None:
        yield _unset(place, key, row)
    elif kinds:
        yield _flip(place, key, None, kinds[0])
    elif _is_boolean(type(place.config), key):
        yield _flip(place, key, None, True)


def _speaks(row: dict[str, Any], key: str, model_type: str) -> bool:
    return re.fullmatch(row["keys"], key) is not None and model_type in row.get("types", (model_type,))


def _unset(place: Place, key: str, row: dict[str, Any]) -> Flip:
    beside = {**dict(_flip(place, key, None, row["value"]).beside), **row.get("beside", {})}
    return Flip(place.path, key, None, row["value"], beside=tuple(beside.items()))


def _words(config: Any, key: str, value: str) -> list[str]:
    """What else a word could be: by the table here, by the annotation of its key, by what its docstring lists.

    Of activations by transformers' own table.
    """
    from transformers.activations import ACT2FN

    tabled = next((row["words"] for row in table()["words"] if re.fullmatch(row["keys"], key)), None)
    listed = tabled or _annotated(type(config), key) or _documented(type(config), key)
    words = [word for word in listed if isinstance(word, str)]
    if value in ACT2FN and not tabled and not set(words) <= set(ACT2FN):
        words = []  # the docstring tells of more than activations
    return words or (["relu", "gelu"] if value in ACT2FN else [])


def _annotation(kind: type, key: str) -> Any:
    return next((notes[key] for base in kind.__mro__ if key in (notes := inspect.get_annotations(base))), None)


def _annotated(kind: type, key: str) -> list[Any]:
    """The members of every Literal in the annotation of a key."""
    annotation = _annotation(kind, key)
    if isinstance(annotation, str):
        return re.findall(r"['\"]([\w-]+)['\"]", annotation) if "Literal" in annotation else []
    return _literals(annotation)


def _literals(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [word for inner in typing.get_args(annotation) for word in _literals(inner)]


def _is_boolean(kind: type, key: str) -> bool:
    """Whether a key is one of yes, no and nothing."""
    annotation = _annotation(kind, key)
    return annotation in ("bool | None", "Optional[bool]") or set(typing.get_args(annotation)) == {bool, type(None)}


def _documented(kind: type, key: str) -> list[str]:
    """The words in quotation marks in the paragraph of a docstring that describes a key."""
    text = inspect.getdoc(kind) or ""
    match = re.search(rf"^(\s*){re.escape(key)} \(.*?\n(.*?)(?=^\1?\w+ \(|\Z)", text, re.MULTILINE | re.DOTALL)
    words = re.findall(r"`?\"([a-z_0-9-]+)\"`?", match[0]) if match else []
    return list(dict.fromkeys(words)) if len(set(words)) > 1 else []
