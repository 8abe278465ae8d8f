"""Files that are written whole or not at all."""

from __future__ import annotations

__all__ = ["write_whole"]

import os
import shutil
import stat
from pathlib import Path


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside the file, then rename over it: a reader sees the old file or the new one, never half of one.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "gpt2.arch.json")
    >>> write_whole(file, b"{}")
    >>> file.read_bytes(), len(list(file.parent.iterdir()))
    (b'{}', 1)
    """
    target = Path(path).resolve()  # a link stays a link
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        target.write_bytes(data)  # a device or a named pipe cannot be replaced
        return
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(None, "it is read-only")
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
