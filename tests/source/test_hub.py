"""The Hub, as huggingface_hub itself talks to it: a server of our own, a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

SAY = """
import sys
from inspector.source.resolve import resolve
for name in {names!r}:
    try:
        origin = resolve(name)
        print(origin.name, origin.source, origin.model_type, origin.config["hidden_size"])
    except Exception as error:
        print(type(error).__name__, error.exit_code, *str(error).splitlines(), sep=" | ")
"""

FETCH = """
from inspector.source.resolve import resolve
folder = resolve({!r}, weights={!r}).folder
print(*sorted(path.name for path in folder.iterdir()) if folder else "")
"""

NOT_FOUND = ("ModelNotFound", "3")
ASK = "ask for access on its page on the Hub, then run `hf auth login` or set HF_TOKEN"
CHECK = "check the spelling; for a private model run `hf auth login` or set HF_TOKEN"
MERGE = "give the base model, or a folder with the adapter merged into it"
DID_YOU_MEAN = "did you mean bert-base-uncased, bert-base-cased, bert-large-uncased, distilbert-base-uncased?"
UNREACHABLE = "ModelNotFound | 3 | me/other is not in the local cache, and the Hub is out of reach | "


def say(fresh: Callable[..., str], *names: str, **environment: str) -> list[str]:
    return fresh(SAY.format(names=names), **{"HF_TOKEN": "", **environment}).splitlines()


def test_found_and_refused(hub: str, fresh: Callable[..., str], tmp_path: Path) -> None:
    """A model, a revision of it, and each way in which the Hub can say no."""
    names = [
        *("me/bert", "me/bert@v2", "me/bert@v9", "me/gated", "me/bert-base-uncase"),
        *("me/lora", "me/empty", "me/broken"),
    ]
    told = say(fresh, *names, HF_ENDPOINT=hub, HF_HOME=str(tmp_path))

    assert [line.split(" | ") for line in told] == [
        ["me/bert Hub at 111111111111 bert 24"],
        ["me/bert@v2 Hub at 222222222222 bert 48"],
        [*NOT_FOUND, "me/bert has no revision 'v9'", "a revision is a branch, a tag or a commit"],
        [*NOT_FOUND, "me/gated is gated", "no token is set", ASK],
        [*NOT_FOUND, "the Hub has no model me/bert-base-uncase, or it is private", DID_YOU_MEAN, CHECK],
        ["ModelAtFault", "3", "me/lora is an adapter, not a model", "it adapts me/bert", MERGE],
        [*NOT_FOUND, "me/empty holds no config.json", "it is not a transformers model"],
        [*NOT_FOUND, "the Hub refused me/broken", "HTTP 418", "try again later"],
    ]


def test_a_token_is_sent(hub: str, fresh: Callable[..., str], tmp_path: Path) -> None:
    """The server refuses with another status then; what is wrong is no longer that none is set."""
    (told,) = say(fresh, "me/gated", HF_ENDPOINT=hub, HF_HOME=str(tmp_path), HF_TOKEN="hf_x")

    assert told.startswith("ModelNotFound | 3 | me/gated is gated | the token in use has no access to it | ")


def test_offline_answers_from_the_cache(hub: str, fresh: Callable[..., str], tmp_path: Path) -> None:
    """Whether it is asked for, or the network is down (nothing listens on port 9)."""
    hint = "fetch it once with a network, or give a folder or config.json"
    say(fresh, "me/bert", HF_ENDPOINT=hub, HF_HOME=str(tmp_path))
    offline = say(fresh, "me/bert", "me/other", HF_ENDPOINT=hub, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    down = say(fresh, "me/bert", "me/other", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))

    assert offline == ["me/bert Hub at 111111111111 bert 24", f"{UNREACHABLE}HF_HUB_OFFLINE is set | {hint}"]
    assert down == ["me/bert Hub at 111111111111 bert 24", f"{UNREACHABLE}no connection | {hint}"]


def test_weights_are_fetched_only_when_asked_for(hub: str, fresh: Callable[..., str], tmp_path: Path) -> None:
    """And then only those that run no code when they are read."""
    fresh(FETCH.format("me/bert", "none"), HF_ENDPOINT=hub, HF_HOME=str(tmp_path))
    before = {path.name for path in tmp_path.rglob("*1111/*")}
    whole = fresh(FETCH.format("me/bert", "checkpoint"), HF_ENDPOINT=hub, HF_HOME=str(tmp_path))
    sharded = fresh(FETCH.format("me/shards", "checkpoint"), HF_ENDPOINT=hub, HF_HOME=str(tmp_path))

    assert before == {"config.json"}
    assert whole.split() == ["config.json", "model.safetensors"]
    assert sharded.split() == ["config.json", "model.safetensors.index.json", "one.safetensors"]


def test_weights_from_the_cache(hub: str, fresh: Callable[..., str], tmp_path: Path) -> None:
    here = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path)}
    online = [fresh(FETCH.format(name, "checkpoint"), **here) for name in ("me/bert", "me/shards")]
    offline = [fresh(FETCH.format(name, "checkpoint"), **here, HF_HUB_OFFLINE="1") for name in ("me/bert", "me/shards")]

    assert online == offline
