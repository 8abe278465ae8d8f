"""Text that has to fit."""

from __future__ import annotations

__all__ = ["cut"]

from inspector.messages import say


def cut(text: str, max_bytes: int) -> str:
    r"""The lines that fit into so many bytes, and a last one that says how many do not.

    >>> cut("one\ntwo\nthree\n" * 20, 60)
    'one\ntwo\nthree\none\ntwo\nthree\n\n54 lines more are left out.\n'
    """
    if len(text.encode()) <= max_bytes:
        return text
    lines = text.splitlines()
    room, kept = max_bytes - len(_said(len(lines)).encode()), 0
    for size in (len(line.encode()) + 1 for line in lines):
        if size > room:
            break
        room, kept = room - size, kept + 1
    cut_off = _said(len(lines) - kept)
    return "".join(f"{line}\n" for line in lines[:kept]) + cut_off if len(cut_off.encode()) <= max_bytes else ""


def _said(count: int) -> str:
    return f"\n{say('render.left out', n=count)}\n"
