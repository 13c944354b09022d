"""How weights change: training, pruning, and recovery after pruning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Expressions, Section


class Augment(Section):
    """Random changes of training images."""

    flip: bool = Field(False, description="Mirror half of the images, left to right.")
    shift: int = Field(0, ge=0, description="Largest random shift of an image, in pixels. Edge pixels fill the gap.")


class Learning(Section):
    """What `train` and `recover` have in common."""

    # beyond 1e30 a step does not fit a float
    rate: float = Field(0.001, gt=0, le=1e30, description="Learning rate at its highest.")
    batch: int = Field(64, ge=2, description="Images per training step.")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="Optimizer of the weights.")
    schedule: Literal["cosine", "one-cycle"] = Field("cosine", description="Course of the learning rate.")
    weight_decay: float = Field(0.0005, ge=0, description="Weight decay of the optimizer.")
    augment: Augment = Field(Augment(), description="Random changes of images while training.")
    freeze: Expressions = Field(
        (), description="Parameters that do not change: regular expressions on their names, or `all-but-head`."
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Learning rate of each stage, as a factor of the next stage's rate."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of each label that is spread over all classes.")
    precision: Literal["auto", "f32", "bf16"] = Field(
        "auto", description="Number type while training. auto: BF16 if a step is faster with it."
    )
    patience: int | None = Field(
        None, ge=1, description="Epochs without progress after which training stops. Unset: all epochs run."
    )
    validation: float = Field(
        0.1, gt=0, lt=0.5, description="Share of the training images that is set aside to choose the best epoch."
    )


class Train(Learning):
    """Training from the checkpoint, or from new weights where there is none."""

    epochs: int = Field(ge=1, description="Number of passes over the training images.")
    head: Literal["keep", "new"] = Field(
        "keep", description="Last layer of the given weights. new: a fresh one, for other classes."
    )


class Prune(Section):
    """Removal of complete channels until one goal is reached: macs, params, ratio or speedup."""

    macs: float | None = Field(None, gt=0, lt=1, description="Goal: share of multiplications that remain.")
    params: float | None = Field(None, gt=0, lt=1, description="Goal: share of weights that remain.")
    ratio: float | None = Field(None, gt=0, lt=1, description="Goal: share of channels that are removed.")
    speedup: dict[str, Annotated[float, Field(gt=1)]] | None = Field(
        None,
        min_length=1,
        description="Goal: how many times as fast as the unpruned network, per target, as in {openvino: 1.6}. It is "
        "measured, both as they would ship.",
    )
    importance: Literal["l1", "l2", "bn", "taylor"] = Field(
        "l2",
        description="Measure of a channel's importance: the size of its weights (l1, l2), its batch normalisation "
        "factor (bn), or the change of the loss without it (taylor, needs training images).",
    )
    scope: Literal["global", "per-layer"] = Field(
        "global",
        description="Where channels compete: in the whole network, or in each layer, which then loses the same share.",
    )
    multiple: int | None = Field(
        None, ge=1, description="Number that divides every layer's channel count. Unset: what the targets prefer."
    )

    @model_validator(mode="after")
    def _one_goal(self) -> Prune:
        given = [goal for goal in PRUNE_GOALS if getattr(self, goal) is not None]
        if len(given) != 1:
            raise ValueError(f"set exactly one of {', '.join(PRUNE_GOALS)}" + (f", not {len(given)}" if given else ""))
        return self

    def goal(self) -> tuple[str, Any]:
        """Return the goal's name and value."""
        return next((goal, value) for goal in PRUNE_GOALS if (value := getattr(self, goal)) is not None)


PRUNE_GOALS = ("macs", "params", "ratio", "speedup")


class Recover(Learning):
    """Training after pruning. The network learns from the images and from the unpruned network's outputs."""

    epochs: int = Field(
        5, ge=0, description="Epochs per round. 0 only renews the statistics of batch normalisation, in seconds."
    )
    rounds: int = Field(1, ge=1, description="Largest number of rounds.")
    minutes: float | None = Field(None, gt=0, description="Time limit of all rounds, in minutes.")
    enough_pp: float = Field(
        0.0,
        ge=0,
        description="Loss of top-1 compared with the unpruned network, in percentage points, that needs no further "
        "round.",
    )
    distill: float = Field(
        0.7, ge=0, le=1, description="Share of the loss that compares with the unpruned network's outputs."
    )
    temperature: float = Field(2.0, gt=0, description="Temperature of the softmax in that comparison.")
