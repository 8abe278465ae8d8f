"""The independent witness: the maths of each stage, written from the papers, and whole forwards composed of it.

Nothing here imports transformers: a witness that calls the accused proves nothing. Nothing is imported by this file,
so that a stored answer is read without torch.

    norms projections heads frequencies rope positions masks attention   one function per stage
    activations feedforward experts embeddings outputs cache             likewise
    steps      how a composition says what it is made of
    weights    tensors by the name a checkpoint gives them
    models/    whole forwards as compositions of steps, one file per architecture
"""

from __future__ import annotations

__all__: list[str] = []
