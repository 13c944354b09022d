"""edgeresnet init: a recipe to start from, which runs as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

from . import _complete, _help, _one_shot, _options, _output, _stage_options

_TEMPLATE = """\
# {purpose}
# Relative paths start in the folder where you call edgeresnet. `edgeresnet schema` lists every key.
version: 1
{kind.task}
# The network: trained weights or an ONNX file, or an architecture that is trained first.
model: {{{model}}}

# How pixels become the network's input. These values must be those of its training: one mean and std per channel.
preprocessing: {{{preprocessing}}}

# Evaluation images measure accuracy. Calibration images, for INT8, must be others; they need no labels.
images: {{{images}}}
{train}{quantize}
# Where the network is measured. `edgeresnet targets` lists what this machine has.
targets:
{targets}

# What must hold on every target: here, at most {drop:g} percentage points of {kind.metric} are lost compared with FP32.
# A bad checkpoint loses nothing: add `{kind.floor}` for a floor, and `min_speedup_fp32: 1.5` for speed.
promises: {{max_drop_pp: {drop}}}

seed: 0  # of every random choice
"""
_TRAIN = """
# Training on the training images.
train: {{epochs: {epochs}, rate: {rate:g}, batch: {batch}, schedule: one-cycle, augment: {{shift: {shift}}}}}
"""
_INT8 = """
# INT8 for every target, with ranges measured on the calibration images.
quantize: {effort: fast}
"""
_NO_INT8 = """
# INT8, if you remove the # of the next line and add `calibration: %s` to `images`.
# quantize: {effort: fast}
"""


class _Kind(NamedTuple):
    """What recipes of a task have in common, and the small network on digits."""

    task: str
    metric: str
    floor: str
    purpose: str
    images: str
    model: Mapping[str, str | int]
    preprocessing: Mapping[str, object]
    train: str


_KINDS = {
    "classification": _Kind(
        "",
        "top-1",
        "min_top1_pct: 90",
        "A small ResNet that learns handwritten digits.",
        "training: digits, evaluation: digits",
        {"arch": "cifar_resnet8", "classes": 10},
        {"size": 8, "mean": [0.305], "std": [0.376]},
        _TRAIN.format(epochs=15, rate=0.01, batch=32, shift=1),
    ),
    "segmentation": _Kind(
        "\n# Each pixel gets a class: labels are masks.\ntask: segmentation\n",
        "mIoU",
        "min_miou_pct: 60",
        "A small FCN that finds handwritten digits in scenes.",
        "training: digits-scenes, evaluation: digits-scenes",
        {"arch": "fcn_cifar_resnet8", "classes": 11},
        {"size": 64, "mean": [0.4], "std": [0.25]},
        _TRAIN.format(epochs=20, rate=0.01, batch=16, shift=4),
    ),
    "detection": _Kind(
        "\n# Objects get a box and a class: labels are boxes.\ntask: detection\n",
        "mAP",
        "min_map_pct: 60",
        "A small RetinaNet that finds handwritten digits in scenes.",
        "training: digits-scenes, evaluation: digits-scenes",
        {"arch": "retinanet_cifar_resnet8", "classes": 10},
        {"size": 64, "mean": [0.4], "std": [0.25]},
        _TRAIN.format(epochs=8, rate=0.005, batch=8, shift=8),
    ),
}


@_help.command(
    "edgeresnet init",
    "edgeresnet init mine.yaml --checkpoint net.pth --evaluation images/val --calibration images/calibration "
    "--size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --target openvino",
)
@click.argument("path", default="recipe.yaml", type=click.Path(dir_okay=False, path_type=Path))
@_help.option(
    "--checkpoint",
    group=_help.MODEL,
    shell_complete=_complete.files,
    help="Trained weights or their folder, or an ONNX file. Without it, the recipe trains the network.",
)
@_help.option(
    "--training",
    group=_help.IMAGES,
    shell_complete=_complete.files,
    help=f"Labelled images to train on: {_options.KINDS}",
)
@_options.labels("masks", "training")
@_options.labels("boxes", "training")
@_options.model_options
@_stage_options.calibration
def init(
    path: Path,
    checkpoint: str | None,
    training: str | None,
    calibration: str | None,
    training_masks: str | None,
    training_boxes: str | None,
    about: _options.ModelOptions,
) -> None:
    """Write a recipe to PATH, to start from.

    PATH is recipe.yaml unless you name another file. Without options the
    recipe trains a small network on handwritten digits, which come with
    edgeresnet. With options it describes your network and your images,
    and with --calibration it asks for INT8. With --task segmentation it gives
    a class to each pixel, and with --task detection it finds boxes: of digits
    in small scenes, or in your images.
    --size, --mean and --std may be left out if the file itself holds them.
    """
    from ..errors import EdgeresnetError

    if path.exists():
        raise EdgeresnetError(str(path), "exists already", hint="name another file")
    known = _one_shot.of_files([checkpoint] if checkpoint else [], about)
    drawn = _options.provided(masks=training_masks, boxes=training_boxes)
    mine = bool(checkpoint or training or calibration or drawn or set(about.given()) - {"--target", "--task"})
    if mine:
        _refuse_missing(checkpoint, training, about, known)
    named = _named(checkpoint, about, known)
    kind = _KINDS[_options.task_with(about.task, (*about.labels, *drawn))]
    if not mine:
        named, known = dict(kind.model), _one_shot.Known(None, dict(kind.preprocessing))
    named_sets = {"training": training, "evaluation": about.evaluation, "calibration": calibration}
    sets = _one_shot.labelled({**named_sets, "names": known.names}, {"training": drawn, "evaluation": about.labels})
    text = _TEMPLATE.format(
        purpose="My network on my images." if mine else kind.purpose,
        kind=kind,
        model=", ".join(f"{key}: {_flow(value)}" for key, value in named.items() if value is not None),
        preprocessing=", ".join(f"{key}: {value}" for key, value in known.preprocessing.items()),
        images=", ".join(f"{slot}: {_written(given)}" for slot, given in sets.items() if given) or kind.images,
        train="" if checkpoint else kind.train,
        quantize=_INT8 if calibration else _NO_INT8 % ("FOLDER" if mine else "{from: training, count: 128}"),
        drop=2.0,
        targets="\n".join(f"  {name}: {{}}" for name in about.targets or _one_shot.CPU_TARGETS),
    )
    _check(text)
    _output.write_output(path, text)
    if known.taken:
        _output.echo(known.taken, err=True)
    _output.echo(f"next: `edgeresnet check {path}`, then `edgeresnet run {path}`", err=True)


def _refuse_missing(
    checkpoint: str | None, training: str | None, about: _options.ModelOptions, known: _one_shot.Known
) -> None:
    """Refuse to write a recipe for a network of which too little is known."""
    needed: dict[str, object] = {} if checkpoint else {"--arch": about.arch, "--classes": about.classes}
    needed |= {f"--{key}": value for key, value in known.needed().items()}
    needed |= {"--evaluation": about.evaluation}
    needed |= {"--checkpoint or --training": checkpoint or training}
    hint = "or give no options, for a recipe that runs on handwritten digits"
    _one_shot.refuse_missing(needed, "a recipe for your network", known.hint if checkpoint else hint)


def _named(checkpoint: str | None, about: _options.ModelOptions, known: _one_shot.Known) -> dict[str, object]:
    """Return the section `model`; None: it has no such key."""
    return {"arch": known.arch, "classes": about.classes, "checkpoint": checkpoint, "arch_args": about.arguments()}


def _check(text: str) -> None:
    """Refuse options that make no recipe."""
    import yaml

    from .. import recipe

    recipe.parse(yaml.safe_load(text), name="the recipe of these options")


def _written(given: object) -> str:
    """Write one set of images on a line of YAML, with its masks or boxes where they lie in another place."""
    if isinstance(given, Mapping):
        return f"{{{', '.join(f'{key}: {_quoted(str(value))}' for key, value in given.items())}}}"
    return _quoted(str(given))


def _flow(value: object) -> str:
    """Write one value of the section `model` on a line of YAML."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _quoted(str(value))


def _quoted(text: str) -> str:
    """Write a path as YAML, whatever it holds: JSON strings are YAML strings."""
    plain = text.replace("/", "").replace("_", "").replace(".", "").replace("-", "").isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)
