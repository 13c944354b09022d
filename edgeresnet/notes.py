"""What each stage reports about what it made: one frozen type for each, as a run and a manifest hold them.

Light: reports read these without torch, onnx or a runtime. `runs.read_notes` reads a step's notes as the type of its
stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Literal

from .portable import limits
from .portable.codec import CodecError
from .portable.frozen import OMIT, dataclass
from .portable.session import CompileNotes, Dialect
from .portable.times import Ratio

TOP1 = "top-1"  # the metric of `validation_top1` and its like, where no other one is named


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a training, or of a round of recovery."""

    epoch: int
    rate: float | None = field(default=None, metadata=OMIT)
    loss: float | None = field(default=None, metadata=OMIT)  # None before the first step
    validation_top1: float
    validation_loss: float
    round: int | None = field(default=None, metadata=OMIT)
    metric: str = field(default=TOP1, metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "epoch", "rate", "round")
        limits.check(self, 0, 100, "validation_top1")


@dataclass(frozen=True)
class Candidate:
    """A network that the weights fit, on the labelled images that it was run on."""

    arch: str
    images: int
    correct: int
    problem: str = ""  # why it could not be run

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images")
        limits.check(self, 0, self.images, "correct")

    @property
    def counted(self) -> str:
        """How many answers are correct: "93 of 128"."""
        return f"{self.correct} of {self.images}"


@dataclass(frozen=True)
class RecogniseNotes:
    """Which of several networks the weights are, as labelled images show it."""

    arch: str
    candidates: tuple[Candidate, ...]  # the likeliest first
    shown: bool  # whether the images show that it is better than each of the others
    better_than_chance: bool
    by_certainty: bool = field(default=False, metadata=OMIT)  # as many correct as another, but surer of the labels
    unclear: bool = field(default=False, metadata=OMIT)  # whether more images might show that it is better than chance

    def check_read(self) -> None:
        if self.arch not in [each.arch for each in self.candidates]:
            raise CodecError("arch", "is not one of the candidates")

    def sentence(self, shortened: Callable[[str], str] = str) -> str:
        """Return its correct answers, and those of the next: "resnet50: 93 of 128 correct; next, resnet34: 7 of 32"."""
        taken = next(each for each in self.candidates if each.arch == self.arch)
        others = [each for each in self.candidates if each is not taken and each.images]
        found = f"{shortened(taken.arch)}: {taken.counted} correct"
        if not others:
            return found
        following = max(others, key=lambda each: (each.images, each.correct))
        surer = ", and surer of the labels" if self.by_certainty else ""
        return f"{found}{surer}; next, {shortened(following.arch)}: {following.counted}"


@dataclass(frozen=True)
class TrainNotes:
    """A training: how it went, and which epoch is kept."""

    arch: str
    images: int
    validation_images: int
    best_epoch: int
    validation_top1: float
    epochs: int
    stopped: str = ""  # why it ended early
    history: tuple[Epoch, ...] = ()
    precision: str = "f32"
    device: str = "cpu"
    processes: int = 1
    metric: str = field(default=TOP1, metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images", "validation_images", "best_epoch", "epochs", "processes")
        limits.check(self, 0, 100, "validation_top1")


@dataclass(frozen=True)
class CutTimes:
    """One cut on one target, timed in turn with the unpruned network."""

    times: float
    low: float
    high: float | None  # None: one process, no interval
    whole_ms: float
    ms: float
    processes: int

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "times", "low", "high", "whole_ms", "ms", "processes")

    @property
    def ratio(self) -> Ratio:
        """How many times as fast the cut is."""
        return Ratio.from_json(self.times, self.low, self.high)


@dataclass(frozen=True)
class CutPoint:
    """One cut that was measured on the way to a speed-up."""

    part: float
    macs: int
    params: int
    ratio: float
    top1: float | None
    again: bool
    targets: Mapping[str, CutTimes]

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "part", "macs", "params", "ratio")


@dataclass(frozen=True)
class SpeedupSearch:
    """How a goal in milliseconds was reached, target by target."""

    goals: Mapping[str, float]
    ships: Mapping[str, str]  # target → pruned, half or int8
    images: int
    top1: float | None
    curve: tuple[CutPoint, ...]
    chosen: int
    milder: int | None
    sure: bool
    metric: str = field(default=TOP1, metadata=OMIT)

    def check_read(self) -> None:
        if not self.curve:
            raise CodecError("curve", "is empty")
        limits.check(self, 0, len(self.curve) - 1, "chosen", "milder")
        for name, found in (("ships", self.ships), *(("curve", point.targets) for point in self.curve)):
            if not set(self.goals) <= set(found):
                raise CodecError(name, "lacks a target of the goals")
        if not set(self.ships.values()) <= {"pruned", "half", "int8"}:
            raise CodecError("ships", "names a variant that pruning does not time")


@dataclass(frozen=True)
class PruneNotes:
    """What pruning removed. `macs` and `params` are before and after; `widths` are channels before and after."""

    macs: tuple[int, int]
    params: tuple[int, int]
    ratio: float
    widths: Mapping[str, tuple[int, int]]
    importance: str
    multiple: int
    finest: int | None = None
    speedup: SpeedupSearch | None = None

    def check_read(self) -> None:
        limits.check_all(self, 1, limits.MANY, "macs", self.macs)
        limits.check_all(self, 1, limits.MANY, "params", self.params)
        limits.check_all(self, 1, limits.MANY, "widths", [width for pair in self.widths.values() for width in pair])
        limits.check(self, 0, limits.MANY, "ratio", "multiple", "finest")


@dataclass(frozen=True)
class RecoverNotes:
    """What came back after pruning."""

    images: int
    validation_images: int
    dense_top1: float
    pruned_top1: float
    statistics_top1: float
    validation_top1: float
    rounds: int
    enough: bool
    best_epoch: int
    epochs: int
    history: tuple[Epoch, ...] = ()
    metric: str = field(default=TOP1, metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images", "validation_images", "rounds", "best_epoch", "epochs")
        limits.check(self, 0, 100, "dense_top1", "pruned_top1", "statistics_top1", "validation_top1")


@dataclass(frozen=True)
class TraceNotes:
    """A traced network, and how closely it answers as the original does."""

    parity: float
    parity_images: int
    opset: int
    operators: Mapping[str, int]
    parameters: int
    arch: str = field(default="", metadata=OMIT)  # empty: an ONNX file holds its own


@dataclass(frozen=True)
class CalibrateNotes:
    """The ranges that were collected."""

    images: int
    held_out: int
    tensors: int
    dead_channels: Mapping[str, int] = field(default_factory=dict)
    not_reproduced: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class QuantizeStep:
    """One thing that was tried, and whether it is kept."""

    name: str
    sqnr_db: float | None
    kept: bool


@dataclass(frozen=True)
class HeldOut:
    """The INT8 network on calibration images that nothing was chosen by."""

    images: int
    agree: int  # answers that are the same: one per image, or one per pixel or anchor that is compared
    sqnr_db: float | None
    pixels: int | None = field(default=None, metadata=OMIT)  # that are compared, of all images; None: images are
    anchors: int | None = field(default=None, metadata=OMIT)  # the same of a detector

    @property
    def answers(self) -> int:
        return next((each for each in (self.pixels, self.anchors) if each is not None), self.images)

    @property
    def unit(self) -> str:
        """What is compared, in words."""
        return "pixels" if self.pixels is not None else "anchors" if self.anchors is not None else "answers"

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images", "pixels", "anchors")
        limits.check(self, 0, self.answers, "agree")


@dataclass(frozen=True)
class FloatLayers:
    """Layers that were left in float, and what the verdict was forecast to be. `time` is relative to INT8 in all."""

    layers: tuple[str, ...]
    flips_pct: float
    drop_pp: float
    confidence_change: float
    kept: bool
    time: float | None = None

    def check_read(self) -> None:
        limits.check(self, 0, 100, "flips_pct", "confidence_change")
        limits.check(self, -100, 100, "drop_pp")
        limits.check(self, 0, limits.MANY, "time")


@dataclass(frozen=True)
class ControlNotes:
    """How the layers that stay in float were searched: why the search ended, what it chose, and what it tried."""

    ended: Literal["enough", "found", "time", "reach"]
    round: int
    images: int
    chosen: FloatLayers
    tried: tuple[FloatLayers, ...]
    timed: bool  # on the target; else float counts twice
    seconds: float
    others: Mapping[str, FloatLayers] = field(default_factory=dict, metadata=OMIT)  # from which a device chooses, too

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "round", "images")
        limits.check(self, 0, limits.MANY, "seconds")


@dataclass(frozen=True)
class PlacementTime:
    """A placement of Q/DQ: how many times as fast as the usual one, with its interval where there is one."""

    name: str
    value: float | None  # None: the target did not compile it
    low: float | None
    high: float | None

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "value", "low", "high")


@dataclass(frozen=True)
class PlacementNotes:
    """The placements of Q/DQ that were timed, and the one that was taken."""

    chosen: str
    tried: tuple[PlacementTime, ...]


@dataclass(frozen=True)
class QuantizeNotes:
    """An INT8 network: what was tried, which layers are INT8, and how close it is."""

    steps: tuple[QuantizeStep, ...]
    layers: Mapping[str, float | None]
    int8: tuple[str, ...]
    kept_float: Mapping[str, str]
    images_in_levels: bool
    held_out: HeldOut
    bytes_before: int
    bytes_after: int
    dialect: Dialect
    control: ControlNotes | None = field(default=None, metadata=OMIT)  # with `exclude: auto`
    placed: PlacementNotes | None = field(default=None, metadata=OMIT)  # with `residual: auto`

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "bytes_before", "bytes_after")


@dataclass(frozen=True)
class VerifyNotes:
    """How many images were evaluated. `origin` and `measured` are of a device's result that was collected.

    `identity` is that of the device, where it was reached over SSH.
    """

    images: int
    skipped: int = 0
    origin: str | None = field(default=None, metadata={"key": "from", **OMIT})
    measured: float | None = field(default=None, metadata=OMIT)
    identity: str | None = field(default=None, metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images", "skipped")


@dataclass(frozen=True)
class ExportNotes:
    """A bundle: its digest, and how large it is."""

    bundle: str
    files: int
    size_mb: float

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "files", "size_mb")


Notes = (
    RecogniseNotes
    | TrainNotes
    | PruneNotes
    | RecoverNotes
    | TraceNotes
    | CalibrateNotes
    | QuantizeNotes
    | CompileNotes
    | VerifyNotes
    | ExportNotes
)

BY_STAGE: Mapping[str, type[Notes]] = {
    "recognise": RecogniseNotes,
    "train": TrainNotes,
    "prune": PruneNotes,
    "recover": RecoverNotes,
    "trace": TraceNotes,
    "calibrate": CalibrateNotes,
    "quantize": QuantizeNotes,
    "compile": CompileNotes,
    "verify": VerifyNotes,
    "export": ExportNotes,
}
