"""What a comparison found, said again in the language that is spoken: it is stored, as JSON has it, in English."""

from __future__ import annotations

__all__ = ["findings", "names", "summary"]

from collections.abc import Sequence
from dataclasses import replace

from inspector.comparison.judge import Comparison, Finding
from inspector.comparison.observed import observed
from inspector.comparison.rules import UNEXPLAINED
from inspector.comparison.wording import Speaker, said
from inspector.messages import again, language, messages, say
from inspector.reporting import words


def findings(found: Comparison, chosen: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings of this comparison, with their sentences in the language that is spoken."""
    if language() == "en":
        return tuple(chosen)
    speaker = _speaker(found)
    return tuple(replace(finding, sentence=_sentence(found, finding, speaker)) for finding in chosen)


def summary(found: Comparison) -> str:
    """How much of the two is alike."""
    if language() == "en":
        return found.sentences[-1]
    return _speaker(found).summary(found.rows, bool(found.findings))


def names(found: Comparison) -> tuple[str, str]:
    """What the two are called here."""
    one, two = found.names
    return again(one, "held"), again(two, "held")


def _speaker(found: Comparison) -> Speaker:
    return Speaker(found.a, found.b, names(found), observed(found.a), observed(found.b))


def _sentence(found: Comparison, finding: Finding, speaker: Speaker) -> str:
    """A rule says what both sides show; what no rule explains and what a lock found says where it was seen."""
    if finding.rule == UNEXPLAINED.id:
        return speaker.unexplained(finding.place, finding.a, finding.b, _meaning(finding.place.partition(":")[0]))
    known = finding.rule in messages()
    if known and not finding.place and speaker.values(finding.rule) == (finding.a, finding.b):
        return speaker.sentence(finding.rule, finding.a, finding.b)
    part = finding.place.partition(" (")[0] if known else words.meaning("fact_meaning", finding.rule)
    meant = _meaning(".".join(part.split(".")[:2])) if known and ", " not in part else ""
    fields = {"part": part + (say("joint.meant", meaning=meant) if meant else "")}
    fields |= {"a": said(finding.a), "b": said(finding.b), "a_name": names(found)[0], "b_name": names(found)[1]}
    return say(f"{finding.rule if known else 'fact'}.other", **fields)


def _meaning(path: str) -> str:
    section, _, role = path.partition(".")
    return words.meaning(f"role_{section}", role)
