"""Where Q/DQ stand, by latency: with times by script, and once for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeresnet import pipeline, recipe, report, targets
from edgeresnet.errors import RecipeError
from edgeresnet.notes import PlacementNotes, QuantizeNotes
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.times import Ratio
from edgeresnet.quantization import engine
from edgeresnet.store import Store
from edgeresnet.tune import placing

from ..conftest import step_of, tiny

Taken = Callable[..., "tuple[engine.Choices, PlacementNotes]"]
OTHER = "residual: shortcut"


@pytest.fixture
def taken(net: Path, tmp_path: Path) -> Taken:
    """Return what is taken where placements take such times; `harms` are those that cost accuracy."""
    model = onnx.load(net)
    choices = engine.Choices(targets.get("openvino").dialect, preprocessing=Preprocessing(8, (0.305,), (0.376,)))

    def take(
        times: Mapping[str, tuple[float, float, float] | None], harms: tuple[str, ...] = ()
    ) -> tuple[engine.Choices, PlacementNotes]:
        names = placing.placements(model, choices)

        def timed(networks: Mapping[str, Path]) -> dict[str, Ratio]:
            assert all(onnx.load(path) for path in networks.values())
            given = {name: times.get(name, (1.0, 0.9, 1.1)) for name in networks}
            return {name: Ratio(*each) for name, each in given.items() if each is not None}

        def harm(other: engine.Choices) -> bool:
            return any(other == names[name] for name in harms)

        found, notes = placing.fastest(model, choices, timed, tmp_path / "placements", harm)
        assert found == names[notes.chosen]
        return found, notes

    return take


def test_the_usual_placement_stays_where_the_interval_shows_nothing(taken: Taken) -> None:
    _, notes = taken({OTHER: (1.3, 0.99, 1.6)})
    assert notes.chosen == placing.USUAL
    names = [each.name for each in notes.tried]
    assert names == [placing.USUAL, OTHER, "first layer in float", "last layer in float"]


def test_the_fastest_that_is_shown_to_be_faster_is_taken(taken: Taken) -> None:
    found, notes = taken({OTHER: (1.05, 1.02, 1.08), "last layer in float": (1.04, 1.03, 1.05)})
    assert (notes.chosen, found.dialect.residual) == (OTHER, "shortcut")
    found, notes = taken({OTHER: (1.05, 0.9, 1.2), "last layer in float": (1.04, 1.03, 1.05)})
    assert (notes.chosen, len(found.exclude)) == ("last layer in float", 1)


def test_a_placement_that_costs_accuracy_is_not_taken(taken: Taken) -> None:
    assert taken({OTHER: (1.5, 1.4, 1.6)}, harms=(OTHER,))[1].chosen == placing.USUAL


def test_a_placement_that_does_not_compile_is_named_without_a_time(taken: Taken) -> None:
    assert [each.value for each in taken({OTHER: None})[1].tried][1] is None


def placed(**target: Any) -> Any:
    ((name, options),) = target.items()
    calibration = {"from": "training", "count": 32}
    verify = {"processes": 1, "seconds": 0.5}
    changes = {"quantize": {}, "images__calibration": calibration, "verify": verify, "promises": {}}
    return recipe.parse(tiny(targets={name: {"residual": "auto", **options}}, **changes))


def test_a_run_times_placements_on_its_target(own_store: Store) -> None:
    run = pipeline.run(placed(onnxruntime={}), own_store)
    notes = step_of(run, "quantize:onnxruntime").notes
    assert isinstance(notes, QuantizeNotes)
    assert notes.placed is not None
    assert notes.placed.chosen == placing.USUAL, "one process gives no interval"
    assert all(each.value for each in notes.placed.tried)
    assert "Placement of Q/DQ: as usual" in report.html.render(run)


def test_a_bundle_cannot_time_placements(own_store: Store) -> None:
    with pytest.raises(RecipeError) as caught:
        pipeline.plan(pipeline.resolve(placed(openvino={"where": "bundle"}), own_store))
    assert "times networks on this machine, but this target is a bundle" in str(caught.value)
