"""From a name to something that can be run: config, model, inputs, and what the model claims of itself.

    name ──► resolve ──► Origin ──► subject_of ──► Subject ──► settle, make, inputs, shallow

The only package that knows transformers, the Hub and config keys. Resolving a name of the catalogue, a folder or a file
imports neither torch nor transformers: a stored answer must come back at once.

    resolve.py     what MODEL means: catalogue, folder, file, factory or Hub
    catalogue.py   the embedded presets (catalogue.toml), with their published figures
    hub.py         what is fetched from the Hub, and what its refusals mean
    checkpoint.py  what is wrong with a folder of weights before any is read
    nearest.py     names that a user may have meant
    subject.py     the interface that the tracer uses
    configured.py  a subject that is made from a config
    live.py        a subject that is code: a module, a function, a factory
    arguments.py   what a forward is called with, in every form in which inputs are given
    build.py       config to module: on meta, seeded, or from a checkpoint
    inputs.py      token ids, masks and caches for a forward pass
    machine.py     what this machine can do of a scenario
    sections.py    a config and the configs inside it
    shallow.py     the same config with fewer layers
    shrink.py      which numbers of a config become how small (shrink.toml)
    tiny.py        the same config with small numbers, and weights that hide nothing
    types.py       the model types that read token ids
    claims.py      what a config says of the architecture (claims.toml)
"""

from __future__ import annotations

__all__ = ["Origin", "Preset", "Subject", "find", "live_subject", "presets", "resolve", "subject_of"]

from inspector.source.catalogue import Preset, find, presets
from inspector.source.resolve import Origin, resolve
from inspector.source.subject import Subject, live_subject, subject_of
