"""The GPU's memory, streams and clock, by ctypes from NVIDIA's driver library.

Not from libcudart: TensorRT-RTX does not include it, and on a device with several, nothing shows which one TensorRT
uses. The driver's library is there wherever a GPU works, and its primary context is the one that TensorRT uses. So a
device needs neither torch nor a CUDA package. Knows no TensorRT.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MachineError, TargetError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_OUT_OF_MEMORY = 2
_LOST = {46, 214, 700, 702, 709, 713, 714, 715, 716, 717, 718, 719, 999}  # the context is dead, or the device is
_PROCESSORS, _MAJOR, _MINOR = 16, 75, 76  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, …_COMPUTE_CAPABILITY_…
_NON_BLOCKING = 1
# Arguments by function; every one returns an error code. For names with _v2, cuda.h defines those without.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocHost_v2": (POINTER(c_void_p), c_size_t),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuEventCreate": (POINTER(c_void_p), c_uint),
    "cuEventDestroy_v2": (c_void_p,),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
}


def problem() -> str:
    """Return why no NVIDIA GPU can be used here, by the driver as the runtime uses it; empty where one can."""
    try:
        driver = load(LIBRARY)
    except OSError:
        return "there is no NVIDIA driver"
    code = driver.cuInit(0)
    return f"the NVIDIA driver finds no usable GPU ({_name(driver, code)})" if code else ""


@functools.cache
def load(library: str) -> Any:
    """Load the driver's library, and set its functions' types."""
    driver = ctypes.CDLL(library)
    for name, arguments in _FUNCTIONS.items():
        function = getattr(driver, name)
        function.argtypes, function.restype = arguments, c_int
    return driver


@dataclass(frozen=True)
class Device:
    """The first GPU, as its driver describes it."""

    name: str
    capability: str  # as NVIDIA writes it: "8.7" is an Orin
    cuda: str  # the newest version that the driver supports
    processors: int  # an AGX Orin, an Orin NX and an Orin Nano share name and capability


def device() -> Device:
    """Return the first GPU, without a context, which would take memory."""
    call = _opened()
    call("cuDeviceGet", byref(handle := c_int()), 0)
    name, version = ctypes.create_string_buffer(256), c_int()
    call("cuDeviceGetName", name, len(name), handle)
    call("cuDriverGetVersion", byref(version))
    numbers = []
    for which in (_MAJOR, _MINOR, _PROCESSORS):
        call("cuDeviceGetAttribute", byref(number := c_int()), which, handle)
        numbers.append(number.value)
    major, minor, processors = numbers
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Device(name.value.decode(errors="replace"), f"{major}.{minor}", cuda, processors)


class Gpu:
    """The first GPU, whose primary context is current in this thread from then on."""

    def __init__(self) -> None:
        self.call = _opened()
        self.call("cuDeviceGet", byref(handle := c_int()), 0)
        self.call("cuDevicePrimaryCtxRetain", byref(context := c_void_p()), handle)
        self.call("cuCtxSetCurrent", context)

    def free_mb(self) -> float:
        """Return how much of its memory is free. A Jetson's is the board's own memory."""
        self.call("cuMemGetInfo_v2", byref(free := c_size_t()), byref(c_size_t()))
        return free.value / 1e6


def _opened() -> Callable[..., None]:
    """Return a function that calls the driver's functions by name, and raises what an error code means."""
    missing = problem()
    if missing:
        raise TargetError("the engine", f"needs a GPU: {missing}", hint="check the driver with `nvidia-smi`")
    driver = load(LIBRARY)

    def call(function: str, *arguments: Any) -> None:
        code = getattr(driver, function)(*arguments)
        if code == _OUT_OF_MEMORY:
            raise MachineError(
                "the GPU's memory",
                "ran out",
                hint="close other programs on the GPU (`nvidia-smi` lists them), or lower `batch`",
            )
        if code in _LOST:
            raise MachineError(
                "the GPU",
                f"failed: {function} returned {_name(driver, code)}",
                hint="run again; if it fails again, restart the driver or the board",
            )
        if code:
            raise TargetError(
                "the engine",
                f"failed on the GPU: {function} returned {_name(driver, code)}",
                hint="check the GPU with `nvidia-smi`",
            )

    return call


class Pair:
    """One tensor in the GPU's memory and in page-locked memory of the host, which copies need to be fast."""

    def __init__(self, gpu: Gpu, shape: tuple[int, ...], kind: Any):
        self._gpu, self.nbytes = gpu, int(np.prod(shape)) * np.dtype(kind).itemsize
        self.device, self._host = c_uint64(), c_void_p()
        gpu.call("cuMemAlloc_v2", byref(self.device), self.nbytes)
        try:
            gpu.call("cuMemAllocHost_v2", byref(self._host), self.nbytes)
        except (MachineError, TargetError):
            gpu.call("cuMemFree_v2", self.device)
            raise
        held = (ctypes.c_uint8 * self.nbytes).from_address(self._host.value or 0)
        self.array = np.frombuffer(held, kind).reshape(shape)

    def to_device(self, stream: c_void_p, rows: int) -> None:
        """Start a copy to the GPU."""
        self._gpu.call("cuMemcpyHtoDAsync_v2", self.device, self._host, self._part(rows), stream)

    def to_host(self, stream: c_void_p, rows: int) -> None:
        """Start a copy to the host."""
        self._gpu.call("cuMemcpyDtoHAsync_v2", self._host, self.device, self._part(rows), stream)

    def free(self) -> None:
        """Give the memory back."""
        self._gpu.call("cuMemFree_v2", self.device)
        self._gpu.call("cuMemFreeHost", self._host)

    def _part(self, rows: int) -> int:
        return self.nbytes // len(self.array) * rows


class Stream:
    """Work in order. Not the default stream, which waits for all others."""

    def __init__(self, gpu: Gpu):
        self._gpu, self.handle = gpu, c_void_p()
        gpu.call("cuStreamCreate", byref(self.handle), _NON_BLOCKING)

    def wait(self) -> None:
        """Wait until all its work is done."""
        self._gpu.call("cuStreamSynchronize", self.handle)

    def free(self) -> None:
        self._gpu.call("cuStreamDestroy_v2", self.handle)


class Stopwatch:
    """Times what a stream does by the GPU's own clock."""

    def __init__(self, gpu: Gpu, stream: Stream):
        self._gpu, self._stream = gpu, stream
        self._events = c_void_p(), c_void_p()
        for event in self._events:
            gpu.call("cuEventCreate", byref(event), 0)

    def start(self) -> None:
        self._gpu.call("cuEventRecord", self._events[0], self._stream.handle)

    def stop_ms(self) -> float:
        self._gpu.call("cuEventRecord", self._events[1], self._stream.handle)
        self._gpu.call("cuEventSynchronize", self._events[1])
        self._gpu.call("cuEventElapsedTime", byref(took := c_float()), *self._events)
        return took.value

    def free(self) -> None:
        for event in self._events:
            self._gpu.call("cuEventDestroy_v2", event)


def _name(driver: Any, code: int) -> str:
    name = c_char_p()
    known = driver.cuGetErrorName(code, byref(name)) == 0 and name.value
    return name.value.decode() if known and name.value else f"error {code}"
