"""Options that several commands share: declared on a command, which takes each group as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from . import _complete

if TYPE_CHECKING:
    from ..store import Store

Command: TypeAlias = Callable[..., Any]  # a function that Click calls with its options by name
Section: TypeAlias = Mapping[str, object]  # of a recipe

store = click.option(
    "--store",
    "store_root",
    envvar="EDGERESNET_STORE",
    default="artifacts",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Folder of artifacts and runs.",
)
changes = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one key of the recipe: train.epochs=3."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, only the result.")
verbose = click.option("-v", "--verbose", is_flag=True, help="List also the stages that were already done.")
recipe = click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
max_drop_pp = click.option("--max-drop-pp", type=float, help="Promise: at most this many points of top-1 are lost.")

_MODEL = (
    click.option("--arch", help="Architecture: cifar_resnet20, resnet50, … or my.module:make."),
    click.option("--classes", type=int, help="Number of classes."),
    click.option("--size", type=int, help="Side of the network's input, in pixels."),
    click.option("--resize", type=int, help="Shorter side before the centred crop; --size by default."),
    click.option("--mean", help="One per channel: 0.485,0.456,0.406."),
    click.option("--std", help="One per channel: 0.229,0.224,0.225."),
    click.option("--bits", type=int, help="Bits of a pixel: 8 by default, or 16 with one channel."),
    click.option(
        "--evaluation",
        shell_complete=_complete.files,
        help="Images to evaluate on: class folders, or a .csv, .json, .npz, .tar.",
    ),
    click.option(
        "--names",
        shell_complete=_complete.files,
        help="File with the names of the classes, in the order of the network's answers.",
    ),
)
_TARGETS = (
    click.option(
        "--target",
        "targets",
        multiple=True,
        shell_complete=_complete.targets,
        help="A target of `edgeresnet targets`. May be repeated.",
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

    def given(self) -> list[str]:
        """List the options that were given, as they are spelled."""
        values = {("target" if f.name == "targets" else f.name): getattr(self, f.name) for f in fields(self)}
        return [f"--{name}" for name, value in values.items() if value not in (None, ())]


_INT8 = (
    click.option(
        "--calibration",
        shell_complete=_complete.files,
        help="Images to measure ranges on, as for --evaluation; they need no labels.",
    ),
    click.option("--effort", help="How much is tried: fast (default), balanced, best."),
    click.option("--estimator", help="How ranges are chosen: mse (default), min-max, percentile, entropy."),
    click.option("--exclude", multiple=True, metavar="REGEX", help="Layers that stay float. May be repeated."),
    click.option("--count", type=click.IntRange(min=1), help="Number of calibration images; at most 512 by default."),
    click.option("--seed", type=click.IntRange(min=0), help="Seed of their choice; 0 by default."),
)


@dataclass(frozen=True)
class Int8Options:
    """How INT8 is made; None where nothing was given."""

    calibration: str | None
    effort: str | None
    estimator: str | None
    exclude: tuple[str, ...]
    count: int | None
    seed: int | None

    def section(self) -> Section:
        """Return a recipe's `quantize`."""
        return provided(effort=self.effort, estimator=self.estimator, exclude=list(self.exclude) or None) or {
            "effort": "fast"
        }

    def given(self) -> list[str]:
        """List those that concern INT8 alone, as they are spelled; the seed chooses other images, too."""
        return [f"--{f.name}" for f in fields(self) if f.name != "seed" and getattr(self, f.name) not in (None, ())]


def _training(what: str) -> Callable[[Command], Command]:
    where = "class folders, or a .csv, .json, .npz, .tar."
    return click.option("--training", shell_complete=_complete.files, help=f"{what}: {where}")


_MOVES = (
    click.option("--flip", is_flag=True, default=None, help="Mirror one image in two."),
    click.option("--shift", type=int, help="Move images by up to this many pixels."),
)
_LEARN = (
    _training("Images to learn from"),
    click.option("--epochs", type=click.IntRange(min=1), help="How often every image is learned from."),
    click.option("--rate", type=float, help="Learning rate; 0.001 by default."),
    click.option("--batch", type=int, help="Images in a step; 64 by default."),
    click.option("--optimizer", help="adamw (default) or sgd."),
    click.option("--schedule", help="cosine (default) or one-cycle."),
    click.option("--head", help="keep (default), or new: for other classes than the weights know."),
    click.option("--freeze", multiple=True, metavar="REGEX", help="Parameters that stay, or all-but-head."),
    click.option("--layer-decay", type=float, help="Each stage's rate as a part of the next one's; 1 by default."),
    click.option("--label-smoothing", type=float, help="0 by default."),
    click.option("--precision", help="auto (default: BF16 where it is faster), f32, bf16."),
    click.option("--patience", type=int, help="Stop after this many epochs without progress."),
    *_MOVES,
)


@dataclass(frozen=True)
class LearnOptions:
    """How a network is trained; None where nothing was given."""

    training: str | None
    epochs: int | None
    rate: float | None
    batch: int | None
    optimizer: str | None
    schedule: str | None
    head: str | None
    freeze: tuple[str, ...]
    layer_decay: float | None
    label_smoothing: float | None
    precision: str | None
    patience: int | None
    flip: bool | None
    shift: int | None

    def section(self) -> Section:
        """Return a recipe's `train`."""
        others = ("training", "freeze", "flip", "shift")
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        return provided(**numbers, freeze=list(self.freeze) or None, augment=_moves(self.flip, self.shift))


_PRUNE = (
    click.option("--macs", type=float, help="The part of the multiplications that stays."),
    click.option("--params", type=float, help="The part of the weights that stays."),
    click.option("--ratio", type=float, help="The part of the channels that goes."),
    click.option(
        "--speedup",
        multiple=True,
        metavar="TARGET=TIMES",
        help="Times as fast on a target, measured: openvino=1.6. May be repeated.",
    ),
    click.option("--importance", help="l2 (default), l1, bn, taylor."),
    click.option("--scope", help="global (default), or per-layer: the same part of each."),
    click.option("--multiple", type=int, help="Widths are multiples of it; by default what targets prefer."),
)


@dataclass(frozen=True)
class PruneOptions:
    """What is pruned from a network; None where nothing was given."""

    macs: float | None
    params: float | None
    ratio: float | None
    speedup: tuple[str, ...]
    importance: str | None
    scope: str | None
    multiple: int | None

    def section(self) -> Section:
        """Return a recipe's `prune`."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "speedup"}
        return provided(**numbers, speedup=self.goals() or None)

    def goals(self) -> dict[str, float]:
        """Return by target how many times as fast it is to be."""
        return dict(map(self._goal, self.speedup))

    @staticmethod
    def _goal(text: str) -> tuple[str, float]:
        from ..errors import EdgeresnetError

        target, _, times = text.partition("=")
        try:
            return target, float(times)
        except ValueError as problem:
            raise EdgeresnetError(f"--speedup {text!r}", "is not TARGET=TIMES", hint="write openvino=1.6") from problem


_RECOVER = (
    _training("Images to recover with"),
    click.option("--recover-epochs", type=click.IntRange(min=0), help="5 by default; 0: only statistics are renewed."),
    click.option("--recover-rounds", type=click.IntRange(min=1), help="Rounds of epochs, until accuracy is back."),
    click.option("--recover-minutes", type=float, help="For all rounds: the epochs that fit are planned."),
    click.option("--recover-rate", type=float, help="Learning rate; 0.001 by default."),
    *_MOVES,
)


@dataclass(frozen=True)
class RecoverOptions:
    """How a pruned network learns again; None where nothing was given."""

    training: str | None
    recover_epochs: int | None
    recover_rounds: int | None
    recover_minutes: float | None
    recover_rate: float | None
    flip: bool | None
    shift: int | None

    def section(self) -> Section:
        """Return a recipe's `recover`."""
        numbers = {word: getattr(self, f"recover_{word}") for word in ("epochs", "rounds", "minutes", "rate")}
        return provided(**numbers, augment=_moves(self.flip, self.shift)) or {"epochs": 5}

    def given(self) -> list[str]:
        """List the options that concern learning, as they are spelled."""
        names = (f.name for f in fields(self) if f.name != "training" and getattr(self, f.name) is not None)
        return [f"--{name.replace('_', '-')}" for name in names]


_SAVE_RECIPE = click.option(
    "--save-recipe", type=click.Path(dir_okay=False, path_type=Path), help="Write the recipe to a file, too."
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
    return _gathered(command, "about", ModelOptions, _MODEL + _TARGETS)


def untargeted_options(command: Command) -> Command:
    """Declare the same for a command that does not concern targets."""
    return _gathered(command, "about", ModelOptions, _MODEL)


def int8_options(command: Command) -> Command:
    """Declare the options of INT8, as `int8`."""
    return _gathered(command, "int8", Int8Options, _INT8)


def learn_options(command: Command) -> Command:
    """Declare the options of training, as `learn`."""
    return _gathered(command, "learn", LearnOptions, _LEARN)


def prune_options(command: Command) -> Command:
    """Declare the options of pruning, as `pruning`."""
    return _gathered(command, "pruning", PruneOptions, _PRUNE)


def recover_options(command: Command) -> Command:
    """Declare the options of recovering, as `recovery`."""
    return _gathered(command, "recovery", RecoverOptions, _RECOVER)


def run_options(command: Command) -> Command:
    """Declare the options of running a recipe, as `how`."""
    return _gathered(command, "how", RunOptions, (_SAVE_RECIPE, *_RUN))


def unsaved_run_options(command: Command) -> Command:
    """Declare the same for a command whose recipe is of no use to a user."""
    return _gathered(command, "how", RunOptions, _RUN)


def _gathered(command: Command, word: str, kind: type, options: tuple[Callable[[Command], Command], ...]) -> Command:
    """Declare options on a command, and gather their values into one dataclass."""

    @functools.wraps(command)
    def gathered(**given: object) -> object:
        together = kind(**{field.name: given.pop(field.name) for field in fields(kind) if field.name in given})
        return command(**{word: together}, **given)

    declared: Command = gathered
    for option in reversed(options):
        declared = option(declared)
    return declared


def provided(**values: object) -> dict[str, object]:
    """Keep the values that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def _moves(flip: bool | None, shift: int | None) -> Section | None:
    """Return a recipe's `augment`, or None."""
    return provided(flip=flip, shift=shift) or None


def open_store(root: Path) -> Store:
    """Open a store to write to, and make it where it does not exist."""
    from ..store import Store

    return Store.open(root)


def read_store(root: Path, *runs: str | None) -> Store:
    """Open a store for a command that only reads `runs` (None: the newest)."""
    from ..store import Store

    return Store.to_read(root, *runs)
