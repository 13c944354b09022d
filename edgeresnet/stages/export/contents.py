"""What is handed over to a device: a folder that can prove it is whole, and the words for what lies in it.

Written by `export`, read on the device and, when its result comes home, here. Builds and measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArtifactError
from ...portable import manifest
from ...portable.preprocessing import Preprocessing

FORMAT = 1
ABOUT, NETWORKS, BUILT = "bundle.json", "networks", "built"
EVALUATION, SAMPLES = "evaluation", "samples"
_LATER = (f"{BUILT}/*", "*.json")  # what the device adds; any other file too many might be imported


@dataclass(frozen=True)
class Bundle:
    folder: Path
    digest: str
    about: Mapping[str, Any]

    @staticmethod
    def open(folder: Path) -> Bundle:
        """Refuses one that is not as it was written."""
        written = manifest.read(folder)
        if written is None:
            raise ArtifactError(f"{folder} is no bundle: it has no {manifest.NAME}", hint="unpack the archive anew")
        if written.get("format") != FORMAT:
            raise ArtifactError(
                f"{folder} is a bundle of format {written.get('format')}, this program reads {FORMAT}",
                hint="use the deploy.py that came with it",
            )
        wrong = manifest.problems(folder, written, besides=_LATER)
        if wrong:
            more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise ArtifactError(
                f"the bundle is not as it was made: {'; '.join(wrong[:3])}{more}", hint="unpack the archive anew"
            )
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return Bundle(folder, written["digest"], about)

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_json(self.about["preprocessing"])

    def network(self, variant: str) -> Path:
        return self.folder / NETWORKS / str(self.about["variants"][variant]["file"])

    @property
    def labels(self) -> np.ndarray | None:
        """None where the images that stand for evaluation have none."""
        judged = (self.folder / EVALUATION / "labels.npy").is_file()
        return np.asarray(self.array("labels")) if judged else None

    def array(self, name: str) -> np.ndarray:
        """Of the evaluation images: `pixels`, `labels`, or the FP32 network's answers, `expected`."""
        return np.load(self.folder / EVALUATION / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def sealed(result: Mapping[str, Any]) -> dict[str, Any]:
    """With its own digest: what was damaged on the way home is told from what was measured."""
    return {**result, "digest": manifest.digest_of(result)}


def opened(path: Path) -> dict[str, Any]:
    """A device's result, as it was sealed."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        digest = found.pop("digest")
    except FileNotFoundError as problem:
        raise ArtifactError(f"there is no {path}", hint="deploy.py writes it on the device") from problem
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as problem:
        raise ArtifactError(f"{path} is no result of a device", hint="bring home what deploy.py wrote") from problem
    try:
        same = found.get("format") == FORMAT and digest == manifest.digest_of(found)
    except ValueError:  # a number that is none
        same = False
    if not same:
        raise ArtifactError(
            f"{path} is not as deploy.py wrote it: it was changed, or damaged on its way", hint="copy it once more"
        )
    return dict(found)
