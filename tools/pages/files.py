"""The files that edgeresnet writes: what each is for, who writes it, and its keys, from the types of the codec."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from edgeresnet import bench, runs
from edgeresnet.gate import baseline
from edgeresnet.portable import codec
from edgeresnet.recipe import Recipe
from edgeresnet.report import compared
from edgeresnet.stages.export import contents
from edgeresnet.store import FORMAT as ARTIFACT_FORMAT
from edgeresnet.store.artifact import ManifestRecord
from edgeresnet.targets import _compiled, _nvengine

from .markdown import code, comments, page, sentence, table

INTRO = """
All of these are JSON in UTF-8, except for the recipe, which is YAML.
A reader refuses unknown keys, missing keys and wrong types, with the path of what is wrong.
A file of an older format is read, or refused in one line that says what to do.
"""


class Kind(NamedTuple):
    """One kind of file: its title, its place, who writes and reads it, its format, and the type that it holds."""

    title: str
    place: str
    writer: str
    reader: str
    version: str
    schema: str
    about: str
    holds: type | None


def _version(kind: type, key: str) -> str:
    """Return the one value of a key that is a Literal."""
    return str(next(codec.shape(each.kind).parts[0] for each in codec.keys(kind) if each.attribute == key))


KINDS = (
    Kind(
        "Recipe",
        "anywhere",
        "you, or `edgeresnet init`",
        "`run`, `plan`, `check`",
        str(typing.get_args(Recipe.model_fields["version"].annotation)[0]),
        "`edgeresnet schema`",
        "A recipe says what is wanted. Its keys have [a page of their own](recipe.md).",
        None,
    ),
    Kind(
        "Run",
        "`artifacts/runs/ID.json`",
        "`run`, `collect`",
        "`report`, `gate`, `compare`, `show`",
        _version(runs.Run, "format"),
        "`edgeresnet schema run`",
        "A run holds its recipe, what became of each step, every answer, every time, and the verdicts. "
        "`--json` prints the same document.",
        runs.Run,
    ),
    Kind(
        "Result of a device",
        "`result.json`, on the device",
        "`deploy.py` of a bundle",
        "`collect`",
        str(contents.RESULT_FORMAT),
        "`edgeresnet schema result`",
        "It names the bundle by digest, so that a result is never attributed to another network. "
        "Its own digest shows damage on the way.",
        contents.DeviceResult,
    ),
    Kind(
        "Baseline of a gate",
        "`gate.json`, in your repository",
        "`gate --update`",
        "`gate`",
        str(baseline.FORMAT),
        "",
        "A baseline is small and is made for review. Only `margins` may be edited by hand: "
        "the digest covers all other keys.",
        baseline.Baseline,
    ),
    Kind(
        "Bundle",
        "`bundle.json`, in a bundle",
        "`export`, `run`",
        "`deploy.py`",
        str(contents.FORMAT),
        "",
        "It says what a bundle holds and how it is to be measured. "
        "The bundle's `manifest.json` lists all files with size and sha256.",
        contents.BundleAbout,
    ),
    Kind(
        "Sidecar",
        f"`{_compiled.SIDECAR}`, next to a compiled network",
        "each target's compiler",
        "the target, before it loads anything",
        "",
        "",
        "It says what was compiled, from what, by which version. An engine of NVIDIA's has more keys.",
        _compiled.Sidecar,
    ),
    Kind(
        "Sidecar of an engine",
        f"`{_compiled.SIDECAR}`, next to an engine",
        "`tensorrt`, `tensorrt_rtx`",
        "the same, before the engine is read",
        "",
        "",
        "An engine of another release or another GPU is refused in words, and is not loaded.",
        _nvengine.EngineSidecar,
    ),
    Kind(
        "Manifest of an artifact",
        "`manifest.json`, in each folder of the store",
        "each stage",
        "every command",
        str(ARTIFACT_FORMAT),
        "",
        "It says what a stage made, and from what. A file that changed since is never used.",
        ManifestRecord,
    ),
    Kind(
        "Bench",
        "`artifacts/bench/ID.json`",
        "`bench`",
        "`bench`",
        str(bench.FORMAT),
        "",
        "It holds the raw times of networks that were timed in turn. "
        "`amounts` are energy and throughput, computed from them; `--json` prints the same document.",
        bench.Bench,
    ),
    Kind(
        "Comparison",
        "printed, or the file of `--output`",
        "`compare --format json`",
        "your programs",
        "",
        "",
        "Runs compared with the first of them. What cannot be compared has a reason instead of numbers.",
        compared.Comparison,
    ),
)


def page_of_files() -> str:
    """Return the page of all files."""
    rows = [
        (f"[{kind.title}](#{_anchor(kind.title)})", kind.place, kind.writer, kind.reader, kind.version, kind.schema)
        for kind in KINDS
    ]
    overview = table(("file", "where", "written by", "read by", "format", "JSON Schema"), rows)
    shown = list(_parts())
    known = {part: part.__name__ for part in shown}
    roots = [_root(kind, known) for kind in KINDS]
    parts = [f"### {part.__name__}\n\n{_about(part)}\n\n{_keys(part, known)}" for part in shown]
    heading = "## Parts\n\nThe objects that the files above are made of, by name.\n"
    return page("File formats", INTRO, overview, *roots, heading, *parts)


def _root(kind: Kind, known: Mapping[type, str]) -> str:
    return f"## {kind.title}\n\n{kind.about}\n\n" + (_keys(kind.holds, known) if kind.holds else "")


def _parts() -> Iterator[type]:
    """Return every class that a file holds, by name; not those that have a section as a file."""
    found = {kind.holds for kind in KINDS if kind.holds}
    roots, todo = set(found), list(found)
    while todo:
        for key in codec.keys(todo.pop()):
            new = set(_classes(key.kind)) - found
            found |= new
            todo += new
    yield from sorted(found - roots, key=lambda part: part.__name__)


def _classes(kind: Any) -> Iterator[type]:
    name, parts = codec.shape(kind)
    if name == "object":
        yield kind
    elif name != "literal":
        for part in parts:
            if part is not kind:
                yield from _classes(part)


def _keys(kind: type, known: Mapping[type, str]) -> str:
    said = comments(kind)
    rows = [
        (
            code(key.name),
            _kind(key.kind, known),
            "" if key.required else "optional",
            sentence(said.get(key.attribute, "")),
        )
        for key in codec.keys(kind)
    ]
    return table(("key", "value", "", "what it is"), rows)


def _kind(kind: Any, known: Mapping[type, str]) -> str:
    """Return a type of the codec in words."""
    name, parts = codec.shape(kind)
    if name == "object":
        return f"[{known[kind]}](#{_anchor(known[kind])})" if kind in known else kind.__name__
    if name == "scalar":
        return {str: "text", int: "integer", float: "number", bool: "`true`, `false`"}.get(parts[0], "`null`")
    if name == "literal":
        return ", ".join(map(code, parts))
    inner = [_kind(part, known) for part in parts]
    if name == "union":
        return " or ".join(dict.fromkeys(inner))
    if name == "mapping":
        return f"mapping of name to {inner[0]}"
    if name == "opaque":
        return "any JSON"
    many = re.sub(r"of (number|integer)\b", r"of \1s", f"list of {inner[0]}")
    return many if name == "many" else f"list: {', '.join(inner)}"


def _about(kind: type) -> str:
    text = (kind.__doc__ or "").strip()
    made_up = dataclasses.is_dataclass(kind) and text.startswith(f"{kind.__name__}(")
    return "" if made_up else sentence(text.split("\n\n")[0])


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
