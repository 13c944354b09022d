"""`exclude: auto` from a recipe to a verdict, on a small network and real digits."""

from __future__ import annotations

from typing import Any

from edgeresnet import pipeline, recipe, report
from edgeresnet.notes import ControlNotes, QuantizeNotes
from edgeresnet.portable import codec
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import step_of, tiny


def searched(**changes: Any) -> Any:
    calibration = {"images__calibration": {"from": "training", "count": 64}}
    quantize = {"quantize": {"exclude": "auto", "minutes": 5}}
    given = {**calibration, **quantize, "verify": {"processes": 1, "seconds": 0.5}, **changes}
    return recipe.parse(tiny(**given))


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
    weak = {"train__epochs": 1}  # its answers are not sure, so that INT8 changes some
    run = pipeline.run(searched(promises={"max_flips_pct": 0.4}, **weak), own_store)
    notes, control = control_of(run)
    assert control.ended == "found"
    assert control.chosen.kept
    assert 0 < len(control.chosen.layers) < len(control.chosen.layers) + len(notes.int8)
    assert set(notes.kept_float) >= set(control.chosen.layers)
    assert control.timed
    assert "layers in float: " in report.terminal.render(run)
    assert codec.decode(Run, codec.encode(run)) == run
