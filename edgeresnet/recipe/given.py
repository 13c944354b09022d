"""What a recipe is given: the network and the images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..portable.tasks.task import task_of
from .anchors import Anchors
from .base import ONNX, Arguments, Section, is_onnx, module_of_factory

SCENES = "digits-scenes"
_NO_MASK = 255  # in the masks of most data sets


class Model(Section):
    """The network: trained weights and their architecture, or an ONNX file, which holds both."""

    newer = ("anchors",)
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
                    "checkpoint": {"type": "string", "pattern": ONNX},
                },
            },
        }
    )

    checkpoint: str | None = Field(
        None,
        description="Trained weights: a file, or a folder of Hugging Face's hub. Or an ONNX file. Not needed where "
        "`train` starts from new weights.",
    )
    arch: str | None = Field(
        None,
        validate_default=True,
        description="Architecture of the weights: a known name such as resnet50, or your own function or class, "
        "my.module:make or path/model.py:make. `auto`, or unset: it is recognised from the checkpoint.",
    )
    arch_args: Arguments | None = Field(
        None,
        description="Arguments of your own function, as in {depth: 20}. Number of classes and channels are given where "
        "it wants them.",
    )
    classes: int | None = Field(
        None, ge=2, description="Number of classes. Unset: the number of class folders, or of the weights' outputs."
    )
    weights: Literal["model", "ema"] | None = Field(
        None, description="Which weights of a checkpoint that also holds averaged weights (EMA). Unset: model."
    )
    candidate: str | None = Field(
        None,
        description="ONNX file that another tool made from this network. It is compared with the network and judged "
        "as it is.",
    )
    anchors: Anchors | None = Field(
        None,
        description="How a detector's answers become boxes. Unset: as torchvision does it. Only with "
        "`task: detection`.",
    )

    @field_validator("arch")
    @classmethod
    def _where_needed(cls, arch: str | None, info: ValidationInfo) -> str | None:
        given = info.data.get("checkpoint")
        onnx, arch = is_onnx(given), None if arch == "auto" else arch
        if arch is None and given is None:
            raise PydanticCustomError("missing", "missing")
        if arch is not None and onnx:
            raise ValueError("remove it: an ONNX file holds its own architecture")
        return arch

    @field_validator("arch_args")
    @classmethod
    def _of_a_factory(cls, arguments: Arguments | None, info: ValidationInfo) -> Arguments | None:
        if arguments and module_of_factory(info.data.get("arch") or "") is None:
            raise ValueError("only your own function takes arguments, as in `arch: my.module:make`: remove it")
        return arguments or None

    @field_validator("weights")
    @classmethod
    def _of_a_checkpoint(cls, weights: str | None, info: ValidationInfo) -> str | None:
        given = info.data.get("checkpoint")
        if weights is not None and (given is None or is_onnx(given)):
            raise ValueError("needs a checkpoint to choose weights from, and none is given")
        return weights

    @field_validator("candidate")
    @classmethod
    def _is_onnx(cls, candidate: str | None) -> str | None:
        if candidate is not None and not is_onnx(candidate):
            raise ValueError("must be an .onnx file: convert it, or name it as `checkpoint` in another recipe")
        return candidate

    @property
    def title(self) -> str:
        return self.arch or Path(self.checkpoint or "").name


class Source(Section):
    """A set of images. The name alone is enough: `evaluation: images/val`."""

    newer = ("masks", "boxes")
    source: str = Field(
        alias="from",
        description="Where the images come from: a folder with one folder per class or a .tar of it, shards of "
        "WebDataset as in `val-{000..049}.tar`, a .csv or .json list, an .npz file, `digits` (comes with edgeresnet) "
        "or `cifar10`. For calibration also `training`. With `task: segmentation`: a folder of images, a list of "
        "images and masks, a .json of COCO, an .npz file with `masks`, shards with `0001.mask.png`, or `digits-scenes` "
        "(comes with edgeresnet). "
        "With `task: detection`: a folder of images, a list of images and boxes, a .json of COCO, or `digits-scenes`.",
    )
    masks: str | None = Field(
        None,
        description="Folder of masks, which have the paths of their images with other endings; or a .json of COCO. "
        "Only with `task: segmentation`.",
    )
    boxes: str | None = Field(
        None,
        description="A .json of COCO, or a folder with an .xml of Pascal VOC for each image. Only with "
        "`task: detection`.",
    )
    root: str | None = Field(None, description="Folder of torchvision's CIFAR-10. Only with `from: cifar10`.")
    download: bool = Field(False, description="Download CIFAR-10 if it is missing. Only with `from: cifar10`.")
    count: int | None = Field(
        None,
        ge=1,
        description="Number of images, the same from each class, chosen by `seed`. Unset: all, for calibration at most "
        "512.",
    )

    @property
    def has_boxes_itself(self) -> bool:
        """Whether its boxes come with the images."""
        return self.source == SCENES or self.source.lower().endswith((".csv", ".json"))

    @property
    def has_masks_itself(self) -> bool:
        """Whether its masks come with the images: not those of a folder."""
        return self.source == SCENES or self.source.lower().endswith((".csv", ".json", ".npz", ".tar"))

    @model_validator(mode="after")
    def _cifar10_alone(self) -> Source:
        if self.source != "cifar10" and (self.root is not None or self.download):
            raise ValueError("root and download can only be set with `from: cifar10`")
        return self


def _named(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


SourceOrName = Annotated[Source, BeforeValidator(_named, json_schema_input_type=str | Source)]


class Images(Section):
    """The image sets. Evaluation images must not be among the training or calibration images."""

    newer = ("ignore_index",)

    training: SourceOrName | None = Field(None, description="Labelled images for `train` and `recover`.")
    evaluation: SourceOrName | None = Field(
        None, description="Labelled images that accuracy is measured on. No other stage reads them."
    )
    calibration: SourceOrName | None = Field(
        None,
        description="Images that INT8 ranges are measured on; labels are not needed. `from: training` takes some of "
        "the training images.",
    )
    names: str | None = Field(None, description="File of class names, in the order of the network's outputs.")
    unreadable: Literal["error", "skip"] = Field(
        "error", description="What to do with an image that cannot be decoded: stop, or leave it out and report it."
    )
    ignore_index: int = Field(
        _NO_MASK,
        ge=0,
        le=0xFFFF,
        description="Number in mask files of pixels without a class. Only with `task: segmentation`.",
    )

    def check_task(self, task: str, classes: int | None) -> None:
        """Raise ValueError for what does not fit the task, in the words of a recipe."""
        slots = {slot: getattr(self, slot) for slot in ("training", "evaluation", "calibration")}
        named = {slot: each for slot, each in slots.items() if each is not None}
        of_task = task_of(task)
        wrong = _of_other_tasks(named, self.ignore_index, task)
        if of_task.has_masks:
            wrong += _with_parts(named, "masks", "{from: DIR, masks: DIR}")
            if classes is not None and classes > self.ignore_index == _NO_MASK:
                is_one = f"images.ignore_index is {_NO_MASK}, one of the {classes} classes"
                wrong.append(f"{is_one}: give masks another number")
        elif of_task.has_boxes:
            wrong += _with_parts(named, "boxes", "{from: DIR, boxes: FILE.json}")
        if wrong:
            raise ValueError(wrong[0])


def _of_other_tasks(named: Mapping[str, Source], ignored: int, task: str) -> list[str]:
    """Return what makes no sense with this task."""
    of_task, wrong = task_of(task), []
    for slot, each in named.items():
        if each.masks is not None and not of_task.has_masks:
            wrong.append(f"images.{slot}.masks {_needs('segmentation')}")
        if each.boxes is not None and not of_task.has_boxes:
            wrong.append(f"images.{slot}.boxes {_needs('detection')}")
        if each.source == SCENES and not (of_task.has_masks or of_task.has_boxes):
            wrong.append(f"images.{slot}: {SCENES} {_needs('segmentation` or `task: detection')}")
    return wrong + (
        [f"images.ignore_index {_needs('segmentation')}"] if ignored != _NO_MASK and not of_task.has_masks else []
    )


def _needs(task: str) -> str:
    return f"needs `task: {task}`: add it, or remove this"


def _with_parts(named: Mapping[str, Source], key: Literal["masks", "boxes"], example: str) -> list[str]:
    """Return where masks or boxes are missing, or not used."""
    wrong = []
    for slot, each in named.items():
        given, itself = (each.masks, each.has_masks_itself) if key == "masks" else (each.boxes, each.has_boxes_itself)
        if slot == "calibration" and given is not None:
            wrong.append(f"images.calibration.{key} is not used: calibration needs images alone, so remove it")
        elif given is not None and itself:
            wrong.append(f"images.{slot}.{key}: {each.source} has its own {key}: name a folder of images, or remove it")
        elif slot != "calibration" and given is None and not itself:
            what = "folder of masks" if key == "masks" else "file or folder of boxes"
            wrong.append(f"images.{slot}.{key} is missing: name the {what}, as in {example}")
    return wrong
