"""edgeresnet init: a recipe to start from, which runs as it is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import _complete, _one_shot, _options, _output

_TEMPLATE = """\
# {purpose}
# Paths are read from the folder where edgeresnet is started. `edgeresnet schema` lists every key.
version: 1
model:         {{{model}}}
# How pixels enter the network: one mean and std per channel. These must be the ones it was trained with.
preprocessing: {{{preprocessing}}}
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
@click.option("--checkpoint", shell_complete=_complete.files, help="Weights, or an ONNX file; without, it is trained.")
@click.option(
    "--training",
    shell_complete=_complete.files,
    help="Images to train on: class folders, or a .csv, .json, .npz, .tar.",
)
@_options.model_options
def init(path: Path, checkpoint: str | None, training: str | None, about: _options.ModelOptions) -> None:
    """Write a recipe to PATH (recipe.yaml by default).

    Without options it runs on handwritten digits that come with edgeresnet;
    with options it describes your network and your images.
    """
    from .. import recipe
    from ..errors import EdgeresnetError

    if path.exists():
        raise EdgeresnetError(str(path), "exists already", hint="give another name")
    known = _one_shot.of_files([checkpoint] if checkpoint else [], about)
    mine = bool(checkpoint or training or set(about.given()) - {"--target"})
    if mine:
        needed: dict[str, object] = {} if checkpoint else {"--arch": about.arch, "--classes": about.classes}
        needed |= {f"--{key}": value for key, value in known.needed().items()}
        needed |= {"--evaluation": about.evaluation}
        needed |= {"--checkpoint or --training": checkpoint or training}
        hint = "or give no option at all, for a recipe that runs on handwritten digits"
        _one_shot.refuse_missing(needed, "a recipe for your network", known.hint if checkpoint else hint)
    named: dict[str, object] = {"arch": known.arch, "classes": about.classes, "checkpoint": checkpoint}
    if not mine:
        named |= {"arch": "cifar_resnet8", "classes": 10}
        known.preprocessing = {"size": 8, "mean": [0.305], "std": [0.376]}
    slots = [f"training: {_quoted(training)}"] if training else []
    slots += [f"evaluation: {_quoted(about.evaluation)}"] if about.evaluation else []
    slots += [f"names: {_quoted(about.names)}"] if about.names else []
    text = _TEMPLATE.format(
        purpose="My network on my images." if mine else "A small ResNet on handwritten digits.",
        model=", ".join(f"{key}: {_quoted(str(value))}" for key, value in named.items() if value is not None),
        preprocessing=", ".join(f"{key}: {value}" for key, value in known.preprocessing.items()),
        images=", ".join(slots) or "training: digits, evaluation: digits",
        train="" if checkpoint else _TRAIN,
        targets="\n".join(f"  {name}: {{}}" for name in about.targets or _one_shot.CPU_TARGETS),
    )
    import yaml

    recipe.parse(yaml.safe_load(text), name="the recipe of these options")
    _output.write_output(path, text)
    if known.taken:
        _output.echo(known.taken, err=True)
    _output.echo(f"next: `edgeresnet check {path}`, then `edgeresnet run {path}`", err=True)


def _quoted(text: str) -> str:
    """Write a path as YAML, whatever it holds: JSON strings are YAML strings."""
    plain = text.replace("/", "").replace("_", "").replace(".", "").replace("-", "").isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)
