"""What a diagnosis of an INT8 network prints, what its page shows, and what must never break them."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

import edgeresnet
from edgeresnet.noise.diagnosis import Cause, LayerNoise, NoiseDiagnosis
from edgeresnet.portable import codec
from edgeresnet.report import noise_text
from edgeresnet.report.html import noise_page
from edgeresnet.report.lines import Look

from . import runs
from .test_html import Read

pytestmark = pytest.mark.unit

PACKAGE = Path(edgeresnet.__file__).parent
COMMAND = ("Quantize FP32 again with the worst layer in float:", "edgeresnet quantize a.onnx \\", "  --exclude '^b$'")
OUTLIER = Cause("range-outlier", "layer2.0.conv2", "its largest value is 136", "calibrate again", 0.9)


def layer(name: str, cost: float, own: float | None = 40.0, *, measured: bool = False) -> LayerNoise:
    flips = (1, 0) if measured else (None, None)
    return LayerNoise(name, "Conv", own, cost, 30.0, measured, *flips)


LAYERS = (
    layer("conv1", 0.25),
    layer("layer2.0.conv2", 8.5, 12.5, measured=True),
    layer("the pad", 0.0, None),
    layer("fc", -0.1, 50.0),
)
DIAGNOSIS = NoiseDiagnosis("int8.onnx", "fp32.onnx", 64, 23.46, 3, 61 / 64, 0.98, LAYERS, (OUTLIER,), (), 1.5)


def lines(about: NoiseDiagnosis, look: Look | None = None) -> list[str]:
    return noise_text.render(about, [COMMAND], look).splitlines()


def words(about: NoiseDiagnosis) -> str:
    return " ".join(noise_text.render(about).split())


def test_flips_of_maps_are_called_pixels() -> None:
    about = replace(DIAGNOSIS, flips=1234, pixels=65536)
    assert lines(about)[0] == "int8.onnx: SQNR 23.5 dB, 1,234 pixel flips, 95.3 % agree on 64 images"
    assert "1,234 pixels differ" in noise_page.render(about)
    assert lines(replace(about, flips=1))[0].startswith("int8.onnx: SQNR 23.5 dB, 1 pixel flip,")


def test_the_complete_screen() -> None:
    assert (
        noise_text.render(DIAGNOSIS, [COMMAND])
        == """\
int8.onnx: SQNR 23.5 dB, 3 flips, 95.3 % agree on 64 images

layer           own dB  cost dB
layer2.0.conv2    12.5     8.50  measured   ██████████████████
conv1             40.0     0.25  estimated  ░
and 1 more, which cost nothing (`--json` has all)
own: SQNR with only this layer in INT8. cost: what SQNR gains with it in float.

1. Outliers widen the range, layer2.0.conv2: Its largest value is 136. Calibrate
   again.

Quantize FP32 again with the worst layer in float:
  edgeresnet quantize a.onnx \\
    --exclude '^b$'
"""
    )


def test_ascii_alone() -> None:
    text = "\n".join(lines(replace(DIAGNOSIS, layers=(LAYERS[1], layer("conv1", 0.4))), Look(ascii_only=True)))
    assert text.isascii()
    assert "measured   ##################\n" in text
    assert "0.40  estimated  =\n" in text


@pytest.mark.parametrize("causes", [0, 1, 3, 9])
def test_it_fits_30_lines_of_80_columns(causes: int) -> None:
    """Of a deep network, with names and sentences of any length."""
    deep = [layer(f"layer{number}", 9 - number / 10, measured=number < 5) for number in range(80)]
    deep += [layer("a/" * 5000, 10.0), replace(layer("unknown", 1.0), matched=False)]
    long = replace(OUTLIER, layer="a/" * 5000, evidence=f"the input of {'a/' * 5000} is " + "large, " * 90)
    about = replace(DIAGNOSIS, layers=tuple(deep), causes=(long,) * causes, float_layers=("fc",), explained=0.3)
    for each in (about, replace(about, network="n" * 5000, reference="r" * 5000)):
        found = lines(each)
        assert len(found) <= 30
        assert max(map(len, found)) <= 80
    bars = [line for line in found if "measured" in line or "estimated" in line]
    assert bars[0].startswith("a/a/a/")
    assert 5 <= len(bars) - 1 <= 20
    assert "and 8 more causes" not in found if causes < 9 else any("more causes" in line for line in found)


def test_a_deep_network_has_at_most_20_lines_of_layers() -> None:
    about = replace(DIAGNOSIS, layers=tuple(layer(f"layer{number}", 1.0) for number in range(80)), causes=())
    found = noise_text.render(about).splitlines()
    assert sum("estimated" in line for line in found) == 19
    assert "and 61 more, which cost at most 1.00 dB each (`--json` has all)" in found


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"flips": 0}, "No cause was found, and none is needed: no answer differs on these images."),
        ({}, "No cause was found: layer2.0.conv2 makes most of the noise, and nothing shows why. Try other"),
        ({"layers": LAYERS[:1]}, "No cause was found: the noise comes from many layers, a little from each. Try"),
        ({"sqnr_db": None}, "No cause was found: INT8 computes what FP32 computes."),
        ({"layers": ()}, "No layer adds noise."),
        ({"layers": LAYERS[2:3]}, "No layer adds noise."),
    ],
)
def test_without_a_cause_it_says_what_is_left(changes: dict[str, object], sentence: str) -> None:
    assert sentence in words(replace(DIAGNOSIS, causes=(), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sqnr_db": None, "flips": 0, "agreement": 1.0}, "int8.onnx: no noise, 0 flips, 100.0 % agree on 64 images"),
        ({"flips": 1, "images": 1}, "SQNR 23.5 dB, 1 flip, 95.3 % agree on 1 image"),
        ({"float_layers": ("a", "b", "c", "d")}, "In float already: a, b, c and 1 more."),
        ({"explained": 0.42}, "Estimates explain only 42 % of the noise: trust the measured layers."),
        ({"explained": -3.0}, "Estimates explain only 0 % of the noise"),
        (
            {"layers": (replace(LAYERS[1], matched=False),)},
            "1 layer does not match FP32, so the noise of its weights is not known: layer2.0.conv2.",
        ),
    ],
)
def test_what_limits_the_numbers(changes: dict[str, object], sentence: str) -> None:
    assert sentence in words(replace(DIAGNOSIS, **changes))  # type: ignore[arg-type]


def test_a_cause_of_the_whole_network() -> None:
    about = replace(DIAGNOSIS, causes=(replace(OUTLIER, layer="", code="range-left"),))
    assert "1. Values outside the calibrated range: Its largest value is 136. Calibrate again." in words(about)


def test_every_cause_has_a_title() -> None:
    """A new one is shown by its code: hardly a sentence."""
    code = re.compile(r"[a-z]+(-[a-z]+)+")
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / "noise" / "causes").glob("*.py")]
    constants = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    codes = {each for each in constants if isinstance(each, str) and code.fullmatch(each)}
    assert "range-outlier" in codes
    assert codes - set(noise_text.TITLES) == set()
    assert noise_text.title(replace(OUTLIER, code="some-thing")) == "some thing"


def test_a_small_cost_has_a_short_bar() -> None:
    """A full bar would look like the cause."""
    found = noise_text.render(replace(DIAGNOSIS, layers=(layer("conv1", 0.5),)))
    assert "estimated  ░░░░░░░░░\n" in found


def test_the_document_is_read_as_it_was_written() -> None:
    assert codec.decode(NoiseDiagnosis, codec.encode(DIAGNOSIS)) == DIAGNOSIS


def test_a_run_whose_int8_lost_accuracy_names_the_command() -> None:
    run = runs.run()
    assert noise_text.loss(run) == (
        "INT8 loses 3.00 points on openvino: `edgeresnet diagnose --int8` shows which layers, and why."
    )
    results = {"openvino": runs.result()}
    for each in results.values():
        del each["variants"]["int8"]
        each["candidate"] = "fp32"
    assert noise_text.loss(runs.run(results=results)) == ""


def test_the_page_has_both_orders() -> None:
    read = Read(noise_page.render(DIAGNOSIS, [COMMAND]))
    text = " ".join(" ".join(read.words).split())
    head = "SQNR is 23.5 dB. On 64 images, 3 answers differ: 95.3 % agree."
    for part in ("int8.onnx", head, "outliers widen the range, layer2.0.conv2", *COMMAND):
        assert " ".join(part.split()) in text
    first, second = text.split("The worst first")[1].split("In the network's order")
    assert first.index("layer2.0.conv2") < first.index(" conv1 ") < first.index(" fc ")
    assert second.index(" conv1 ") < second.index(" layer2.0.conv2 ") < second.index(" the pad ") < second.index(" fc ")


@pytest.mark.parametrize("changes", [{}, {"layers": ()}, {"sqnr_db": None, "layers": LAYERS[2:3]}])
def test_a_page_with_nothing_to_show(changes: dict[str, object]) -> None:
    about = replace(DIAGNOSIS, causes=(), **({"flips": 0} | changes))  # type: ignore[arg-type]
    assert noise_text.no_cause(about) in " ".join(Read(noise_page.render(about)).words)


def test_names_of_any_kind_stay_text() -> None:
    odd = "<script>alert(1)</script>\x1b[2J\u202e"
    about = replace(DIAGNOSIS, network=odd, layers=(layer(odd, 3.0),), causes=(replace(OUTLIER, layer=odd),))
    shown = noise_page.render(about, [(odd, odd)])
    assert "alert(1)</script>" not in shown
    assert "\x1b" not in noise_text.render(about)
