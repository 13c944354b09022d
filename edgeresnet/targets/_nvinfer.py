"""What TensorRT and TensorRT-RTX share: one C++ library's interface under two module names, and the GPU they need.

Knows neither by name: each function takes a module's, so that no engine and no word of the one can pass for the
other's. The library works in a process of its own: TensorRT-RTX 1.7.1's builder dies of a Q/DQ scale computed from the
data.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..device.session import Availability
from ..errors import TargetError
from . import _cpu

ERROR, WARNING = "error", "warning"
UNFINISHED = "is not compiled for by this version of edgeresnet yet"
PATIENCE_S = 1800.0  # for one file; TensorRT-RTX builds a ResNet-50 in a second, TensorRT tries kernels for minutes
_INSPECT = "`edgeresnet inspect` names every place in a file that this compiler does not take"
_NO_GPU = re.compile(r"catchCudaError.*cudaError (35|100)\b")  # no driver, no device: said of every refused node


@dataclass(frozen=True)
class Complaint:
    """A sentence of the parser or the builder, and how often it was said. `node` is empty where it names none."""

    severity: str  # "error": it refuses the file; "warning": it goes on, in the way that it says
    node: str
    operator: str
    said: str
    times: int = 1


@dataclass(frozen=True)
class Reading:
    """What a parser made of a file."""

    version: str
    accepted: bool
    complaints: tuple[Complaint, ...]


def availability(module: str, libraries: tuple[str, ...]) -> Availability:
    """Never ok in this version, which neither compiles for these targets nor loads their engines."""
    found = _cpu.availability(module, libraries)
    if not found.ok:
        return found
    reason = gpu_trouble() or "this version of edgeresnet does not compile for it yet"
    return Availability(
        False, reason, found.versions, hint="`edgeresnet inspect` tells what it will say to an ONNX file"
    )


def not_yet() -> TargetError:
    """A failure of the target, not of the recipe: the other targets still run."""
    return TargetError(
        UNFINISHED,
        hint="leave it out; `edgeresnet inspect` tells what it will say to an ONNX file",
    )


def gpu_trouble(library: str = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1") -> str:
    """Why no NVIDIA GPU can be used here; empty where one can. Asks the driver, as the runtime will."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return "there is no NVIDIA driver"
    code = driver.cuInit(0)
    return f"the NVIDIA driver finds no GPU to use (cuInit answers {code})" if code else ""


def read(module: str, onnx: Path) -> Reading:
    """All that the parser says about a file."""
    return _apart(module, onnx, {})


def build(module: str, onnx: Path, engine: Path, batches: tuple[int, int, int], capabilities: Sequence[str]) -> Reading:
    """Writes an engine, strongly typed. `batches` are least, best and most, where the file's may vary.

    Capabilities are written as NVIDIA does, "8.6"; none asked leaves the choice to the builder.
    """
    task = {"engine": str(engine), "batches": batches, "capabilities": list(capabilities)}
    reading = _apart(module, onnx, task)
    errors = [each.said for each in reading.complaints if each.severity == ERROR]
    if errors:
        deed = "cannot build" if reading.accepted else "refuses"
        raise TargetError(f"{deed} {onnx.name}: {errors[0]}", hint=_INSPECT)
    return reading


def _apart(module: str, onnx: Path, task: dict[str, Any]) -> Reading:
    """In a fresh process: where the library dies of a file, that is a complaint, and not our end."""
    code = (
        "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
        f"import {__name__} as shared; shared.serve(*sys.argv[2:])"  # the same search path: the same program
    )
    command = [sys.executable, "-c", code, json.dumps(sys.path), module, str(onnx), json.dumps(task)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as problem:
        raise TargetError(
            f"{module} did not finish with {onnx} in {PATIENCE_S / 60:.0f} minutes",
            hint="is the machine busy, or the file larger than a ResNet?",
        ) from problem
    lines = [line for line in (done.stdout or done.stderr).splitlines() if line.strip()] or ["it said nothing"]
    if done.returncode > 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or lines
        raise TargetError(f"{module} could not work on {onnx}: {said[-1][:300]}", hint="`edgeresnet targets`")
    about: dict[str, Any] = (
        json.loads(lines[-1]) if lines[-1].startswith("{") else {"version": "", "accepted": False, "complaints": []}
    )
    complaints = [Complaint(**each) for each in about["complaints"]]
    if done.returncode < 0:
        deed = "builder" if about["accepted"] else "parser"
        complaints.insert(0, Complaint(ERROR, "", "", f"the {deed} dies of this file (signal {-done.returncode})"))
    return Reading(about["version"], about["accepted"], tuple(complaints))


def serve(module: str, onnx: str, task: str) -> None:
    """The other end. The answer is the last line, whatever the library prints, and written before each step that
    may be the last.
    """
    trt, wanted = importlib.import_module(module), json.loads(task)
    making = _Making(trt)
    accepted = making.parse(Path(onnx))

    def answer() -> None:
        sys.stdout.write("\n" + json.dumps(asdict(Reading(trt.__version__, accepted, making.complaints()))) + "\n")
        sys.stdout.flush()

    answer()
    if accepted and wanted:
        making.build(Path(wanted["engine"]), tuple(wanted["batches"]), wanted["capabilities"])
        answer()


class _Making:
    """A network on its way from a file to an engine, and the ear that hears what is said about it."""

    def __init__(self, trt: Any):
        self.heard = heard = list[tuple[str, str]]()
        severities = trt.ILogger.Severity

        class Ear(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity <= severities.WARNING:  # the more severe, the smaller
                    heard.append((WARNING if severity == severities.WARNING else ERROR, message))

        self._trt, self._ear = trt, Ear()  # the library keeps no reference of its own
        self._builder = trt.Builder(self._ear)
        self._network = self._builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self._parser = trt.OnnxParser(self._network, self._ear)

    def parse(self, onnx: Path) -> bool:
        return bool(self._parser.parse_from_file(str(onnx)))

    def build(self, engine: Path, batches: tuple[int, int, int], capabilities: Sequence[str]) -> None:
        config = self._builder.create_builder_config()
        if not self._aim(config, capabilities):
            return
        image = self._network.get_input(0)
        if -1 in image.shape:
            profile = self._builder.create_optimization_profile()
            profile.set_shape(image.name, *([batch, *tuple(image.shape)[1:]] for batch in batches))
            config.add_optimization_profile(profile)
        built = self._builder.build_serialized_network(self._network, config)
        if built is not None:
            engine.write_bytes(built)
        elif not any(severity == ERROR for severity, _ in self.heard):
            self.heard.append((ERROR, "the builder gives no engine and does not say why"))

    def _aim(self, config: Any, capabilities: Sequence[str]) -> bool:
        members = self._trt.ComputeCapability.__members__ if capabilities else {}
        known = {f"{name[2:-1]}.{name[-1]}": value for name, value in members.items() if name[2:].isdigit()}
        if not known.keys() >= set(capabilities):
            wanted = ", ".join(sorted(set(capabilities) - known.keys()))
            self.heard.append(
                (ERROR, f"it does not build for compute capability {wanted}, only for {', '.join(known)}")
            )
            return False
        if capabilities:
            config.num_compute_capabilities = len(capabilities)
        for place, wanted in enumerate(capabilities):
            config.set_compute_capability(known[wanted], place)
        return True

    def complaints(self) -> tuple[Complaint, ...]:
        """The parser's errors name their nodes; where there are any, its log says the same again, without."""
        errors = [self._parser.get_error(place) for place in range(self._parser.num_errors)]
        found = [(ERROR, each.node_name(), each.node_operator(), _sentence(each.desc())) for each in errors]
        found += [
            (severity, "", "", _sentence(message))
            for severity, message in self.heard
            if (severity == WARNING or not errors) and not _NO_GPU.search(message)
        ]
        return tuple(Complaint(*each, times=times) for each, times in Counter(found).items())


def _sentence(said: str) -> str:
    """One line: without the place in NVIDIA's source, the node's name over again, and the GPU that is not there."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _NO_GPU.search(line)]
    lines = [line for line in lines if not line.startswith("Invalid Node - ")] or lines or ["it does not say why"]
    return re.sub(r"^\w+\.cpp:\d+: | In \w+ at /\S+\)?$", "", lines[0])[:400]
