"""The verb `report`: one document of several models, in several formats, with pictures."""

from __future__ import annotations

__all__ = ["Report", "check_gallery", "gallery", "report", "save_gallery"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.api.asking import scenario
from inspector.api.files import write_whole
from inspector.api.results import Result, spoken
from inspector.errors import UsageError
from inspector.records import Padding, Scenario
from inspector.stage_graph.record import GraphRecord

if TYPE_CHECKING:
    from inspector.render.document import Document
    from inspector.render.markdown import Flavor
    from inspector.reporting.report_material import Material, Values
    from inspector.verification.report import Report as Checked

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, repr=False)
class Report(Result):
    """Several models beside each other: in sentences, facts, rows, pictures and costs.

    >>> import inspector
    >>> made = inspector.report("bert-base-uncased", "gpt2")  # doctest: +SKIP
    >>> [path.name for path in made.save("out")][-3:]  # doctest: +SKIP
    ['report.json', 'report.html', 'report.md']

    flavor, most: of its Markdown: for whom, and in how many bytes.
    """

    material: Material
    flavor: Flavor = "github"
    most: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What the models are called here."""
        return self.material.names

    @property
    def sentences(self) -> tuple[str, ...]:
        """What differs in words, of each model with the next."""
        return tuple(sentence for pair in self.material.comparisons for sentence in pair.sentences)

    def document(self) -> Document:
        from inspector.reporting.report_view import document

        return document(self.material)

    def envelope(self) -> dict[str, Any]:
        from inspector.reporting.report_json import envelope

        return envelope(self.material)

    def records(self) -> list[dict[str, object]]:
        from inspector.reporting.report_json import records

        return records(self.material)

    def to_html(self, *, lang: str = "en") -> str:
        """One file that opens from disk and needs nothing else; a few keys, and all of it without script too."""
        from inspector.reporting.report_files import html

        with spoken(lang):
            return html(self.material)

    def to_markdown(self, *, pictures: str | None = None, lang: str = "en") -> str:
        """Markdown. pictures: the folder they lie in, seen from the document; without, they are said in words."""
        from inspector.reporting.report_files import in_markdown

        with spoken(lang):
            return in_markdown(self.material, flavor=self.flavor, pictures=pictures, most=self.most)

    def save(self, directory: str | PathLike[str], name: str = "report", *, lang: str = "en") -> list[Path]:
        """Write NAME.md, NAME.html, NAME.json and pictures/*.svg, each whole or not at all."""
        from inspector.reporting.report_files import PICTURES, drawings

        with spoken(lang):
            files = {f"{PICTURES}/{picture}": text for picture, text in drawings(self.material)}
        files |= {f"{name}.json": self.to_json(), f"{name}.html": self.to_html(lang=lang)}
        files[f"{name}.md"] = self.to_markdown(pictures=PICTURES, lang=lang)
        return _saved(Path(directory), files)

    def __repr__(self) -> str:
        from inspector.render.escape import visible

        return f"<Report of {', '.join(map(visible, self.names))}>"


def report(
    *models: Any,
    inputs: Any = None,
    batch: int = 2,
    seq: int = 16,
    past: int = 0,
    attention: str | Sequence[str] = "eager",
    dtype: str | None = None,
    device: str | None = None,
    pad: Padding | None = None,
    seed: int = 0,
    weights: str | None = None,
    head: bool | None = None,
    parity: bool = False,
    flavor: Flavor = "github",
    max_bytes: int | None = None,
    trace_cache: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Run each model once and put them side by side, each compared with the one after it.

    >>> import inspector
    >>> inspector.report("bert-base-uncased", "gpt2", "llama-3-8b").save("out")  # doctest: +SKIP
    >>> inspector.report("llama-3-8b", attention="eager,sdpa").to_markdown()  # doctest: +SKIP

    models: what `shapes` takes, or saved graphs and locks. One model alone is shown part by part; with several kinds of
        `attention`, once for each.
    inputs: what models that are code read, as for `shapes`; all of them read the same.
    parity: check each model stage by stage too, on numbers: a small twin of one that does not fit into memory. What is
        only a saved graph cannot be run, which is said.
    flavor, max_bytes: of the Markdown: "github", "hf" or "plain", and its size: what is alike is left out first.
    The other options are those of `shapes`, for all models alike.
    """
    from inspector.reporting.report_material import material
    from inspector.source.resolve import names_code

    kinds = _kinds(attention, len(models))
    if inputs is not None and not any(map(names_code, models)):
        raise UsageError("no model here is code, and each makes its own inputs", hint="leave inputs away")
    asked = scenario(
        batch=batch,
        seq=seq,
        past=past,
        attention=kinds[0],
        dtype=dtype,
        device=device,
        pad=pad,
        seed=seed,
        weights=weights,
        head=head,
    )
    ask = {"weights": weights or "none", "stored": trace_cache, "progress": progress}
    wanted = [(model, replace(asked, attention=kind)) for kind in kinds for model in models]
    given = [inputs if names_code(model) else None for model, _ in wanted]
    seen = [_seen(model, run, {**ask, "inputs": read}) for (model, run), read in zip(wanted, given, strict=True)]
    checked = None
    if parity:
        checked = [_checked(model, run, progress, read) for (model, run), read in zip(wanted, given, strict=True)]
    return Report(material(seen, checked), flavor, max_bytes)


def _checked(
    model: Any, run: Scenario, progress: Progress | None, inputs: Any = None, *, twin: bool = False
) -> Checked | None:
    """What came of checking a model stage by stage; None where there is a graph alone, and nothing to run."""
    if _is_saved(model):
        return None
    from inspector.api.parity import Parity
    from inspector.api.parity import parity as check

    found = check(model, inputs, attention=run.attention, head=run.head, seed=run.seed, twin=twin, progress=progress)
    assert isinstance(found, Parity)
    return found.report


def _is_saved(model: Any) -> bool:
    if isinstance(model, GraphRecord):
        return True
    if not isinstance(model, str) or not Path(model).expanduser().is_file():
        return False
    from inspector.source import resolve

    return resolve(model).kind == "saved"


def gallery(*, trace_cache: bool = False, progress: Progress | None = None) -> Mapping[str, bytes]:
    """Every file of the gallery, path -> contents, made from scratch.

    >>> sorted(gallery())[0]  # doctest: +SKIP
    'README.md'
    """
    from inspector.reporting.gallery import entries, files

    ask = {"weights": "none", "stored": trace_cache, "progress": progress}
    names = dict.fromkeys(name for entry in entries() for name in entry.models)
    checked = {name: _checked(name, Scenario(), progress, twin=True) for name in names}
    return files({name: _seen(name, Scenario(), ask) for name in names}, checked)


def _kinds(attention: str | Sequence[str], models: int) -> list[str]:
    """The kinds of attention: one for all models, or several for one."""
    names = attention.split(",") if isinstance(attention, str) else attention
    kinds = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not models:
        raise UsageError("there is no model to report", hint="give one or more: inspector report bert gpt2")
    if not kinds or (len(kinds) > 1 and models > 1):
        raise UsageError(
            f"a report of {models} models has one kind of attention, but got {', '.join(kinds) or 'none'}",
            hint="give one kind, or one model",
        )
    return kinds


def _seen(model: Any, asked: Scenario, ask: dict[str, Any]) -> tuple[GraphRecord, Values]:
    """The graph of a model, and what only its numbers show: of a saved graph, nothing."""
    from inspector.reporting.report_material import Values

    if isinstance(model, GraphRecord):
        return model, Values()
    if isinstance(model, str) and Path(model).expanduser().is_file():
        from inspector.source import resolve

        origin = resolve(model)
        if origin.kind == "saved":
            from inspector.stage_graph.export.lock import load_record

            return load_record(origin.target, origin.source), Values()
    from inspector.api.traces import Source
    from inspector.fact_sheet.recorded import recorded
    from inspector.fact_sheet.scene import Scene
    from inspector.reporting.pictures_values import values

    trace = Source(model, **ask).trace(asked)
    scene = Scene(trace)
    return recorded(trace, scene), values(scene)


def _saved(directory: Path, files: Mapping[str, str]) -> list[Path]:
    """Every file beside its place first, the documents last: they name the pictures."""
    written = []
    for name, text in files.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode())
        except OSError as error:
            raise UsageError(f"cannot write {path}", why=error.strerror or str(error)) from error
        written.append(path)
    return written


def save_gallery(directory: str | PathLike[str], *, progress: Progress | None = None) -> list[str]:
    """Make the gallery anew in `directory`; nothing is removed there. Says which documents there are."""
    made = gallery(progress=progress)
    _saved(Path(directory), {name: data.decode() for name, data in made.items()})
    return [str(Path(directory, name)) for name in made if not name.endswith(".svg")]


def check_gallery(directory: str | PathLike[str], *, progress: Progress | None = None) -> list[str]:
    """What in `directory` is not what a fresh run makes, one line each."""
    made = gallery(progress=progress)
    there = _present(Path(directory))
    lines = [f"{name}: missing" for name in made if name not in there]
    lines += [f"{name}: differs" for name, data in made.items() if name in there and there[name] != data]
    return sorted(lines + [f"{name}: not of the gallery" for name in there if name not in made])


_KINDS = (".md", ".html", ".svg")


def _present(folder: Path) -> dict[str, bytes]:
    """The files of a gallery that are there; files of other kinds are nobody's business."""
    places = (folder, folder / "models", folder / "pictures", folder / "pictures" / "zh")
    files = [path for place in places for path in sorted(place.glob("*")) if path.suffix in _KINDS and path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
