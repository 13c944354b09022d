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


def inspect_images(path: Path) -> ImagesReport:
    """Inspect a folder of images, a list of them, a .tar or an .npz."""
    found = survey.survey(path)
    wrong = bool(found.shared) or any(split.unreadable or split.too_deep for split in found.splits.values())
    return ImagesReport(**vars(found), wrong=wrong)
