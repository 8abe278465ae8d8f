"""Traces on disk. What was seen is stored; opinions are made anew each time.

An entry answers only while everything it depends on is as it was: config, scenario, versions, our own sources (all in
its name) and the modeling files that ran (listed inside, digested again at every reading). Anything else is a miss.
"""

from __future__ import annotations

__all__ = ["TraceStore", "default_directory"]

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inspector.api.fingerprint import FileDigest, digest_files, sources_digest, unchanged, versions
from inspector.api.serial import from_document, to_document
from inspector.errors import SchemaError
from inspector.records import Scenario, Trace

SCHEMA = "inspector/trace-store/1"

_GZIP = 31
"""zlib's number for gzip framing, whose checksum catches a torn entry; the gzip module takes 5 ms to import."""

_SUFFIXES = (".json.gz", ".tmp")


def default_directory() -> Path:
    """Where traces are kept unless the caller says otherwise.

    >>> default_directory().name
    'traces'
    """
    if chosen := os.environ.get("INSPECTOR_CACHE_DIR"):
        return Path(chosen, "traces")
    if (xdg := os.environ.get("XDG_CACHE_HOME")) and os.path.isabs(xdg):
        base = Path(xdg)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "inspector" / "traces"


class TraceStore:
    """Traces by what they are of.

    >>> import tempfile
    >>> store = TraceStore(tempfile.mkdtemp())
    >>> store.get({"model_type": "gpt2"}, Scenario()) is None, store.size()
    (True, 0)

    identity: what says which model it is, as JSON: the canonical config and the class. limit: bytes on disk; beyond it,
    what was not used for longest goes. A store that cannot be read or written behaves as an empty one.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, *, limit: int = 256 << 20) -> None:
        self._directory = Path(directory) if directory is not None else default_directory()
        self._limit = limit

    def directory(self) -> Path:
        return self._directory

    def get(self, identity: Mapping[str, Any], scenario: Scenario) -> Trace | None:
        """The stored trace, or None when there is none that still holds."""
        path = self._path(identity, scenario)
        try:
            trace = _read(path)
        except (OSError, SchemaError, ValueError, zlib.error):  # absent, torn, foreign: all the same to the caller
            return None
        with suppress(OSError):  # a store that others own may be read-only
            os.utime(path)
        return trace

    def put(self, identity: Mapping[str, Any], scenario: Scenario, trace: Trace, files: Iterable[str]) -> None:
        """Store `trace`; `files` are the modeling files that were loaded when it was made."""
        digests = digest_files(files)
        if digests is None:
            return
        document = {"schema": SCHEMA, "files": digests, "trace": to_document(trace)}
        with suppress(OSError):  # a full or read-only disk costs time, not the answer
            self._write(self._path(identity, scenario), zlib.compress(_json(document), 1, wbits=_GZIP))
            self._evict()

    def clear(self) -> int:
        """Remove every entry; says how many there were."""
        entries = self._entries()
        for path, _ in entries:
            _remove(path)
        return len(entries)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(status.st_size for _, status in self._entries())

    def _path(self, identity: Mapping[str, Any], scenario: Scenario) -> Path:
        key = {
            "identity": identity,
            "scenario": asdict(scenario),
            "versions": versions(),
            "sources": sources_digest(),
        }
        return self._directory / f"{hashlib.sha256(_json(key)).hexdigest()}.json.gz"

    def _write(self, path: Path, data: bytes) -> None:
        """Readers see the old entry or the new one, never half of one, however many processes write."""
        self._directory.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            _remove(temporary)

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        """Our files, the one used longest ago first. Another process may remove any of them while we look."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._directory) as files:
            for file in files:
                if file.name.endswith(_SUFFIXES):
                    with suppress(FileNotFoundError):
                        found.append((Path(file.path), os.stat(file.path)))
        return sorted(found, key=lambda entry: entry[1].st_mtime_ns)

    def _evict(self) -> None:
        entries = self._entries()
        excess = sum(status.st_size for _, status in entries) - self._limit
        for path, status in entries:
            if excess <= 0:
                break
            _remove(path)
            excess -= status.st_size


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _remove(path: Path) -> None:
    with suppress(OSError):  # gone already, or open in another process on Windows
        path.unlink()


def _read(path: Path) -> Trace:
    document = json.loads(zlib.decompress(path.read_bytes(), wbits=_GZIP))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise SchemaError(f"{path.name} is no stored trace")
    try:
        fresh = unchanged(FileDigest(*row) for row in document["files"])
    except (AttributeError, KeyError, TypeError) as error:
        raise SchemaError(f"{path.name} does not say which files it depends on") from error
    if not fresh:
        raise SchemaError(f"{path.name} is of modeling files that have changed since")
    return from_document(document.get("trace"))
