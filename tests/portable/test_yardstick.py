"""The pinned network: the same bytes everywhere, where they came from, and that another file is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeresnet import targets
from edgeresnet.errors import ArtifactError
from edgeresnet.portable import yardstick

from .scripted import of_benchmarks


def test_another_file_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = bytearray(yardstick.FILE.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "yardstick.onnx").write_bytes(changed)
    monkeypatch.setattr(yardstick, "FILE", tmp_path / "yardstick.onnx")
    with pytest.raises(ArtifactError, match="is not the pinned yardstick"):
        yardstick.file()


def test_it_is_what_its_script_makes_and_small() -> None:
    assert yardstick.file().stat().st_size < 300_000
    made, pinned = of_benchmarks("yardstick").build(), onnx.load(yardstick.file())
    nodes = [[node.SerializeToString() for node in model.graph.node] for model in (made, pinned)]
    assert nodes[0] == nodes[1]
    for one, other in zip(made.graph.initializer, pinned.graph.initializer, strict=True):
        assert one.name == other.name
        np.testing.assert_allclose(numpy_helper.to_array(one), numpy_helper.to_array(other), rtol=1e-6)


def test_every_runtime_takes_it_and_answers_alike(tmp_path: Path) -> None:
    answers = []
    for name in ("onnxruntime", "openvino"):
        target, out = targets.get(name), tmp_path / name
        out.mkdir()
        target.compile(yardstick.file(), target.full(target.options()), out)
        with target.load(out) as session:
            answers.append(session.infer(yardstick.image()))
    assert answers[0].shape == (1, 10)
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-3, atol=1e-3)
