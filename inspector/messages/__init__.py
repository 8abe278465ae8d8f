"""All that a reader is told, by id: one folder of TOML per language, with the same keys in both.

Ids, flags, roles and the names of ops and modules are never translated; JSON, errors and what is stored are English.
Views say a message in the language of whoever asked (`speaking`); what was stored in English is said `again`.
"""

from __future__ import annotations

__all__ = ["LANGUAGES", "again", "language", "messages", "say", "speaking"]

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

LANGUAGES = {"en": "en", "zh": "zh-CN"}
"""Folder of messages -> what HTML calls the language."""

_SPOKEN: ContextVar[str] = ContextVar("language", default="en")


@cache
def messages(language: str = "en") -> dict[str, dict[str, Any]]:
    """The phrases of one language: section -> key -> phrase. Sections of findings are rule ids, their keys values.

    >>> messages()["attention.direction"]["bidirectional"]
    '{name} sees both sides.'
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((Path(__file__).parent / language).glob("*.toml")):
        for section, phrases in tomllib.loads(path.read_text("utf-8")).items():
            found.setdefault(section, {}).update(phrases)
    return found


def language() -> str:
    """The language that is spoken here: "en" unless somebody asked for another."""
    return _SPOKEN.get()


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Say what is said inside in this language, one of LANGUAGES.

    >>> with speaking("zh"):
    ...     say("label.facts")
    '事实'
    """
    before = _SPOKEN.set(name)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def say(id: str, /, **values: object) -> str:
    """A message of the language that is spoken, filled in. id: `section.key`.

    >>> say("report.save", left="the facts")
    'To save room this leaves out the facts.'
    """
    section, _, key = id.rpartition(".")
    return str(messages(language())[section][key]).format(**values)


def again(text: str, *sections: str) -> str:
    """Say what was stored in English in the language that is spoken; what no message fits stays as it is.

    sections: where its message may be. Of several reasons, joined by semicolons, each is said for itself.

    >>> with speaking("zh"):
    ...     again("no counterpart", "reason")
    '没有对应部分'
    """
    if language() == "en" or not text:
        return text
    return say("joint.reason").join(_again(part, sections) for part in text.split("; "))


def _again(text: str, sections: tuple[str, ...]) -> str:
    for section in sections:
        for key, pattern in _patterns(section):
            if found := pattern.fullmatch(text):
                inner = {name: _inner(name, value, sections) for name, value in found.groupdict().items()}
                return str(messages(language())[section][key]).format(**inner)
    return text


def _inner(name: str, value: str, sections: tuple[str, ...]) -> str:
    """What fills a place: a message of its own, or names with an "and" between."""
    return (
        say("joint.and").join(_again(part, sections) for part in value.split(" and "))
        if name == "names"
        else _again(value, sections)
    )


@cache
def _patterns(section: str) -> list[tuple[str, re.Pattern[str]]]:
    """The English phrases of a section as patterns; those that say most themselves come first."""
    phrases = messages()[section].items()
    return [(key, _pattern(str(phrase))) for key, phrase in sorted(phrases, key=lambda item: -_said(str(item[1])))]


def _said(phrase: str) -> int:
    """How many characters of a phrase are its own."""
    return sum(len(text) for text, *_ in Formatter().parse(phrase))


def _pattern(phrase: str) -> re.Pattern[str]:
    parts = Formatter().parse(phrase)
    return re.compile(
        "".join(re.escape(text) + (f"(?P<{name}>.+)" if name else "") for text, name, _, _ in parts), re.DOTALL
    )
