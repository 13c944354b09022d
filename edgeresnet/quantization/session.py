"""onnxruntime as the quantizer's calculator: computes some tensors of a network for a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import onnx

from ..errors import ModelError, first_line
from ..portable import machine
from ..targets import onnxruntime as runtime

T = TypeVar("T")
R = TypeVar("R")


def batch_for(shape: Sequence[int]) -> int:
    """Return how many images of this shape the engine takes at once: always the same, so that results are, too."""
    return int(np.clip((1 << 18) // max(int(np.prod(shape)), 1), 1, 64))


def each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to all items, on every core at once; raise what one of the calls raises."""
    with ThreadPoolExecutor(machine.cores()) as pool:
        return list(pool.map(function, items))


class Runner:
    """Runs batches of any size, even of a network whose batch is fixed."""

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str]):
        import onnxruntime

        more = onnx.ModelProto()
        there = {value.name for value in model.graph.output}
        wanted = [name for name in tensors if name not in there]
        more.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in wanted)
        # Two protobuf messages in one string are their union: the network is not copied to add outputs.
        data = _any_batch(model).SerializeToString() + more.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = machine.cores()
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.force_spinning_stop", "1")  # other threads work between two runs
        self._tensors = list(tensors)
        self._input = model.graph.input[0].name
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except runtime.errors() as problem:
            raise ModelError(
                "the network", f"cannot run in onnxruntime: {first_line(problem)}", hint="report this network"
            ) from problem

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(self._tensors, {self._input: batch})
        except runtime.errors() as problem:
            raise ModelError(
                "the network",
                f"cannot take a batch of {len(batch)}: {first_line(problem)}",
                hint="export it with a dynamic batch",
            ) from problem


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
