"""What a run's page shows that is no part of the run: the images whose answers changed, other runs of the same model,
and what each artifact was made from. Looked up where it still lies; where it does not, why is said instead.

The one place of a report that reads more than the run. Loads no runtime, and measures nothing.
"""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image

from ... import images, recipe
from ...errors import EdgeresnetError
from ...images import Samples, decode
from ...portable import manifest
from ...store import Store
from . import facts

_SIDE = 96  # pixels of a picture on the page
_TINY = 48  # up to so many a picture stays as it is, to the pixel
_READ = 24_000_000  # bytes of other runs: reading and checking them takes a second for some tens of millions
_SAME = ("model", "preprocessing")  # sections of two recipes about one model


@dataclass(frozen=True)
class Beside:
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # step → what it read → digest
    others: Sequence[Mapping[str, Any]] = ()  # runs of the same model, the newest first
    unread: str = ""  # a sentence on those that were left out
    names: Mapping[int, str] = field(default_factory=dict)  # number of an image → what its file is called
    pictures: Mapping[int, str] = field(default_factory=dict)  # number of an image → data: URI
    no_pictures: str = ""  # a sentence


def look(run: Mapping[str, Any], store: Store) -> Beside:
    parents = {step["id"]: found for step in run["steps"] if (found := _parents(step, store))}
    others, unread = _others(run, store)
    names, pictures, why = _pictures(run, store, parents)
    return Beside(parents, others, unread, names, pictures, why)


def _parents(step: Mapping[str, Any], store: Store) -> Mapping[str, str] | None:
    if not step["key"]:
        return None
    about = manifest.read(store.path_of(step["stage"], step["key"]))
    return about.get("parents") if about and about.get("digest") == step["digest"] else None


def _others(run: Mapping[str, Any], store: Store) -> tuple[list[Mapping[str, Any]], str]:
    found: list[Mapping[str, Any]] = []
    room, older, broken = _READ, 0, 0
    for path in reversed(store.runs()):
        if path.stem == run["id"]:
            continue
        try:
            room -= path.stat().st_size
            if room < 0:
                older += 1
                continue
            other = store.load_run(str(path))
        except (EdgeresnetError, OSError):
            broken += 1
            continue
        if _same_model(run, other):
            found.append(other)
    said = [f"Older runs of this store that were not looked at: {older}."] if older else []
    said += [f"Runs of this store that cannot be read, or are of another format: {broken}."] if broken else []
    return found, " ".join(said)


def _same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """And the same images: what was right or wrong of others is not to be held against these."""
    if any(one["recipe"].get(key) != other["recipe"].get(key) for key in _SAME):
        return False
    asked = [_asked(run) for run in (one, other)]
    return asked[0] is not None and asked[0] == asked[1]


def _asked(run: Mapping[str, Any]) -> Any:
    first = next((result for result in run["results"].values() if "variants" in result), None)
    return first and (first["classes"], first["labels"], first["skipped"], first["reference_predicted"])


def _pictures(
    run: Mapping[str, Any], store: Store, parents: Mapping[str, Mapping[str, str]]
) -> tuple[dict[int, str], dict[int, str], str]:
    wanted = facts.changed(run)
    if not wanted:
        return {}, {}, ""
    try:
        samples = _unchanged(run, store, parents)
        result = next(result for result in run["results"].values() if "variants" in result)
        readable = _readable(samples, result)
    except _NotThere as why:
        return {}, {}, str(why)
    except EdgeresnetError as problem:
        return {}, {}, f"The images cannot be shown: {problem.message} ({problem.hint})."
    names = {number: PurePath(samples.name(int(readable[number]))).name for number in wanted[: facts.NAMED]}
    pictures: dict[int, str] = {}
    for number in wanted[: facts.PICTURES]:
        with contextlib.suppress(*decode.BROKEN, EdgeresnetError):
            pictures[number] = _uri(samples.open(int(readable[number]), least=2 * _SIDE))
    return names, pictures, ""


class _NotThere(Exception):
    """Why there are no pictures, as a sentence."""


def _unchanged(run: Mapping[str, Any], store: Store, parents: Mapping[str, Mapping[str, str]]) -> Samples:
    """The evaluation images, if they are those that were measured: of every one the content, the label, the order."""
    asked = recipe.parse(_fetching_nothing(run["recipe"]), name=f"the recipe of run {run['id']}")
    digests = {found["evaluation"] for found in parents.values() if "evaluation" in found}
    if len(digests) != 1:
        raise _NotThere("The images cannot be shown: what tells that they are the same is no longer in the store.")
    samples = images.open_samples(asked, "evaluation", store)
    if samples.digest not in digests:
        raise _NotThere("The images are not shown: they have changed since they were measured.")
    return samples


def _fetching_nothing(asked: Mapping[str, Any]) -> dict[str, Any]:
    found = asked["images"].get("evaluation")
    told = {**found, "download": False} if found and found.get("download") else found
    return {**asked, "images": {**asked["images"], "evaluation": told}}


def _readable(samples: Samples, result: Mapping[str, Any]) -> np.ndarray:
    """Answers were stored without the images that could not be read."""
    skipped = set(result["skipped"])
    kept = [index for index in range(len(samples)) if not skipped or samples.name(index) not in skipped]
    if len(kept) != len(result["labels"]):
        raise _NotThere("The images are not shown: which of them were left out cannot be told any more.")
    return np.asarray(kept, np.int64)


def _uri(image: Image.Image) -> str:
    """Small, and without anything that its file says beside its pixels."""
    image = _eight_bits(image)
    image.thumbnail((_SIDE, _SIDE))
    kind, how = ("png", {}) if max(image.size) <= _TINY else ("jpeg", {"quality": 82})
    held = io.BytesIO()
    clean = Image.frombytes(image.mode, image.size, image.tobytes())
    clean.save(held, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode()}"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Of 16 bits, stretched from the darkest to the brightest: few of them use all levels."""
    if image.mode in ("L", "RGB"):
        return image
    levels = np.asarray(image).astype(np.float64)
    low, high = float(levels.min()), float(levels.max())
    return Image.fromarray((255 * (levels - low) / max(high - low, 1.0)).astype(np.uint8))
