"""What is handed over to a device: a folder that can prove it is complete, and the names of what lies in it.

Written by `export`, read on the device and, when its result is collected, here. Builds and measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArtifactError, quoted
from ...portable import codec, documents, limits, manifest
from ...portable.codec import CodecError
from ...portable.documents import Missing, Unreadable, shown
from ...portable.frozen import OMIT, dataclass
from ...portable.measure import TimingPlan
from ...portable.preprocessing import Preprocessing
from ...portable.result import INT8, Measured
from ...portable.tasks import DEFAULT, TaskName, two_stage
from ...portable.tasks.task import Given, Labels, Outputs
from ...portable.tasks.two_stage import AnyDetector

FORMAT, UNSEALED_FORMAT = 2, 1  # of bundles; the manifest of the older one has no seal
RESULT_FORMAT = 1  # of what a device writes
ABOUT, NETWORKS, BUILT = "bundle.json", "networks", "built"
EVALUATION, SAMPLES = "evaluation", "samples"
_LATER = (f"{BUILT}/*", "*.json")  # what the device adds; any other additional file might be imported
_UNPACK = "unpack the archive again"
_MOMENTS = ("measured", "began")  # by a device's clock


@dataclass(frozen=True)
class BundleVariant:
    """One network of a bundle: its file, and the options to compile it with."""

    file: str
    options: Mapping[str, object]  # the target's own
    half: bool = field(default=False, metadata={"key": "twin", **OMIT})  # compiled with the device's half precision


@dataclass(frozen=True)
class BundleAbout:
    """What a bundle holds, and what is to be measured with it: its `bundle.json`."""

    made_by: str
    target: str
    network: str  # what it is called
    ships: str = field(metadata={"key": "candidate"})  # the variant that would
    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    images: str | None
    preprocessing: Mapping[str, object]  # as `Preprocessing.to_json` writes it
    input: str  # "uint8" or "float32"
    variants: Mapping[str, BundleVariant]
    timing: TimingPlan = field(metadata={"key": "verify"})
    rebuilds: int
    # other INT8 networks of the same search: which one ships is chosen by what the device measures
    alternatives: Mapping[str, BundleVariant] = field(default_factory=dict, metadata=OMIT)
    task: TaskName = field(default=DEFAULT, metadata=OMIT)
    detector: AnyDetector | None = field(default=None, metadata=OMIT)  # how answers become boxes

    @property
    def outputs(self) -> Outputs:
        """What the networks' outputs mean."""
        size = self.preprocessing.get("size")
        return Outputs(self.task, len(self.classes), size if isinstance(size, int) else 0, self.detector)

    @property
    def networks(self) -> Mapping[str, BundleVariant]:
        """All that the device builds."""
        return {**self.variants, **self.alternatives}

    @property
    def choices(self) -> tuple[str, ...]:
        """What may ship: more than one where the device's result chooses."""
        return self.ships, *(name for name in INT8 if name in self.alternatives)


@dataclass(frozen=True)
class DeviceResult:
    """What a device measured, with the digest of the bundle that it measured: its `result.json`."""

    format: int
    bundle: str
    measured: float  # seconds since 1970
    result: Measured
    digest: str = field(default="", metadata=OMIT)  # of all the other keys

    def check_read(self) -> None:
        limits.check_moment(self, "measured")


@dataclass(frozen=True)
class Bundle:
    folder: Path
    digest: str
    about: BundleAbout

    @staticmethod
    def open(folder: Path) -> Bundle:
        """Open a bundle; refuse one that is not as it was written."""
        try:
            written = manifest.read(folder)
        except Missing as problem:
            raise ArtifactError(str(folder), f"is not a bundle: it has no {manifest.NAME}", hint=_UNPACK) from problem
        except Unreadable as problem:
            raise ArtifactError(
                "the bundle", f"has changed since it was made: {manifest.NAME} {problem}", hint=_UNPACK
            ) from problem
        number = written.get("format")
        if number not in (FORMAT, UNSEALED_FORMAT):
            raise ArtifactError(
                str(folder),
                f"is a bundle of format {quoted(number)}, and this program reads {FORMAT}",
                hint="use the deploy.py that came with it",
            )
        problems = manifest.problems(folder, written, besides=_LATER, sealed=number == FORMAT)
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise ArtifactError(
                "the bundle", f"has changed since it was made: {'; '.join(problems[:3])}{more}", hint=_UNPACK
            )
        return Bundle(folder, str(written["digest"]), read_about(folder))

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_json(self.about.preprocessing)

    @property
    def outputs(self) -> Outputs:
        """What the networks' outputs mean, with the weights of a detector's second stage."""
        networks = self.folder / NETWORKS
        return self.about.outputs.with_second(networks if (networks / two_stage.FILE).is_file() else None)

    def network(self, variant: str) -> Path:
        return self.folder / NETWORKS / self.about.networks[variant].file

    @property
    def labels(self) -> Labels | None:
        """None where the images that stand for evaluation have none."""
        return self.about.outputs.of_task.read_labels(self.folder / EVALUATION)

    @property
    def expected(self) -> Given:
        """What the FP32 network gave on the host."""
        return self.about.outputs.of_task.read_expected(self.folder / EVALUATION)

    @property
    def pixels(self) -> np.ndarray:
        """The evaluation images, decoded."""
        return np.load(self.folder / EVALUATION / "pixels.npy", mmap_mode="r", allow_pickle=False)


def write_about(folder: Path, about: BundleAbout) -> None:
    """Write a bundle's `bundle.json`."""
    (folder / ABOUT).write_text(json.dumps(codec.encode(about), indent=1, ensure_ascii=False), encoding="utf-8")


def read_about(folder: Path) -> BundleAbout:
    """Read a bundle's `bundle.json`."""
    return documents.read_json(folder / ABOUT, BundleAbout, hint=_UNPACK)


def sealed(document: Mapping[str, object]) -> dict[str, object]:
    """Return a device's result as JSON with its own digest, which shows damage on the way."""
    return {**document, "digest": manifest.digest_of(document)}


def opened(path: Path) -> DeviceResult:
    """Read a device's result, as it was sealed."""
    return decoded(unsealed(path), path)


def unsealed(path: Path) -> dict[str, Any]:
    """Return a device's result as JSON; refuse one that has changed since it was sealed."""
    try:
        found = documents.parse_json(documents.read_bytes(path))
        if not isinstance(found, dict) or "digest" not in found:
            raise Unreadable("has no digest")
    except Missing as problem:
        raise ArtifactError(shown(path), "does not exist", hint="deploy.py writes it on the device") from problem
    except Unreadable as problem:
        raise ArtifactError(
            shown(path), f"is not a device's result: it {problem}", hint="copy what deploy.py wrote"
        ) from problem
    digest = found.pop("digest")
    try:
        same = found.get("format") == RESULT_FORMAT and digest == manifest.digest_of(found)
    except ValueError:  # infinity
        same = False
    if not same:
        raise ArtifactError(
            shown(path),
            "has changed since deploy.py wrote it, or was damaged on its way",
            hint="copy it again",
        )
    return {**found, "digest": digest}


def earlier(document: Any, seconds: float) -> Any:
    """Return a device's result as JSON with earlier moments: those of a clock that is ahead."""
    if isinstance(document, list):
        return [earlier(each, seconds) for each in document]
    if not isinstance(document, dict):
        return document
    found = {name: earlier(each, seconds) for name, each in document.items()}
    return {**found, **{n: found[n] - seconds for n in _MOMENTS if isinstance(found.get(n), float)}}


def decoded(document: Mapping[str, object], path: Path) -> DeviceResult:
    """Return a device's result as its type; refuse what it cannot be. `path` is where it was read."""
    try:
        return codec.decode(DeviceResult, document)
    except CodecError as problem:
        raise ArtifactError(
            shown(path), f"is not a device's result: {problem}", hint="run deploy.py again on the device"
        ) from problem
