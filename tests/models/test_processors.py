"""Preprocessing as transformers saves it next to weights, in a recipe's words; what it leaves open is never guessed.

The values were compared with transformers 5.24 on images: its Pillow processors give the same numbers to 1e-6, but for
a center crop that lies between two pixels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.models import processors, records
from edgeresnet.portable.preprocessing import Preprocessing

from ..hostile import tensors

pytestmark = pytest.mark.unit

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
USUAL: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
}
SQUARE, SHORT = {"height": 224, "width": 224}, {"shortest_edge": 224}


def written(folder: Path, kind: str, *, name: str = "preprocessor_config.json", **config: object) -> processors.Pixels:
    held = {**USUAL, "image_processor_type": f"{kind}ImageProcessor", **config}
    (folder / name).write_text(json.dumps({key: value for key, value in held.items() if value != "-"}))
    found = processors.of(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "config", "wants"),
    [
        ("ConvNext", {"size": SHORT, "crop_pct": 0.875}, {"size": 224, "resize": 256}),
        ("ConvNext", {"size": SHORT, "crop_pct": None}, {"size": 224, "resize": 256}),
        ("ConvNext", {"size": SHORT, "crop_pct": 0.95}, {"size": 224, "resize": 235}),
        ("ConvNext", {"size": {"shortest_edge": 383}, "crop_pct": 0.875}, {"size": 383, "resize": 437}),
        ("ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 0.875}, {"size": 384, "crop": "squash"}),
        ("ConvNext", {"size": 224, "crop_pct": 0.875, "do_rescale": "-"}, {"size": 224, "resize": 256}),
        ("ViT", {"size": SQUARE}, {"size": 224, "crop": "squash"}),
        ("ViT", {"size": 224}, {"size": 224, "crop": "squash"}),
        ("Bit", {"size": {"shortest_edge": 256}, "crop_size": SQUARE}, {"size": 224, "resize": 256}),
        ("CLIP", {"size": 256, "crop_size": 224}, {"size": 224, "resize": 256}),
        ("DeiT", {"size": SQUARE, "crop_size": SQUARE}, {"size": 224, "crop": "squash"}),
        ("DeiT", {"size": SQUARE, "crop_size": 200, "do_center_crop": False}, {"size": 224, "crop": "squash"}),
    ],
)
def test_what_a_recipe_can_express(tmp_path: Path, kind: str, config: dict[str, Any], wants: dict[str, object]) -> None:
    found = written(tmp_path, kind, **config)
    assert found.why_not == ""
    assert found.preprocessing == {**wants, "interpolation": "bicubic", "mean": MEAN, "std": STD}
    Preprocessing.from_json(found.preprocessing)


@pytest.mark.parametrize(("number", "word"), [(0, "nearest"), (2, "bilinear"), (3, "bicubic")])
def test_interpolations_as_pillow_numbers_them(tmp_path: Path, number: int, word: str) -> None:
    assert written(tmp_path, "ViT", size=SQUARE, resample=number).preprocessing["interpolation"] == word


@pytest.mark.parametrize("ending", ["ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"])
def test_names_that_a_processor_has_had(tmp_path: Path, ending: str) -> None:
    name = f"ConvNext{ending}"
    key = "feature_extractor_type" if "Extractor" in name else "image_processor_type"
    config: dict[str, Any] = {"image_processor_type": "-", key: name}
    found = written(tmp_path, "ConvNext", size=SHORT, **config)
    assert found.preprocessing["resize"] == 256


def test_a_processor_inside_another(tmp_path: Path) -> None:
    inside = {**USUAL, "image_processor_type": "ViTImageProcessor", "size": SQUARE}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inside, "processor_class": "X"}))
    found = processors.of(tmp_path)
    assert found is not None
    assert found.preprocessing["size"] == 224


@pytest.mark.parametrize(
    ("config", "mean", "std"),
    [
        ({"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}, 0.5, 0.5),
        ({"do_rescale": False, "image_mean": 127.5, "image_std": 51}, 0.5, 0.2),
        ({"do_normalize": False}, 0, 1),
        ({"do_normalize": False, "do_rescale": False}, 0, 1 / 255),
    ],
)
def test_another_range_of_pixels_is_mean_and_std(
    tmp_path: Path, config: dict[str, Any], mean: float, std: float
) -> None:
    found = written(tmp_path, "ViT", size=SQUARE, **config)
    assert found.why_not == ""
    assert found.preprocessing["mean"] == pytest.approx([mean] * 3)
    assert found.preprocessing["std"] == pytest.approx([std] * 3)


@pytest.mark.parametrize(
    ("kind", "config", "why"),
    [
        ("Levit", {"size": SHORT}, "its image processor 'Levit' is not one that edgeresnet knows"),
        ("ViT", {"size": {"height": 224, "width": 256}}, "its size is {'height': 224, 'width': 256}, which"),
        ("ViT", {"size": {"height": 224}}, "its size is {'height': 224}, which"),
        ("ViT", {"size": "-"}, "its size is None, which"),
        ("ViT", {"size": {**SHORT, "longest_edge": 500}}, "its size is "),
        ("ViT", {"size": SHORT}, "it does not make images square"),
        ("ViT", {"size": SQUARE, "resample": 1}, "its resample is 1, which a recipe cannot express"),
        ("ConvNext", {"size": SHORT, "resample": "-"}, "its resample is None, which a recipe cannot express"),
        ("ConvNext", {"size": SQUARE}, "without shortest_edge"),
        ("ConvNext", {"size": SHORT, "do_center_crop": True, "crop_size": 200}, "it crops twice"),
        ("ConvNext", {"size": SHORT, "crop_pct": 0}, "its crop_pct is 0, not a share"),
        ("ConvNext", {"size": SHORT, "crop_pct": "a"}, "its crop_pct is 'a', not a share"),
        ("Bit", {"size": {"shortest_edge": 200}, "crop_size": 224}, "it crops 224 pixels out of 200"),
        ("DeiT", {"size": 256, "crop_size": 224}, "it scales both sides and then crops"),
        ("ViT", {"size": SQUARE, "do_resize": False}, "it does not resize images"),
        ("ViT", {"size": SQUARE, "do_flip_channel_order": True}, "it has 'do_flip_channel_order', which"),
        ("ViT", {"size": SQUARE, "image_mean": "-"}, "its image_mean is None, not a number for each channel"),
        ("ViT", {"size": SQUARE, "image_std": [0.2, 0.2]}, "its image_std is [0.2, 0.2], not a number"),
        ("ViT", {"size": SQUARE, "image_std": 0}, "std finite and positive"),
        ("ViT", {"size": SQUARE, "rescale_factor": 0}, "its rescale_factor is 0, not a positive number"),
        ("ViT", {"size": 5000}, "its size is 5000"),
    ],
)
def test_what_a_recipe_cannot_express_is_reported_and_nothing_replaces_it(
    tmp_path: Path, kind: str, config: dict[str, Any], why: str
) -> None:
    found = written(tmp_path, kind, **config)
    assert found.preprocessing == {}
    assert why in found.why_not
    assert len(found.why_not) < 200


@pytest.mark.parametrize("text", ["", "[]", "{}", "5", '{"image_processor_type": 5}', "\x00", "[" * 100_000])
def test_what_is_no_processor_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    assert processors.of(tmp_path) is None


def test_long_values_make_one_short_line(tmp_path: Path) -> None:
    long = "n" * 10_000
    configs: list[dict[str, Any]] = [{"size": long}, {"image_mean": [long]}, {"resample": long}, {f"do_{long}": True}]
    for config in configs:
        assert len(written(tmp_path, "ViT", **{"size": SQUARE, **config}).why_not) < 200
    assert len(written(tmp_path, long, size=SQUARE).why_not) < 200


def test_it_is_the_record_of_the_weights_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(tensors.whole({"a": (1,)}))
    (tmp_path / "mine.safetensors").write_bytes(tensors.whole({"a": (1,)}))
    assert records.of(tmp_path, ()) is None
    written(tmp_path, "ConvNext", size=SHORT)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        record = records.of(path, ())
        assert record is not None
        assert record.source == f"transformers' record {tmp_path}/preprocessor_config.json"
        assert (record.arch, record.why_not) == ("", "")
        assert record.preprocessing["resize"] == 256
    assert records.of(tmp_path / "mine.safetensors", ()) is None
