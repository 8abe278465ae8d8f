"""Which switches a config has: every boolean, and every word of which it is known what else it could be."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from inspector.source.build import text_config
from inspector.source.sections import Section, sections


class Flip(NamedTuple):
    """One key of one part of a config, with another value. part: its place among the parts; key: a dot leads inside."""

    part: int
    key: str
    old: Any
    new: Any

    @property
    def name(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


ELSEWHERE = ("id2label", "label2id", "architectures", "dtype", "transformers_version", "model_type", "_name_or_path")
"""Keys of every config that describe no model."""

ROTATIONS = {
    "linear": {"factor": 2.0},
    "yarn": {"factor": 2.0, "original_max_position_embeddings": 8},
    "default": {},
}
"""Kinds of rotary scaling, and what they need besides: the first that is not there already is taken."""


def flips(config: Any) -> list[Flip]:
    """Each switch of the parts that read text, thrown once."""
    found = sections(config, config.to_dict())
    read = [(index, section) for index, section in enumerate(found) if _reads_text(config, section)]
    return [flip for index, section in read for flip in _flips(index, section)]


def thrown(config: Any, flip: Flip) -> Any:
    """The config with one switch thrown. It raises what transformers raises, where it refuses that."""
    document = config.to_dict()
    part = sections(config, document)[flip.part].part
    *path, last = flip.key.split(".")
    for name in path:
        part = part[name]
    part[last] = flip.new
    if last == "rope_type":
        part.update(ROTATIONS[flip.new])
    return type(config).from_dict(document)


def _reads_text(config: Any, section: Section) -> bool:
    return section.config in (config, text_config(config)) or bool(getattr(config, "is_encoder_decoder", False))


def _flips(part: int, section: Section) -> Iterator[Flip]:
    for key, value in section.part.items():
        if key in ELSEWHERE or key in getattr(section.config, "sub_configs", {}):
            continue
        if isinstance(value, bool):
            yield Flip(part, key, value, not value)
        elif isinstance(value, dict):
            yield from _rotations(part, key, value)
        elif isinstance(value, str):
            other = next((word for word in _words(section.config, key, value) if word != value), None)
            if other is not None:
                yield Flip(part, key, value, other)


def _rotations(part: int, key: str, value: dict[str, Any]) -> Iterator[Flip]:
    """The kind of rotation, of all layers or of each kind."""
    if "rope_type" in value:
        old = value["rope_type"]
        yield Flip(part, f"{key}.rope_type", old, next(kind for kind in ROTATIONS if kind != old))
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _rotations(part, f"{key}.{name}", inner)


def _words(config: Any, key: str, value: str) -> list[str]:
    """What else a word could be: by the annotation of its key, by transformers' tables, by what its docstring lists."""
    from transformers.activations import ACT2FN

    listed = _annotated(type(config), key) or _documented(type(config), key)
    if listed:
        return [word for word in listed if isinstance(word, str)]
    return ["relu", "gelu"] if value in ACT2FN else []


def _annotated(kind: type, key: str) -> list[Any]:
    """The members of every Literal in the annotation of a key."""
    for base in kind.__mro__:
        annotation = inspect.get_annotations(base).get(key)
        if isinstance(annotation, str):
            return re.findall(r"['\"]([\w-]+)['\"]", annotation) if "Literal" in annotation else []
        if annotation is not None:
            return _literals(annotation)
    return []


def _literals(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [word for inner in typing.get_args(annotation) for word in _literals(inner)]


def _documented(kind: type, key: str) -> list[str]:
    """The words in quotation marks in the paragraph of a docstring that describes a key."""
    text = inspect.getdoc(kind) or ""
    match = re.search(rf"^(\s*){re.escape(key)} \(.*?\n(.*?)(?=^\1?\w+ \(|\Z)", text, re.MULTILINE | re.DOTALL)
    words = re.findall(r"`?\"([a-z_0-9-]+)\"`?", match[0]) if match else []
    return list(dict.fromkeys(words)) if len(set(words)) > 1 else []
