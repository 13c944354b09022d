"""The network of a recipe has the recipe's task."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet import recipe
from edgeresnet.errors import ModelError
from edgeresnet.pipeline import network

pytestmark = pytest.mark.unit


def wanted(task: str, arch: str) -> recipe.Recipe:
    about: dict[str, Any] = {"size": 32, "mean": [0.5], "std": [0.5]}
    raw = {"version": 1, "task": task, "model": {"arch": arch, "classes": 3, "checkpoint": "x.pth"}}
    return recipe.parse({**raw, "preprocessing": about})


@pytest.mark.parametrize(
    ("task", "arch", "own"),
    [("classification", "fcn_resnet50", "segmentation"), ("segmentation", "resnet50", "classification")],
)
def test_a_network_for_another_task_is_refused(task: str, arch: str, own: str) -> None:
    with pytest.raises(ModelError, match=f"{arch} is a network for {own}, but the recipe's task is {task}") as caught:
        network._architecture(wanted(task, arch).model_copy(update={"model": recipe_model(arch)}), {}, None)
    assert caught.value.hint == f"write `task: {own}`, or name a network for {task}"


@pytest.mark.parametrize(("task", "arch"), [("segmentation", "deeplabv3_resnet50"), ("classification", "resnet18")])
def test_a_spec_has_the_task(task: str, arch: str) -> None:
    about, chosen, _ = network._architecture(
        wanted(task, arch).model_copy(update={"model": recipe_model(arch)}), {}, None
    )
    assert (about.task, chosen) == (task, None)
    assert about.to_json().get("task", "classification") == task


def recipe_model(arch: str) -> Any:
    """Return a model without weights, which are not there."""
    return wanted("classification", arch).model.model_copy(update={"checkpoint": None})
