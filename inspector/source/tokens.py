"""Text to token ids and back, by the tokenizer that lies in a model's folder."""

from __future__ import annotations

__all__ = ["Tokenizer", "tokenizer_of"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import ModelAtFault, UsageError
from inspector.source.build import first_line, quiet

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True)
class Tokenizer:
    """Reads and writes text for one model."""

    tokenizer: Any

    def ids(self, text: str) -> list[int]:
        """The ids of a text; UsageError where there are none."""
        found = [int(token) for token in self.tokenizer(text)["input_ids"]]
        if not found:
            raise UsageError("the text gives no token", hint="give --text some words")
        return found

    def continued(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """What `ids` say behind a prompt: most tokenizers keep the blank between two words in the second."""
        before, whole = (str(self.tokenizer.decode(list(part))) for part in (prompt, [*prompt, *ids]))
        return whole.removeprefix(before) if whole.startswith(before) else str(self.tokenizer.decode(list(ids)))


def tokenizer_of(model: Any) -> Tokenizer:
    """The tokenizer in the folder that MODEL names. Nothing is fetched, and no code that lies there is run.

    >>> try:
    ...     tokenizer_of("gpt2")
    ... except UsageError as error:
    ...     print(error.what)
    nothing here turns text into the tokens of gpt2
    """
    folder = Path(model).expanduser() if isinstance(model, str) else None
    name = str(getattr(model, "__name__", type(model).__name__)) if folder is None else folder.name
    if folder is None or not folder.is_dir() or not any((folder / file).is_file() for file in _FILES):
        raise UsageError(
            f"nothing here turns text into the tokens of {name}",
            why=f"that takes the model's folder, with {', '.join(_FILES[:-1])} or {_FILES[-1]}",
            hint="give MODEL as such a folder, or leave --text away: token ids are then made up",
        )
    try:
        with quiet():
            from transformers import AutoTokenizer

            found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a tokenizer's files may break anywhere
        raise ModelAtFault(f"the tokenizer in {name} cannot be read", why=first_line(error)) from error
    return Tokenizer(found)
