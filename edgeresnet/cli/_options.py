"""Options that several doors share: declared on a door, which takes each group as one value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _complete

if TYPE_CHECKING:
    from ..store import Store

store = click.option(
    "--store",
    "store_root",
    envvar="EDGERESNET_STORE",
    default="artifacts",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Where artifacts and runs are kept.",
)
changes = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one key of the recipe: train.epochs=3."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, only the result.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Tell also what was found done.")
recipe = click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))

_MODEL = (
    click.option("--arch", help="cifar_resnet20, resnet50, … or my.module:make."),
    click.option("--classes", type=int, help="How many classes."),
    click.option("--size", type=int, help="Side of the network's input, in pixels."),
    click.option("--resize", type=int, help="Shorter side before the centred crop; --size by default."),
    click.option("--mean", help="One per channel: 0.485,0.456,0.406."),
    click.option("--std", help="One per channel: 0.229,0.224,0.225."),
    click.option("--bits", type=int, help="Of a pixel: 8 by default, or 16 with one channel."),
    click.option(
        "--evaluation",
        shell_complete=_complete.files,
        help="Images to evaluate on: class folders, or a .csv, .json, .npz, .tar.",
    ),
    click.option(
        "--names",
        shell_complete=_complete.files,
        help="File of what the classes are called, in the order of the network's answers.",
    ),
)
_TARGETS = (
    click.option(
        "--target",
        "targets",
        multiple=True,
        shell_complete=_complete.targets,
        help="A word of `edgeresnet targets`. May be repeated.",
    ),
)


@dataclass(frozen=True)
class ModelOptions:
    """A user's network and images, as the options of several doors tell them; None where nothing was said."""

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
        """The options that were given, as they are spelled."""
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
    click.option("--count", type=click.IntRange(min=1), help="So many calibration images; at most 512 by default."),
    click.option("--seed", type=click.IntRange(min=0), help="Of that choice; 0 by default."),
)


@dataclass(frozen=True)
class Int8Options:
    """How INT8 is made; None where nothing was said."""

    calibration: str | None
    effort: str | None
    estimator: str | None
    exclude: tuple[str, ...]
    count: int | None
    seed: int | None

    def section(self) -> dict[str, Any]:
        """A recipe's `quantize`."""
        said = {"effort": self.effort, "estimator": self.estimator, "exclude": list(self.exclude) or None}
        return {key: value for key, value in said.items() if value is not None} or {"effort": "fast"}

    def given(self) -> list[str]:
        """Those that speak of INT8 alone, as they are spelled; the seed chooses other images, too."""
        return [f"--{f.name}" for f in fields(self) if f.name != "seed" and getattr(self, f.name) not in (None, ())]


def _training(what: str) -> Callable:
    where = "class folders, or a .csv, .json, .npz, .tar."
    return click.option("--training", shell_complete=_complete.files, help=f"{what}: {where}")


_MOVES = (
    click.option("--flip", is_flag=True, default=None, help="Mirror one image in two."),
    click.option("--shift", type=int, help="Move images by up to so many pixels."),
)
_LEARN = (
    _training("Images to learn from"),
    click.option("--epochs", type=click.IntRange(min=1), help="How often every image is learned from."),
    click.option("--rate", type=float, help="Of learning; 0.001 by default."),
    click.option("--batch", type=int, help="Images in a step; 64 by default."),
    click.option("--optimizer", help="adamw (default) or sgd."),
    click.option("--schedule", help="cosine (default) or one-cycle."),
    click.option("--head", help="keep (default), or new: for other classes than the weights know."),
    click.option("--freeze", multiple=True, metavar="REGEX", help="Parameters that stay, or all-but-head."),
    click.option("--layer-decay", type=float, help="Each stage's rate is so much of the next one's; 1 by default."),
    click.option("--label-smoothing", type=float, help="0 by default."),
    click.option("--precision", help="auto (default: BF16 where it is faster), f32, bf16."),
    click.option("--patience", type=int, help="Stop after so many epochs that were no better."),
    *_MOVES,
)


@dataclass(frozen=True)
class LearnOptions:
    """How a network is trained; None where nothing was said."""

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

    def section(self) -> dict[str, Any]:
        """A recipe's `train`."""
        said: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("training", "freeze", "flip", "shift")
        }
        said["freeze"] = list(self.freeze) or None
        said["augment"] = _moves(self.flip, self.shift)
        return {key: value for key, value in said.items() if value is not None}


_CUT = (
    click.option("--macs", type=float, help="The part of the multiplications that stays."),
    click.option("--params", type=float, help="The part of the weights that stays."),
    click.option("--ratio", type=float, help="The part of the channels that goes."),
    click.option(
        "--speedup",
        multiple=True,
        metavar="TARGET=TIMES",
        help="So many times as fast on a target, measured: openvino=1.6. May be repeated.",
    ),
    click.option("--importance", help="l2 (default), l1, bn, taylor."),
    click.option("--scope", help="global (default), or per-layer: the same part of each."),
    click.option("--multiple", type=int, help="Widths are multiples of it; what targets like by default."),
)


@dataclass(frozen=True)
class CutOptions:
    """What is cut from a network; None where nothing was said."""

    macs: float | None
    params: float | None
    ratio: float | None
    speedup: tuple[str, ...]
    importance: str | None
    scope: str | None
    multiple: int | None

    def section(self) -> dict[str, Any]:
        """A recipe's `prune`."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) not in (None, ())}
        return said | ({"speedup": dict(map(self._goal, self.speedup))} if self.speedup else {})

    @staticmethod
    def _goal(said: str) -> tuple[str, float]:
        from ..errors import EdgeresnetError

        target, _, times = said.partition("=")
        try:
            return target, float(times)
        except ValueError as problem:
            raise EdgeresnetError(f"--speedup {said!r} is not TARGET=TIMES", hint="write openvino=1.6") from problem


_RECOVER = (
    _training("Images to recover with"),
    click.option("--recover-epochs", type=click.IntRange(min=0), help="5 by default; 0: statistics anew, only."),
    click.option("--recover-rounds", type=click.IntRange(min=1), help="Of so many epochs, until accuracy is back."),
    click.option("--recover-minutes", type=float, help="For all rounds; of the epochs those that fit are planned."),
    click.option("--recover-rate", type=float, help="Of learning; 0.001 by default."),
    *_MOVES,
)


@dataclass(frozen=True)
class RecoverOptions:
    """How a network that was cut learns again; None where nothing was said."""

    training: str | None
    recover_epochs: int | None
    recover_rounds: int | None
    recover_minutes: float | None
    recover_rate: float | None
    flip: bool | None
    shift: int | None

    def section(self) -> dict[str, Any]:
        """A recipe's `recover`."""
        words = ("epochs", "rounds", "minutes", "rate")
        said: dict[str, Any] = {word: getattr(self, f"recover_{word}") for word in words}
        said["augment"] = _moves(self.flip, self.shift)
        return {key: value for key, value in said.items() if value is not None} or {"epochs": 5}

    def given(self) -> list[str]:
        """The options that speak of learning, as they are spelled."""
        names = (f.name for f in fields(self) if f.name != "training" and getattr(self, f.name) is not None)
        return [f"--{name.replace('_', '-')}" for name in names]


_RUN = (
    click.option("--save-recipe", type=click.Path(dir_okay=False, path_type=Path), help="Hand the recipe over, too."),
    changes,
    store,
    as_json,
    quiet,
    verbose,
)


@dataclass(frozen=True)
class RunOptions:
    """What every door that makes a recipe of its options and runs it can be told about that."""

    save_recipe: Path | None
    changes: tuple[str, ...]
    store_root: Path
    as_json: bool
    quiet: bool
    verbose: bool


def model_options(door: Callable) -> Callable:
    """Declares them on a door, which takes them together as `about`."""
    return _gathered(door, "about", ModelOptions, _MODEL + _TARGETS)


def untargeted_options(door: Callable) -> Callable:
    """The same, for a door that has nothing to do with targets."""
    return _gathered(door, "about", ModelOptions, _MODEL)


def int8_options(door: Callable) -> Callable:
    """As `int8`."""
    return _gathered(door, "int8", Int8Options, _INT8)


def learn_options(door: Callable) -> Callable:
    """As `learn`."""
    return _gathered(door, "learn", LearnOptions, _LEARN)


def cut_options(door: Callable) -> Callable:
    """As `cut`."""
    return _gathered(door, "cut", CutOptions, _CUT)


def recover_options(door: Callable) -> Callable:
    """As `again`."""
    return _gathered(door, "again", RecoverOptions, _RECOVER)


def run_options(door: Callable) -> Callable:
    """As `how`."""
    return _gathered(door, "how", RunOptions, _RUN)


def _gathered(door: Callable, word: str, kind: type, options: tuple[Callable, ...]) -> Callable:
    @functools.wraps(door)
    def gathered(**given: Any) -> Any:
        together = kind(**{field.name: given.pop(field.name) for field in fields(kind) if field.name in given})
        return door(**{word: together}, **given)

    return functools.reduce(lambda inner, option: option(inner), reversed(options), gathered)


def _moves(flip: bool | None, shift: int | None) -> dict[str, Any] | None:
    """A recipe's `augment`."""
    return {key: value for key, value in {"flip": flip, "shift": shift}.items() if value is not None} or None


def open_store(root: Path) -> Store:
    from ..store import Store

    return Store.open(root)


def read_store(root: Path, *runs: str | None) -> Store:
    """For a door that only reads `runs` (None: the newest)."""
    from ..store import Store

    return Store.to_read(root, *runs)
