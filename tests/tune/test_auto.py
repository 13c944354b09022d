"""`exclude: auto` from a recipe to a verdict, on a small network and real digits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import pipeline, recipe, report
from edgeresnet.errors import RecipeError
from edgeresnet.notes import ControlNotes, QuantizeNotes
from edgeresnet.portable import codec
from edgeresnet.runs import Run
from edgeresnet.store import Store
from edgeresnet.tune import forecast

from ..conftest import step_of, tiny, write_recipe
from ..pipeline.test_robustness import finish, start, wait_for

WEAK = {"train__epochs": 1, "train__rate": 1e-5}  # its answers are not sure, so that INT8 changes some


def raw(**changes: Any) -> dict[str, Any]:
    calibration = {"images__calibration": {"from": "training", "count": 64}}
    quantize = {"quantize": {"exclude": "auto", "minutes": 5}}
    return tiny(**{**calibration, **quantize, "verify": {"processes": 1, "seconds": 0.5}, **changes})


def searched(**changes: Any) -> Any:
    return recipe.parse(raw(**changes))


def control_of(run: Run) -> tuple[QuantizeNotes, ControlNotes]:
    notes = step_of(run, "quantize:onnxruntime").notes
    assert isinstance(notes, QuantizeNotes)
    assert notes.control is not None
    return notes, notes.control


def test_int8_that_is_good_enough_keeps_no_layer_in_float(own_store: Store) -> None:
    run = pipeline.run(searched(promises={"max_drop_pp": 5}), own_store)
    notes, control = control_of(run)
    assert (run.verdict, control.ended, control.chosen.layers, len(control.tried)) == ("KEPT", "enough", (), 1)
    assert "The search kept no layer in float" in report.html.render(run)
    assert notes.kept_float == {}


def test_a_promise_that_int8_breaks_is_kept_with_some_layers_in_float(own_store: Store) -> None:
    weak = {**WEAK, "verify": {"processes": 1, "seconds": 0.1}}
    run = pipeline.run(searched(**weak, promises={"max_flips_pct": 100}), own_store)
    before = control_of(run)[1].chosen.flips_pct
    assert before > 0, "or this network shows nothing"
    run = pipeline.run(searched(**weak, promises={"max_flips_pct": before}), own_store)  # its interval is wider
    notes, control = control_of(run)
    assert control.ended == "found"
    assert control.chosen.kept
    assert 0 < len(control.chosen.layers) < len(control.chosen.layers) + len(notes.int8)
    assert set(notes.kept_float) >= set(control.chosen.layers)
    assert control.timed
    assert "layers in float: " in report.terminal.render(run)
    assert codec.decode(Run, codec.encode(run)) == run


@pytest.mark.slow
def test_a_later_verdict_is_judged_as_one_of_several(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first forecast expects no change at all: INT8 in all layers is not KEPT, and another round follows."""
    monkeypatch.setattr(forecast, "_MARGINS", (0.0, 4.0, 4.0, 4.0))
    wanted = searched(**WEAK, promises={"max_flips_pct": 2.0})
    run = pipeline.run(wanted, own_store)
    assert control_of(run)[1].round > 1
    (verdict,) = run.verdicts
    assert f"verdict {control_of(run)[1].round} of at most 4 on these images" in verdict.reason
    again = pipeline.run(wanted, own_store)
    assert {step.state for step in again.steps} == {"done"}
    assert again.verdicts == run.verdicts
    (measured,) = (each for each in pipeline.preview(wanted, own_store) if str(each.step.id) == "verify:onnxruntime")
    assert measured.artifact is not None
    assert measured.artifact.digest == step_of(run, "verify:onnxruntime").digest


def test_a_search_without_a_promise_to_search_for_is_refused() -> None:
    for promises in ({}, {"min_speedup_fp32": 2.0}):
        with pytest.raises(RecipeError) as caught:
            searched(promises=promises)
        assert "quantize.exclude: auto needs a promise to search for" in "".join(caught.value.problems)


@pytest.mark.slow
def test_a_search_that_was_killed_gives_what_an_undisturbed_one_gives(tmp_path: Path) -> None:
    """On a device's target, where nothing is timed: times differ between any two searches."""
    given = write_recipe(
        tmp_path, raw(**WEAK, promises={"max_flips_pct": 1.0}, targets={"tensorrt": {"where": "bundle"}})
    )
    found = []
    for name in ("undisturbed", "killed"):
        store = tmp_path / name
        process = start(given, store)
        if name == "killed":
            wait_for(store, "cache/control/*/looks.json", process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            process = start(given, store)
        code, run, err = finish(process)
        assert code == 0, err
        (step,) = (step for step in run["steps"] if step["id"] == "quantize:tensorrt")
        found.append((step["notes"]["control"]["chosen"]["layers"], Path(step["path"], "model.onnx").read_bytes()))
    assert found[0][0]
    assert found[1] == found[0]
