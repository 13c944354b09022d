"""onnxruntime on the CPU: the reference runtime, and a target of its own.

It has no half-precision variant: the CPU provider runs float16 by casting it back.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, TargetError, first_line
from ..portable import machine, onnx_file
from ..portable.frozen import described
from ..portable.session import Availability, Compiled, CompileNotes, Dialect, Layer, Signature, Throughput
from . import _compiled, _cpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MODEL = "model.onnx"


@dataclass(frozen=True)
class Options:
    """What a recipe may set for onnxruntime."""

    threads: int | None = field(default=None, metadata=_cpu.THREADS)
    cpu: str = field(default="this", metadata=_cpu.CPU)
    residual: str | None = field(default=None, metadata=_cpu.RESIDUAL)
    zero_points: str = field(default="auto", metadata=_cpu.ZERO_POINT)
    fused: bool = field(
        default=True,
        metadata=described("Fuse operators. false computes INT8 in float: slower, but the same on every CPU."),
    )

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        _cpu.check_threads(self.threads)
        _cpu.check_int8(self.cpu, self.residual, self.zero_points)


class OnnxRuntime:
    """The target."""

    name = "onnxruntime"
    title = "onnxruntime CPU"
    libraries = ("onnxruntime",)
    oldest = "1.23"
    install = "pip install onnxruntime"
    on_card = False
    # Convolutions of uint8 are a tenth faster than those of int8. A Gemm with a float bias dequantizes its weights in
    # each inference, and computes with them in float.
    dialect = Dialect(
        activations="u8-after-relu",
        residual="both",
        channel_multiple=16,
        zero_points="always",
        integer_bias=True,
        rounds_for_all=True,
    )
    options = Options

    def available(self, options: Any = None) -> Availability:
        return _compiled.availability("onnxruntime", self)

    def speaks(self, options: Options) -> Dialect:
        return _cpu.spoken(self.dialect, options.cpu, options.residual, options.zero_points)

    def remarks(self, options: Options) -> tuple[str, ...]:
        return (_cpu.WITHOUT_DOT_PRODUCT,) if options.cpu == "arm" else ()

    def full(self, options: Options) -> Options:
        return options

    def half(self, options: Options) -> None:
        return None

    def half_in_file(self, options: Options) -> bool:
        return False

    def compile(self, onnx: Path, options: Options, out: Path, cache: Path | None = None) -> Compiled:
        """Copy the file, and load it once: onnxruntime compiles while loading, and would refuse it then."""
        shutil.copyfile(onnx, out / MODEL)
        for name in _external(onnx):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(onnx.parent / name, out / name)
        _cpu.write_sidecar(out, self, options, onnx)
        with self.load(out) as session:
            return Compiled(CompileNotes(session.signature))

    def load(self, compiled: Path) -> OnnxRuntimeSession:
        return OnnxRuntimeSession(compiled / MODEL, _cpu.checked_options(compiled, self, Options, _saturates))


class OnnxRuntimeSession:
    """A loaded network."""

    def __init__(self, model: Path, options: Options):
        self._model, self._options = model, options
        self._session = self._open(options.threads or machine.cores())
        self.signature = _signature(self._session)

    def __enter__(self) -> OnnxRuntimeSession:
        return self

    def __exit__(self, *problem: object) -> None:
        del self._session

    def infer(self, batch: np.ndarray) -> np.ndarray:
        return self._session.run([self.signature.output], {self.signature.input: batch})[0]

    def device_times_ms(self, batch: np.ndarray, n: int) -> None:
        return None

    def throughput(self, batch: np.ndarray, streams: int, seconds: float) -> Throughput:
        """Measure one session that as many Python threads as streams call; each runs at least once.

        Simultaneous runs share the session's threads, and each works in its calling thread as well: both together are
        as many as the cores, or as the streams where those are more.
        """
        session = self._open(max(1, (self._options.threads or machine.cores()) - streams + 1))
        feed = {self.signature.input: batch}
        session.run(None, feed)  # the first one prepares its memory, and does not count
        began = time.perf_counter()

        def work(_: int) -> int:
            done = 0
            while not done or time.perf_counter() - began < seconds:
                session.run(None, feed)
                done += 1
            return done

        with ThreadPoolExecutor(streams) as pool:
            done = sum(pool.map(work, range(streams)))  # raises what one of them raises
        return Throughput(done * len(batch), time.perf_counter() - began)

    def device_memory_mb(self) -> float:
        return 0.0

    def layers(self) -> list[Layer]:
        """Run one inference under onnxruntime's own profiler, which records the optimised graph as executed."""
        with tempfile.TemporaryDirectory() as folder:
            session = self._open(1, profile=f"{folder}/layers")
            signature = self.signature
            image = np.zeros(signature.shape(signature.batch or 1), signature.kind)
            session.run(None, {signature.input: image})
            events = json.loads(Path(session.end_profiling()).read_text())
        ran = (event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"))
        return [
            Layer(
                event["name"].removesuffix("_kernel_time"),
                event["args"]["op_name"],
                _precision(event["args"].get("input_type_shape", [])),
            )
            for event in ran
        ]

    def _open(self, threads: int, profile: str | None = None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin between runs slow other measurements; inside a run spinning is a tenth faster.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if not self._options.fused:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        try:
            return onnxruntime.InferenceSession(str(self._model), options, providers=["CPUExecutionProvider"])
        except errors() as problem:
            raise TargetError(
                self._model.name,
                f"is refused: {first_line(problem)}",
                hint="the message names what onnxruntime does not accept; `edgeresnet targets` shows its version",
            ) from problem


def _saturates(options: Options) -> bool:
    """Return whether sums of full-range weights saturate: on x86 without VNNI, where INT8 is computed as INT8."""
    return options.fused and not machine.has_int8()


def _external(onnx: Path) -> tuple[str, ...]:
    """Return the files of external weights, which must travel with the network."""
    try:
        return onnx_file.read(onnx).external
    except ModelError as problem:
        raise TargetError(problem.subject, problem.problem, hint=problem.hint) from problem


def errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions of onnxruntime: they have no common base."""
    import onnxruntime

    state = onnxruntime.capi.onnxruntime_pybind11_state
    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )


def _signature(session: Any) -> Signature:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    pixels = [value.type for value in inputs] == ["tensor(uint8)"]
    return _compiled.signature([_value(each) for each in inputs], [_value(each) for each in outputs], pixels=pixels)


def _value(value: Any) -> tuple[str, list[int | None]]:
    """Return name and sides: onnxruntime has a word or nothing for a side that may vary, and no sides if unknown."""
    return value.name, [side if isinstance(side, int) and side > 0 else None for side in value.shape]


def _precision(inputs: Iterable[Mapping[str, object]]) -> str:
    """Return the element type of an operator's first input."""
    for slot in inputs:
        for kind in slot:
            return {"float": "f32", "float16": "f16", "uint8": "u8", "int8": "i8"}.get(kind, kind)
    return "?"


TARGET = OnnxRuntime()
