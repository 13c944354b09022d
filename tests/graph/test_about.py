"""A file's entries come back as they were written, without onnx, and nothing unknown is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgeresnet.errors import ModelError
from edgeresnet.graph import about, canonical, half
from edgeresnet.graph.raw_input import with_raw_input
from edgeresnet.portable import onnx_file
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Dialect

from .classifier import classifier, written

IMAGES = Preprocessing(8, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize=8, order="bgr")
ALL = about.About(
    classes=("Katze", "Löwe", "虎", "lynx"),
    preprocessing=IMAGES,
    input="uint8 NHWC",
    dialect=Dialect("s8-symmetric", "shortcut", channel_multiple=32, smallest_gemm=16),
    largest_weight=63,
    parents={"network": "sha256:1", "ranges": "sha256:2"},
    version="0.1.0",
)


def _entries(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def test_what_was_written_comes_back_through_a_file(tmp_path: Path) -> None:
    model = classifier()
    about.write(model, ALL)
    assert about.of(model) == ALL
    assert about.read(onnx_file.read(written(tmp_path, model)).metadata) == ALL


def test_what_is_not_known_is_not_written() -> None:
    model = classifier()
    about.write(model, about.About())
    assert _entries(model) == {}
    assert about.of(model) == about.About()
    about.write(model, about.About(classes=("é", "b"), preprocessing=Preprocessing(8, (0.5,), (0.25,))))
    assert list(_entries(model).items()) == [
        ("edgeresnet.classes", '["é", "b"]'),
        (
            "edgeresnet.preprocessing",
            '{"size": 8, "mean": [0.5], "std": [0.25], "resize": 8, "crop": "center", "interpolation": "bilinear", '
            '"order": "rgb"}',
        ),
    ]


def test_writing_again_replaces_our_entries_and_leaves_others() -> None:
    model = classifier()
    other = model.metadata_props.add()
    other.key, other.value = "author", "someone"
    about.write(model, ALL)
    about.write(model, replace(ALL, largest_weight=None, version="0.2.0"))
    entries = _entries(model)
    assert len(model.metadata_props) == len(entries)
    assert entries["author"] == "someone"
    assert entries["edgeresnet.version"] == '"0.2.0"'
    assert "edgeresnet.largest_weight" not in entries


def test_a_newer_versions_entries_are_passed_over() -> None:
    dialect = '{"activations": "u8-after-relu", "residual": "both", "channel_multiple": 16, "moon": 1}'
    found = about.read({"edgeresnet.dialect": dialect}).dialect
    assert found == Dialect("u8-after-relu", "both", channel_multiple=16)
    assert about.read({"edgeresnet.moon": "{", "edgeresnet.version": '"9.0"'}) == about.About(version="9.0")


@pytest.mark.parametrize("text", ['"8"', '{"size": 8}', '{"size": 0, "mean": [0.5], "std": [1]}', "3", '{"moon": 1}'])
def test_entries_that_make_no_sense_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ModelError, match="ONNX file's metadata is not valid: preprocessing") as caught:
        about.read({"edgeresnet.preprocessing": text})
    assert "\n" not in caught.value.message


def test_entries_that_are_not_json() -> None:
    with pytest.raises(ModelError, match=r"entry edgeresnet\.classes is not JSON: line 1, column 2: '\[cat'"):
        about.read({"edgeresnet.classes": "[cat"})
    assert about.entry({"edgeresnet.classes": "[cat"}, "classes") is None
    assert about.entry({}, "classes") is None
    assert about.entry({"edgeresnet.classes": '["cat"]'}, "classes") == ["cat"]


def test_a_network_of_pixels_says_so_and_half_precision_keeps_the_entries() -> None:
    model = canonical.canonical(classifier())
    about.write(model, replace(ALL, input=about.FLOAT_NCHW, preprocessing=None))
    assert about.of(with_raw_input(model, IMAGES, "NCHW")) == replace(ALL, input="uint8 NCHW")
    assert about.of(half.half(model)) == about.of(model)
