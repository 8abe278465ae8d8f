"""What a lock holds: the graph of a model without the sizes of a run, the config it was made from, and a digest.

The digest notices a hand that slipped and a merge that went wrong; it keeps out nobody who means harm. Nothing in a
lock is taken as a path, or as a name of code.
"""

from __future__ import annotations

__all__ = ["SCHEMA", "Locked", "load_lock", "load_record", "lock_document", "read_lock", "written"]

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from inspector.errors import SchemaError
from inspector.stage_graph.export.node_link import to_document
from inspector.stage_graph.export.saved import from_document, load_graph
from inspector.stage_graph.export.sizeless import sized, sizeless
from inspector.stage_graph.record import GraphRecord

SCHEMA = "inspector/lock/1"

_MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)

_HINT = "make it again with `inspector lock MODEL -o FILE.arch.json`"

_UNTOLD = frozenset({"_name_or_path", "name_or_path", "transformers_version", "_commit_hash"})
"""Config keys that say where it came from, not what it is."""

_FLOAT = "__float__"
"""How a config says the numbers that JSON has no word for, as transformers writes them too."""


@dataclass(frozen=True)
class Locked:
    """A graph without sizes, and what it takes to run its model again.

    config: the keys of the config, None where the model was made by code. head: as it was asked for, None for the
    class that people mean by the name.
    """

    record: GraphRecord
    config: Mapping[str, Any] | None = None
    head: bool | None = None


def lock_document(locked: Locked) -> dict[str, Any]:
    """The lock as JSON-ready data.

    >>> from inspector.records import ModelInfo, Scenario
    >>> record = GraphRecord(ModelInfo("mine", None, "Mine", 0, 0), Scenario(), (), ())
    >>> read_lock(lock_document(Locked(record))).config is None
    True
    """
    rows = sizeless(to_document(locked.record))
    rows["models"][0]["run"]["head"] = locked.head
    document = {"schema": SCHEMA, "config": None if locked.config is None else _kept(locked.config), **_plain(rows)}
    return {"schema": SCHEMA, "digest": _digest(document), **document}


def load_lock(path: str | os.PathLike[str]) -> Locked:
    """The lock in a file. SchemaError, naming the file, when it holds anything else."""
    file = Path(path)
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise SchemaError(f"there is no lock {file.name}", hint=_HINT) from error
    except OSError as error:
        raise SchemaError(f"cannot read {file.name}", why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{file.name} is not JSON", why=_first(error), hint=_HINT) from error
    return read_lock(document, file.name)


def load_record(path: str | os.PathLike[str], schema: str) -> GraphRecord:
    """The graph in a saved document that says it is of this schema: a lock's, or a graph's own."""
    return load_lock(path).record if schema.startswith(SCHEMA.rstrip("0123456789")) else load_graph(path)


def read_lock(document: Any, name: str = "this") -> Locked:
    """What `lock_document` wrote, if it is that, whole and unchanged.

    >>> read_lock({"schema": "inspector/lock/2"})
    Traceback (most recent call last):
    inspector.errors.SchemaError: this is inspector/lock/2, which this inspector does not read
    it reads inspector/lock/1
    update inspector, or make it again with `inspector lock MODEL -o FILE.arch.json`
    """
    _check(document, name)
    try:
        record = from_document(sized(document), name)
        config, head = document["config"], document["models"][0]["run"]["head"]
        if not (config is None or isinstance(config, dict)) or head not in (None, True, False):
            raise TypeError("its config is no object" if config is not None else "head is neither true nor false")
    except SchemaError as error:
        raise SchemaError(f"{name} is not a whole lock", why=error.why, hint=_HINT) from error
    except _MALFORMED as error:
        raise SchemaError(f"{name} is not a whole lock", why=_first(error), hint=_HINT) from error
    return Locked(record, None if config is None else _told(config), head)


def _check(document: Any, name: str) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and re.fullmatch(r"inspector/lock/\d+", schema):
            hint = f"update inspector, or {_HINT}"
            what = f"{name} is {schema}, which this inspector does not read"
            raise SchemaError(what, why=f"it reads {SCHEMA}", hint=hint)
        said = f"{name} is {schema}, not a lock" if str(schema).startswith("inspector/") else f"{name} is no lock"
        raise SchemaError(said, why=f"a lock says of itself that it is {SCHEMA}", hint=_HINT)
    try:
        digest = _digest({key: value for key, value in document.items() if key != "digest"})
    except (RecursionError, ValueError) as error:
        raise SchemaError(f"{name} is not a whole lock", why=_first(error), hint=_HINT) from error
    if document.get("digest") != digest:
        raise SchemaError(
            f"{name} was changed after it was made",
            why=f"it says that its digest is {document.get('digest')!s:.23}..., but it is {digest:.23}...",
            hint=f"take back the change, or {_HINT}",
        )


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _first(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error).partition("\n")[0]


# config


def _kept(value: Any) -> Any:
    """A config without what says where it came from: those keys, and every path of somebody's machine."""
    if isinstance(value, Mapping):
        kept = {str(key): _kept(item) for key, item in value.items() if key not in _UNTOLD and not _is_path(item)}
        return {key: kept[key] for key in sorted(kept)}
    if isinstance(value, (list, tuple)):
        return [_kept(item) for item in value if not _is_path(item)]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"}
    return value


def _is_path(value: Any) -> bool:
    if not isinstance(value, str) or not value.strip():
        return False
    return value.startswith("~") or PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_FLOAT}:
            return float(str(value[_FLOAT]).replace("Infinity", "inf"))
        return {key: _told(item) for key, item in value.items()}
    return [_told(item) for item in value] if isinstance(value, list) else value


# text


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON makes of them, so that a lock that is written is the one that is read."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def written(document: Mapping[str, Any]) -> str:
    """A lock as text, one line per part, so that two versions of it are compared line by line; all of it is ASCII."""
    return _lines(document, "", 3) + "\n"


def _lines(value: Any, indent: str, depth: int) -> str:
    inside = f"{indent}  "
    if depth and value and isinstance(value, dict):
        keys = value if depth == 3 else sorted(value)
        rows = [f"{json.dumps(key)}: {_lines(value[key], inside, depth - 1)}" for key in keys]
        return "{\n" + ",\n".join(f"{inside}{row}" for row in rows) + f"\n{indent}}}"
    if depth and value and isinstance(value, list):
        rows = [json.dumps(row, sort_keys=True, allow_nan=False) for row in value]
        return "[\n" + ",\n".join(f"{inside}{row}" for row in rows) + f"\n{indent}]"
    return json.dumps(value, sort_keys=True, allow_nan=False)
