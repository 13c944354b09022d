"""What a recipe names, opened once: images listed and compared, weights hashed and recognised, targets' options read.

Looks at this machine, too: which half precision its targets have, and whether its CPU has INT8 instructions. Refuses
what can be known to fail before anything runs. Decodes, trains and measures nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from .. import images, targets
from ..errors import RecipeError
from ..images import Samples, choose
from ..portable import machine, yardstick
from ..portable.frozen import dataclass
from ..portable.session import Dialect, Target
from ..portable.tasks.task import task_of
from ..recipe import Delivery, Recipe
from ..stages.export import write
from ..store import Given, Store
from . import network
from .network import Network

SLOTS = ("training", "evaluation", "calibration")
_PARITY_IMAGES = 16


@dataclass(frozen=True)
class ResolvedTarget:
    """A target of the recipe, as this machine has it. Its options are the target's own frozen dataclasses."""

    target: Target
    options: Any
    full: Any  # of the FP32 network
    half: Any | None  # of the half-precision variant; None: there is none here
    unit: Any  # of the yardstick
    dialect: Dialect
    delivery: Delivery
    ships: str

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def is_bundle(self) -> bool:
        return self.delivery.where != "here"

    @property
    def is_placed(self) -> bool:
        """Whether the placement of its Q/DQ is measured."""
        return self.ships == "int8" and getattr(self.options, "residual", None) == "auto"


@dataclass(frozen=True)
class Resolved:
    """A recipe with all that it names, on this machine. Planning needs nothing else."""

    recipe: Recipe
    samples: Mapping[str, Given[Samples]]  # slot → its images
    few: Given[Samples] | None  # chosen by the seed, of whichever images there are, else noise; None: nothing is traced
    network: Network
    targets: Mapping[str, ResolvedTarget]
    carried: Mapping[str, str]  # target that gets a bundle → digest of the code in it
    yardstick: Given[Path]
    int8_saturates: bool  # on this CPU
    timed: frozenset[str] = frozenset()  # targets that a search for float layers can time here
    # target → the round of its search for float layers, and the seconds that earlier rounds took
    rounds: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    def round_of(self, target: str) -> int:
        """Return which verdict the next one of a target is."""
        return self.rounds.get(target, (1, 0.0))[0]

    def with_round(self, target: str, number: int, spent_s: float) -> Resolved:
        """Return it with another round of a target's search for the layers that stay in float."""
        return replace(self, rounds={**self.rounds, target: (number, spent_s)})

    def recognised(self, arch: str) -> Resolved:
        """Return it with one of the networks that its weights fit."""
        assert self.network.choice is not None
        known = {each.arch: each for each in self.network.choice.candidates}
        usual = self.network.architecture  # what differs from it in several things was not compared at first
        found = known.get(arch) or replace(usual, arch=arch, libraries={}, sources_sha256=())
        return replace(self, network=replace(self.network, architecture=found))


def resolve(recipe: Recipe, store: Store) -> Resolved:
    """Open what a recipe names, once, and look at this machine. The store lends its cache of hashes."""
    _check_device(recipe)
    samples = _samples(recipe, store)
    given = network.opened(recipe, samples)
    found = resolved_targets(recipe)
    return Resolved(
        recipe,
        samples,
        _few(recipe, samples),
        given,
        found,
        {name: write.carried_digest(name) for name, each in found.items() if each.is_bundle},
        Given(yardstick.SHA256, yardstick.file()),
        not machine.has_int8(),
        _timed(recipe, found),
    )


def _timed(recipe: Recipe, found: Mapping[str, ResolvedTarget]) -> frozenset[str]:
    """Return the targets that run here, where a search asks how long a network takes."""
    if recipe.quantize is None:
        return frozenset()
    wanted = [each for each in found.values() if recipe.quantize.is_searched or each.is_placed]
    return frozenset(each.name for each in wanted if not each.is_bundle and each.target.available(each.options).ok)


def _check_device(recipe: Recipe) -> None:
    """Refuse a GPU that is not there now, and not after the training."""
    quantize = recipe.quantize
    if quantize is not None and quantize.effort != "fast" and quantize.device == "cuda":
        from ..quantization.clipping import device_of  # loads torch

        device_of(quantize.device)


def resolved_targets(recipe: Recipe) -> dict[str, ResolvedTarget]:
    """Read the options of each target on this machine."""
    found = {}
    for name in recipe.targets:
        target, options = targets.get(name), recipe.target_options(name)
        found[name] = ResolvedTarget(
            target,
            options,
            full=target.full(options),
            half=target.half(options),
            unit=yardstick.options_of(target, options),
            dialect=_dialect(target, options, recipe.delivery(name)),
            delivery=recipe.delivery(name),
            ships=recipe.ships(name),
        )
    return found


def _dialect(target: Target, options: Any, delivery: Delivery) -> Dialect:
    """Return what INT8 must look like: for another machine, without what was verified on CPUs like this one alone."""
    spoken = target.speaks(options)
    return spoken if delivery.where == "here" else replace(spoken, image_zeros="one")


def _samples(recipe: Recipe, store: Store) -> dict[str, Given[Samples]]:
    numbered = task_of(recipe.task).has_boxes and recipe.model.classes is None  # by the network, not by the images
    classes = network.classes_of_weights(recipe) if numbered else None
    found = {slot: images.open_samples(recipe, slot, store, classes) for slot in SLOTS if getattr(recipe.images, slot)}
    judged = {slot: samples for slot, samples in found.items() if slot != "calibration"}  # ranges need no labels
    for slot, samples in judged.items():
        if recipe.model.classes:
            images.check_classes(samples, recipe.model.classes, f"the {slot} set")
    images.same_classes(judged.items())
    _check_promised_classes(recipe, found)
    for slot in ("training", "calibration"):
        if slot in found and "evaluation" in found:
            images.check_disjoint(found[slot], found["evaluation"], (slot, "evaluation"))
    return {slot: Given(samples.digest, samples) for slot, samples in found.items()}


def _check_promised_classes(recipe: Recipe, found: Mapping[str, Samples]) -> None:
    if "evaluation" not in found:  # nothing is judged
        return
    known = found["evaluation"].classes
    for kind, label in [(each.kind, each.subject) for each in recipe.promises.promises() if each.subject]:
        if label not in known:
            near = difflib.get_close_matches(label, known, 1)
            raise RecipeError(
                f"promises.{kind}",
                f"names {label!r}, which is not a class of the evaluation images",
                hint=f"did you mean {near[0]}?" if near else f"its classes: {', '.join(known[:10])}",
            )


def _few(recipe: Recipe, samples: Mapping[str, Given[Samples]]) -> Given[Samples] | None:
    slot = next((slot for slot in ("evaluation", "training", "calibration") if slot in samples), None)
    if slot is None:
        few = images.noise(recipe.preprocessing, _PARITY_IMAGES, recipe.seed)
        return None if recipe.prune else Given(few.digest, few)
    every = samples[slot].value
    few = every.subset(choose.balanced(every, min(_PARITY_IMAGES, len(every)), recipe.seed))
    return Given(few.digest, few)
