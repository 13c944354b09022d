"""Masks before and after, of the images that lost most: looked up in the store, as what was measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

import numpy as np
from PIL import Image

from ...images import Samples
from ...images.coloured import coloured
from ...portable import evaluation
from ...portable.frozen import dataclass
from ...portable.result import Measured
from ...portable.tasks.task import Given, Outputs
from ...runs import Run
from ...store import Store

SHOWN = 12  # images on a page
REFERENCE = "reference"
_STAGE, _SIDE = "verify", 192


@dataclass(frozen=True)
class MaskPictures:
    """One image with its masks: pictures as data: URIs, each under the name of what gave it."""

    number: int
    file: str
    pictures: Mapping[str, str]


def worst(measured: Sequence[Measured]) -> list[int]:
    """Return the images that lost most on any target, the worst first; none where images have no score of their own."""
    losses: dict[int, float] = {}
    for result in measured:
        for number, loss in result.shipped.accuracy.changed_images():
            losses[number] = max(losses.get(number, loss), loss)
    return sorted(losses, key=lambda number: (-losses[number], number))


def look_up(
    run: Run, store: Store, samples: Samples, readable: np.ndarray, uri: Callable[[Image.Image], str]
) -> list[MaskPictures]:
    """Return the images that lost most, with their masks; those of devices stay there."""
    wanted = worst(run.measured)[:SHOWN]
    given = {"FP32": _given(run, store, REFERENCE, "fp32")}
    given |= {result.target: _given(run, store, result.target, result.ships) for result in run.measured}
    known = {name: each for name, each in given.items() if each is not None}
    found = []
    for number in wanted:
        index = int(readable[number])
        masks = {"label": samples.mask(index)} if samples.has_masks else {}
        masks |= {name: each.masks[number] for name, each in known.items()}
        pictures = {
            "image": uri(_as_network_sees(samples, index)),
            **{name: _png(coloured(mask)) for name, mask in masks.items()},
        }
        found.append(MaskPictures(number, PurePath(samples.name(index)).name, pictures))
    return found


def _as_network_sees(samples: Samples, index: int) -> Image.Image:
    """Return the image as it is cropped, so that masks lie on it."""
    pixels = samples.read(index)
    levels = pixels >> 8 if pixels.dtype == np.uint16 else pixels
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels[..., :3])


def _png(image: Image.Image) -> str:
    """Return a small picture of a mask: the nearest pixels, since numbers between two classes are another one."""
    side = min(_SIDE, max(image.size))
    buffer = io.BytesIO()
    image.resize((side, side), Image.Resampling.NEAREST).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _given(run: Run, store: Store, target: str, variant: str) -> Given | None:
    """Return what a variant gave on a target, if the store still has it as it was measured."""
    found = (each for each in run.steps if each.stage == _STAGE and each.step.target == target)
    step = next((each for each in found if not each.step.variant), None)
    if step is None or not step.key:
        return None
    artifact, _ = store.find(step.stage, step.key)
    if artifact is None or artifact.digest != step.digest or not (artifact.path / evaluation.LOGITS).is_file():
        return None
    with np.load(artifact.path / evaluation.LOGITS, allow_pickle=False) as stored:
        return Outputs(run.measured[0].task).restored(stored, variant)
