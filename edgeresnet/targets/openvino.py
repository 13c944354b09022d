"""OpenVINO: Intel and Arm CPUs, and Intel's GPUs and NPUs by `device`.

`float_parts` is the precision of all that is not INT8. OpenVINO's own choice is BF16 on CPUs that have it, which
changes answers silently: here the default is f32, and the precision is always recorded.
"""

from __future__ import annotations

import errno
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import TargetError, first_line
from ..portable import machine
from ..portable.frozen import described
from ..portable.session import Availability, Compiled, CompileNotes, Dialect, Layer, Signature, Throughput
from . import _compiled, _cpu, _ovdevice

MODEL = "model.xml"
_KEPT_COMPILED = 4  # one compiled network per batch size; latency and evaluation use two


@dataclass(frozen=True)
class Options:
    """What a recipe may set for OpenVINO."""

    float_parts: str | None = field(
        default=None,
        metadata=described(
            "Number type of the layers that are not INT8. Unset: f32, on an NPU f16. auto: OpenVINO chooses.",
            *_ovdevice.PRECISIONS,
            None,
        ),
    )
    threads: int | None = field(default=None, metadata=_cpu.THREADS)
    cpu: str = field(default="this", metadata=_cpu.CPU)
    residual: str | None = field(default=None, metadata=_cpu.RESIDUAL)
    zero_points: str = field(default="auto", metadata=_cpu.ZERO_POINT)
    device: str = field(default="CPU", metadata=_ovdevice.DEVICE)

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        precision = self.float_parts or _ovdevice.default_precision(self.device)
        object.__setattr__(self, "float_parts", precision)
        _cpu.check_threads(self.threads)
        _cpu.check_int8(self.cpu, self.residual, self.zero_points)
        _ovdevice.check(self.device, precision, self.threads, self.cpu)

    @property
    def precision(self) -> str:
        """The number type of what is not INT8."""
        return self.float_parts or _ovdevice.default_precision(self.device)


class OpenVino:
    """The target."""

    name = "openvino"
    title = "OpenVINO"
    libraries = ("openvino",)
    oldest = "2026.0"
    install = "pip install openvino"
    on_card = False
    dialect = Dialect(
        activations="u8-after-relu",
        residual="both",
        channel_multiple=16,
        sums_in_float=True,
        zero_points="where-closer",
        float_additions="scaled",
    )
    options = Options

    def available(self, options: Any = None) -> Availability:
        """Return whether OpenVINO is here, and finds the device."""
        found = _compiled.availability("openvino", self)
        if not found.ok or not isinstance(options, Options) or options.device == "CPU":
            return found
        import openvino

        reason, hint = _ovdevice.absent(options.device, openvino.Core().available_devices)
        return replace(found, ok=not reason, reason=reason, hint=hint)

    def speaks(self, options: Options) -> Dialect:
        spoken = _cpu.spoken(self.dialect, options.cpu, options.residual, options.zero_points)
        return _ovdevice.spoken(replace(spoken, image_zeros=_image_zeros(options)), options.device)

    def remarks(self, options: Options) -> tuple[str, ...]:
        return _ovdevice.remarks(options.device, options.precision, options.cpu)

    def full(self, options: Options) -> Options:
        return options

    def half(self, options: Options) -> Options | None:
        precision = _ovdevice.half_precision(options.device)
        return replace(options, float_parts=precision) if precision else None

    def half_in_file(self, options: Options) -> bool:
        return False

    def compile(self, onnx: Path, options: Options, out: Path, cache: Path | None = None) -> Compiled:
        """Convert the network to OpenVINO's format, and load it once."""
        import openvino

        try:
            model = openvino.Core().read_model(onnx)
            openvino.serialize(model, out / MODEL)
        except RuntimeError as problem:
            if shutil.disk_usage(out).free < onnx.stat().st_size:  # OpenVINO does not report why it could not write
                raise OSError(errno.ENOSPC, "No space left on device", str(out)) from problem
            raise TargetError(
                onnx.name,
                f"is refused: {_reason(problem)}",
                hint="the message names the operator; `edgeresnet targets` shows the version of OpenVINO",
            ) from problem
        _cpu.write_sidecar(out, self, options, onnx)
        with self.load(out) as session:
            return Compiled(CompileNotes(session.signature, session.float_parts(), session.device()))

    def load(self, compiled: Path) -> OpenVinoSession:
        return OpenVinoSession(compiled / MODEL, _cpu.checked_options(compiled, self, Options, _saturates))


def _image_zeros(options: Options) -> str:
    """Return how many zero points images have: one per channel needs no Pad, which takes time.

    Its answers and times were verified on x86 without AMX alone. OpenVINO may refuse unusual convolutions with AMX, and
    a CPU that is only named may have it.
    """
    verified = options.cpu == "this" and machine.has("avx2") and not machine.has("amx_int8")
    return "per-channel" if verified and options.zero_points != "never" else "one"


class _Ready(NamedTuple):
    """A network compiled for one batch size, its request, and the two tensors that a request of static shapes keeps."""

    network: Any
    request: Any
    image: np.ndarray
    logits: np.ndarray


class OpenVinoSession:
    """Compiles once per batch size, to a static shape: dynamic ones cost time at every inference."""

    def __init__(self, model: Path, options: Options):
        import openvino

        self._options = options
        self._core = openvino.Core()
        _ovdevice.refuse_absent(self._core, options.device)
        _ovdevice.refuse_absent_precision(self._core, options.device, options.precision)
        try:
            self._model = self._core.read_model(model)
            self.signature = _signature(self._model)
        except RuntimeError as problem:
            raise TargetError(
                model.name, f"cannot be read: {_reason(problem)}", hint="compile the network again"
            ) from problem
        self._compiled: dict[int, _Ready] = {}
        network = self._compiled_for(self.signature.batch or 1).network
        _ovdevice.check_precision(options.precision, self.float_parts() or "", _ovdevice.devices_of(network))

    def __enter__(self) -> OpenVinoSession:
        return self

    def __exit__(self, *problem: object) -> None:
        self._compiled.clear()

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Run one inference through the request's own tensors.

        OpenVINO's call by dictionary costs a small network a tenth; sharing the caller's array, which OpenVINO did not
        align, costs more than the copy.
        """
        ready = self._filled(batch)
        ready.request.infer()
        return ready.logits.copy()

    def device_times_ms(self, batch: np.ndarray, n: int) -> list[float]:
        """Time inferences by OpenVINO's own clock, without the copies and the Python around them."""
        request, times = self._filled(batch).request, []
        for _ in range(n):
            request.infer()
            times.append(request.latency)
        return times

    def throughput(self, batch: np.ndarray, streams: int, seconds: float) -> Throughput:
        import openvino

        compiled = self._compile(len(batch), streams=streams)
        queue = openvino.AsyncInferQueue(compiled, streams)
        queue.start_async([batch])
        queue.wait_all()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            queue.start_async([batch])
            count += 1
        queue.wait_all()
        return Throughput(count * len(batch), time.perf_counter() - began)

    def device_memory_mb(self) -> float:
        return 0.0

    def layers(self) -> list[Layer]:
        compiled = self._compiled_for(self.signature.batch or 1).network
        found: list[Layer] = []
        try:
            operators = compiled.get_runtime_model().get_ordered_ops()
        except RuntimeError:  # an NPU keeps its layers to itself
            return found
        for operator in operators:
            about = operator.get_rt_info()
            kind, precision = (_text(about, key) for key in ("layerType", "runtimePrecision"))
            if kind not in ("Const", "Input", "Output"):
                found.append(Layer(_text(about, "originalLayersNames") or operator.friendly_name, kind, precision))
        return found

    def float_parts(self) -> str | None:
        """Return the precision of what is not INT8, as the compiled network reports it; None where it does not."""
        return _ovdevice.precision_of(self._compiled_for(self.signature.batch or 1).network) or None

    def device(self) -> str:
        """Return what it runs on where that is not the CPU by request: of AUTO, the device that it chose."""
        if self._options.device == "CPU":
            return ""
        compiled = self._compiled_for(self.signature.batch or 1).network
        return _ovdevice.called(self._core, _ovdevice.devices_of(compiled))

    def _filled(self, batch: np.ndarray) -> _Ready:
        self.signature.check(batch)
        ready = self._compiled_for(len(batch))
        np.copyto(ready.image, batch)
        return ready

    def _compiled_for(self, batch: int) -> _Ready:
        if batch not in self._compiled:
            if len(self._compiled) >= _KEPT_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            compiled = self._compile(batch)
            request = compiled.create_infer_request()
            tensors = request.get_input_tensor().data, request.get_output_tensor().data
            self._compiled[batch] = _Ready(compiled, request, *tensors)
        return self._compiled[batch]

    def _compile(self, batch: int, streams: int = 1) -> Any:
        device = self._options.device
        settings = _ovdevice.settings(device, streams, self._options.threads)
        if self._options.precision != "auto":
            settings["INFERENCE_PRECISION_HINT"] = self._options.precision
        try:
            model = self._model
            if self.signature.batch is None:
                model = model.clone()
                model.reshape({0: list(self.signature.shape(batch))})
            return self._core.compile_model(model, device, settings)
        except RuntimeError as problem:
            raise TargetError(
                "the network",
                f"cannot be compiled: {_reason(problem)}",
                hint="`edgeresnet inspect` lists what OpenVINO does not support",
            ) from problem


def _saturates(options: Options) -> bool:
    """Return whether sums of full-range weights saturate where these options run: on x86 without VNNI."""
    return options.device in ("CPU", "AUTO") and not machine.has_int8()


def _reason(problem: RuntimeError) -> str:
    """Return the reason in OpenVINO's message, after places in its source, under headings that end in a colon."""
    lines = [line.strip(" -") for line in str(problem).splitlines()]
    reasons = [line for line in lines if line and not line.endswith(":") and not line.startswith("Model wasn't fully")]
    return first_line(RuntimeError(reasons[0])) if reasons else first_line(problem)


def _signature(model: Any) -> Signature:
    pixels = [port.element_type.get_type_name() for port in model.inputs] == ["u8"]
    inputs, outputs = ([_value(port) for port in ports] for ports in (model.inputs, model.outputs))
    return _compiled.signature(inputs, outputs, pixels=pixels)


def _value(port: Any) -> tuple[str, list[int | None] | None]:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return port.any_name, None
    return port.any_name, [None if side.is_dynamic else side.get_length() for side in shape]


def _text(about: Any, key: str) -> str:
    return about[key].astype(str) if key in about else ""


TARGET = OpenVino()
