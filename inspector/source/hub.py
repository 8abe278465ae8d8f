"""Fetching from the Hugging Face Hub: the config, and the weights only when they are asked for.

huggingface_hub honours HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and its own cache; nothing here second-guesses it.
"""

from __future__ import annotations

__all__ = ["fetch_config", "fetch_weights"]

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.errors import InspectorError, ModelNotFound
from inspector.source.checkpoint import INDEX, adapter, shard_names
from inspector.source.nearest import nearest


def fetch_config(repo: str, revision: str | None) -> Path:
    """The local path of a repository's config.json."""
    from huggingface_hub import hf_hub_download

    with _explained(repo, revision):
        return Path(hf_hub_download(repo, "config.json", revision=revision))


def fetch_weights(repo: str, revision: str | None) -> Path:
    """The local folder of a config and its weights: safetensors only, for a pickle runs code when it is read."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    folder = fetch_config(repo, revision).parent
    # The folder is named after its commit: all files of one load come from one state of the repository.
    commit = folder.name
    with _explained(repo, revision):
        try:
            hf_hub_download(repo, "model.safetensors", revision=commit)
        except EntryNotFoundError:
            try:
                index = Path(hf_hub_download(repo, INDEX, revision=commit))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return folder
            for shard in shard_names(index, repo):
                hf_hub_download(repo, shard, revision=commit)
    return folder


@contextmanager
def _explained(repo: str, revision: str | None) -> Iterator[None]:
    """Turn what the Hub answers into one line what, one line why, one line what next."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        _ask_once(repo, revision)
        yield
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise _unreachable(repo) from error
    except HfHubHTTPError as error:
        raise _refused(error, repo, revision) from error
    except HFValidationError as error:
        raise ModelNotFound(f"{repo!r} cannot be a Hub id", why=str(error).partition("\n")[0]) from error


def _ask_once(repo: str, revision: str | None) -> None:
    """Is the Hub there at all? huggingface_hub itself would try for half a minute to fetch what is not cached."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(try_to_load_from_cache(repo, "config.json", revision=revision), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repo, "config.json", revision=revision))
    except (HfHubHTTPError, HFValidationError):
        raise
    except Exception as error:  # the HTTP client, and with it the class of its errors, is huggingface_hub's affair
        raise OfflineModeIsEnabled(str(error)) from error


def _unreachable(repo: str) -> InspectorError:
    from huggingface_hub import constants

    return ModelNotFound(
        f"{repo} is not in the local cache, and the Hub is out of reach",
        why="HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no connection",
        hint="fetch it once with a network, or give a folder or config.json",
    )


def _refused(error: Exception, repo: str, revision: str | None) -> InspectorError:
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            return ModelNotFound(
                f"{repo} is gated",
                why="the token in use has no access to it" if get_token() else "no token is set",
                hint="ask for access on its page on the Hub, then run `hf auth login` or set HF_TOKEN",
            )
        case RepositoryNotFoundError():
            return ModelNotFound(
                f"the Hub has no model {repo}, or it is private",
                why=nearest(repo),
                hint="check the spelling; for a private model run `hf auth login` or set HF_TOKEN",
            )
        case RevisionNotFoundError():
            return ModelNotFound(
                f"{repo} has no revision {revision!r}", hint="a revision is a branch, a tag or a commit"
            )
        case EntryNotFoundError():
            return _no_config(repo, revision)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else "?"
    return ModelNotFound(f"the Hub refused {repo}", why=f"HTTP {status}", hint="try again later")


def _no_config(repo: str, revision: str | None) -> InspectorError:
    """A repository without config.json is often an adapter, which says what it adapts."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(repo, "adapter_config.json", revision=revision)
    except (HfHubHTTPError, LocalEntryNotFoundError):
        return ModelNotFound(f"{repo} holds no config.json", why="it is not a transformers model")
    return adapter(repo, json.loads(Path(path).read_text(encoding="utf-8")))
