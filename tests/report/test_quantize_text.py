"""What `quantize` prints: every step with what it won, what stays float, and nothing where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet.portable import codec
from edgeresnet.report import quantize_text

from . import runs

pytestmark = pytest.mark.unit


STEPS = [
    {"name": "scales", "sqnr_db": 20.0, "kept": True},
    {"name": "bias correction", "sqnr_db": 19.0, "kept": False},
    {"name": "equalized channels", "sqnr_db": 23.5, "kept": True},
]


def words(dead: dict[str, int] | None = None, **changes: Any) -> str:
    target = runs.quantizing(steps=STEPS, int8=["conv1", "conv2"], kept_float={}, layers={})
    target |= {"held_out": {"images": 8, "agree": 7, "sqnr_db": 23.5}, "bytes_before": 4_000_000}
    target |= {"bytes_after": 1_000_000, "digest": "0123456789abcdef", "artifact": "store/model.onnx"}
    about = {"name": "net", "images": {"images": 56, "held_out": 8}, "dead_channels": dead or {}, "warnings": []}
    about |= {"targets": {"tensorrt": target | {"evaluation": None} | changes}}
    text = quantize_text.render(codec.decode(quantize_text.Quantized, about))
    assert all(len(line) <= 80 for line in text.splitlines())
    return " ".join(text.split())


def test_each_step_is_compared_with_the_best_so_far_and_the_noisiest_layers_are_named_where_known() -> None:
    text = words()
    assert "noisiest" not in text
    assert "bias correction: 19.0 dB (-1.00 dB, undone)" in text
    assert "equalized channels: 23.5 dB (+3.50 dB)" in text
    assert "held-out images: 7 of 8 answers are the same, SQNR 23.5 dB" in text
    text = words(layers={"conv1": 30.0, "conv2": 12.5, "conv3": None, "conv4": 20.0, "fc": 40.0})
    assert "earlier noise included): conv2 12.5 dB, conv4 20.0 dB, conv1 30.0 dB" in text


def test_sizes_layers_the_file_and_how_images_are_read_are_shown() -> None:
    text = words(file="out/int8.onnx", images_in_levels=False)
    assert "tensorrt: out/int8.onnx" in text
    assert "4.00 MB → 1.00 MB, 2 layers INT8, digest 0123456789ab" in text
    assert "256 levels" not in text
    assert "tensorrt: store/model.onnx" in words()
    assert "keeps its 256 levels" in words()


def test_what_stays_float_is_named_with_its_reason_up_to_six_of_them() -> None:
    text = words(kept_float={f"layer{i}": "excluded by 'layer'" for i in range(9)})
    assert "stays float: layer5: excluded by 'layer'" in text
    assert "layer6" not in text
    assert "'layer' and 3 more stay float" in text  # right behind them
    assert "and 3 more stay float (--json names them)" in text


def test_nothing_is_claimed_where_no_image_was_held_out() -> None:
    steps = [{"name": "scales", "sqnr_db": None, "kept": True}]
    text = words(steps=steps, held_out={"images": 0, "agree": 0, "sqnr_db": None})
    assert "scales: applied; no held-out image measures its effect" in text
    assert "there are too few images to hold some out: the loss is not known" in text


def test_dead_channels_and_the_evaluation_are_shown() -> None:
    counts = {"images": 1000, "top1": 900, "agree": 990, "flips_lost": 6, "flips_won": 2, "sqnr_db": 25.0}
    text = words({"a": 2, "b": 1}, evaluation=counts)
    assert "note: 3 channels are dead: no calibration image activates them" in text
    assert "top-1 90.00 %, drop +0.40 points (" in text
    assert "99.00 % same answers" in text
