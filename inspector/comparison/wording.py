"""Says a finding in a sentence, from the phrases of `messages` and what the sides show."""

from __future__ import annotations

__all__ = ["Speaker", "bears_role", "said"]

from collections import Counter
from collections.abc import Iterable
from typing import Any

from inspector.alignment.parts import Side
from inspector.comparison.changes import Row, text
from inspector.messages import again, language, messages, say
from inspector.records import Plain
from inspector.vocabulary import is_specific


class Speaker:
    """Knows both sides, what they are called and what was observed of them."""

    def __init__(self, a: Side, b: Side, names: tuple[str, str], one: dict[str, Plain], two: dict[str, Plain]) -> None:
        self.names, self._observed = names, (one, two)
        self._words = [_words(side, name, seen) for side, name, seen in ((a, names[0], one), (b, names[1], two))]
        self._messages = messages(language())

    def values(self, fact: str) -> tuple[Plain, Plain]:
        return self._observed[0].get(fact), self._observed[1].get(fact)

    def sentence(self, rule: str, a: Plain, b: Plain) -> str:
        """One phrase per side, in the order in which the messages list the values; `both` where it can be filled."""
        entry = self._messages.get(rule, {})
        order = list(entry)
        sides = sorted(((a, self._words[0]), (b, self._words[1])), key=lambda side: _place(order, side[0]))
        phrases = [_phrase(entry, value, words) for value, words in sides]
        fields = {"one": phrases[0], "two": phrases[1]}
        for word, (value, words) in zip(("first", "second"), sides, strict=True):
            fields |= {f"{word}_{key}": word_said for key, word_said in words.items()} | {f"{word}_value": said(value)}
        both = str(entry.get("both", self._messages["joint"]["sides"]))
        try:
            return both.format(**fields)
        except KeyError:  # a figure that one side does not have
            return str(entry.get("else", self._messages["joint"]["sides"])).format(**fields)

    def unexplained(self, aspect: str, a: Plain, b: Plain, meaning: str) -> str:
        """What no rule speaks of. aspect: the path of a part, and what of it; meaning: of that part."""
        path, _, name = aspect.partition(":")
        entry = self._messages["graph.unexplained"]
        meant = say("joint.meant", meaning=meaning) if meaning else ""
        fields = {"part": path, "meaning": meant, "name": name, "a": said(a), "b": said(b)}
        fields |= {"a_name": self.names[0], "b_name": self.names[1]}
        kind = "moved" if name == "moved" or (name == "only" and a and b) else name if name == "only" else "changed"
        if kind == "only":
            kind, fields["owner"], fields["other"] = "only", *(self.names if a else self.names[::-1])
        return str(entry[kind]).format(**fields)

    def summary(self, rows: Iterable[Row], differ: bool) -> str:
        """How much is alike, of the parts of the architecture."""
        counts = Counter[str](row.status for row in rows if bears_role(row))
        entry = self._messages["summary"]
        equal, otherwise = counts["same"] + counts["renamed"], counts["re-expressed"]
        apart = sum(counts.values()) - equal - otherwise
        fields = {"a": self.names[0], "b": self.names[1], "equal": equal, "otherwise": otherwise, "apart": apart}
        fields["all"] = sum(counts.values())
        kind = (
            "differ"
            if differ and apart
            else "sizes"
            if differ and not otherwise
            else "otherwise"
            if otherwise
            else "equal"
        )
        return str(entry[kind]).format(**fields)


def bears_role(row: Row) -> bool:
    """Whether the row is about a part of the architecture; idle calls and odds and ends are not."""
    return any(is_specific(part.path) for part in row.parts) and not all(part.idle for part in row.parts)


def _words(side: Side, name: str, seen: dict[str, Plain]) -> dict[str, str]:
    """All that a phrase may speak of, under names without dots."""
    words = {key.replace(".", "_"): said(value) for key, value in seen.items() if value is not None}
    words |= {key: f"{value:,}" for key, value in side.figures.items() if value is not None}
    heads, shared = seen.get("attention.heads"), seen.get("attention.kv_heads")
    if isinstance(heads, int) and isinstance(shared, int) and shared:
        words["group"] = str(heads // shared)
    return words | {"name": name}


def _key(value: Plain) -> str:
    return text(value).replace(" ", "_").lower()


def _place(order: list[str], value: Plain) -> int:
    key = _key(value)
    return order.index(key) if key in order else len(order)


def _phrase(entry: dict[str, Any], value: Plain, words: dict[str, str]) -> str:
    phrase = str(entry.get(_key(value), entry.get("other", "{name}: {value}.")))
    return phrase.format(**words, value=said(value))


def said(value: Plain) -> str:
    """A value as a reader reads it; most are ids and numbers, some are words."""
    return again(text(value), "value")
