"""What a report says of several INT8 networks: a row for each, which one ships, and why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgeresnet.notes import ControlNotes, FloatLayers, HeldOut, QuantizeNotes
from edgeresnet.pipeline.choosing import chosen
from edgeresnet.portable.result import PLAIN, SAFE, Measured
from edgeresnet.portable.session import Dialect
from edgeresnet.report.summary import choice_rows, choice_sentences, control_sentences, control_word, float_layers
from edgeresnet.runs import StepId

from ..pipeline.test_choosing import PROMISE, one, several

pytestmark = pytest.mark.unit


def layers(*names: str, kept: bool = True) -> FloatLayers:
    return FloatLayers(names, 1.5, 0.5, 0.01, kept)


def notes() -> QuantizeNotes:
    others = {PLAIN: layers(kept=False), SAFE: layers("conv1", "fc")}
    control = ControlNotes("found", 1, 64, layers("fc"), (layers("fc"),), timed=False, seconds=3.0, others=others)
    held, dialect = HeldOut(0, 0, None), Dialect("u8-after-relu", "both", 16)
    return QuantizeNotes((), {}, ("conv1", "conv2"), {}, images_in_levels=False, held_out=held, bytes_before=1,
                         bytes_after=1, dialect=dialect, control=control)  # fmt: skip


def run(result: Measured) -> Any:
    quantized = SimpleNamespace(id="quantize:x", step=StepId("quantize", "x"), notes=notes())
    exported = SimpleNamespace(id="export:x", step=StepId("export", "x"), notes=None)
    judged = chosen(result, [PROMISE])
    return SimpleNamespace(steps=(quantized, exported), results={"x": judged}, measured=[judged])


def test_the_one_that_ships_is_named_with_its_reason_and_its_files() -> None:
    found = run(several({"int8": one(90), SAFE: one(1, ms=2.0), PLAIN: one(300)}))
    assert choice_sentences(found, "x") == [
        "int8-safe ships: the only one that keeps every promise, of 3 INT8 networks",
        "each is judged at 98.3 %, since they are judged together",
        "its files in the bundle: networks/int8-safe.onnx, and built/int8-safe on the device",
    ]
    rows = choice_rows(found)
    assert [row[1:4] for row in rows] == [
        (PLAIN, "0 of 3", "BROKEN"),
        ("int8", "1 of 3", "BROKEN"),
        (SAFE, "2 of 3", "KEPT, ships"),
    ]
    assert rows[0][-1].startswith("2.00 ("), "times as fast as the one that ships"
    assert rows[2][-1] == ""
    assert float_layers(found, "x") == "2 of 3 layers in float: conv1, fc", "of the one that ships"


def test_of_several_that_keep_the_fastest_is_named() -> None:
    found = run(several({"int8": one(1, ms=1.5), SAFE: one(0, ms=2.0), PLAIN: one(300)}))
    assert choice_sentences(found, "x")[0] == "int8 ships: the fastest of 2 that keep every promise, of 3 INT8 networks"
    assert len(choice_sentences(found, "x")) == 2, "the files of int8 are where they always are"


def test_the_closest_is_named_with_its_distance() -> None:
    found = run(several({"int8": one(90), SAFE: one(60), PLAIN: one(300)}))
    first = choice_sentences(found, "x")[0]
    assert first.startswith(
        "int8-safe is the closest: none of 3 INT8 networks keeps every promise (max_drop_pp: BROKEN, "
    )
    assert first.endswith(" times its limit away)")


def test_what_was_left_out_is_named() -> None:
    found = run(several({"int8": one(1)}, {SAFE: "no kernel", PLAIN: "no memory"}))
    assert choice_sentences(found, "x") == [
        "int8 ships: no other INT8 network was measured",
        "int8-safe was left out: no kernel",
        "int8-all was left out: no memory",
    ]
    assert [row[3] for row in choice_rows(found)] == ["left out", "KEPT, ships", "left out"]


def test_before_the_device_measured_the_search_says_what_goes_along() -> None:
    assert control_sentences(notes(), "answers")[-1] == (
        "the device chooses from it and int8-all with 0 of 3 layers in float (1.50 % of answers change), and int8-safe "
        "with 2 of 3 layers in float (1.50 % of answers change)"
    )
    assert control_word(notes()) == ", 1 in float: fc; 2 more networks to choose from"


def test_a_forecast_counts_what_the_task_compares() -> None:
    words = " ".join(control_sentences(notes(), "pixels"))
    assert "1.50 % of pixels changed" in words
    assert "(1.50 % of pixels change)" in words
    assert "answers" not in words


def test_a_single_network_has_no_such_lines() -> None:
    found = run(one(1))
    assert (choice_sentences(found, "x"), choice_rows(found)) == ([], [])
    assert float_layers(found, "x") == "1 of 3 layers in float: fc"
