"""edgeresnet init: a recipe to start from, which runs as it is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import _options

_TEMPLATE = """\
# {purpose}
# Paths are read from the folder where edgeresnet is started. `edgeresnet schema` lists every key.
version: 1
model:         {{arch: {arch}, classes: {classes}{checkpoint}}}
# How the network wants its pixels: one mean and std per channel. These must be the ones it was trained with.
preprocessing: {{size: {size}, {resize}mean: {mean}, std: {std}}}
images:        {{{images}}}
{train}targets:
{targets}
# Judged on every target. A drop is in points of top-1 on the same images; the interval around it must hold too.
promises:      {{max_drop_pp: 2.0}}
seed: 0
"""
_TRAIN = "train:         {epochs: 15, rate: 0.01, batch: 32, schedule: one-cycle, augment: {shift: 1}}\n"


@click.command()
@click.argument("path", default="recipe.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--checkpoint", help="Weights of the network; without them it is trained.")
@click.option("--arch", help="cifar_resnet20, resnet50, … or my.module:make.")
@click.option("--classes", type=int, help="How many classes.")
@click.option("--size", type=int, help="Side of the network's input, in pixels.")
@click.option("--resize", type=int, help="Shorter side before the centred crop; --size by default.")
@click.option("--mean", help="One per channel: 0.485,0.456,0.406.")
@click.option("--std", help="One per channel: 0.229,0.224,0.225.")
@click.option("--training", help="Folder of class folders to train on.")
@click.option("--evaluation", help="Folder of class folders to evaluate on.")
@click.option("--target", "targets", multiple=True, help="May be repeated; every CPU target by default.")
def init(
    path: Path,
    checkpoint: str | None,
    arch: str | None,
    classes: int | None,
    size: int | None,
    resize: int | None,
    mean: str | None,
    std: str | None,
    training: str | None,
    evaluation: str | None,
    targets: tuple[str, ...],
) -> None:
    """Write a recipe to PATH (recipe.yaml by default).

    Without options it runs on handwritten digits that ship with edgeresnet;
    with options it is about your network and your images.
    """
    from .. import recipe
    from ..errors import EdgeresnetError

    if path.exists():
        raise EdgeresnetError(f"{path} is already there", hint="give another name")
    mine = any([checkpoint, arch, classes, size, resize, mean, std, training, evaluation])
    needed = {"--arch": arch, "--classes": classes, "--size": size, "--mean": mean, "--std": std}
    needed |= {"--evaluation": evaluation, "--checkpoint or --training": checkpoint or training}
    missing = [option for option, value in needed.items() if value is None]
    if mine and missing:
        raise EdgeresnetError(
            f"a recipe for your network needs {', '.join(missing)} too",
            hint="or give no option at all, for a recipe that runs on the shipped digits",
        )
    slots = [f"training: {_quoted(training)}"] if training else []
    slots += [f"evaluation: {_quoted(evaluation)}"] if evaluation else []
    text = _TEMPLATE.format(
        purpose="My network on my images." if mine else "A small ResNet on the handwritten digits that ship along.",
        arch=_quoted(arch or "cifar_resnet8"),
        classes=classes or 10,
        checkpoint=f", checkpoint: {_quoted(checkpoint)}" if checkpoint else "",
        size=size or 8,
        resize=f"resize: {resize}, " if resize else "",
        mean=_numbers(mean or "0.305", "--mean"),
        std=_numbers(std or "0.376", "--std"),
        images=", ".join(slots) or "training: digits, evaluation: digits",
        train="" if checkpoint else _TRAIN,
        targets="\n".join(f"  {name}: {{}}" for name in targets or ("onnxruntime", "openvino")),
    )
    import yaml

    recipe.parse(yaml.safe_load(text), name="what these options say")
    _options.write_output(path, text)
    _options.echo(f"next: `edgeresnet check {path}`, then `edgeresnet run {path}`", err=True)


def _quoted(text: str) -> str:
    """As YAML, whatever the path holds: JSON strings are YAML strings."""
    plain = text.replace("/", "").replace("_", "").replace(".", "").replace("-", "").isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)


def _numbers(text: str, option: str) -> list[float]:
    from ..errors import EdgeresnetError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as problem:
        raise EdgeresnetError(f"{option} {text!r} is not numbers", hint="write 0.485,0.456,0.406") from problem
