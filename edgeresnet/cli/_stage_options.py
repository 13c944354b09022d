"""Options of single stages: INT8, training, pruning and recovery. A command takes each group as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

import click

from . import _complete
from ._help import PRUNING, QUANTIZATION, RECOVERY, TRAINING, option
from ._options import KINDS, Command, gathered, labels, provided, seed

Section: TypeAlias = Mapping[str, object]  # of a recipe

calibration = option(
    "--calibration",
    group=QUANTIZATION,
    shell_complete=_complete.files,
    help="Images that INT8 ranges are measured on. They need no labels: a plain folder will do.",
)
_INT8 = (
    calibration,
    option(
        "--effort",
        type=click.Choice(("fast", "balanced", "best")),
        group=QUANTIZATION,
        show_default="fast",
        help="Work spent on INT8 accuracy. balanced and best learn channels and ranges.",
    ),
    option(
        "--estimator",
        type=click.Choice(("min-max", "percentile", "entropy", "mse")),
        group=QUANTIZATION,
        show_default="mse",
        help="Method that chooses the range of each tensor.",
    ),
    option(
        "--device",
        type=click.Choice(("auto", "cpu", "cuda")),
        group=QUANTIZATION,
        show_default="auto",
        help="Processor on which balanced and best learn. auto takes a CUDA GPU if torch finds one.",
    ),
    option(
        "--exclude",
        multiple=True,
        metavar="REGEX",
        group=QUANTIZATION,
        help="Names of layers that stay in floating point. Repeatable. auto: those that the promises need.",
    ),
    option(
        "--count",
        type=click.IntRange(min=1),
        group=QUANTIZATION,
        show_default="at most 512",
        help="Number of calibration images.",
    ),
    seed("the choice of calibration images", group=QUANTIZATION),
)


@dataclass(frozen=True)
class Int8Options:
    """How INT8 is made; None where nothing was given."""

    calibration: str | None
    effort: str | None
    estimator: str | None
    device: str | None
    exclude: tuple[str, ...]
    count: int | None
    seed: int | None

    def section(self) -> Section:
        """Return a recipe's `quantize`."""
        from ..errors import EdgeresnetError

        if "auto" in self.exclude and len(self.exclude) > 1:
            raise EdgeresnetError(
                "--exclude auto", "cannot be combined with other layers", hint="name the layers, or let it search"
            )
        exclude: str | list[str] = "auto" if self.exclude == ("auto",) else list(self.exclude)
        given = provided(effort=self.effort, estimator=self.estimator, device=self.device, exclude=exclude or None)
        return given or {"effort": "fast"}

    def given(self) -> list[str]:
        """List those that concern INT8 alone, as they are spelled; the seed chooses other images, too."""
        return [f"--{f.name}" for f in fields(self) if f.name != "seed" and getattr(self, f.name) not in (None, ())]


def _training(purpose: str, group: str) -> Callable[[Command], Command]:
    text = f"Labelled images {purpose}: {KINDS}"
    return option("--training", group=group, shell_complete=_complete.files, help=text)


def _augmentation(group: str) -> tuple[Callable[[Command], Command], ...]:
    return (
        option("--flip", is_flag=True, default=None, group=group, help="Mirror half of the images, left to right."),
        option(
            "--shift",
            type=int,
            group=group,
            show_default="0",
            help="Largest random shift of an image, in pixels.",
        ),
    )


_LEARN = (
    _training("to train on", TRAINING),
    labels("masks", "training", TRAINING),
    labels("boxes", "training", TRAINING),
    option("--epochs", type=click.IntRange(min=1), group=TRAINING, help="Number of passes over the training images."),
    option("--rate", type=float, group=TRAINING, show_default="0.001", help="Learning rate."),
    option("--batch", type=int, group=TRAINING, show_default="64", help="Images per training step."),
    option(
        "--optimizer",
        type=click.Choice(("adamw", "sgd")),
        group=TRAINING,
        show_default="adamw",
        help="Optimizer of the weights.",
    ),
    option(
        "--schedule",
        type=click.Choice(("cosine", "one-cycle")),
        group=TRAINING,
        show_default="cosine",
        help="Course of the learning rate.",
    ),
    option(
        "--head",
        type=click.Choice(("keep", "new")),
        group=TRAINING,
        show_default="keep",
        help="Last layer of the given weights. new: a fresh one, for other classes.",
    ),
    option(
        "--freeze",
        multiple=True,
        metavar="REGEX",
        group=TRAINING,
        help="Names of parameters that do not change, or all-but-head. Repeatable.",
    ),
    option(
        "--layer-decay",
        type=float,
        group=TRAINING,
        show_default="1.0",
        help="Factor between the learning rates of a stage and the next one.",
    ),
    option(
        "--label-smoothing",
        type=float,
        group=TRAINING,
        show_default="0.0",
        help="Share of the label that is spread over all classes.",
    ),
    option(
        "--precision",
        type=click.Choice(("auto", "f32", "bf16")),
        group=TRAINING,
        show_default="auto",
        help="Number type while training. auto: BF16 where it is faster.",
    ),
    option(
        "--patience",
        type=int,
        group=TRAINING,
        help="Epochs without progress after which training stops. Unset: all epochs run.",
    ),
    *_augmentation(TRAINING),
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
    training_masks: str | None
    training_boxes: str | None

    def section(self) -> Section:
        """Return a recipe's `train`."""
        others = ("training", "training_masks", "training_boxes", "freeze", "flip", "shift")
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        return provided(**numbers, freeze=list(self.freeze) or None, augment=_moves(self.flip, self.shift))


_PRUNE = (
    option("--macs", type=float, group=PRUNING, help="Goal: share of multiplications that remain, as in 0.5."),
    option("--params", type=float, group=PRUNING, help="Goal: share of weights that remain, as in 0.5."),
    option("--ratio", type=float, group=PRUNING, help="Goal: share of channels that are removed, as in 0.3."),
    option(
        "--speedup",
        multiple=True,
        metavar="TARGET=TIMES",
        group=PRUNING,
        help="Goal: measured speed-up on a target, as in openvino=1.6. Repeatable.",
    ),
    option(
        "--importance",
        type=click.Choice(("l1", "l2", "bn", "taylor")),
        group=PRUNING,
        show_default="l2",
        help="Measure of a channel's importance. taylor needs --training.",
    ),
    option(
        "--scope",
        type=click.Choice(("global", "per-layer")),
        group=PRUNING,
        show_default="global",
        help="Where channels compete. per-layer removes the same share of each layer.",
    ),
    option(
        "--multiple",
        type=int,
        group=PRUNING,
        show_default="what the targets prefer",
        help="Number that divides every layer's channel count.",
    ),
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
            raise EdgeresnetError(
                f"--speedup {text!r}", "must be TARGET=TIMES", hint="write --speedup openvino=1.6"
            ) from problem


_RECOVER = (
    _training("to recover accuracy with", RECOVERY),
    labels("masks", "training", RECOVERY),
    labels("boxes", "training", RECOVERY),
    option(
        "--recover-epochs",
        type=click.IntRange(min=0),
        group=RECOVERY,
        show_default="5",
        help="Epochs per round. 0 only renews the statistics of batch normalisation.",
    ),
    option(
        "--recover-rounds",
        type=click.IntRange(min=1),
        group=RECOVERY,
        show_default="1",
        help="Largest number of rounds. A round is skipped once accuracy is back.",
    ),
    option("--recover-minutes", type=float, group=RECOVERY, help="Time limit of all rounds, in minutes."),
    option("--recover-rate", type=float, group=RECOVERY, show_default="0.001", help="Learning rate."),
    *_augmentation(RECOVERY),
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
    training_masks: str | None
    training_boxes: str | None

    def section(self) -> Section:
        """Return a recipe's `recover`."""
        numbers = {word: getattr(self, f"recover_{word}") for word in ("epochs", "rounds", "minutes", "rate")}
        return provided(**numbers, augment=_moves(self.flip, self.shift)) or {"epochs": 5}

    def given(self) -> list[str]:
        """List the options that concern learning, as they are spelled."""
        names = (f.name for f in fields(self) if f.name != "training" and getattr(self, f.name) is not None)
        return [f"--{name.replace('_', '-')}" for name in names]


def training_labels(options: LearnOptions | RecoverOptions) -> Section:
    """Return where the labels of training images are, unless these lie with the images."""
    return provided(masks=options.training_masks, boxes=options.training_boxes)


def int8_options(command: Command) -> Command:
    """Declare the options of INT8, as `int8`."""
    return gathered(command, "int8", Int8Options, _INT8)


def learn_options(command: Command) -> Command:
    """Declare the options of training, as `learn`."""
    return gathered(command, "learn", LearnOptions, _LEARN)


def prune_options(command: Command) -> Command:
    """Declare the options of pruning, as `pruning`."""
    return gathered(command, "pruning", PruneOptions, _PRUNE)


def recover_options(command: Command) -> Command:
    """Declare the options of recovering, as `recovery`."""
    return gathered(command, "recovery", RecoverOptions, _RECOVER)


def _moves(flip: bool | None, shift: int | None) -> Section | None:
    """Return a recipe's `augment`, or None."""
    return provided(flip=flip, shift=shift) or None
