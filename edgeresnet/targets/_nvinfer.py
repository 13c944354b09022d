"""Runs the library of TensorRT or TensorRT-RTX on a file: its parser's complaints, and the engine that it builds.

Each function takes the module's name, so that nothing from one library can pass for the other's. Only this file looks
up what a release may lack. The library runs in a process of its own: TensorRT-RTX 1.7.1's builder crashes on a Q/DQ
scale that is computed from the data.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MachineError, TargetError
from ..portable import codec
from ..portable.session import Dialect

# Of TensorRT and of TensorRT-RTX: one parser reads both.
DIALECT = Dialect(
    activations="s8-symmetric", residual="shortcut", channel_multiple=32, smallest_gemm=16, float_additions="normalised"
)
ERROR, WARNING = "error", "warning"
NONE = "NONE"  # no hardware compatibility: the engine is for this GPU
PATIENCE_S = 1800.0  # for one file; TensorRT-RTX builds a ResNet-50 in a second, TensorRT tries kernels for minutes
BUILD_HERE = "build it on this machine: `edgeresnet run --again compile`, or deploy.py of its bundle"
_INSPECT = "`edgeresnet inspect` lists everything in a file that this compiler does not support"
_NO_GPU = re.compile(r"catchCudaError.*cudaError (35|100)\b")  # no driver, no device: reported for every refused node
_SILENT = "it built no engine and gave no reason"
NO_MEMORY = re.compile(r"(?i)out ?of ?memory|insufficient memory|requested amount of (gpu )?memory")
_OLD_DRIVER = re.compile(r"(?i)driver version is insufficient|cuda.*error:? ?35\b")


@dataclass(frozen=True)
class Complaint:
    """A message of the parser or the builder, and how often it came."""

    severity: str  # "error": it refuses the file; "warning": it continues, in the way that the message describes
    node: str  # empty where the message names none
    operator: str
    said: str
    times: int = 1


@dataclass(frozen=True)
class Reading:
    """A parser's result for a file."""

    version: str
    accepted: bool
    complaints: tuple[Complaint, ...]
    inputs: tuple[tuple[str, tuple[int | None, ...]], ...] = ()  # of a file that it accepts: name and sides
    outputs: tuple[tuple[str, tuple[int | None, ...]], ...] = ()


@dataclass(frozen=True)
class Plan:
    """How to build an engine. Names are NVIDIA's own; a release that lacks one refuses the plan."""

    batches: tuple[int, int, int] = (1, 1, 1)  # least, best and most, where the file's may vary
    flags: tuple[str, ...] = ()  # of BuilderFlag
    hardware: str = NONE  # of HardwareCompatibilityLevel
    capabilities: tuple[str, ...] = ()  # as NVIDIA writes them, "8.6"; none leaves the choice to the builder
    workspace_mb: int | None = None
    timing_cache: str = ""  # a file, read and written


@dataclass(frozen=True)
class _Task:
    """An engine for the library's process to build."""

    engine: str
    plan: Plan


def read(module: str, onnx: Path) -> Reading:
    """Return the parser's result for a file."""
    return _in_own_process(module, onnx, None)


def build(module: str, onnx: Path, engine: Path, plan: Plan) -> Reading:
    """Build an engine, strongly typed; return the complaints."""
    engine.unlink(missing_ok=True)
    reading = _in_own_process(module, onnx, _Task(str(engine), plan))
    if not engine.is_file():  # an error with an engine is not a refusal: a kernel that did not fit while it was tried
        raise _refusal(reading, onnx)
    return reading


def hearing(trt: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Return a logger for the library, and the list of (severity, message) that it fills, from WARNING on."""
    heard: list[tuple[str, str]] = []
    severities = trt.ILogger.Severity

    class Ear(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= severities.WARNING:  # the more severe, the smaller
                heard.append((WARNING if severity == severities.WARNING else ERROR, message))

    return Ear(), heard


def sentence(message: str) -> str:
    """Return one line of a message, without the place in NVIDIA's source, the node's name again, and a missing GPU."""
    lines = [line.strip() for line in message.splitlines() if line.strip() and not _NO_GPU.search(line)]
    lines = [line for line in lines if not line.startswith("Invalid Node - ")] or lines or ["it gives no reason"]
    return re.sub(r"^\w+\.cpp:\d+: | In \w+ at /\S+\)?$", "", lines[0])[:400]


def _refusal(reading: Reading, onnx: Path) -> MachineError | TargetError:
    errors = [each for each in reading.complaints if each.severity == ERROR] or [Complaint(ERROR, "", "", _SILENT)]
    for each in errors:
        if NO_MEMORY.search(each.said):
            return MachineError(
                "memory",
                f"ran out while an engine was built from {onnx.name}: {each.said}",
                hint="close other programs on the GPU, or lower `workspace_mb` or `batch`",
            )
        if _OLD_DRIVER.search(each.said):
            return TargetError(
                "this release",
                f"is newer than the NVIDIA driver: {each.said}",
                hint="update the driver, or install the release for its CUDA version: pip install tensorrt-cu12",
            )
    first = errors[0]
    where = f" at {first.node} ({first.operator})" if first.node else ""
    refused = "cannot be built" if reading.accepted else "is refused"
    keeps = f"; `quantize.exclude: ['^{re.escape(first.node)}$']` keeps this layer in float" if first.node else ""
    return TargetError(onnx.name, f"{refused}{where}: {first.said}", hint=f"{_INSPECT}{keeps}")


def _in_own_process(module: str, onnx: Path, task: _Task | None) -> Reading:
    """Run the library in a fresh process: where it crashes on a file, that is a complaint."""
    code = (
        "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
        f"import {__name__} as shared; shared.serve(*sys.argv[2:])"  # the same search path: the same program
    )
    command = [sys.executable, "-c", code, json.dumps(sys.path), module, str(onnx), json.dumps(codec.encode(task))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as problem:
        raise TargetError(
            module,
            f"did not finish {onnx} in {PATIENCE_S / 60:.0f} minutes",
            hint="check whether the machine is busy, or the file is larger than a ResNet",
        ) from problem
    if done.returncode > 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["it printed nothing"]
        raise TargetError(module, f"could not process {onnx}: {lines[-1][:300]}", hint="`edgeresnet targets`")
    if done.returncode == -signal.SIGKILL:
        raise MachineError(
            "the system",
            f"killed {module} while it processed {onnx.name}, probably because memory ran out",
            hint="close other programs, or lower `workspace_mb`",
        )
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"version"')]  # others may follow the last
    reading = codec.decode(Reading, json.loads(answers[-1])) if answers else Reading("", False, ())
    if done.returncode == 0:
        return reading
    part = "builder" if reading.accepted else "parser"
    crash = Complaint(ERROR, "", "", f"the {part} crashes on this file (signal {-done.returncode})")
    return replace(reading, complaints=(crash, *reading.complaints))


def serve(module: str, onnx: str, task: str) -> None:
    """Run in the library's process: print the answer as a line of its own, before each step that may crash."""
    trt = importlib.import_module(module)
    wanted: _Task | None = codec.decode(_Task | None, json.loads(task))
    ear, heard = hearing(trt)
    accepted, making = False, None

    def answer() -> None:
        complaints = _complaints(heard, making.refusals() if making else [])
        ends = making.ends() if making and accepted else ()
        sys.stdout.write("\n" + json.dumps(codec.encode(Reading(trt.__version__, accepted, complaints, *ends))) + "\n")
        sys.stdout.flush()

    try:
        making = _Making(trt, ear)
    except TypeError as problem:  # pybind11 raises it for a factory that returns nothing: no driver, or one too old
        heard.append((ERROR, f"it does not start: {problem}"))
        answer()
        return
    accepted = making.parse(Path(onnx))
    answer()
    if accepted and wanted:
        heard += [(ERROR, problem) for problem in making.build(Path(wanted.engine), wanted.plan)]
        answer()


def _complaints(heard: list[tuple[str, str]], refusals: list[tuple[str, str, str]]) -> tuple[Complaint, ...]:
    """Join log and refusals: the parser's errors name their nodes, and its log repeats them without."""
    found = [(ERROR, node, operator, sentence(said)) for node, operator, said in refusals]
    found += [
        (severity, "", "", sentence(message))
        for severity, message in heard
        if (severity == WARNING or not refusals) and not _NO_GPU.search(message)
    ]
    return tuple(Complaint(*each, times=times) for each, times in Counter(found).items())


class _Making:
    """A network between file and engine. It holds the logger, to which the library keeps no reference."""

    def __init__(self, trt: Any, ear: Any):
        self._trt, self._ear = trt, ear
        self._builder = trt.Builder(ear)
        self._network = self._builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self._parser = trt.OnnxParser(self._network, ear)

    def parse(self, onnx: Path) -> bool:
        """Parse a file; return whether the parser accepts it."""
        return bool(self._parser.parse_from_file(str(onnx)))

    def ends(self) -> Iterator[tuple[tuple[str, tuple[int | None, ...]], ...]]:
        """Yield the inputs, then the outputs."""
        network = self._network
        for count, get in ((network.num_inputs, network.get_input), (network.num_outputs, network.get_output)):
            tensors = [get(place) for place in range(count)]
            yield tuple((each.name, tuple(side if side > 0 else None for side in each.shape)) for each in tensors)

    def refusals(self) -> list[tuple[str, str, str]]:
        """List the parser's errors: node, operator, message."""
        errors = [self._parser.get_error(place) for place in range(self._parser.num_errors)]
        return [(error.node_name(), error.node_operator(), error.desc()) for error in errors]

    def build(self, engine: Path, plan: Plan) -> list[str]:
        """Write the engine, or return what in the plan this release cannot do."""
        config = self._builder.create_builder_config()
        problems = _configure(self._trt, config, plan)
        if problems:
            return problems
        image = self._network.get_input(0)
        if -1 in tuple(image.shape):
            profile = self._builder.create_optimization_profile()
            profile.set_shape(image.name, *([batch, *tuple(image.shape)[1:]] for batch in plan.batches))
            config.add_optimization_profile(profile)
        cache = _timing_cache(config, Path(plan.timing_cache)) if plan.timing_cache else None
        built = self._builder.build_serialized_network(self._network, config)
        if built is not None and cache is not None:
            cache = config.get_timing_cache()
            aside = Path(f"{plan.timing_cache}.{os.getpid()}")
            aside.write_bytes(bytes(cache.serialize()))
            aside.replace(plan.timing_cache)
        if built is not None:
            engine.write_bytes(bytes(built))
        return []


def _configure(trt: Any, config: Any, plan: Plan) -> list[str]:
    """Set what the plan says. What differs between releases is looked up by name: its number changes."""
    problems = []
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # What is FP32 in the file is FP32: TensorFloat-32 would silently round it to ten bits.
    config.clear_flag(trt.BuilderFlag.TF32)
    for name in plan.flags:
        flag = getattr(trt.BuilderFlag, name, None)
        if flag is None:
            problems.append(f"release {trt.__version__} has no {name}")
        else:
            config.set_flag(flag)
    level = getattr(trt.HardwareCompatibilityLevel, plan.hardware, None)
    if level is None:
        problems.append(f"release {trt.__version__} has no hardware compatibility level {plan.hardware}")
    elif plan.hardware != NONE:
        config.hardware_compatibility_level = level
    if plan.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan.workspace_mb << 20)
    return problems + _aim(trt, config, plan.capabilities)


def _aim(trt: Any, config: Any, capabilities: tuple[str, ...]) -> list[str]:
    if not capabilities:
        return []
    members = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    known = {f"{name[2:-1]}.{name[-1]}": value for name, value in members.items() if name[2:].isdigit()}
    unknown = sorted(set(capabilities) - known.keys())
    if unknown:
        return [f"it cannot build for compute capability {', '.join(unknown)}, only for {', '.join(known)}"]
    config.num_compute_capabilities = len(capabilities)
    for place, one in enumerate(capabilities):
        config.set_compute_capability(known[one], place)
    return []


def _timing_cache(config: Any, file: Path) -> Any:
    """Load what was timed before; start an empty cache where the file is another release's, or damaged."""
    try:
        cache = config.create_timing_cache(file.read_bytes())
    except OSError:
        cache = None
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
