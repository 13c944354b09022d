"""What image sets hold: classes, sizes, unreadable files, and what is in two of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..images import survey
from ..images.survey import Survey


@dataclass(frozen=True, kw_only=True)
class ImagesReport(Survey):
    """Images, and whether something must be corrected before they are used."""

    wrong: bool


def inspect_images(path: Path, masks: Path | None = None, boxes: Path | None = None) -> ImagesReport:
    """Inspect a folder of images, a list of them, a .tar or an .npz; with its masks or boxes, where these lie apart."""
    found = survey.survey(path, masks, boxes)
    wrong = bool(found.shared or found.wrong_masks or found.wrong_boxes) or any(
        split.unreadable or split.too_deep for split in found.splits.values()
    )
    return ImagesReport(**vars(found), wrong=wrong)
