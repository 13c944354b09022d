"""A stand-in for TensorRT *and* for a GPU, for machines that have neither: nothing here ran on NVIDIA's software.

It has the names and behaviour of TensorRT's Python module as far as edgeresnet uses it: flags that are not integers,
failures that are None or False with the reason in the log. What is "built" is the ONNX file itself, which onnxruntime
answers; the GPU's memory is the host's. Put this folder on the search path and `import tensorrt` finds it; importing it
puts the driver's stand-in where edgeresnet looks for libcuda. Environment variables set what goes wrong.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import time
import types
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgeresnet.targets import _cuda

__version__ = os.environ.get("STANDIN_VERSION", "10.3.0")
_GPU = os.environ.get("STANDIN_GPU", "Stand-in GPU")
_CAPABILITY = os.environ.get("STANDIN_CAPABILITY", "8.7")
_PROCESSORS = os.environ.get("STANDIN_PROCESSORS", "16")
_FAILS = os.environ.get("STANDIN_FAILS", "")


class _Flag(enum.Enum):
    """As pybind's: no integer, but int() of it is one."""

    def __int__(self) -> int:
        return int(self.value)


class NetworkDefinitionCreationFlag(_Flag):
    STRONGLY_TYPED = 1 if __version__.startswith("10.") else 0


class BuilderFlag(_Flag):
    TF32 = 6
    SPARSE_WEIGHTS = 7
    VERSION_COMPATIBLE = 13


class HardwareCompatibilityLevel(_Flag):
    NONE = 0
    AMPERE_PLUS = 1
    if not __version__.startswith("10."):
        SAME_COMPUTE_CAPABILITY = 2


class ProfilingVerbosity(_Flag):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class MemoryPoolType(_Flag):
    WORKSPACE = 0


class LayerInformationFormat(_Flag):
    ONELINE = 0
    JSON = 1


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3

    def log(self, severity: Severity, message: str) -> None:
        """Whoever makes a logger writes it."""


class _Memory:
    """Has no len(), as IHostMemory has none."""

    def __init__(self, data: bytes):
        self._data, self.nbytes = data, len(data)

    def __bytes__(self) -> bytes:
        return self._data


class _Cache(_Memory):
    def serialize(self) -> _Memory:
        return _Memory(self._data or b"timed by the stand-in")


class _Profile:
    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        self.shapes = {name: [list(least), list(best), list(most)]}


class _Config:
    def __init__(self, logger: ILogger) -> None:
        self._logger, self.flags = logger, {BuilderFlag.TF32}
        self._profiles: list[dict[str, list[list[int]]]] = []
        self._cache: _Cache | None = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.limits: dict[str, int] = {}

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.limits[pool.name] = size

    def add_optimization_profile(self, profile: _Profile) -> int:
        self._profiles.append(profile.shapes)
        return len(self._profiles) - 1

    def create_timing_cache(self, data: bytes) -> _Cache:
        return _Cache(data)

    def set_timing_cache(self, cache: _Cache, ignore_mismatch: bool) -> bool:
        held = bytes(cache)
        if held and not held.startswith(b"timed by the stand-in"):
            self._logger.log(ILogger.Severity.WARNING, "the timing cache is another's")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> _Cache | None:
        return self._cache


class _Network:
    model: onnx.ModelProto

    @property
    def num_inputs(self) -> int:
        return len(self._ends("get_inputs"))

    @property
    def num_outputs(self) -> int:
        return len(self._ends("get_outputs"))

    def get_input(self, place: int) -> Any:
        return self._ends("get_inputs")[place]

    def get_output(self, place: int) -> Any:
        return self._ends("get_outputs")[place]

    def _ends(self, which: str) -> list[Any]:
        session = onnxruntime.InferenceSession(self.model.SerializeToString(), providers=["CPUExecutionProvider"])
        return [
            types.SimpleNamespace(name=each.name, shape=tuple(s if isinstance(s, int) else -1 for s in each.shape))
            for each in getattr(session, which)()
        ]


class OnnxParser:
    def __init__(self, network: _Network, logger: ILogger):
        self._network, self._logger, self.num_errors = network, logger, 0

    def parse_from_file(self, path: str) -> bool:
        if _FAILS == "parse":
            self.num_errors = 1
            return False
        self._network.model = onnx.load(path)
        return True

    def get_error(self, place: int) -> Any:
        return types.SimpleNamespace(node_name=lambda: "conv1", node_operator=lambda: "Conv", desc=lambda: "It is bad.")


class Builder:
    def __init__(self, logger: ILogger):
        if _FAILS == "start":
            logger.log(ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags: int) -> _Network:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config(self._logger)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> _Memory | None:
        if _FAILS == "memory":
            self._logger.log(ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was 1 bytes.)")
            return None
        if -1 in network.get_input(0).shape and not config._profiles:
            self._logger.log(ILogger.Severity.ERROR, "Network has dynamic inputs, but no optimization profile")
            return None
        kinds = {tensor.data_type for tensor in network.model.graph.initializer}
        if _FAILS == "fp32" and onnx.TensorProto.FLOAT16 not in kinds:
            self._logger.log(ILogger.Severity.ERROR, "Error Code 10: Could not find any implementation for node")
            return None
        if _FAILS == "tactic":
            self._logger.log(ILogger.Severity.ERROR, "a kernel did not fit while it was tried")
        if _FAILS == "warn":
            self._logger.log(ILogger.Severity.WARNING, "a layer was slow")
        about = {
            "flags": sorted(flag.name for flag in config.flags),
            "profiles": config._profiles,
            "verbosity": config.profiling_verbosity.name,
            "hardware": config.hardware_compatibility_level.name,
            "limits": config.limits,
            "noise": int.from_bytes(os.urandom(4), "little") if _FAILS == "varies" else None,
        }
        return _Memory(json.dumps(about).encode() + b"\n" + network.model.SerializeToString())


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, logger: ILogger):
        self._logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
        if _FAILS == "load":
            self._logger.log(ILogger.Severity.ERROR, "Error Code 6: The engine plan file is not compatible")
            return None
        head, _, body = data.partition(b"\n")
        return _Engine(json.loads(head), body)


class _Engine:
    def __init__(self, about: dict[str, Any], model: bytes):
        self.about, self.model = about, onnx.load_from_string(model)
        self.num_layers = len(self.model.graph.node)
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def create_execution_context(self) -> _Context | None:
        return _Context(self, self._session)

    def create_engine_inspector(self) -> _Inspector:
        return _Inspector(self.model, self.about["verbosity"])


class _Inspector:
    """What a layer reads, in the words of the release."""

    def __init__(self, model: onnx.ModelProto, verbosity: str):
        self._model, self._details = onnx.shape_inference.infer_shapes(model), verbosity == "DETAILED"

    def get_layer_information(self, place: int, form: LayerInformationFormat) -> str:
        node = self._model.graph.node[place]
        if not self._details:
            return json.dumps(node.name)
        kinds = {value.name: value.type.tensor_type.elem_type for value in self._model.graph.value_info}
        kinds |= {value.name: value.type.tensor_type.elem_type for value in self._model.graph.input}
        kinds |= {value.name: value.data_type for value in self._model.graph.initializer}
        word = {1: "Float", 10: "Half", 3: "Int8", 2: "UInt8"}.get(
            kinds.get(node.input[0] if node.input else "", 0), ""
        )
        key = "Format/Datatype" if __version__.startswith("10.") else "DataType"
        return json.dumps(
            {"Name": node.name or node.op_type, "LayerType": node.op_type, "Inputs": [{"Name": "x", key: word}]}
        )


class _Context:
    def __init__(self, engine: _Engine, session: onnxruntime.InferenceSession):
        self._engine, self._session = engine, session
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] | None = None
        sides = session.get_inputs()[0].shape
        if all(isinstance(side, int) for side in sides):
            self._shape = tuple(sides)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        for profile in self._engine.about["profiles"]:
            least, _, most = profile[name]
            if not least[0] <= shape[0] <= most[0]:
                return False
        self._shape = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in {value.name for value in (*self._session.get_inputs(), *self._session.get_outputs())}

    def execute_async_v3(self, stream: int) -> bool:
        image, logits = self._session.get_inputs()[0], self._session.get_outputs()[0]
        assert self._shape is not None, "no input shape was set"
        kind = np.uint8 if image.type == "tensor(uint8)" else np.float32
        given = _view(self._addresses[image.name], self._shape, kind)
        (answer,) = self._session.run([logits.name], {image.name: given.copy()})
        if self._engine.about["noise"] is not None:  # another engine at each build, as TensorRT's are
            rng = np.random.default_rng(self._engine.about["noise"])
            answer = answer + rng.normal(0, 0.2 * np.abs(answer).max(), answer.shape[1:]).astype(np.float32)
        _view(self._addresses[logits.name], answer.shape, np.float32)[...] = answer
        return True


def _view(address: int, shape: tuple[int, ...], kind: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), kind).reshape(shape)


_held: dict[int, Any] = {}
_times: dict[int, float] = {}


def _take(pointer: Any, size: int) -> int:
    if _FAILS == "gpu-memory":
        return 2
    memory = ctypes.create_string_buffer(size)
    address = ctypes.addressof(memory)
    _held[address] = memory
    pointer._obj.value = address
    return 0


def _give_back(pointer: Any) -> int:
    del _held[pointer.value]  # what was given back twice, or never taken, is an error here
    return 0


def _copy(to: Any, source: Any, size: int, stream: Any) -> int:
    ctypes.memmove(to.value, source.value, size)
    return 719 if _FAILS == "lost" else 0


def _new(pointer: Any, *_: Any) -> int:
    return _take(pointer, 8)


def _set(pointer: Any, value: float) -> int:
    pointer._obj.value = value
    return 0


def _record(event: Any, stream: Any) -> int:
    _times[event.value] = time.perf_counter()
    return 0


def _named(words: Any, size: int, device: Any) -> int:
    words.value = _GPU.encode()
    return 0


def _error_name(code: int, pointer: Any) -> int:
    pointer._obj.value = {2: b"CUDA_ERROR_OUT_OF_MEMORY", 719: b"CUDA_ERROR_LAUNCH_FAILED"}.get(code, b"CUDA_ERROR")
    return 0


_DRIVER = types.SimpleNamespace(
    cuInit=lambda flags: 0,
    cuGetErrorName=_error_name,
    cuDriverGetVersion=lambda pointer: _set(pointer, 12040),
    cuDeviceGet=lambda pointer, number: _set(pointer, number),
    cuDeviceGetName=_named,
    cuDeviceGetAttribute=lambda pointer, which, device: _set(
        pointer, int(_PROCESSORS if which == 16 else _CAPABILITY.split(".")[which - 75])
    ),
    cuDevicePrimaryCtxRetain=_new,
    cuCtxSetCurrent=lambda context: 0,
    cuMemGetInfo_v2=lambda free, total: _set(free, (8 << 30) - sum(len(memory) for memory in _held.values())),
    cuMemAlloc_v2=_take,
    cuMemFree_v2=_give_back,
    cuMemAllocHost_v2=_take,
    cuMemFreeHost=_give_back,
    cuMemcpyHtoDAsync_v2=_copy,
    cuMemcpyDtoHAsync_v2=_copy,
    cuStreamCreate=_new,
    cuStreamDestroy_v2=_give_back,
    cuStreamSynchronize=lambda stream: 0,
    cuEventCreate=_new,
    cuEventDestroy_v2=_give_back,
    cuEventRecord=_record,
    cuEventSynchronize=lambda event: 0,
    cuEventElapsedTime=lambda took, first, last: _set(took, 1000 * (_times[last.value] - _times[first.value])),
)


def held() -> int:
    """How many pieces of the GPU's memory are not given back. The context is one that stays."""
    return len(_held)


_cuda.load = lambda library: _DRIVER  # type: ignore[assignment]
