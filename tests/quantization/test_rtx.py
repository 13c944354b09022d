"""TensorRT-RTX takes what is written for TensorRT without a word: parsed and built, with no GPU. Random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeresnet import models, targets
from edgeresnet.graph import accepts, deliver
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.quantization import engine, equalize, ranges
from edgeresnet.stages import trace
from edgeresnet.targets import tensorrt_rtx

from ..graph.rtx import needs_rtx
from .nets import notes_of

pytestmark = [pytest.mark.slow, needs_rtx]
ARCHITECTURES = {"cifar_resnet8": 32, "cifar_resnet20": 32, "resnet18": 224, "resnet50": 224}
IMAGES = 8


def prepared(size: int) -> Preprocessing:
    return Preprocessing(size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def quantized(arch: str, size: int) -> onnx.ModelProto:
    """As the stages do it: equalized, scaled, corrected, images in levels."""
    preprocessing = prepared(size)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8)
    images = preprocessing.normalize(pixels)

    def batches(count: int | None = None) -> Iterator[np.ndarray]:
        yield images[:count]

    model = trace.to_onnx(models.build(arch, 10, 3).eval(), 3, size)
    equalizer = equalize.Equalizer(model, images[:2], 0)
    views = ranges.collect(model, batches(), ranges.Views(ranges.Ranges(), ranges.Ranges(), equalizer.of))
    assert views.equalized is not None
    sources = engine.Source(model, views.plain), engine.Source(equalizer.applied(model), views.equalized)
    choices = engine.Choices(targets.get("tensorrt").dialect, preprocessing=preprocessing)
    found = engine.quantize(*sources, choices, batches, images[:0])
    assert notes_of(found).images_in_levels
    return found.model()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_parses_and_builds_what_we_write_without_a_word(arch: str, tmp_path: Path) -> None:
    model, path = quantized(arch, ARCHITECTURES[arch]), tmp_path / "int8.onnx"
    onnx.save(model, path)
    for name in ("tensorrt", "tensorrt_rtx"):
        assert accepts.findings(model, name, targets.get(name).dialect) == []
    reading = tensorrt_rtx.read(path)
    assert (reading.accepted, reading.complaints) == (True, ())
    assert tensorrt_rtx.build(path, tmp_path / "net.engine", capabilities=["8.6"]).complaints == ()
    assert (tmp_path / "net.engine").stat().st_size > 10_000
    ships = targets.get("tensorrt_rtx").options().float_parts
    assert_builds(path, ships, tmp_path / "as it ships")
    assert_builds(path, ships, tmp_path / "of pixels", prepared(ARCHITECTURES[arch]))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_its_baselines_build_without_a_word_too(arch: str, tmp_path: Path) -> None:
    path = tmp_path / "fp32.onnx"
    onnx.save(trace.to_onnx(models.build(arch, 10, 3).eval(), 3, ARCHITECTURES[arch]), path)
    for float_parts in ("f16", "f32"):
        assert_builds(path, float_parts, tmp_path / float_parts)
        assert_builds(path, float_parts, tmp_path / f"{float_parts} of pixels", prepared(ARCHITECTURES[arch]))


@pytest.mark.parametrize("arch", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_networks_that_answer_for_each_pixel_build_without_a_word(arch: str, tmp_path: Path) -> None:
    traced, dialect = trace.to_onnx(models.build(arch, 21, 3).eval(), 3, 224), targets.get("tensorrt").dialect
    model = engine.stand_in(traced, engine.Choices(dialect, preprocessing=prepared(224)))
    onnx.save(model, tmp_path / "int8.onnx")
    assert accepts.findings(model, "tensorrt", dialect) == []
    reading = tensorrt_rtx.build(tmp_path / "int8.onnx", tmp_path / "net.engine", capabilities=["8.6"])
    assert (reading.accepted, reading.complaints) == (True, ())


def assert_builds(path: Path, float_parts: str, out: Path, pixels: Preprocessing | None = None) -> None:
    """Build as a recipe does."""
    target = targets.get("tensorrt_rtx")
    options = target.options(float_parts=float_parts)
    out.mkdir()
    given = deliver.delivered(path, out / "given.onnx", halved=float_parts == "f16", pixels=pixels)
    assert target.compile(given, options, out).warnings == ()
    assert (out / "model.engine").stat().st_size > 10_000


def test_it_does_object_to_the_same_file_with_an_unsigned_zero_point(tmp_path: Path) -> None:
    """Show that no complaint means something; and the lint sees it, too."""
    model, path = quantized("cifar_resnet8", 32), tmp_path / "int8.onnx"
    zero = next(
        tensor for tensor in model.graph.initializer if tensor.name.startswith("relu") and "zero" in tensor.name
    )
    zero.CopyFrom(onnx.numpy_helper.from_array(np.zeros((), np.uint8), zero.name))
    onnx.save(model, path)
    reading = tensorrt_rtx.read(path)
    assert not reading.accepted or reading.complaints
    findings = accepts.findings(model, "tensorrt", targets.get("tensorrt").dialect)
    assert "uint8" in {each.rule for each in findings if each.severity == accepts.ERROR}
