"""The words of a recipe and their limits, as frozen models. Reads no file; targets bring their own options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
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
from ..device import manifest
from ..device.preprocessing import Preprocessing


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_ONNX = r"\.[oO][nN][nN][xX]$"


class Model(_Section):
    """The network: weights, whose architecture is told from them unless it is named, or is `my.module:make`, a function
    in user code that returns one; or an ONNX file, which holds both.
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
    # Where a checkpoint holds an average of its weights (EMA) beside them: which of the two; left out: the weights.
    weights: Literal["model", "ema"] | None = None
    candidate: str | None = None  # an ONNX file made elsewhere from the same network: judged, as it is, against it

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
            raise ValueError("chooses in a checkpoint, and there is none")
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
    """Where images come from: a folder of class folders, `digits` (shipped), `cifar10` (as torchvision keeps it)."""

    source: str = Field(alias="from")
    root: str | None = None  # where torchvision's CIFAR-10 lies
    download: bool = False
    # A class-balanced, seeded choice of so many; left out: all of them, for calibration 512 at most.
    count: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> Source:
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
    unreadable: Literal["error", "skip"] = "error"


class Augment(_Section):
    flip: bool = False  # mirror left and right, for one image in two
    shift: int = Field(0, ge=0)  # moved by up to so many pixels, the edge repeated


class Train(_Section):
    epochs: int = Field(ge=1)
    rate: float = Field(gt=0)
    batch: int = Field(64, ge=2)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "one-cycle"] = "cosine"
    weight_decay: float = Field(0.0005, ge=0)
    augment: Augment = Augment()
    validation: float = Field(0.1, gt=0, lt=0.5)  # the part of the training images that chooses the best epoch


class Quantize(_Section):
    """INT8 for every target, from one calibration."""

    effort: Literal["fast", "balanced", "best"] = "fast"  # the last two learn
    minutes: float = Field(10.0, gt=0)  # that learning may take, for each dialect
    estimator: Literal["min-max", "percentile", "entropy", "mse"] = "mse"  # how a tensor's range is chosen
    exclude: tuple[str, ...] = ()  # layers that stay float: regular expressions on their names

    @field_validator("exclude")
    @classmethod
    def _are_expressions(cls, exclude: tuple[str, ...]) -> tuple[str, ...]:
        for one in exclude:
            try:
                re.compile(one)
            except re.error as problem:
                raise ValueError(f"{one!r} is no regular expression: {problem}") from problem
        return exclude


class Trace(_Section):
    batch: Literal["dynamic"] | Annotated[int, Field(ge=1)] = "dynamic"


class Verify(_Section):
    """How latency is measured: fresh processes, each timing every variant in turn."""

    processes: int = Field(5, ge=1, le=100)
    seconds: float = Field(30.0, gt=0)  # at most about so many for all of them, on each target
    rebuilds: int = Field(1, ge=1, le=20)  # what would ship is built so many times, and judged by its worst

    def plan(self) -> dict[str, Any]:
        """Of the timing alone."""
        return self.model_dump(mode="json", exclude={"rebuilds"})


class Delivery(_Section):
    """What a recipe may say of any target, beside the target's own options."""

    where: Literal["here", "bundle"] = "here"  # built and measured here, or on the device that gets a bundle
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

    def limits(self) -> dict[str, Any]:
        return {key: value for key, value in self if key != "undecided" and value is not None}


class Recipe(_Section):
    version: Literal[1]
    model: Model
    preprocessing: Preprocessing
    images: Images = Images()
    train: Train | None = None
    trace: Trace = Trace()
    quantize: Quantize | None = None
    verify: Verify = Verify()
    targets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    promises: Promises = Promises()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        onnx, images, calibration = is_onnx(self.model.checkpoint), self.images, self.images.calibration
        wrong = {
            "images.training is missing: `train` learns from it": self.train and not images.training,
            "model.checkpoint is missing: give weights, or a `train` section that makes them": not self.train
            and not self.model.checkpoint,
            "train: an ONNX file is not trained further: give weights and their arch": self.train and onnx,
            "images.calibration must not come from the evaluation images: take `from: training`": calibration
            and calibration.source == "evaluation",
            "images.training is missing: `calibration: {from: training}` chooses from it": calibration
            and calibration.source == "training"
            and not images.training,
        }
        _refuse_first(wrong)
        return self

    @model_validator(mode="after")
    def _targets_whole(self) -> Recipe:
        quantize, none, candidate = self.quantize, not self.targets, self.model.candidate
        wrong = {
            "targets is missing: model.candidate is judged on targets": candidate and none,
            "targets is missing: INT8 is written for a target": quantize and none,
            "images.calibration is missing: ranges are measured on images, never made up": quantize
            and not self.images.calibration,
            "model.candidate and quantize: one network ships, give one of them": quantize and candidate,
            "images.evaluation is missing: accuracy on a target is measured with it": not self.images.evaluation
            and not quantize
            and any(every(options).get("where") != "bundle" for options in self.targets.values()),
            "targets is missing: promises are judged on targets": self.promises.limits() and none,
        }
        for name, options in self.targets.items():
            asks = every(options).get("precision")
            wrong[f"quantize is missing: targets.{name}.precision is int8"] = asks == "int8" and not quantize
            wrong[f"targets.{name}.precision: model.candidate is what would ship"] = asks and candidate
        _refuse_first(wrong)
        return self

    def target_options(self, name: str) -> Any:
        """The options of a target as its own frozen dataclass."""
        return options_of(name).validate_python(own(self.targets[name]))

    def delivery(self, name: str) -> Delivery:
        return Delivery.model_validate(every(self.targets[name]))

    def ships(self, name: str) -> str:
        """The variant that would ship to a target."""
        if self.model.candidate:
            return "candidate"
        asked = self.delivery(name).precision or ("int8" if self.quantize else "fp32")
        return {"fp16": "half"}.get(asked, asked)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        return manifest.digest_of(self.to_json())


def options_of(target: str) -> TypeAdapter:
    return TypeAdapter(_targets.get(target).options)


def own(options: Any) -> Any:
    """A target's options without what every target has."""
    return {key: value for key, value in options.items() if key not in EVERY} if isinstance(options, dict) else options


def every(options: Any) -> dict[str, Any]:
    """What every target has, without its own."""
    return {key: value for key, value in options.items() if key in EVERY} if isinstance(options, dict) else {}


def is_onnx(path: str | None) -> bool:
    return path is not None and re.search(_ONNX, path) is not None


def _refuse_first(wrong: dict[str, Any]) -> None:
    for sentence, holds in wrong.items():
        if holds:
            raise ValueError(sentence)


EVERY = tuple(Delivery.model_fields)
