"""What a run's page shows that is not in the run: the images whose answers changed, other runs of the same model, and
what each artifact was made from. Looked up in the store; where something is missing there, the page says why.

The one place of a report that reads more than the run. Loads no runtime, and measures nothing.
"""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import PurePath

import numpy as np
from PIL import Image

from ... import images, recipe
from ...errors import EdgeresnetError
from ...images import Samples, decode, drawing
from ...portable.frozen import dataclass
from ...portable.result import Measured
from ...runs import Run, StepRecord
from ...store import Store, manifest_in
from ..summary import changed_images
from . import answer_pictures
from .answer_pictures import Drawn

PICTURES = 48  # of changed images, on a page
NAMED = 200  # of them, in its table

_SIDE = 96  # pixels of a picture on the page
_TINY = 48  # up to this size a picture stays as it is, to the pixel
_READ = 24_000_000  # bytes of other runs: reading and checking them takes a second for some tens of millions
_SAME = ("model", "preprocessing")  # sections of two recipes about one model


@dataclass(frozen=True)
class Extras:
    """What was found in the store."""

    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # step → what it read → digest
    others: Sequence[Run] = ()  # runs of the same model, the newest first
    unread: str = ""  # a sentence on those that were left out
    names: Mapping[int, str] = field(default_factory=dict)  # number of an image → the name of its file
    pictures: Mapping[int, str] = field(default_factory=dict)  # number of an image → data: URI
    no_pictures: str = ""  # a sentence
    drawn: Drawn = field(default_factory=Drawn)


def look_up(run: Run, store: Store) -> Extras:
    """Return what the store still has of a run."""
    parents = {step.id: found for step in run.steps if (found := _parents(step, store))}
    others, unread = _others(run, store)
    return _with_pictures(Extras(parents, others, unread), run, store)


def _parents(step: StepRecord, store: Store) -> Mapping[str, str] | None:
    if not step.key:
        return None
    about = manifest_in(store.path_of(step.stage, step.key))
    return about.parents if about and about.digest == step.digest else None


def _others(run: Run, store: Store) -> tuple[list[Run], str]:
    found: list[Run] = []
    room, older, broken = _READ, 0, 0
    for path in reversed(store.runs()):
        if path.stem == run.id:
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
        if _is_same_model(run, other):
            found.append(other)
    sentences = [f"Older runs of this store that were not read: {older}."] if older else []
    sentences += [f"Runs of this store that cannot be read, or are of another format: {broken}."] if broken else []
    return found, " ".join(sentences)


def _is_same_model(one: Run, other: Run) -> bool:
    """Return whether both evaluated the same model on the same images: else their accuracies cannot be compared."""
    if any(one.recipe.get(key) != other.recipe.get(key) for key in _SAME):
        return False
    evaluated = [_evaluated(run) for run in (one, other)]
    return evaluated[0] is not None and evaluated[0] == evaluated[1]


def _evaluated(run: Run) -> tuple[object, ...] | None:
    first = next(iter(run.measured), None)
    if first is None:
        return None
    return first.classes, first.labels, first.skipped, first.reference_predicted or first.images


def _with_pictures(found: Extras, run: Run, store: Store) -> Extras:
    wanted = [each.number for each in changed_images(run.measured)]
    drawable = answer_pictures.worst(run.measured)
    if not wanted and not drawable:
        return found
    try:
        samples = _unchanged(run, store, found.parents)
        readable = _readable(samples, run.measured[0])
        names = {number: PurePath(samples.name(int(readable[number]))).name for number in (wanted or drawable)[:NAMED]}
        if drawable:
            pictures = answer_pictures.look_up(run, store, samples, readable, _uri)
            return replace(found, names=names, drawn=pictures)
    except _NotThere as why:
        return replace(found, no_pictures=str(why))
    except EdgeresnetError as problem:
        return replace(found, no_pictures=f"The images cannot be shown: {problem.message} ({problem.hint}).")
    drawn: dict[int, str] = {}
    for number in wanted[:PICTURES]:
        with contextlib.suppress(*decode.BROKEN, EdgeresnetError):
            drawn[number] = _uri(samples.open(int(readable[number]), least=2 * _SIDE))
    return replace(found, names=names, pictures=drawn)


class _NotThere(Exception):
    """Why there are no pictures, as a sentence."""


def _unchanged(run: Run, store: Store, parents: Mapping[str, Mapping[str, str]]) -> Samples:
    """Return the evaluation images, if they are those that were measured: the same contents, labels and order."""
    wanted = recipe.parse(_without_download(run.recipe), name=f"the recipe of run {run.id}")
    digests = {found["evaluation"] for found in parents.values() if "evaluation" in found}
    if len(digests) != 1:
        raise _NotThere("The images cannot be shown: what proves that they are the same is no longer in the store.")
    samples = images.open_samples(wanted, "evaluation", store, len(run.measured[0].classes))
    if samples.digest not in digests:
        raise _NotThere("The images are not shown: they have changed since they were measured.")
    return samples


def _without_download(wanted: Mapping[str, object]) -> dict[str, object]:
    """Return a recipe that downloads nothing; one of another form as it is, since reading it refuses that."""
    sources = wanted.get("images")
    evaluation = sources.get("evaluation") if isinstance(sources, Mapping) else None
    if not isinstance(sources, Mapping) or not isinstance(evaluation, Mapping) or not evaluation.get("download"):
        return dict(wanted)
    return {**wanted, "images": {**sources, "evaluation": {**evaluation, "download": False}}}


def _readable(samples: Samples, result: Measured) -> np.ndarray:
    """Return the indices of the images that could be read: answers were stored for these alone."""
    skipped = set(result.skipped)
    readable = [index for index in range(len(samples)) if not skipped or samples.name(index) not in skipped]
    if len(readable) != result.count:
        raise _NotThere("The images are not shown: which of them were left out is not known any more.")
    return np.asarray(readable, np.int64)


def _uri(image: Image.Image) -> str:
    """Return a small picture, without anything that its file holds next to its pixels."""
    image = drawing.eight_bits(image)
    image.thumbnail((_SIDE, _SIDE))
    kind, how = ("png", {}) if max(image.size) <= _TINY else ("jpeg", {"quality": 82})
    buffer = io.BytesIO()
    clean = Image.frombytes(image.mode, image.size, image.tobytes())
    clean.save(buffer, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
