"""Small models on disk, and a server that answers as the Hub does."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

TINY = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "rms_norm_eps": 1e-5,
}
"""A config.json that builds in no time."""


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a config.json: TINY, but for what is given; None leaves a key out."""

    def write(folder: str = "tiny", **changes: Any) -> Path:
        path = tmp_path / folder / "config.json"
        path.parent.mkdir(exist_ok=True)
        document = {key: value for key, value in {**TINY, **changes}.items() if value is not None}
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Save a tiny Llama with seeded weights as transformers does, in shards when a shard size is given."""

    def save(folder: str = "saved", **options: Any) -> Path:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = LlamaForCausalLM(LlamaConfig(**{key: value for key, value in TINY.items() if key != "model_type"}))
        model.save_pretrained(tmp_path / folder, **options)
        return tmp_path / folder

    return save


COMMITS = {"main": "1" * 40, "v2": "2" * 40}


class Hub(http.server.BaseHTTPRequestHandler):
    """The two questions that fetching asks of the Hub: what is this file, and give it to me."""

    files: ClassVar[dict[str, bytes]] = {
        "me/bert/resolve/main/config.json": json.dumps({"model_type": "bert", "hidden_size": 24}).encode(),
        "me/bert/resolve/v2/config.json": json.dumps({"model_type": "bert", "hidden_size": 48}).encode(),
        "me/bert/resolve/main/model.safetensors": b"weights",
        "me/bert/resolve/main/pytorch_model.bin": b"never read",
        "me/shards/resolve/main/config.json": b'{"model_type": "bert"}',
        "me/shards/resolve/main/model.safetensors.index.json": b'{"weight_map": {"a": "one.safetensors"}}',
        "me/shards/resolve/main/one.safetensors": b"weights",
        "me/lora/resolve/main/adapter_config.json": json.dumps({"base_model_name_or_path": "me/bert"}).encode(),
    }

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def log_message(self, *args: Any) -> None:
        """Tests are quiet."""

    def _answer(self, *, send: bool) -> None:
        path = self.path.lstrip("/")
        for revision, commit in COMMITS.items():
            path = path.replace(commit, revision)
        status, reason = self._refusal(path)
        body = self.files.get(path, b"")
        self.send_response(status)
        if reason:
            self.send_header("X-Error-Code", reason)
        if body:
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMITS[path.split("/")[3]])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send:
            self.wfile.write(body)

    def _refusal(self, path: str) -> tuple[int, str]:
        if path in self.files:
            return 200, ""
        if path.startswith("me/gated/"):
            return (403 if self.headers.get("Authorization") else 401), "GatedRepo"
        if path.startswith("me/broken/"):
            return 418, ""
        if path.startswith("me/bert/resolve/v9/"):
            return 404, "RevisionNotFound"
        return 404, "EntryNotFound" if path.startswith(
            ("me/bert/", "me/lora/", "me/empty/", "me/shards/")
        ) else "RepoNotFound"


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a running server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def fresh() -> Callable[..., str]:
    """Run code in a new process, for what is decided when a package is imported; returns what it prints."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NO_PROXY": "127.0.0.1", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
