"""What TensorRT and TensorRT-RTX share: a reason where they are absent, and real calls where one is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeresnet import pipeline, recipe, targets
from edgeresnet.errors import TargetError
from edgeresnet.runs import Run
from edgeresnet.store import Store
from edgeresnet.targets import _compiled, _cuda, _nvinfer, tensorrt_rtx

from ..conftest import tiny
from ..graph.quantized import clean
from ..graph.rtx import needs_rtx

NAMES = ["tensorrt", "tensorrt_rtx"]


@pytest.fixture
def invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library by another name, whose text the test writes, to be imported here and in a fresh process."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str) -> str:
        (tmp_path / "invented_trt.py").write_text(text)
        sys.modules.pop("invented_trt", None)
        return "invented_trt"

    yield write
    sys.modules.pop("invented_trt", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ImportError('libnvinfer.so.11: cannot open')", "cannot import invented_trt: libnvinfer.so.11"),
        ("raise FileNotFoundError('the libraries were not fetched')", "the libraries were not fetched"),
    ],
)
def test_a_library_that_is_incomplete_is_a_reason(invented: Any, text: str, words: str) -> None:
    found = _compiled.availability(invented(text), targets.get("tensorrt"))
    assert not found.ok
    assert words in found.reason
    assert "NVIDIA's package index" in found.hint


def test_the_driver_itself_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "LIBRARY", "libnothere.so.1")
    assert _cuda.problem() == "there is no NVIDIA driver"


def test_where_there_is_no_gpu_rtx_still_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "problem", lambda: "there is no NVIDIA driver")
    for name, builds in (("tensorrt", False), ("tensorrt_rtx", True)):
        module = types.ModuleType(name)
        module.__version__ = "9.9"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
        found = targets.get(name).available()
        assert (found.ok, found.builds, found.reason) == (False, builds, "there is no NVIDIA driver")
        assert "where: bundle" in found.hint


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_that_names_it_still_measures_the_others(
    name: str, trained: tuple[Store, Run], own_store: Store
) -> None:
    run = pipeline.run(recipe.parse(tiny(targets={"onnxruntime": {}, name: {}})), own_store)
    verdicts = {(each.target, each.verdict) for each in run.verdicts}
    assert ("onnxruntime", "KEPT") in verdicts
    assert (name, "NOT_MEASURED") in verdicts
    assert run.verdict == "NOT_MEASURED"
    failed = next(each for each in run.steps if each.state == "failed")
    assert failed.step.target == name  # RTX's compiles where it is installed, and is not run
    assert failed.reason.startswith(f"{targets.get(name).title} is not available: ")
    assert "\n" not in failed.reason


FAKE = """
import enum, os, signal
__version__ = "9.9"
class ILogger:
    class Severity(enum.IntEnum):
        ERROR = 1
        WARNING = 2
        INFO = 3
class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 0
class Network:
    num_inputs = num_outputs = 0
    get_input = get_output = None
class Builder:
    def __init__(self, logger): self.logger = logger
    def create_network(self, flags): return Network()
    def create_builder_config(self): os.kill(os.getpid(), signal.SIGSEGV)
class Error:
    def desc(self):
        return "Invalid Node - c\\nIt is bad. In check at /_src/a.cpp:3)\\n[x::catchCudaError] (cudaError 35)"
    def node_name(self): return "c"
    def node_operator(self): return "Conv"
class OnnxParser:
    def __init__(self, network, logger): self.logger, self.num_errors = logger, %(errors)s
    def get_error(self, place): return Error()
    def parse_from_file(self, path):
        print("noise")
        for _ in range(3): self.logger.log(ILogger.Severity.WARNING, "onnxOpImporters.cpp:12: as int8")
        self.logger.log(ILogger.Severity.INFO, "hello")
        %(step)s
        return not self.num_errors
"""


def test_warnings_are_counted_and_errors_name_their_node(invented: Any, tmp_path: Path) -> None:
    reading = _nvinfer.read(invented(FAKE % {"errors": 1, "step": "pass"}), tmp_path / "net.onnx")
    assert (reading.version, reading.accepted) == ("9.9", False)
    assert reading.complaints == (
        _nvinfer.Complaint("error", "c", "Conv", "It is bad."),
        _nvinfer.Complaint("warning", "", "", "as int8", times=3),
    )


@pytest.mark.parametrize(("step", "part"), [("os.kill(os.getpid(), signal.SIGSEGV)", "parser"), ("pass", "builder")])
def test_a_library_that_crashes_is_a_complaint(invented: Any, tmp_path: Path, step: str, part: str) -> None:
    module = invented(FAKE % {"errors": 0, "step": step})
    with pytest.raises(TargetError, match=rf"the {part} crashes on this file \(signal 11\)"):
        _nvinfer.build(module, tmp_path / "net.onnx", tmp_path / "net.engine", _nvinfer.Plan())


def test_a_library_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="No module named 'no_such_trt'"):
        _nvinfer.read("no_such_trt", tmp_path / "net.onnx")


@needs_rtx
@pytest.mark.slow
def test_rtx_reads_and_builds_for_the_wanted_capabilities(tmp_path: Path) -> None:
    net, engine = tmp_path / "net.onnx", tmp_path / "net.engine"
    onnx.save(clean().model(), net)
    reading = tensorrt_rtx.read(net)
    assert (reading.accepted, reading.complaints) == (True, ())
    assert reading.version
    built = {}
    for wanted in (("8.6",), ("8.6", "12.0"), ()):
        assert tensorrt_rtx.build(net, engine, capabilities=wanted, batches=(1, 8, 64)).complaints == ()
        built[len(wanted)] = engine.read_bytes()
    assert all(built.values())
    assert built[1] != built[2]
    with pytest.raises(TargetError, match=r"compute capability 9\.9, only for 7\.5, 8\.0"):
        tensorrt_rtx.build(net, engine, capabilities=["8.6", "9.9"])


@needs_rtx
@pytest.mark.slow
def test_rtx_refuses_what_is_not_a_network(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 20)
    reading = tensorrt_rtx.read(tmp_path / "bad.onnx")
    assert not reading.accepted
    assert "Failed to parse the ONNX model" in reading.complaints[0].said
    with pytest.raises(TargetError, match=r"bad\.onnx is refused: .*Failed to parse"):
        tensorrt_rtx.build(tmp_path / "bad.onnx", tmp_path / "bad.engine")
    assert not (tmp_path / "bad.engine").exists()


@needs_rtx
@pytest.mark.slow
def test_reading_with_rtx_imports_nothing_here(tmp_path: Path) -> None:
    onnx.save(clean().model(), tmp_path / "net.onnx")
    code = (
        "import json, sys; from pathlib import Path; from edgeresnet.targets import tensorrt_rtx as t; "
        "t.read(Path('net.onnx')); print(json.dumps('tensorrt_rtx' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


@needs_rtx
@pytest.mark.slow
@pytest.mark.skipif(not _cuda.problem(), reason="there is a GPU: it runs, too")
def test_rtx_builds_in_a_recipe_and_does_not_run(trained: tuple[Store, Run], own_store: Store) -> None:
    run = pipeline.run(recipe.parse(tiny(targets={"onnxruntime": {}, "tensorrt_rtx": {}})), own_store)
    states = {each.id: (each.state, each.reason) for each in run.steps}
    assert states["compile:tensorrt_rtx:half"][0] == "made"
    assert states["verify:tensorrt_rtx"] == ("failed", "TensorRT-RTX is not available: there is no NVIDIA driver")
    assert run.verdict == "NOT_MEASURED"
    engine = next(own_store.root.glob("compile/*/model.engine"))
    with pytest.raises(TargetError, match="the engine needs a GPU: there is no NVIDIA driver"):
        targets.get("tensorrt_rtx").load(engine.parent)
