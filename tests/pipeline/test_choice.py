"""Weights that fit several networks: labelled images choose before other steps have keys. Planning runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgeresnet import pipeline, recipe
from edgeresnet.images import sources
from edgeresnet.models import names, plans
from edgeresnet.pipeline.planner import RECOGNISE, TRACE
from edgeresnet.pipeline.resolving import Resolved
from edgeresnet.runs import StepId
from edgeresnet.store import Store

from ..conftest import tiny

pytestmark = pytest.mark.unit

COMPILED = StepId("compile", "reference")


def weights(folder: Path, arch: str = "cifar_resnet8") -> str:
    """Write weights of zeros, and return their path."""
    path = folder / f"{arch}.safetensors"
    shapes = plans.tensors(names.plan(arch), 10, 1)
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)
    return str(path)


def of(folder: Path, arch: str = "cifar_resnet8", **changes: Any) -> dict[str, Any]:
    return tiny(model={"checkpoint": weights(folder, arch)}, **{"train": None, "promises": {}, **changes})


def resolved(raw: dict[str, Any], folder: Path) -> Resolved:
    return pipeline.resolve(recipe.parse(raw), Store.open(folder / "store"))


def steps(found: Resolved) -> dict[StepId, pipeline.Step]:
    return {step.id: step for step in pipeline.plan(found)}


def test_labelled_images_choose_in_a_step_of_its_own(tmp_path: Path) -> None:
    found = resolved(of(tmp_path), tmp_path)
    choice = found.network.choice
    assert choice is not None
    assert [each.arch for each in choice.candidates][:2] == ["cifar_resnet8", "cifar_plain8"]
    assert found.network.warnings == ()
    images = choice.images.value
    assert len(images) == 128
    assert np.bincount(images.labels).min() >= 12, "balanced over the classes"
    planned = steps(found)
    assert list(planned)[:2] == [RECOGNISE, TRACE]
    assert {step for step, each in planned.items() if each.after} == {TRACE}
    assert planned[TRACE].before == [RECOGNISE]


@pytest.mark.parametrize("arch", ["cifar_resnet8", "cifar_plain8"])
def test_the_steps_after_it_are_those_of_a_recipe_that_names_the_network(arch: str, tmp_path: Path) -> None:
    """So that nothing is made again once the recipe names it."""
    left_out, named = of(tmp_path), of(tmp_path)
    named["model"]["arch"] = arch
    chosen, given = steps(resolved(left_out, tmp_path).recognised(arch)), steps(resolved(named, tmp_path))
    assert RECOGNISE not in given
    assert chosen.keys() - given.keys() == {RECOGNISE}
    digests = {name: name for step in given.values() for name in step.parents}
    assert {step: chosen[step].key(digests) for step in given} == {
        step: each.key(digests) for step, each in given.items()
    }


def test_what_needs_no_choice_has_no_such_step(tmp_path: Path) -> None:
    named = of(tmp_path)
    named["model"]["arch"] = "cifar_resnet8"
    for raw in (named, tiny()):
        found = resolved(raw, tmp_path)
        assert (found.network.choice, found.network.warnings) == (None, ())
        assert RECOGNISE not in steps(found)


def test_a_single_candidate_is_run_on_labelled_images_too(tmp_path: Path) -> None:
    """So that a network that answers by chance is not taken for the one that was trained."""
    found = resolved(of(tmp_path, "cifar_resnet8b"), tmp_path)
    assert found.network.choice is not None
    assert [each.arch for each in found.network.choice.candidates] == ["cifar_resnet8b"]
    assert RECOGNISE in steps(found)


def test_without_labels_the_likeliest_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", images=sources.digits(evaluation=False)._pixels[:40])
    raw = of(tmp_path, quantize={}, images={"calibration": str(tmp_path / "bare.npz")})
    found = resolved(raw, tmp_path)
    assert (found.network.choice, found.network.architecture.arch) == (None, "cifar_resnet8")
    (warning,) = found.network.warnings
    assert warning.text.startswith("recognised as cifar_resnet8; its tensors also match cifar_plain8")
    assert warning.text.endswith(": set `model.arch` if it is one of these")


def test_labels_of_a_new_head_choose_nothing(tmp_path: Path) -> None:
    raw = of(tmp_path, train={"epochs": 1, "head": "new"})
    found = resolved(raw, tmp_path)
    assert (found.network.choice, len(found.network.warnings)) == (None, 1)
    raw["train"]["head"] = "keep"
    assert steps(resolved(raw, tmp_path))[StepId("train")].after == RECOGNISE


def test_images_that_the_verdict_does_not_see_come_first(tmp_path: Path) -> None:
    held = sources.digits(evaluation=False)
    np.savez(tmp_path / "all.npz", images=held._pixels[:200], labels=held.labels[:200])
    some = held.labels < 3
    np.savez(tmp_path / "some.npz", images=held._pixels[some], labels=held.labels[some])

    def source(**images: Any) -> str:
        found = resolved(of(tmp_path, images=images, quantize={}), tmp_path)
        assert found.network.choice is not None
        chosen = found.network.choice.images.value.source
        return next(slot for slot, given in found.samples.items() if given.value.source is chosen)

    training = {"from": "digits", "count": 500}
    every, three = str(tmp_path / "all.npz"), str(tmp_path / "some.npz")
    assert source(evaluation="digits", training=training, calibration=every) == "training"
    assert source(evaluation="digits", calibration=every) == "calibration"
    assert source(evaluation="digits", calibration=three) == "evaluation", "it has other classes"


def test_a_candidate_whose_library_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "missing_library", lambda arch: "timm" if arch == "cifar_plain8" else "")
    found = resolved(of(tmp_path), tmp_path)
    (warning,) = found.network.warnings
    if found.network.choice is None:
        assert warning.text.startswith("recognised as cifar_resnet8; its tensors also match cifar_plain8")
    else:
        assert warning.text == (
            "its tensors also match cifar_plain8 (they need timm: pip install 'edgeresnet[timm]'): set `model.arch` if "
            "it is one of these"
        )


def test_a_plan_shows_it_and_runs_nothing(tmp_path: Path) -> None:
    outcomes = {o.step.id: o for o in pipeline.preview(recipe.parse(of(tmp_path)), Store(tmp_path / "store"))}
    assert list(outcomes)[:2] == [RECOGNISE, TRACE]
    assert [(outcomes[each].state, outcomes[each].reason) for each in (RECOGNISE, TRACE, COMPILED)] == [
        ("todo", ""),
        ("todo", "after its parents"),
        ("todo", "after its parents"),
    ]
