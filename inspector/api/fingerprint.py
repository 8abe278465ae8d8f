"""What a stored trace depends on: versions, our own sources, and the modeling files that ran. Imports none of them."""

from __future__ import annotations

__all__ = ["FileDigest", "digest_files", "sources_digest", "unchanged", "versions"]

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import inspector

_STARTED = time.time()


class FileDigest(NamedTuple):
    """One file of an installed package: `path` is relative to the package, with forward slashes."""

    package: str
    path: str
    digest: str


def versions() -> dict[str, str]:
    """Versions of what decides how a model runs.

    >>> sorted(versions())
    ['inspector', 'python', 'torch', 'transformers']
    """
    python = ".".join(map(str, sys.version_info[:3]))
    installed = {package: _version(package) for package in ("torch", "transformers")}
    return {"python": f"{sys.implementation.name} {python}", "inspector": inspector.__version__, **installed}


def _version(package: str) -> str:
    """Read from the name of the metadata folder: `importlib.metadata` takes 20 ms to import."""
    root = _root(package)
    if root is None:
        return ""
    prefix, suffix = f"{package}-", ".dist-info"
    folders = [name for name in os.listdir(os.path.dirname(root)) if name.startswith(prefix) and name.endswith(suffix)]
    if len(folders) == 1:
        return folders[0][len(prefix) : -len(suffix)]
    from importlib.metadata import version  # an editable install: its metadata lies elsewhere

    return version(package)


@cache
def _root(package: str) -> str | None:
    """Folder of an installed package. transformers, once imported, says it as a Path."""
    spec = find_spec(package)
    return next(map(os.fspath, spec.submodule_search_locations or ()), None) if spec else None


def sources_digest() -> str:
    """One digest of all files of this package: an edited rule is another tool."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.encode())
        digest.update(_digest(path).encode())
    return digest.hexdigest()


def _sources() -> Iterator[str]:
    for folder, folders, files in os.walk(os.path.dirname(inspector.__file__)):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (os.path.join(folder, name) for name in sorted(files))


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def digest_files(paths: Iterable[str]) -> list[FileDigest] | None:
    """Digests of the files that were loaded, or None when they do not vouch for what ran.

    That is when a file lies in no installed package, where nobody would find it again, or when it (or a file of ours)
    was written after this process began: what is loaded is then older than what would be digested.
    """
    paths = sorted(set(paths))
    places = [_place(path) for path in paths]
    if any(os.stat(path).st_mtime >= _STARTED for path in (*paths, *_sources())):
        return None
    found = [FileDigest(*place, _digest(path)) for place, path in zip(places, paths, strict=True) if place]
    return found if len(found) == len(paths) else None


def _place(path: str) -> tuple[str, str] | None:
    """(package, path inside it) of a file, when the package is found again by its name."""
    folder, parts = os.path.dirname(path), [os.path.basename(path)]
    while os.path.exists(os.path.join(os.path.dirname(folder), "__init__.py")):
        folder, name = os.path.split(folder)
        parts.insert(0, name)
    package = os.path.basename(folder)
    return (package, "/".join(parts)) if _root(package) == folder else None


def unchanged(files: Iterable[FileDigest]) -> bool:
    """Whether every file still has the contents it had."""
    return all(_still(file) for file in files)


def _still(file: FileDigest) -> bool:
    root = _root(file.package)
    return root is not None and _digest(os.path.join(root, *file.path.split("/"))) == file.digest
