"""onnxruntime as the quantizer's calculator: computes some tensors of a network for a batch of images."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import onnx

from ..errors import ModelError, first_line
from ..portable import machine
from ..targets import onnxruntime as runtime

_AT_ONCE = 2  # batches: more would be faster on many cores, but each takes memory
_LARGE = 1 << 18  # values of an image whose tensors are in memory once, not twice

T = TypeVar("T")
R = TypeVar("R")


def batch_for(shape: Sequence[int]) -> int:
    """Return how many images of this shape the engine takes at once: always the same, so that results are, too."""
    return int(np.clip((1 << 18) // max(int(np.prod(shape)), 1), 1, 64))


def at_once(shape: Sequence[int]) -> int:
    """Return how many batches of images of this shape to compute at once."""
    return _AT_ONCE if int(np.prod(shape)) < _LARGE else 1


def each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to all items, on every core at once; raise what one of the calls raises."""
    with _single_products(), ThreadPoolExecutor(machine.cores()) as pool:
        return list(pool.map(function, items))


class Runner:
    """Runs batches of any size, even of a network whose batch is fixed.

    Two batches at once take less time than two threads that wait for each other in every layer.
    """

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str], more: onnx.GraphProto | None = None):
        """Prepare to compute tensors of a network. `more` is added to its graph, for a few batches."""
        import onnxruntime

        _give_back_memory()
        addition = onnx.ModelProto() if more is None else onnx.ModelProto(graph=more)
        there = {value.name for value in model.graph.output}
        wanted = [name for name in tensors if name not in there]
        addition.graph.output.extend(
            onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in wanted
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._at_once = at_once([side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[1:]])
        options.intra_op_num_threads = max(1, machine.cores() // self._at_once)
        options.enable_mem_pattern = False
        if more is not None:  # all optimizations would take longer than they save
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.force_spinning_stop", "1")  # other threads work between two runs
        self._tensors = list(tensors)
        self._input = model.graph.input[0].name
        try:
            # Two protobuf messages in one string are their union: the network is not copied to add outputs.
            data = _any_batch(model).SerializeToString() + addition.SerializeToString()
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except runtime.errors() as problem:
            raise ModelError(
                "the network", f"cannot run in onnxruntime: {first_line(problem)}", hint="report this network"
            ) from problem
        self._session._model_bytes = None  # it would hold the bytes of the file until it ends
        del data
        _give_back_memory()

    def __call__(self, batch: np.ndarray, **more: np.ndarray) -> list[np.ndarray]:
        """Compute the tensors; `more` holds what further inputs read."""
        if not self._tensors:  # onnxruntime would compute them all
            return []
        try:
            return self._session.run(self._tensors, {self._input: batch, **more})
        except runtime.errors() as problem:
            raise ModelError(
                "the network",
                f"cannot take a batch of {len(batch)}: {first_line(problem)}",
                hint="export it with a dynamic batch",
            ) from problem

    def over(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yield each batch with its tensors, in order, while the next batches are computed."""
        return ahead(self, batches, self._at_once)


def ahead(function: Callable[[T], R], items: Iterable[T], several: int = _AT_ONCE) -> Iterator[tuple[T, R]]:
    """Yield each item with what the function returns, in order, while the next ones are computed."""
    if several == 1:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(min(several, machine.cores()))
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= several:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _single_products() -> Iterator[None]:
    """Let numpy's matrix products take one thread each: those of several calls at once would wait for each other.

    OpenBLAS waits in a loop, which took four times the work's own time. Another library is left as it is.
    """
    threads = openblas()
    before = threads[0]() if threads else 1
    if threads:
        threads[1](1)
    try:
        yield
    finally:
        if threads:
            threads[1](before)


def openblas() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """Return what reads and what sets the number of OpenBLAS's threads; None where numpy has another library."""
    with contextlib.suppress(OSError, AttributeError, ImportError):
        library = ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
        for name in ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads"):
            if hasattr(library, name.format("set")):
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return None


def _give_back_memory() -> None:
    """Return what was freed to the system: glibc would keep it for each thread that ever asked for memory."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _any_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a batch that may vary; the model itself where it may already."""
    ends = [model.graph.input[0], model.graph.output[0]]
    if not any(value.type.tensor_type.shape.dim[0].dim_value for value in ends):
        return model
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for value in (found.graph.input[0], found.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del found.graph.value_info[:]
    return found
