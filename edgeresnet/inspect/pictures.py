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


def inspect_images(path: Path, masks: Path | None = None) -> ImagesReport:
    """Inspect a folder of images, a list of them, a .tar or an .npz; with a folder of masks, or a .json of COCO."""
    found = survey.survey(path, masks)
    wrong = bool(found.shared or found.wrong_masks) or any(
        split.unreadable or split.too_deep for split in found.splits.values()
    )
    return ImagesReport(**vars(found), wrong=wrong)
