"""The keys of a recipe and their limits, as frozen models. Reads no file; targets have their own options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .. import targets as _targets
from ..portable import manifest
from ..portable.measure import TimingPlan
from ..portable.preprocessing import Preprocessing
from ..portable.result import Promise


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_ONNX = r"\.[oO][nN][nN][xX]$"


class Model(_Section):
    """The network: weights, whose architecture is recognised unless it is named, or is `my.module:make`, a function in
    user code that returns a network; or an ONNX file, which holds both.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["arch"], "properties": {"arch": {"type": "string"}}},
                {"required": ["checkpoint"], "properties": {"checkpoint": {"type": "string"}}},
            ],
            "not": {  # an ONNX file holds its own
                "required": ["arch", "checkpoint"],
                "properties": {
                    "arch": {"type": "string", "not": {"const": "auto"}},
                    "checkpoint": {"type": "string", "pattern": _ONNX},
                },
            },
        }
    )

    checkpoint: str | None = None
    arch: str | None = Field(None, validate_default=True)  # auto, or left out: recognised from the checkpoint
    classes: int | None = Field(None, ge=2)  # left out: as many as there are class folders
    # Where a checkpoint holds an average of its weights (EMA), too: which of the two; left out: the weights.
    weights: Literal["model", "ema"] | None = None
    candidate: str | None = None  # an ONNX file that another tool made from the network: compared with it, as it is

    @field_validator("arch")
    @classmethod
    def _where_needed(cls, arch: str | None, info: ValidationInfo) -> str | None:
        given = info.data.get("checkpoint")
        onnx, arch = is_onnx(given), None if arch == "auto" else arch
        if arch is None and given is None:
            raise PydanticCustomError("missing", "missing")
        if arch is not None and onnx:
            raise ValueError("leave it out: an ONNX file holds its own architecture")
        return arch

    @field_validator("weights")
    @classmethod
    def _of_a_checkpoint(cls, weights: str | None, info: ValidationInfo) -> str | None:
        given = info.data.get("checkpoint")
        if weights is not None and (given is None or is_onnx(given)):
            raise ValueError("chooses in a checkpoint, and none is given")
        return weights

    @field_validator("candidate")
    @classmethod
    def _is_onnx(cls, candidate: str | None) -> str | None:
        if candidate is not None and not is_onnx(candidate):
            raise ValueError("must be an .onnx file: convert it, or make it the checkpoint of its own recipe")
        return candidate

    @property
    def title(self) -> str:
        return self.arch or Path(self.checkpoint or "").name


class Source(_Section):
    """Where images come from: a folder of class folders, or a .tar of them; a list, .csv or .json; arrays, .npz;
    `digits` (shipped), `cifar10` (as torchvision stores it).
    """

    source: str = Field(alias="from")
    root: str | None = None  # where torchvision's CIFAR-10 lies
    download: bool = False
    # How many images of a class-balanced, seeded choice; left out: all of them, for calibration 512 at most.
    count: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _cifar10_alone(self) -> Source:
        if self.source != "cifar10" and (self.root is not None or self.download):
            raise ValueError("root and download belong to `from: cifar10` alone")
        return self


def _named(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


SourceOrName = Annotated[Source, BeforeValidator(_named, json_schema_input_type=str | Source)]


class Images(_Section):
    training: SourceOrName | None = None
    evaluation: SourceOrName | None = None
    calibration: SourceOrName | None = None  # `from: training` chooses among the training images
    names: str | None = None  # a file: what the classes are called, in the order of the network's answers
    unreadable: Literal["error", "skip"] = "error"


def _compiles(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as problem:
        raise ValueError(f"{expression!r} is not a regular expression: {problem}") from problem
    return expression


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Expression = Annotated[str, AfterValidator(_compiles)]
Frozen = Annotated[tuple[Expression, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])]


class Augment(_Section):
    flip: bool = False  # mirror left and right, for one image in two
    shift: int = Field(0, ge=0)  # pixels that an image is moved by at most, the edge repeated


class Learning(_Section):
    """What every training has."""

    rate: float = Field(0.001, gt=0, le=1e30)  # beyond it, a step does not fit a float
    batch: int = Field(64, ge=2)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    weight_decay: float = Field(0.0005, ge=0)
    augment: Augment = Augment()
    freeze: Frozen = ()  # regular expressions on parameters' names, or `all-but-head`
    layer_decay: float = Field(1.0, gt=0, le=1)  # each stage's rate, as a part of the next stage's
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    precision: Literal["auto", "f32", "bf16"] = "auto"  # auto: BF16 where a step is faster with it
    patience: int | None = Field(None, ge=1)  # stop after this many epochs that were not better
    validation: float = Field(0.1, gt=0, lt=0.5)  # the part of the training images that chooses the best epoch


class Train(Learning):
    epochs: int = Field(ge=1)
    head: Literal["keep", "new"] = "keep"  # of given weights: a new one learns other classes


class Prune(_Section):
    """Complete channels are removed, until one goal is reached."""

    macs: float | None = Field(None, gt=0, lt=1)  # the part of the multiplications that stays
    params: float | None = Field(None, gt=0, lt=1)  # the part of the weights that stays
    ratio: float | None = Field(None, gt=0, lt=1)  # the part of the channels that goes
    # target → how many times as fast as the unpruned network, both as they would ship there: measured, not calculated
    speedup: dict[str, Annotated[float, Field(gt=1)]] | None = Field(None, min_length=1)
    importance: Literal["l1", "l2", "bn", "taylor"] = "l2"
    scope: Literal["global", "per-layer"] = "global"
    multiple: int | None = Field(None, ge=1)  # widths are multiples of it; left out: what the targets like best

    @model_validator(mode="after")
    def _one_goal(self) -> Prune:
        given = [goal for goal in PRUNE_GOALS if getattr(self, goal) is not None]
        if len(given) != 1:
            raise ValueError(f"give one goal of {', '.join(PRUNE_GOALS)}" + (f", not {len(given)}" if given else ""))
        return self

    def goal(self) -> tuple[str, Any]:
        """Return the goal's name and value."""
        return next((goal, value) for goal in PRUNE_GOALS if (value := getattr(self, goal)) is not None)


PRUNE_GOALS = ("macs", "params", "ratio", "speedup")


class Recover(Learning):
    """After pruning: normalisation's statistics are measured again, then the network learns from the images and from
    the unpruned network's answers.
    """

    epochs: int = Field(5, ge=0)  # of a round; 0: statistics alone, in seconds
    rounds: int = Field(1, ge=1)
    minutes: float | None = Field(None, gt=0)  # that all of them may take
    enough_pp: float = Field(0.0, ge=0)  # points of top-1 below the unpruned network that need no further round
    distill: float = Field(0.7, ge=0, le=1)  # the part of the loss that compares with the unpruned network's answers
    temperature: float = Field(2.0, gt=0)


class Quantize(_Section):
    """INT8 for every target, from one calibration."""

    effort: Literal["fast", "balanced", "best"] = "fast"  # the last two learn
    minutes: float = Field(10.0, gt=0)  # that learning may take, for each dialect
    estimator: Literal["min-max", "percentile", "entropy", "mse"] = "mse"  # how a tensor's range is chosen
    exclude: tuple[Expression, ...] = ()  # layers that stay float: regular expressions on their names


class Trace(_Section):
    batch: Literal["dynamic"] | Annotated[int, Field(ge=1)] = "dynamic"


class Verify(_Section):
    """How latency is measured: fresh processes, each timing every variant in turn."""

    processes: int = Field(5, ge=1, le=100)
    seconds: float = Field(30.0, gt=0)  # about how long all of them take at most, on each target
    rebuilds: int = Field(1, ge=1, le=20)  # how often what would ship is built: the worst build is judged

    def plan(self) -> TimingPlan:
        """Return how latency is measured."""
        return TimingPlan(self.processes, self.seconds)


class Delivery(_Section):
    """What every target has next to its own options."""

    where: Literal["here", "bundle"] = "here"  # built and measured here, or on the device that receives a bundle
    precision: Literal["int8", "fp16", "fp32"] | None = None  # what would ship; None: INT8 with `quantize`, else FP32
    input: Literal["float32", "uint8"] = "float32"  # uint8: pixels as they are decoded; preprocessing is inside


class Promises(_Section):
    """What must hold on every target. Only KEPT is green."""

    max_drop_pp: float | None = Field(None, ge=0)
    min_top1_pct: float | None = Field(None, ge=0, le=100)
    min_recall_pct: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = None  # per class, by its name
    max_flips_pct: float | None = Field(None, ge=0, le=100)
    min_speedup_fp32: float | None = Field(None, gt=0)
    min_speedup_half: float | None = Field(None, gt=0)
    max_latency_p99_ms: float | None = Field(None, gt=0)
    max_size_mb: float | None = Field(None, gt=0)
    max_peak_memory_mb: float | None = Field(None, gt=0)
    undecided: Literal["warn", "fail"] = "warn"

    def promises(self) -> tuple[Promise, ...]:
        """Return the promises that are set; one for each class of `min_recall_pct`."""
        given = [(kind, limit) for kind, limit in self if kind != "undecided" and limit is not None]
        by_subject = [(kind, limit if isinstance(limit, Mapping) else {"": limit}) for kind, limit in given]
        return tuple(Promise(kind, limit, subject) for kind, limits in by_subject for subject, limit in limits.items())


class Recipe(_Section):
    """All that a recipe names."""

    version: Literal[1]
    model: Model
    preprocessing: Preprocessing
    images: Images = Images()
    train: Train | None = None
    prune: Prune | None = None
    recover: Recover | None = None
    trace: Trace = Trace()
    quantize: Quantize | None = None
    verify: Verify = Verify()
    targets: dict[str, dict[str, object]] = Field(default_factory=dict)
    promises: Promises = Promises()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        onnx, images, calibration = is_onnx(self.model.checkpoint), self.images, self.images.calibration
        wrong = {
            "images.training is missing: `train` learns from it": self.train and not images.training,
            "model.checkpoint is missing: give weights, or a `train` section that makes them": not self.train
            and not self.model.checkpoint,
            "train: an ONNX file is not trained further: give weights and their arch": self.train and onnx,
            "train.head: no weights are given that could get a new head": self.train
            and self.train.head == "new"
            and not self.model.checkpoint,
            "prune: an ONNX file cannot be pruned: that needs the trainable network, its weights and arch": self.prune
            and onnx,
            "recover: there is nothing to recover from: add `prune`, or `train`": self.recover and not self.prune,
            "images.training is missing: `recover` learns from it": self.recover and not images.training,
            "images.training is missing: prune.importance taylor needs the loss on some of them": self.prune
            and self.prune.importance == "taylor"
            and not images.training,
            "prune and model.candidate: one network ships, give one of them": self.prune and self.model.candidate,
            "images.calibration must not come from the evaluation images: take `from: training`": calibration
            and calibration.source == "evaluation",
            "images.training is missing: `calibration: {from: training}` chooses from it": calibration
            and calibration.source == "training"
            and not images.training,
        }
        _refuse_first(wrong)
        return self

    @model_validator(mode="after")
    def _targets_fit(self) -> Recipe:
        quantize, none, candidate = self.quantize, not self.targets, self.model.candidate
        speedup = (self.prune and self.prune.speedup) or {}
        wrong: dict[str, object] = {
            "targets is missing: model.candidate is judged on targets": candidate and none,
            "targets is missing: INT8 is written for a target": quantize and none,
            "images.calibration is missing: ranges are measured on images, never made up": quantize
            and not self.images.calibration,
            "model.candidate and quantize: one network ships, give one of them": quantize and candidate,
            "images.evaluation is missing: accuracy on a target is measured with it": not self.images.evaluation
            and not quantize
            and not speedup
            and any(every(options).get("where") != "bundle" for options in self.targets.values()),
            "targets is missing: promises are judged on targets": self.promises.promises() and none,
        }
        for name in speedup:
            on_device = every(self.targets.get(name)).get("where") == "bundle"
            wrong[f"prune.speedup.{name} is not a target of this recipe: name it under `targets` too"] = (
                name not in self.targets
            )
            wrong[
                f"prune.speedup.{name} is measured here, and targets.{name} is a bundle: prune to `macs`, or "
                "`where: here`"
            ] = on_device
        for name, options in self.targets.items():
            precision = every(options).get("precision")
            deep = self.preprocessing.bits != 8 and every(options).get("input") == "uint8"
            wrong[f"targets.{name}.input: uint8 holds 8 bits, preprocessing.bits is more: leave it out"] = deep
            wrong[f"quantize is missing: targets.{name}.precision is int8"] = precision == "int8" and not quantize
            wrong[f"targets.{name}.precision: model.candidate is what would ship"] = precision and candidate
        _refuse_first(wrong)
        return self

    def target_options(self, name: str) -> Any:
        """Return the options of a target as its own frozen dataclass."""
        return options_of(name).validate_python(own(self.targets[name]))

    def delivery(self, name: str) -> Delivery:
        """Return what every target has, for this one."""
        return Delivery.model_validate(every(self.targets[name]))

    def ships(self, name: str) -> str:
        """Return the variant that would ship to a target."""
        if self.model.candidate:
            return "candidate"
        precision = self.delivery(name).precision or ("int8" if self.quantize else "fp32")
        return {"fp16": "half", "fp32": "pruned" if self.prune else "fp32"}.get(precision, precision)

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


def is_onnx(path: str | None) -> bool:
    return path is not None and re.search(_ONNX, path) is not None


def _refuse_first(wrong: Mapping[str, object]) -> None:
    for sentence, holds in wrong.items():
        if holds:
            raise ValueError(sentence)


EVERY = tuple(Delivery.model_fields)
