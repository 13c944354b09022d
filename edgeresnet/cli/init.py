"""edgeresnet init: a recipe to start from, which runs as it is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import _complete, _help, _one_shot, _options, _output, _stage_options

_TEMPLATE = """\
# {purpose}
# Relative paths start in the folder where you call edgeresnet. `edgeresnet schema` lists every key.
version: 1

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

# What must hold on every target: here, at most {drop:g} percentage points of top-1 are lost compared with FP32.
# A bad checkpoint loses nothing: add `min_top1_pct: 90` for a floor, and `min_speedup_fp32: 1.5` for speed.
promises: {{max_drop_pp: {drop}}}

seed: 0  # of every random choice
"""
_TRAIN = """
# Training on the training images.
train: {epochs: 15, rate: 0.01, batch: 32, schedule: one-cycle, augment: {shift: 1}}
"""
_INT8 = """
# INT8 for every target, with ranges measured on the calibration images.
quantize: {effort: fast}
"""
_NO_INT8 = """
# INT8, if you remove the # of the next line and add `calibration: FOLDER` to `images`.
# quantize: {effort: fast}
"""


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
@_options.model_options
@_stage_options.calibration
def init(
    path: Path, checkpoint: str | None, training: str | None, calibration: str | None, about: _options.ModelOptions
) -> None:
    """Write a recipe to PATH, to start from.

    PATH is recipe.yaml unless you name another file. Without options the
    recipe trains a small network on handwritten digits, which come with
    edgeresnet. With options it describes your network and your images,
    and with --calibration it asks for INT8.
    --size, --mean and --std may be left out if the file itself holds them.
    """
    from .. import recipe
    from ..errors import EdgeresnetError

    if path.exists():
        raise EdgeresnetError(str(path), "exists already", hint="name another file")
    known = _one_shot.of_files([checkpoint] if checkpoint else [], about)
    mine = bool(checkpoint or training or calibration or set(about.given()) - {"--target"})
    if mine:
        needed: dict[str, object] = {} if checkpoint else {"--arch": about.arch, "--classes": about.classes}
        needed |= {f"--{key}": value for key, value in known.needed().items()}
        needed |= {"--evaluation": about.evaluation}
        needed |= {"--checkpoint or --training": checkpoint or training}
        hint = "or give no options, for a recipe that runs on handwritten digits"
        _one_shot.refuse_missing(needed, "a recipe for your network", known.hint if checkpoint else hint)
    named: dict[str, object] = {"arch": known.arch, "classes": about.classes, "checkpoint": checkpoint}
    named["arch_args"] = about.arguments()
    if not mine:
        named |= {"arch": "cifar_resnet8", "classes": 10}
        known.preprocessing = {"size": 8, "mean": [0.305], "std": [0.376]}
    sets = {"training": training, "evaluation": about.evaluation, "calibration": calibration, "names": known.names}
    slots = [f"{slot}: {_quoted(given)}" for slot, given in sets.items() if given]
    text = _TEMPLATE.format(
        purpose="My network on my images." if mine else "A small ResNet that learns handwritten digits.",
        model=", ".join(f"{key}: {_flow(value)}" for key, value in named.items() if value is not None),
        preprocessing=", ".join(f"{key}: {value}" for key, value in known.preprocessing.items()),
        images=", ".join(slots) or "training: digits, evaluation: digits",
        train="" if checkpoint else _TRAIN,
        quantize=_INT8 if calibration else _NO_INT8,
        drop=2.0,
        targets="\n".join(f"  {name}: {{}}" for name in about.targets or _one_shot.CPU_TARGETS),
    )
    import yaml

    recipe.parse(yaml.safe_load(text), name="the recipe of these options")
    _output.write_output(path, text)
    if known.taken:
        _output.echo(known.taken, err=True)
    _output.echo(f"next: `edgeresnet check {path}`, then `edgeresnet run {path}`", err=True)


def _flow(value: object) -> str:
    """Write one value of the section `model` on a line of YAML."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _quoted(str(value))


def _quoted(text: str) -> str:
    """Write a path as YAML, whatever it holds: JSON strings are YAML strings."""
    plain = text.replace("/", "").replace("_", "").replace(".", "").replace("-", "").isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)
