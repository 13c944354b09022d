"""An engine of TensorRT or TensorRT-RTX, loaded on the GPU and run by the names of its tensors.

Knows neither library by name, and no file but the engine: the caller has checked that it may be loaded here.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EdgeresnetError, MachineError, TargetError
from ..portable.session import Layer, Signature, Throughput
from . import _cuda, _nvinfer

# What a layer reads: 10.x has "Format/Datatype": "Int8", or a sentence that ends in it; 11.x separates type and layout.
# The first that fits counts: "BFloat16" holds "Float", and "UInt8" holds "Int8".
_TYPES = (
    ("u8", r"uint8"),
    ("i8", r"int8"),
    ("bf16", r"bf16|bfloat"),
    ("f16", r"fp16|half"),
    ("f8", r"fp8"),
    ("f32", r"fp32|float"),
    ("i32", r"int32"),
    ("i64", r"int64"),
)


class EngineSession:
    """A loaded engine with memory for the largest batch; answers are on the host when `infer` returns."""

    def __init__(self, module: str, engine: Path, signature: Signature, portable: bool):
        self._trt = importlib.import_module(module)
        self.signature = signature
        self._ear, self._heard = _nvinfer.hearing(self._trt)
        self._gpu = _cuda.Gpu()  # before the runtime: it works in the context that is current
        self._free_mb = self._gpu.free_mb()
        with contextlib.ExitStack() as stack:
            self._runtime = self._made(lambda: self._trt.Runtime(self._ear), "the runtime")
            if portable:  # a version-compatible engine holds code for the host: it is our own
                self._runtime.engine_host_code_allowed = True
            self._engine = self._made(lambda: self._runtime.deserialize_cuda_engine(engine.read_bytes()), engine.name)
            self._lane = stack.enter_context(self._new_lane())
            self._stopwatch = _cuda.Stopwatch(self._gpu, self._lane.stream)
            stack.callback(self._stopwatch.free)
            self._open = stack.pop_all()

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(EdgeresnetError):  # after a failure the GPU takes no memory back
            self._open.close()
        del self._lane, self._engine, self._runtime

    def infer(self, batch: np.ndarray) -> np.ndarray:
        lane = self._lane
        lane.fill(batch)
        lane.run()
        lane.stream.wait()
        return lane.logits.array[: len(batch)].copy()

    def device_times_ms(self, batch: np.ndarray, n: int) -> list[float]:
        """Time inferences between two events of the GPU, without copies."""
        self.infer(batch)
        times = []
        for _ in range(n):
            self._stopwatch.start()
            self._lane.enqueue()
            times.append(self._stopwatch.stop_ms())
        return times

    def throughput(self, batch: np.ndarray, streams: int, seconds: float) -> Throughput:
        """Measure parallel streams, each with a context and memory of its own, in turn."""
        with contextlib.ExitStack() as stack:
            lanes = [stack.enter_context(self._new_lane()) for _ in range(streams)]
            for lane in lanes:
                lane.fill(batch)
                lane.run()
            for lane in lanes:
                lane.stream.wait()
            began, count = time.perf_counter(), 0
            while not count or time.perf_counter() - began < seconds:
                for lane in lanes:
                    lane.stream.wait()  # for its last answer
                    lane.fill(batch)
                    lane.run()
                count += len(lanes)
            for lane in lanes:
                lane.stream.wait()
            return Throughput(count * len(batch), time.perf_counter() - began)

    def device_memory_mb(self) -> float:
        return max(0.0, self._free_mb - self._gpu.free_mb())

    def layers(self) -> list[Layer]:
        inspector = self._engine.create_engine_inspector()
        form = self._trt.LayerInformationFormat.JSON
        found = [layer_of(inspector.get_layer_information(place, form)) for place in range(self._engine.num_layers)]
        return [layer for layer in found if layer.operator != "NoOp"]

    def _new_lane(self) -> _Lane:
        context = self._made(self._engine.create_execution_context, "an execution context")
        return _Lane.open(self._gpu, context, self.signature)

    def _made(self, make: Callable[[], Any], what: str) -> Any:
        """Make a part of the library; raise the reason from its logger where it returns nothing."""
        before = len(self._heard)
        try:
            made = make()
        except TypeError:  # a constructor cannot return nothing: pybind11 raises instead
            made = None
        if made is not None:
            return made
        errors = [message for severity, message in self._heard[before:] if severity == _nvinfer.ERROR]
        why = _nvinfer.sentence(errors[0]) if errors else "it gives no reason"
        if _nvinfer.NO_MEMORY.search(" ".join(errors)):
            raise MachineError(
                "the GPU's memory",
                f"ran out while {what} was made: {why}",
                hint="close other programs on the GPU, or lower the largest `batch`",
            )
        raise TargetError(what, f"failed to load: {why}", hint=_nvinfer.BUILD_HERE)


@dataclass
class _Lane:
    """One request at a time: an execution context, its stream, and memory for the largest batch."""

    context: Any
    stream: _cuda.Stream
    image: _cuda.Pair
    logits: _cuda.Pair
    signature: Signature
    rows: int = 0
    closing: Any = None

    @staticmethod
    def open(gpu: _cuda.Gpu, context: Any, signature: Signature) -> _Lane:
        """Take memory and a stream for a context."""
        most = signature.batch or signature.most or 1
        with contextlib.ExitStack() as stack:
            stream = _cuda.Stream(gpu)
            stack.callback(stream.free)
            image = _cuda.Pair(gpu, signature.shape(most), signature.kind)
            stack.callback(image.free)
            logits = _cuda.Pair(gpu, (most, *signature.answer), np.float32)
            stack.callback(logits.free)
            for name, pair in ((signature.input, image), (signature.output, logits)):
                if not context.set_tensor_address(name, pair.device.value):
                    raise TargetError("the engine", f"has no tensor {name}", hint=_nvinfer.BUILD_HERE)
            return _Lane(context, stream, image, logits, signature, closing=stack.pop_all())

    def __enter__(self) -> _Lane:
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(EdgeresnetError):
            self.stream.wait()  # nothing may write into freed memory
        self.context = None
        self.closing.close()

    def fill(self, batch: np.ndarray) -> None:
        """Set the batch."""
        self.signature.check(batch)
        if len(batch) != self.rows:
            if not self.context.set_input_shape(self.signature.input, tuple(batch.shape)):
                raise TargetError("the engine", f"does not accept a batch of {len(batch)}", hint=_nvinfer.BUILD_HERE)
            self.rows = len(batch)
        np.copyto(self.image.array[: self.rows], batch)

    def run(self) -> None:
        """Start the copies and the inference."""
        self.image.to_device(self.stream.handle, self.rows)
        self.enqueue()
        self.logits.to_host(self.stream.handle, self.rows)

    def enqueue(self) -> None:
        """Start the inference alone."""
        if not self.context.execute_async_v3(self.stream.handle.value):
            raise TargetError(
                "the engine", "cannot start an inference", hint="check the GPU with `nvidia-smi`, then run again"
            )


def layer_of(text: str) -> Layer:
    """Read one layer from the engine's inspector, whose metadata may hold quotes that no JSON parser takes."""
    try:
        about = json.loads(text)
    except ValueError:
        about = {key: _quoted(text, key) for key in ("Name", "LayerType")} | {"Inputs": [{"Format": _first(text)}]}
    if not isinstance(about, dict):  # names alone, where an engine was built without details
        return Layer(str(about), "?", "?")
    reads = [each for each in about.get("Inputs", ()) if isinstance(each, dict)] or about.get("Outputs", ())
    return Layer(about.get("Name", "?"), about.get("LayerType", "?"), _precision(reads[0]) if reads else "?")


def _precision(tensor: Mapping[str, object]) -> str:
    words = " ".join(str(tensor.get(key, "")) for key in ("Format/Datatype", "DataType", "Datatype", "Format"))
    return next((name for name, pattern in _TYPES if re.search(pattern, words, re.IGNORECASE)), "?")


def _quoted(text: str, key: str) -> str:
    found = re.search(rf'"{key}": *"([^"]*)"', text)
    return found.group(1) if found else "?"


def _first(text: str) -> str:
    """Return the first type or layout in the text, which is the first input's."""
    found = re.search(r'"(?:Format/Datatype|DataType|Format)": *"([^"]*)"', text)
    return found.group(1) if found else ""
