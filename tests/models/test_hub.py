"""Folders as transformers and timm write them: class names, and what tensors do not show of the network."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.errors import ModelError
from edgeresnet.images.sources import Names
from edgeresnet.models import hub, records, shapes
from edgeresnet.models.hub import Convention, Labels

from ..hostile import checkpoints, tensors

pytestmark = pytest.mark.unit

RESNET: dict[str, Any] = {"model_type": "resnet", "layer_type": "bottleneck", "hidden_act": "relu"}


def folder(path: Path, config: object = None, *, name: str = "model.safetensors") -> Path:
    (path / name).write_bytes(tensors.whole({"a": (1,)}))
    (path / "config.json").write_text(json.dumps(RESNET if config is None else config))
    return path / name


def labels(path: Path, **config: object) -> Labels | None:
    return hub.labels_of(folder(path, {**RESNET, **config}))


def test_class_names_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    names = {str(number): f"class {number}" for number in range(12)}
    shuffled = dict(sorted(names.items()))  # "10" before "2"
    found = labels(tmp_path, id2label=shuffled)
    assert found == Labels(str(tmp_path / "config.json"), tuple(names.values()))
    assert hub.labels_of(tmp_path) == found


def test_timm_lists_its_names(tmp_path: Path) -> None:
    found = labels(tmp_path, model_type="timm_wrapper", architecture="resnet18", label_names=["cat", "dog"])
    assert found is not None
    assert found.names == ("cat", "dog")


@pytest.mark.parametrize(
    ("id2label", "why"),
    [
        ({"0": "cat", "2": "dog"}, "it names 2 classes, but not number 1"),
        ({"1": "cat", "2": "dog"}, "it names 2 classes, but not number 0"),
        ({"0": "cat", "01": "dog"}, "it names 2 classes, but not number 1"),
        ({"0": "cat", "1": ""}, "it has a class without a name"),
        ({"0": "cat", "1": 5}, "it has a class without a name"),
    ],
)
def test_names_with_gaps_are_not_taken(tmp_path: Path, id2label: dict[str, object], why: str) -> None:
    found = labels(tmp_path, id2label=id2label)
    assert found == Labels(str(tmp_path / "config.json"), why_not=why)


@pytest.mark.parametrize("id2label", [{}, [], 5, None, {"0": "LABEL_0", "1": "LABEL_1"}])
def test_placeholders_are_not_names(tmp_path: Path, id2label: object) -> None:
    assert labels(tmp_path, id2label=id2label) is None


def test_names_of_another_number_of_classes_are_not_taken(tmp_path: Path) -> None:
    found = labels(tmp_path, id2label={"0": "cat", "1": "dog"})
    assert found is not None
    assert hub.fitting(found, 2) is found
    assert hub.fitting(found, 10).why_not == "it names 2 classes, but the network has 10"
    assert hub.fitting(found, 0) is found, "where the network is not known"


def test_a_file_of_another_name_has_no_configuration(tmp_path: Path) -> None:
    """config.json belongs to the files that transformers reads: not to every file of the folder."""
    path = folder(tmp_path, {**RESNET, "id2label": {"0": "cat"}}, name="mine.safetensors")
    assert hub.labels_of(path) is None
    assert hub.convention_of(path) is None
    for name in ("pytorch_model.bin", "model.fp16.safetensors", "model.safetensors.index.json"):
        assert hub.file_of(tmp_path / name) == tmp_path / "config.json"


def test_names_are_read_from_the_configuration_as_from_any_list(tmp_path: Path) -> None:
    folder(tmp_path, {**RESNET, "id2label": {"1": "dog", "0": "crane", "2": "crane"}})
    assert Names.read(tmp_path / "config.json").names == ("crane (0)", "dog", "crane (2)")
    folder(tmp_path, {"architecture": "resnet18", "label_names": ["cat", "dog"]})
    assert Names.read(tmp_path / "config.json").names == ("cat", "dog")


def test_the_stride_of_transformers_is_in_its_configuration(tmp_path: Path) -> None:
    usual = Convention("transformers", hub.V15, "relu", first_stage_strided=False, bottleneck=True, max_pool=True)
    assert hub.convention_of(folder(tmp_path)) == usual
    assert hub.convention_of(tmp_path) == usual
    assert usual.unusual == ""
    found = hub.convention_of(folder(tmp_path, {"model_type": "resnet", "downsample_in_bottleneck": True}))
    assert found is not None
    assert found.stride == hub.V1
    found = hub.convention_of(folder(tmp_path, {**RESNET, "layer_type": "basic"}))
    assert found is not None
    assert found.bottleneck is False


def test_what_none_of_our_networks_has_is_named(tmp_path: Path) -> None:
    found = hub.convention_of(folder(tmp_path, {**RESNET, "hidden_act": "gelu", "downsample_in_first_stage": True}))
    assert found is not None
    assert (found.activation, found.first_stage_strided) == ("gelu", True)
    assert found.unusual == "its activation is gelu"


def test_timms_configuration_names_the_architecture(tmp_path: Path) -> None:
    about = {"architecture": "resnet50d", "model_type": "timm_wrapper"}
    assert hub.convention_of(folder(tmp_path, about)) == Convention("timm", arch="resnet50d")


@pytest.mark.parametrize("config", [{"model_type": "vit"}, [], "x", 5, {"architecture": 5}, {"model_type": ["resnet"]}])
def test_another_configuration_has_no_convention(tmp_path: Path, config: object) -> None:
    assert hub.convention_of(folder(tmp_path, config)) is None


@pytest.mark.parametrize("title", checkpoints.HUB)
def test_a_configuration_that_lies_raises_nothing(tmp_path: Path, title: str) -> None:
    path, text = folder(tmp_path), checkpoints.HUB[title]
    (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for file in (path, tmp_path):
        hub.labels_of(file)
        hub.convention_of(file)


def test_a_folder_stands_for_its_weights(tmp_path: Path) -> None:
    assert not hub.is_folder(tmp_path)
    assert hub.weights_of(folder(tmp_path)) == hub.weights_of(tmp_path) == tmp_path / "model.safetensors"
    assert hub.is_folder(tmp_path)
    assert list(shapes.read(tmp_path)) == ["a"]
    assert records.doubt(tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is a folder, and no weights are in it"),
        ("tf_model.h5", "holds weights of TensorFlow (tf_model.h5), not of PyTorch"),
        ("flax_model.msgpack", "holds weights of Flax (flax_model.msgpack), not of PyTorch"),
    ],
)
def test_a_folder_without_weights_of_pytorch(tmp_path: Path, name: str, words: str) -> None:
    if name:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        shapes.look(tmp_path)
    assert caught.value.message == f"{tmp_path} {words}"


def test_a_file_of_keras_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    expected = {"net.h5": "is an HDF5 file, as Keras saves networks", "net.keras": "is an archive of Keras"}
    for name, words in expected.items():
        with pytest.raises(ModelError) as caught:
            shapes.look(tmp_path / name)
        assert words in caught.value.message
        assert "model.export('net.onnx', format='onnx')" in caught.value.hint
