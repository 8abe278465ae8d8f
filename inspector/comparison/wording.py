"""Says a finding in a sentence, from the phrases of `messages` and what the sides show."""

from __future__ import annotations

__all__ = ["Speaker"]

from collections import Counter
from typing import Any

from inspector.alignment.parts import Side
from inspector.comparison.changes import text
from inspector.messages import messages
from inspector.records import Plain
from inspector.vocabulary import ROLES


class Speaker:
    """Knows both sides, what they are called and what was observed of them."""

    def __init__(self, a: Side, b: Side, names: tuple[str, str], one: dict[str, Plain], two: dict[str, Plain]) -> None:
        self.names, self._observed = names, (one, two)
        self._words = [_words(side, name, seen) for side, name, seen in ((a, names[0], one), (b, names[1], two))]
        self._messages = messages()

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
            fields |= {f"{word}_{key}": said for key, said in words.items()} | {f"{word}_value": text(value)}
        both = str(entry.get("both", "{one} {two}"))
        try:
            return both.format(**fields)
        except KeyError:  # a figure that one side does not have
            return str(entry.get("else", "{one} {two}")).format(**fields)

    def unexplained(self, path: str, name: str, a: Plain, b: Plain) -> str:
        entry = self._messages["graph.unexplained"]
        section, _, role = path.partition(".")
        meaning = ROLES.get(section, {}).get(role, "")
        fields = {"part": path, "meaning": f" ({meaning})" if meaning else "", "name": name, "a": text(a), "b": text(b)}
        fields |= {"a_name": self.names[0], "b_name": self.names[1]}
        kind = "moved" if name == "moved" or (name == "only" and a and b) else name if name == "only" else "changed"
        if kind == "only":
            kind, fields["owner"], fields["other"] = "only", *(self.names if a else self.names[::-1])
        return str(entry[kind]).format(**fields)

    def summary(self, counts: Counter[str], differ: bool) -> str:
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


def _words(side: Side, name: str, seen: dict[str, Plain]) -> dict[str, str]:
    """All that a phrase may speak of, under names without dots."""
    words = {key.replace(".", "_"): text(value) for key, value in seen.items() if value is not None}
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
    return phrase.format(**words, value=text(value))
