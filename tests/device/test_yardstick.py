"""The pinned network: the same bytes everywhere, where they came from, and that no other passes for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeresnet import targets
from edgeresnet.device import yardstick
from edgeresnet.errors import ArtifactError

ROOT = Path(__file__).parent.parent.parent


def origin() -> Any:
    spec = importlib.util.spec_from_file_location("origin", ROOT / "benchmarks" / "yardstick.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_the_pinned_file_and_small() -> None:
    assert yardstick.file().stat().st_size < 300_000


def test_another_file_in_its_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = bytearray(yardstick.FILE.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "yardstick.onnx").write_bytes(changed)
    monkeypatch.setattr(yardstick, "FILE", tmp_path / "yardstick.onnx")
    with pytest.raises(ArtifactError, match="is not the pinned yardstick"):
        yardstick.file()


def test_it_is_what_its_script_makes() -> None:
    made, held = origin().build(), onnx.load(yardstick.file())
    assert [node.SerializeToString() for node in made.graph.node] == [
        node.SerializeToString() for node in held.graph.node
    ]
    for one, other in zip(made.graph.initializer, held.graph.initializer, strict=True):
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
