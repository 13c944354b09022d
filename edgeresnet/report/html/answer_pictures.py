"""Masks or boxes before and after, of the images that lost most: looked up in the store, as what was measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

import numpy as np
from PIL import Image

from ...images import Samples, drawing
from ...portable import evaluation
from ...portable.frozen import dataclass
from ...portable.result import Measured
from ...portable.tasks.task import Given, Outputs, Seen, outputs_of
from ...runs import Run
from ...store import Store

SHOWN = 12  # images on a page
REFERENCE = "reference"
_STAGE = "verify"
_MASK_SIDE, _BOXES_SIDE = 192, 288  # pixels of a picture
_QUALITY = 80


@dataclass(frozen=True)
class AnswerPictures:
    """One image with what was labelled and answered: pictures as data: URIs, each under the name of what gave it."""

    number: int
    file: str
    pictures: Mapping[str, str]


@dataclass(frozen=True)
class Drawn:
    """The images that lost most, and why the answers of some targets are not among their pictures."""

    images: tuple[AnswerPictures, ...] = ()
    absent: str = ""  # a sentence


def worst(measured: Sequence[Measured]) -> list[int]:
    """Return the images that lost most on any target, the worst first; none where images have no score of their own."""
    losses: dict[int, float] = {}
    for result in measured:
        for number, loss in result.shipped.accuracy.changed_images():
            losses[number] = max(losses.get(number, loss), loss)
    return sorted(losses, key=lambda number: (-losses[number], number))


def look_up(run: Run, store: Store, samples: Samples, readable: np.ndarray, uri: Callable[[Image.Image], str]) -> Drawn:
    """Return the images that lost most, with what was answered."""
    outputs = outputs_of(run.measured[0], samples.preprocessing.size)
    given = {"FP32": _given(run, store, outputs, REFERENCE, "fp32")}
    given |= {each.target: _given(run, store, outputs, each.target, each.ships) for each in run.measured}
    known = {name: each for name, each in given.items() if each is not None}
    found = []
    for number in worst(run.measured)[:SHOWN]:
        index = int(readable[number])
        labels = outputs.of_task.labels(samples, np.array([index]))
        label = None if labels is None else outputs.of_task.labels_seen(labels, outputs)
        seen = {"label": label} if label else {}
        seen |= {name: outputs.of_task.seen(each, outputs, number) for name, each in known.items()}
        image = _as_network_sees(samples, index)
        pictures = {"image": uri(image), **_drawn(seen, image, samples.classes, label)}
        found.append(AnswerPictures(number, PurePath(samples.name(index)).name, pictures))
    return Drawn(tuple(found), _absent(run, [name for name, each in given.items() if each is None]))


def _absent(run: Run, names: Sequence[str]) -> str:
    """Return why some answers cannot be shown; empty where all are."""
    there = [name for name in names if name in run.measured_on_devices]
    gone = [name for name in names if name not in there]
    found = [f"What {', '.join(there)} answered is not shown: a device sends counts, and its answers stay there."]
    found = found if there else []
    found += [f"What {', '.join(gone)} answered is no longer in the store."] if gone else []
    return " ".join(found)


def _drawn(
    seen: Mapping[str, Seen], image: Image.Image, classes: Sequence[str], label: Seen | None
) -> Mapping[str, str]:
    """Return a picture of each answer: boxes over an enlarged image, so that their names can be read."""
    factor = _BOXES_SIDE / max(image.size)
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    larger = image.resize((round(image.width * factor), round(image.height * factor)), how)
    labels = label and drawing.scaled(label, factor)
    found = {}
    for name, each in seen.items():
        scaled = labels if each is label and labels else drawing.scaled(each, factor)
        picture = drawing.drawn(scaled, larger, classes, labels)
        if picture is not None:
            found[name] = _png(picture) if each.boxes is None else _jpeg(picture)
    return found


def _as_network_sees(samples: Samples, index: int) -> Image.Image:
    """Return the image as it is cropped, so that masks lie on it."""
    pixels = samples.read(index)
    levels = pixels >> 8 if pixels.dtype == np.uint16 else pixels
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels[..., :3])


def _png(image: Image.Image) -> str:
    """Return a small picture of a mask: the nearest pixels, since numbers between two classes are another one."""
    side = min(_MASK_SIDE, max(image.size))
    buffer = io.BytesIO()
    image.resize((side, side), Image.Resampling.NEAREST).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _given(run: Run, store: Store, outputs: Outputs, target: str, variant: str) -> Given | None:
    """Return what a variant gave on a target, if the store still has it as it was measured."""
    found = (each for each in run.steps if each.stage == _STAGE and each.step.target == target)
    step = next((each for each in found if not each.step.variant), None)
    if step is None or not step.key:
        return None
    artifact, _ = store.find(step.stage, step.key)
    if artifact is None or artifact.digest != step.digest or not (artifact.path / evaluation.LOGITS).is_file():
        return None
    with np.load(artifact.path / evaluation.LOGITS, allow_pickle=False) as stored:
        return outputs.restored(stored, variant)
