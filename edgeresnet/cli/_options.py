"""Options that several commands share: declared on a command, which takes each group as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import click

from ..portable.tasks import DEFAULT, TaskName
from . import _complete
from ._help import IMAGES, MODEL, OUTPUT, TARGET, TARGET_NAMES, option

if TYPE_CHECKING:
    from ..store import Store

Command: TypeAlias = Callable[..., Any]  # a function that Click calls with its options by name

store = option(
    "--store",
    "store_root",
    envvar="EDGERESNET_STORE",
    default="artifacts",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Folder of artifacts and runs.",
)
changes = option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="One key of the recipe, as in train.epochs=3. Repeatable.",
)
as_json = option("--json", "as_json", is_flag=True, group=OUTPUT, help="Print one JSON document to stdout.")
quiet = option("-q", "--quiet", is_flag=True, group=OUTPUT, help="Print no progress, only the result.")
verbose = option("-v", "--verbose", is_flag=True, group=OUTPUT, help="Also list the stages that were already done.")
recipe = click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
max_drop_pp = option(
    "--max-drop-pp",
    type=click.FloatRange(min=0),
    group=TARGET,
    help="Promise: the largest loss of accuracy (top-1, mIoU or mAP), in percentage points.",
)
on = option(
    "--on",
    "on",
    multiple=True,
    metavar="DEVICE",
    group=TARGET,
    shell_complete=_complete.devices,
    help="Device of devices.yaml that measures, over SSH, as with `where` in the recipe. Repeatable.",
)
threshold = option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    group=TARGET,
    help="Probability from which on an answer is accepted. The report counts the images that cross it.",
)
weights_output = option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    group=OUTPUT,
    help="File to write the weights to, ending in .safetensors.",
)
KINDS = "class folders, or a .csv, .json, .npz or .tar file. With masks or boxes, a plain folder will do."
_LABELS = {"masks": "segmentation", "boxes": "detection"}  # option → the task whose labels it names
_WHERE = {"masks": "a folder, or a .json of COCO", "boxes": "a .json of COCO, or a folder of Pascal VOC"}


def labels(kind: str, images: str, group: str = IMAGES) -> Callable[[Command], Command]:
    """Declare where masks or boxes are that do not lie with their images."""
    prefix = "" if images == "evaluation" else f"{images}-"
    words = f"{kind.capitalize()} of the {images} images: {_WHERE[kind]}."
    return option(f"--{prefix}{kind}", group=group, shell_complete=_complete.files, help=words)


def task_with(task: str | None, kinds: Iterable[str]) -> str:
    """Return the task that was named, or the one whose labels were."""
    return task or next((_LABELS[kind] for kind in kinds), DEFAULT)


def seed(purpose: str, *, group: str = IMAGES) -> Callable[[Command], Command]:
    """Declare the seed; `purpose` is what it chooses."""
    return option("--seed", type=click.IntRange(min=0), group=group, show_default="0", help=f"Seed of {purpose}.")


_MODEL = (
    option(
        "--task",
        type=click.Choice(get_args(TaskName)),
        group=MODEL,
        help="What the network answers: a class per image, a class per pixel, or boxes with classes. "
        "Default: segmentation with masks, detection with boxes.",
    ),
    option(
        "--arch",
        group=MODEL,
        help="Architecture: cifar_resnet20, resnet50, … or your own: my.module:make, path/model.py:make.",
    ),
    option(
        "--arch-arg",
        "arch_args",
        multiple=True,
        metavar="NAME=VALUE",
        group=MODEL,
        help="Argument of your own function in --arch, as in depth=20. Repeatable.",
    ),
    option("--classes", type=int, group=MODEL, help="Number of classes."),
    option("--size", type=int, group=IMAGES, help="Width and height of the network's input, in pixels."),
    option(
        "--resize",
        type=int,
        group=IMAGES,
        show_default="same as --size",
        help="Shorter side of an image before the center crop, in pixels.",
    ),
    option("--mean", group=IMAGES, help="Mean of each channel: 0.485,0.456,0.406."),
    option("--std", group=IMAGES, help="Standard deviation of each channel: 0.229,0.224,0.225."),
    option("--bits", type=int, group=IMAGES, show_default="8", help="Bits per pixel: 8, or 16 for one channel."),
    option(
        "--evaluation",
        group=IMAGES,
        shell_complete=_complete.files,
        help=f"Labelled images that accuracy is measured on: {KINDS}",
    ),
    labels("masks", "evaluation"),
    labels("boxes", "evaluation"),
    option(
        "--names",
        group=IMAGES,
        shell_complete=_complete.files,
        help="File of class names, in the order of the network's outputs.",
    ),
)
_TARGETS = (
    option(
        "--target",
        "targets",
        multiple=True,
        type=TARGET_NAMES,
        group=TARGET,
        help="Compiler and runtime to use. Repeatable.",
    ),
)


@dataclass(frozen=True)
class ModelOptions:
    """A user's network and images, as the options of several commands describe them; None where none was given."""

    arch: str | None
    classes: int | None
    size: int | None
    resize: int | None
    mean: str | None
    std: str | None
    bits: int | None
    evaluation: str | None
    names: str | None
    targets: tuple[str, ...] = ()
    arch_args: tuple[str, ...] = ()
    task: str | None = None
    masks: str | None = None
    boxes: str | None = None

    @property
    def labels(self) -> dict[str, object]:
        """Where the labels of evaluation images are, unless these lie with the images."""
        return provided(masks=self.masks, boxes=self.boxes)

    def given(self) -> list[str]:
        """List the options that were given, as they are spelled."""
        repeated = {"targets": "target", "arch_args": "arch-arg"}
        values = {repeated.get(f.name, f.name): getattr(self, f.name) for f in fields(self)}
        return [f"--{name}" for name, value in values.items() if value not in (None, ())]

    def arguments(self) -> dict[str, object] | None:
        """Return the arguments of a factory as a recipe has them; None where there are none."""
        from .. import recipe

        return recipe.arguments(self.arch_args) or None


_SAVE_RECIPE = option(
    "--save-recipe",
    type=click.Path(dir_okay=False, path_type=Path),
    group=OUTPUT,
    help="File to write the recipe of these options to.",
)
_RUN = (changes, store, as_json, quiet, verbose)


@dataclass(frozen=True)
class RunOptions:
    """Options of every command that makes a recipe of its options and runs it."""

    changes: tuple[str, ...]
    store_root: Path
    as_json: bool
    quiet: bool
    verbose: bool
    save_recipe: Path | None = None


def model_options(command: Command) -> Command:
    """Declare the model's options on a command, which takes them together as `about`."""
    return gathered(command, "about", ModelOptions, _MODEL + _TARGETS)


def untargeted_options(command: Command) -> Command:
    """Declare the same for a command that does not concern targets."""
    return gathered(command, "about", ModelOptions, _MODEL)


def run_options(command: Command) -> Command:
    """Declare the options of running a recipe, as `how`."""
    return gathered(command, "how", RunOptions, (_SAVE_RECIPE, *_RUN))


def unsaved_run_options(command: Command) -> Command:
    """Declare the same for a command whose recipe is of no use to a user."""
    return gathered(command, "how", RunOptions, _RUN)


def gathered(command: Command, word: str, kind: type, options: tuple[Callable[[Command], Command], ...]) -> Command:
    """Declare options on a command, and gather their values into one dataclass."""

    @functools.wraps(command)
    def together_of(**given: object) -> object:
        together = kind(**{field.name: given.pop(field.name) for field in fields(kind) if field.name in given})
        return command(**{word: together}, **given)

    declared: Command = together_of
    for declare in reversed(options):
        declared = declare(declared)
    return declared


def provided(**values: object) -> dict[str, object]:
    """Keep the values that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def open_store(root: Path) -> Store:
    """Open a store to write to, and make it where it does not exist."""
    from ..store import Store

    return Store.open(root)


def read_store(root: Path, *runs: str | None) -> Store:
    """Open a store for a command that only reads `runs` (None: the newest)."""
    from ..store import Store

    return Store.to_read(root, *runs)
