"""The keys of a recipe and their limits, as frozen models. Reads no file; targets have their own options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from .. import targets as _targets
from ..portable import manifest
from ..portable.measure import ThroughputPlan, TimingPlan
from ..portable.preprocessing import Preprocessing
from ..portable.result import Promise
from ..portable.tasks import DEFAULT, TaskName
from ..portable.tasks.task import of_answers, task_of
from .anchors import Anchors
from .base import Expression, Section, is_onnx
from .given import Images, Model, Source
from .learning import Augment, Learning, Prune, Recover, Train

__all__ = [
    "EVERY", "Anchors", "Augment", "Delivery", "Images", "Learning", "Model", "Preprocessing", "Promises", "Prune",
    "Quantize", "Recipe", "Recover", "Source", "Trace", "Train", "Verify", "every", "is_onnx", "options_of", "own",
]  # fmt: skip


class Quantize(Section):
    """INT8 for every target, from one calibration."""

    effort: Literal["fast", "balanced", "best"] = Field(
        "fast",
        description="Work spent on INT8 accuracy. balanced and best learn channels and ranges from calibration images.",
    )
    minutes: float = Field(
        10.0,
        gt=0,
        description="Time limit in minutes of learning, for each target's dialect (balanced takes at most 3 of them). "
        "Also that of the search that `exclude: auto` does for each target.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Processor on which balanced and best learn. auto takes a CUDA GPU if torch finds one.",
    )
    estimator: Literal["min-max", "percentile", "entropy", "mse"] = Field(
        "mse", description="Method that chooses the range of each tensor."
    )
    exclude: Literal["auto"] | tuple[Expression, ...] = Field(
        (),
        description="Layers that stay in floating point: regular expressions on their names. auto: those that the "
        "accuracy promises need, chosen on calibration images at the least measured latency.",
    )

    @property
    def is_searched(self) -> bool:
        """Whether a search chooses the layers that stay in floating point."""
        return self.exclude == "auto"

    @property
    def patterns(self) -> tuple[str, ...]:
        """Return the expressions that were given."""
        return () if isinstance(self.exclude, str) else tuple(self.exclude)


class Trace(Section):
    """The export to ONNX."""

    batch: Literal["dynamic"] | Annotated[int, Field(ge=1)] = Field(
        "dynamic", description="Batch size of the ONNX file: dynamic, or one fixed size."
    )


class Verify(Section):
    """How latency is measured: in fresh processes, each of which times every variant in turn. And what is counted."""

    processes: int = Field(5, ge=1, le=100, description="Number of fresh processes.")
    seconds: float = Field(30.0, gt=0, description="Approximate time limit of all processes, in seconds per target.")
    rebuilds: int = Field(
        1, ge=1, le=20, description="Number of builds of the variant that would ship. The worst build is judged."
    )
    streams: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Number of parallel requests with which throughput is measured. Unset: 1, where it is promised or "
        "`batch` is set.",
    )
    batch: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Images per request with which throughput is measured. Unset: as many as latency is measured with.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Probability from which on an answer is accepted. Set: reports count the images that cross it. "
        "Only in classification.",
    )

    def plan(self, *, throughput: bool = False) -> TimingPlan:
        """Return how latency is measured; with `throughput`, that too."""
        wanted = ThroughputPlan(self.streams or 1, self.batch) if throughput else None
        return TimingPlan(self.processes, self.seconds, wanted)


DEVICE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
PLACES = ("here", "bundle")  # what is not the name of a device


def _where(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    listed = isinstance(names, list | tuple) and names and all(isinstance(each, str) for each in names)
    if value in PLACES:
        return value
    if not listed or not all(re.fullmatch(DEVICE_NAME, each) and each not in PLACES for each in names):
        raise ValueError("must be here, bundle, the name of a device, or a list of such names")
    if len(set(names)) < len(names):
        raise ValueError("must name each device once")
    return value


class Delivery(Section):
    """What every target accepts next to its own options."""

    where: Annotated[Literal["here", "bundle"] | str | tuple[str, ...], BeforeValidator(_where)] = Field(
        "here",
        description="Where the target is built and measured: on this machine (here), on a device that a person carries "
        "the bundle to (bundle), or on one or several devices of devices.yaml, by their names.",
    )
    precision: Literal["int8", "fp16", "fp32"] | None = Field(
        None, description="Precision of the network that would ship. Unset: int8 with `quantize`, else fp32."
    )
    input: Literal["float32", "uint8"] = Field(
        "float32",
        description="Number type of the network's input. uint8: raw pixels, with preprocessing inside the network.",
    )

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the devices that measure it; none where it is measured here, or a person carries the bundle."""
        if self.where in PLACES:
            return ()
        return (self.where,) if isinstance(self.where, str) else self.where


class Promises(Section):
    """What must hold on every target. Only the verdict KEPT counts as success."""

    newer = ("min_miou_pct", "min_iou_pct", "min_map_pct", "min_ap_pct")
    max_drop_pp: float | None = Field(
        None,
        ge=0,
        description="Largest loss of top-1 (in segmentation: of mIoU, in detection: of mAP) compared with FP32, in "
        "percentage points.",
    )
    min_top1_pct: float | None = Field(
        None, ge=0, le=100, description="Smallest top-1 accuracy, in percent. Only in classification."
    )
    min_recall_pct: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None, description="Smallest recall per class, in percent, as in {cat: 90}. Only in classification."
    )
    min_miou_pct: float | None = Field(
        None, ge=0, le=100, description="Smallest mean intersection over union, in percent. Only in segmentation."
    )
    min_iou_pct: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None,
        description="Smallest intersection over union per class, in percent, as in {crack: 40}. Only in segmentation.",
    )
    min_map_pct: float | None = Field(
        None, ge=0, le=100, description="Smallest mAP@[.5:.95] of boxes, in percent. Only in detection."
    )
    min_ap_pct: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None, description="Smallest AP@[.5:.95] per class, in percent, as in {person: 40}. Only in detection."
    )
    max_flips_pct: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Largest share of images (of pixels in segmentation) whose predicted class changes, in percent. In "
        "detection: share of boxes with a score of 0.5 or more that only one of both networks finds.",
    )
    max_confidence_change: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Largest mean change of the probability of FP32's answers, from 0 to 1. Only in classification.",
    )
    min_speedup_fp32: float | None = Field(None, gt=0, description="Smallest speed-up over FP32 on the same target.")
    min_speedup_half: float | None = Field(
        None, gt=0, description="Smallest speed-up over the half-precision variant on the same target."
    )
    max_latency_p99_ms: float | None = Field(
        None, gt=0, description="Largest 99th percentile of the latency, in milliseconds."
    )
    min_throughput_ips: float | None = Field(
        None,
        gt=0,
        description="Smallest throughput in images per second, with `verify.streams` and `verify.batch`.",
    )
    max_energy_mj: float | None = Field(
        None, gt=0, description="Largest energy of an inference in millijoules, by the sensors of the machine."
    )
    max_size_mb: float | None = Field(None, gt=0, description="Largest size of the compiled network, in megabytes.")
    max_peak_memory_mb: float | None = Field(
        None, gt=0, description="Largest peak memory of the process that runs the network, in megabytes."
    )
    undecided: Literal["warn", "fail"] = Field(
        "warn", description="Exit code of an UNDECIDED verdict: 0 (warn) or 4 (fail)."
    )

    def forecast(self) -> dict[str, float]:
        """Return the promises that can be forecast without labels."""
        kinds = ("max_drop_pp", "max_flips_pct", "max_confidence_change")
        found = {kind: getattr(self, kind, None) for kind in kinds}
        return {kind: limit for kind, limit in found.items() if limit is not None}

    def check_task(self, task: str) -> None:
        """Raise ValueError for a promise of another task."""
        known = task_of(task).promises
        for kind, limit in self:
            if limit is not None and kind in of_answers() and kind not in known:
                raise ValueError(f"promises.{kind} is not a promise of {task}: use {', '.join(known)}")

    def promises(self) -> tuple[Promise, ...]:
        """Return the promises that are set; one for each class of those that are by class."""
        given = [(kind, limit) for kind, limit in self if kind != "undecided" and limit is not None]
        by_subject = [(kind, limit if isinstance(limit, Mapping) else {"": limit}) for kind, limit in given]
        return tuple(Promise(kind, limit, subject) for kind, limits in by_subject for subject, limit in limits.items())


class Recipe(Section):
    """What to do with a network, and what must hold."""

    newer = ("task",)
    version: Literal[1] = Field(description="Version of the recipe's format.")
    task: TaskName = Field(
        DEFAULT, description="What the network answers: one class per image, one per pixel, or boxes."
    )
    model: Model = Field(description="The network.")
    preprocessing: Preprocessing = Field(description="How pixels become the network's input.")
    images: Images = Field(Images(), description="The image sets.")
    train: Train | None = Field(None, description="Training. Unset: the weights are used as they are.")
    prune: Prune | None = Field(None, description="Removal of channels. Unset: the network keeps all channels.")
    recover: Recover | None = Field(None, description="Training after pruning. Unset: none.")
    trace: Trace = Field(Trace(), description="Form of the ONNX file.")
    quantize: Quantize | None = Field(None, description="INT8. Unset: none is made.")
    verify: Verify = Field(Verify(), description="How latency is measured, and what is counted.")
    targets: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="Compilers and runtimes to measure on: each name with its options."
    )
    promises: Promises = Field(Promises(), description="What must hold on every target.")
    seed: int = Field(0, ge=0, description="Seed of every random choice: images, new weights, their order.")

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        self.images.check_task(self.task, self.model.classes)
        if self.model.anchors and not task_of(self.task).has_boxes:
            raise ValueError("model.anchors needs `task: detection`: add it, or remove this")
        if self.verify.threshold is not None and "max_confidence_change" not in task_of(self.task).promises:
            raise ValueError(f"verify.threshold is for one class per image, not for {self.task}: remove it")
        self.promises.check_task(self.task)
        onnx, images, calibration = is_onnx(self.model.checkpoint), self.images, self.images.calibration
        wrong: dict[str, object] = {
            "images.training is missing: `train` needs it": self.train and not images.training,
            "model.checkpoint is missing: name a file of weights, or add a `train` section": not self.train
            and not self.model.checkpoint,
            "train: an ONNX file cannot be trained: name a checkpoint and its arch": self.train and onnx,
            "train.head: new needs given weights: set model.checkpoint, or remove it": self.train
            and self.train.head == "new"
            and not self.model.checkpoint,
            "prune: an ONNX file cannot be pruned: name a checkpoint and its arch": self.prune and onnx,
            "recover: it needs `prune`: add it, or use `train`": self.recover and not self.prune,
            "images.training is missing: `recover` needs it": self.recover and not images.training,
            "images.training is missing: prune.importance taylor needs it": self.prune
            and self.prune.importance == "taylor"
            and not images.training,
            "prune and model.candidate cannot be combined: remove one of them": self.prune and self.model.candidate,
            "images.calibration must not come from the evaluation images: write `from: training`": calibration
            and calibration.source == "evaluation",
            "images.training is missing: `calibration: {from: training}` needs it": calibration
            and calibration.source == "training"
            and not images.training,
        }
        boxes = task_of(self.task).has_boxes
        for name in ("train", "recover"):
            smoothed = boxes and (learning := getattr(self, name)) and learning.label_smoothing
            wrong[f"{name}.label_smoothing is for one class per image or pixel, not for boxes: remove it"] = smoothed
        _refuse_first(wrong)
        return self

    @model_validator(mode="after")
    def _targets_fit(self) -> Recipe:
        quantize, none, candidate = self.quantize, not self.targets, self.model.candidate
        speedup = (self.prune and self.prune.speedup) or {}
        wrong: dict[str, object] = {
            "targets is missing: model.candidate is judged on targets, so name one": candidate and none,
            "targets is missing: INT8 is written for a target, so name one": quantize and none,
            "images.calibration is missing: INT8 ranges are measured on images": quantize
            and not self.images.calibration,
            "quantize.exclude: auto needs a promise to search for: max_drop_pp, max_flips_pct or "
            "max_confidence_change": quantize and quantize.is_searched and not self.promises.forecast(),
            "quantize and model.candidate cannot be combined: remove one of them": quantize and candidate,
            "images.evaluation is missing: accuracy is measured with it": not self.images.evaluation
            and not quantize
            and not speedup
            and any(every(options).get("where", "here") == "here" for options in self.targets.values()),
            "targets is missing: promises are judged on targets, so name one": self.promises.promises() and none,
        }
        for name in speedup:
            on_device = every(self.targets.get(name)).get("where", "here") != "here"
            wrong[f"prune.speedup.{name} is not a target of this recipe: add it to `targets`"] = (
                name not in self.targets
            )
            wrong[
                f"prune.speedup.{name} is measured on this machine, but targets.{name} is on a device: set "
                "`where: here`, or prune to `macs`"
            ] = on_device
        for name, options in self.targets.items():
            precision = every(options).get("precision")
            deep = self.preprocessing.bits != 8 and every(options).get("input") == "uint8"
            wrong[f"targets.{name}.input: uint8 has 8 bits, but preprocessing.bits is more: remove it"] = deep
            wrong[f"quantize is missing: targets.{name}.precision is int8 and needs it"] = (
                precision == "int8" and not quantize
            )
            wrong[f"targets.{name}.precision: model.candidate would ship as it is: remove it"] = precision and candidate
        _refuse_first(wrong)
        return self

    def target_options(self, name: str) -> Any:
        """Return the options of a target as its own frozen dataclass."""
        return options_of(name).validate_python(own(self.targets[name]))

    def delivery(self, name: str) -> Delivery:
        """Return what every target has, for this one."""
        return Delivery.model_validate(every(self.targets[name]))

    def places(self) -> dict[str, str]:
        """Return the name of each result, and its target: `openvino`, or on a device of its own `openvino@orin`."""
        devices = {name: self.delivery(name).devices for name in self.targets}
        own = {f"{name}@{each}": name for name, found in devices.items() for each in found}
        there = {name: [place for place in own if own[place] == name] or [name] for name in self.targets}
        return {place: name for name, found in there.items() for place in found}

    def devices(self) -> tuple[str, ...]:
        """Return the devices that the recipe names, each once."""
        return tuple(dict.fromkeys(each for name in self.targets for each in self.delivery(name).devices))

    def ships(self, name: str) -> str:
        """Return the variant that would ship to a target."""
        if self.model.candidate:
            return "candidate"
        precision = self.delivery(name).precision or ("int8" if self.quantize else "fp32")
        return {"fp16": "half", "fp32": "pruned" if self.prune else "fp32"}.get(precision, precision)

    def timing(self) -> TimingPlan:
        """Return how a target is timed: with throughput where it is wanted."""
        wanted = self.verify.streams or self.verify.batch or self.promises.min_throughput_ips
        return self.verify.plan(throughput=wanted is not None)

    def to_json(self) -> dict[str, object]:
        """Return the recipe as JSON, with all defaults."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        return manifest.digest_of(self.to_json())


def options_of(target: str) -> TypeAdapter:
    """Return what checks a target's own options."""
    return TypeAdapter(_targets.get(target).options)


def own(options: object) -> object:
    """Return a target's options without what every target has."""
    return {key: value for key, value in options.items() if key not in EVERY} if isinstance(options, dict) else options


def every(options: object) -> dict[str, object]:
    """Return what every target has, without its own options."""
    return {key: value for key, value in options.items() if key in EVERY} if isinstance(options, dict) else {}


def _refuse_first(wrong: Mapping[str, object]) -> None:
    for sentence, holds in wrong.items():
        if holds:
            raise ValueError(sentence)


EVERY = tuple(Delivery.model_fields)
