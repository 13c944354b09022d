"""Preprocessing from the records of those who published the weights: theirs to the pixel, and never guessed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.models import ResNet18_Weights, get_model_weights

from edgeresnet import models
from edgeresnet.images import decode
from edgeresnet.models import names, records
from edgeresnet.portable.preprocessing import Preprocessing

from .networks import hub


def picture(width: int = 411, height: int = 300) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def ours(wanted: Mapping[str, object], image: Image.Image) -> np.ndarray:
    preprocessing = Preprocessing.from_json(wanted)
    return preprocessing.normalize(decode.prepare(image, preprocessing)[None])[0]


def published_config(name: str) -> dict[str, Any]:
    found = timm.models.get_pretrained_cfg(name)
    assert found is not None
    return found.to_dict()


@pytest.mark.parametrize("arch", models.TORCHVISION)
def test_torchvisions_records_are_its_own_transforms(arch: str) -> None:
    found = {record.source: record for _, record in records._torchvisions() if record.arch == arch}
    assert len(found) == len(get_model_weights(arch))
    for weights in get_model_weights(arch):
        record = found[f"torchvision's record {weights}"]
        theirs = weights.transforms()(picture()).numpy()
        np.testing.assert_allclose(ours(record.preprocessing, picture()), theirs, atol=1e-5)


@pytest.mark.parametrize("arch", [each for each in names.SEGMENTERS if "cifar" not in each])
def test_records_for_segmentation_are_torchvisions_transforms_of_square_images(arch: str) -> None:
    square = picture(640, 640)
    (record,) = (record for _, record in records._torchvisions() if record.arch == arch)
    (weights,) = get_model_weights(arch)
    theirs = weights.transforms()(square).numpy()
    np.testing.assert_allclose(ours(record.preprocessing, square), theirs, atol=1e-5)


@pytest.fixture(scope="module")
def timms() -> dict[str, records.Record]:
    return {record.source.removeprefix("timm's record "): record for _, record in records._timms()}


def test_every_record_of_timm_is_understood(timms: dict[str, records.Record]) -> None:
    assert len(timms) > 100
    for name, record in timms.items():
        assert record.why_not == "", name
        Preprocessing.from_json({**record.preprocessing, "mean": [0.5] * 3, "std": [0.5] * 3})


@pytest.mark.parametrize("name", ["resnet18d.ra2_in1k", "resnet50.tv2_in1k", "resnet50.a1_in1k", "resnetrs152.tf_in1k"])
def test_timms_records_are_its_own_transforms(name: str, timms: dict[str, records.Record]) -> None:
    wanted = resolve_data_config(pretrained_cfg=published_config(name))
    theirs = create_transform(**wanted)(picture()).numpy()
    np.testing.assert_allclose(ours(timms[name].preprocessing, picture()), theirs, atol=1e-5)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that torchvision's records know by its name, with the content that its name tells."""
    torch.save(models.build("resnet18", 1000, 3).state_dict(), tmp_path / "w.pth")
    digits = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()[:8]
    path = (tmp_path / "w.pth").rename(tmp_path / f"resnet18-{digits}.pth")
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", f"https://somewhere/models/{path.name}")
    return path


def test_a_published_file_is_known_by_name_and_content(published: Path) -> None:
    record = records.of(published, ["resnet18"])
    assert record is not None
    assert (record.source, record.arch) == ("torchvision's record ResNet18_Weights.IMAGENET1K_V1", "resnet18")
    assert record.preprocessing["resize"] == 256
    assert records.doubt(published) == ""
    published.write_bytes(published.read_bytes() + b"x")
    assert records.of(published, ["resnet18"]) is None
    assert "name is that of a published file, but its sha256 begins with" in records.doubt(published)
    renamed = published.rename(published.with_name("mine.pth"))
    assert records.of(renamed, ["resnet18"]) is None
    assert records.doubt(renamed) == ""


def test_a_name_that_was_never_published(tmp_path: Path) -> None:
    digits = hashlib.sha256(b"x").hexdigest()[:8]
    (tmp_path / f"resnet18-{digits}.pth").write_bytes(b"x")
    assert records.of(tmp_path / f"resnet18-{digits}.pth", ["resnet18"]) is None


def test_what_lies_next_to_the_hubs_weights(tmp_path: Path) -> None:
    record = records.of(hub(tmp_path, data={"input_size": (3, 64, 64), "crop_pct": 0.9}), ["resnet10t"])
    assert record is not None
    assert (record.arch, record.why_not) == ("resnet10t", "")
    wants = {"size": 64, "resize": 71, "interpolation": "bicubic"}
    assert {key: record.preprocessing[key] for key in wants} == wants
    assert "crop" not in record.preprocessing


def squashed(data: dict[str, Any]) -> np.ndarray:
    wanted = resolve_data_config(data, pretrained_cfg=published_config("resnet10t.c3_in1k"))
    return create_transform(**{**wanted, "crop_mode": "squash"})(picture()).numpy()


def test_what_is_squashed_there_is_squashed_here(tmp_path: Path) -> None:
    data = {"input_size": (3, 64, 64), "crop_pct": 1.0, "crop_mode": "squash"}
    record = records.of(hub(tmp_path, data=data), ["resnet10t"])
    assert record is not None
    assert record.preprocessing["crop"] == "squash"
    np.testing.assert_allclose(ours(record.preprocessing, picture()), squashed(data), atol=1e-5)


@pytest.mark.parametrize(
    ("data", "arguments", "why"),
    [
        ({"crop_mode": "border"}, {}, "its crop is 'border', which a recipe cannot express"),
        ({"crop_mode": "squash", "crop_pct": 0.9}, {}, "its crop is 'squash', which"),
        ({"input_size": (3, 64, 96)}, {}, "its images are 96×64, not square, which"),
        ({"interpolation": "lanczos"}, {}, "its interpolation is 'lanczos', which"),
        (None, {"act_layer": "silu"}, "its network was built with other arguments (act_layer silu)"),
    ],
)
def test_what_a_recipe_cannot_express_is_reported_and_nothing_replaces_it(
    tmp_path: Path, data: dict[str, Any] | None, arguments: dict[str, Any], why: str
) -> None:
    record = records.of(hub(tmp_path, data=data, arguments=arguments), ["resnet10t"])
    assert record is not None
    assert record.preprocessing == {}
    assert why in record.why_not


def test_another_librarys_config_is_not_a_record(tmp_path: Path) -> None:
    path = hub(tmp_path)
    record = records.of(path, ["resnet18"])
    assert record is not None
    assert record.why_not == "it describes resnet10t, but these tensors are another network"
    for text in (json.dumps({"architectures": ["ResNetForImageClassification"]}), "[]", "{", '{"architecture": 3}'):
        (tmp_path / "config.json").write_text(text)
        assert records.of(path, ["resnet10t"]) is None
