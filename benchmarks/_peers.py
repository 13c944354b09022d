"""A quantizer by other people, run once: a network and calibration images in, a quantized file out.

Runs in the interpreter that has the peers, as a program of its own, and so imports nothing of edgeresnet. Reads jobs as
JSON lines from stdin and answers each with one JSON line on the descriptor that it is given: seconds, the most memory
that the process held so far (fresh processes: of this job alone), or what went wrong. `job["peer"]` says which.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _peer_control
import numpy as np

Work = Callable[[dict[str, Any]], "dict[str, Any] | None"]


def serve(peers: Mapping[str, Work]) -> None:
    """Answer jobs from stdin until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # peers print where they like
    for line in sys.stdin:
        job = json.loads(line)
        began = time.perf_counter()
        try:
            about = peers[job["peer"]](job) or {}
            answer = {"ok": True, "seconds": time.perf_counter() - began, "peak_mb": peak_mb(), **about}
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is this peer's answer
            answer = {"ok": False, "problem": f"{type(problem).__name__}: {problem}"[:400]}
        print(json.dumps(answer), file=answers, flush=True)


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def _batches(job: dict[str, Any]) -> list[np.ndarray]:
    """Read images through a map, as one would from a file: a peer pays for what it stores, not for all of them."""
    images = np.load(job["images"], mmap_mode="r")
    size = job["options"].get("batch", 1)
    return [images[start : start + size] for start in range(0, len(images), size)]


def _nncf(job: dict[str, Any]) -> dict[str, Any]:
    import nncf

    nncf.set_log_level(40)
    options = dict(job["options"])
    backend, form = options.pop("backend", "onnx"), options.pop("form", {})
    batches = _batches(job)
    options.pop("batch", None)
    chosen: dict[str, Any] = {"subset_size": len(batches)}
    if "preset" in options:
        chosen["preset"] = nncf.QuantizationPreset(options.pop("preset"))
    if "target_device" in options:
        chosen["target_device"] = nncf.TargetDevice(options.pop("target_device"))
    for name in ("fast_bias_correction", "subset_size"):
        if name in options:
            chosen[name] = options.pop(name)
    if options or form:
        chosen["advanced_parameters"] = _nncf_advanced(options, form)
    if backend == "openvino":
        import openvino

        model = openvino.Core().read_model(job["onnx"])
        made = nncf.quantize(model, nncf.Dataset(batches, lambda x: np.ascontiguousarray(x)), **chosen)
        openvino.save_model(made, job["out"], compress_to_fp16=False)
        return {"version": nncf.__version__}
    import onnx

    model = onnx.load(job["onnx"])
    name = model.graph.input[0].name
    made = nncf.quantize(model, nncf.Dataset(batches, lambda x: {name: np.ascontiguousarray(x)}), **chosen)
    onnx.save(made, job["out"])
    return {"version": nncf.__version__}


def _nncf_advanced(options: dict[str, Any], form: dict[str, Any]) -> Any:
    from nncf.common.quantization.quantizer_propagation.structs import QuantizerPropagationRule
    from nncf.quantization import advanced_parameters as advanced

    chosen: dict[str, Any] = {}
    for key, value in options.items():
        if key in ("activations_range", "weights_range"):
            chosen[f"{key}_estimator_params"] = _nncf_range(value)
        elif key == "overflow_fix":
            chosen[key] = advanced.OverflowFix(value)
        elif key == "propagation":
            chosen["quantizer_propagation_rule"] = QuantizerPropagationRule[value]
        elif key == "bias":
            chosen["bias_correction_params"] = advanced.AdvancedBiasCorrectionParameters(**value)
        elif key == "smooth":
            chosen["smooth_quant_alphas"] = advanced.AdvancedSmoothQuantParameters(**value)
        else:
            chosen[key] = value
    for key, value in form.items():
        given = dict(value)
        if "mode" in given:
            given["mode"] = advanced.QuantizationMode(given["mode"])
        chosen[f"{key}_quantization_params"] = advanced.QuantizationParameters(**given)
    return advanced.AdvancedQuantizationParameters(**chosen)


def _nncf_range(given: dict[str, Any]) -> Any:
    """Translate {"min": ["quantile", "mean"], "max": …, "outliers": 1e-4}."""
    from nncf.quantization import range_estimator as ranges

    sides = {}
    for side in ("min", "max"):
        statistics, aggregator = given[side]
        more = {"quantile_outlier_prob": given["outliers"]} if "outliers" in given else {}
        sides[side] = ranges.StatisticsCollectorParameters(
            ranges.StatisticsType(statistics), ranges.AggregatorType(aggregator), **more
        )
    return ranges.RangeEstimatorParameters(**sides)


def _onnxruntime(job: dict[str, Any]) -> dict[str, Any]:
    import onnxruntime
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, calibrate, quantize_static

    options = dict(job["options"])
    source = Path(job["onnx"])
    with tempfile.TemporaryDirectory() as folder:
        if options.pop("preprocess", False):
            from onnxruntime.quantization.shape_inference import quant_pre_process

            quant_pre_process(source, Path(folder, "prepared.onnx"))
            source = Path(folder, "prepared.onnx")
        types = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
        method = getattr(CalibrationMethod, options.pop("method", "MinMax"))
        _adapt(calibrate, options.pop("bins", None), [job["onnx"], source.name] if job.get("remember") else None)
        chosen = {
            "activation_type": types[options.pop("activations", "s8")],
            "weight_type": types[options.pop("weights", "s8")],
            "per_channel": options.pop("per_channel", False),
            "reduce_range": options.pop("reduce_range", False),
            "op_types_to_quantize": options.pop("op_types", None),
        }
        reader = _Reader(_batches(job), _input_of(source))
        options.pop("batch", None)
        quantize_static(
            str(source),
            job["out"],
            reader,
            quant_format=QuantFormat.QDQ,
            calibrate_method=method,
            extra_options=options,
            **chosen,
        )
    return {"version": onnxruntime.__version__}


_HISTOGRAMS: dict[str, Any] = {}


def _adapt(calibrate: Any, bins: dict[str, int] | None, remember: list[str] | None) -> None:
    """Add two things that `quantize_static` does not offer: the number of bins, the one knob of the calibrators that
    it does not pass on; and, for the search alone, histograms taken once for all the percentiles that are tried.
    """
    histogram = calibrate.HistogramCalibrater
    make = histogram.__init__ = getattr(histogram, "_make", histogram.__init__)
    collect = histogram.collect_data = getattr(histogram, "_collect", histogram.collect_data)
    histogram._make, histogram._collect = make, collect

    def with_bins(self: Any, *arguments: Any, **more: Any) -> None:
        make(self, *arguments, **{**more, **{key: value for key, value in (bins or {}).items() if key in more}})

    def once(self: Any, reader: Any) -> None:
        tensors = sorted(self.tensors_to_calibrate)
        key = json.dumps([remember, self.method, self.num_bins, self.symmetric, tensors, reader.first])
        if key not in _HISTOGRAMS:
            collect(self, reader)
            _HISTOGRAMS[key] = self.collector
        self.collector = _HISTOGRAMS[key]
        self.collector.percentile = self.percentile
        self.collector.num_quantized_bins = self.num_quantized_bins

    histogram.__init__ = with_bins
    if remember is not None:
        histogram.collect_data = once


class _Reader:
    """onnxruntime's calibration data reader, by its protocol."""

    def __init__(self, batches: list[np.ndarray], name: str):
        self._all = self._batches = batches
        self._name, self._next, self.first = name, 0, 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self._next >= len(self._batches):
            return None
        self._next += 1
        return {self._name: np.ascontiguousarray(self._batches[self._next - 1])}

    def get_first(self) -> dict[str, np.ndarray]:
        return {self._name: np.ascontiguousarray(self._batches[0])}

    def rewind(self) -> None:
        self._next = 0

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._batches, self._next, self.first = self._all[start_index:end_index], 0, start_index


def _input_of(path: Path) -> str:
    import onnx

    return onnx.load(path, load_external_data=False).graph.input[0].name


def _modelopt(job: dict[str, Any]) -> dict[str, Any]:
    import importlib.metadata

    from modelopt.onnx.quantization import quantize

    options = dict(job["options"])
    size = options.pop("batch", 1)
    images = np.load(job["images"])
    with tempfile.TemporaryDirectory() as folder:
        source = shutil.copy(job["onnx"], folder)  # it leaves files next to its input
        shape = "x".join(str(side) for side in (size, *images.shape[1:]))
        if size != 1:
            options["calibration_shapes"] = f"{_input_of(Path(source))}:{shape}"
        quantize(
            source,
            calibration_data=images,
            calibration_eps=["cpu"],
            output_path=job["out"],
            log_level="WARNING",
            **options,
        )
    return {"version": importlib.metadata.version("nvidia-modelopt")}


def _modelopt_torch(job: dict[str, Any]) -> dict[str, Any]:
    """Quantize by its torch route: inputs and weights of Conv and Linear, nothing on residual edges: Adds are float."""
    import copy
    import importlib.metadata

    import modelopt.torch.quantization as mtq
    import torch
    from _onnx_torch import network_of
    from modelopt.torch.quantization import model_calib

    options = dict(job["options"])
    batches = [torch.from_numpy(np.ascontiguousarray(part)) for part in _batches(job)]
    network = network_of(job["onnx"])

    def forward(model: torch.nn.Module) -> None:
        with torch.no_grad():
            for part in batches:
                model(part)

    method, unsigned = options.get("method", "max"), options.get("unsigned", False)
    config = copy.deepcopy(mtq.INT8_DEFAULT_CFG)
    if method in ("entropy", "mse", "percentile"):
        _histograms(config)
        config["algorithm"] = None
    elif method != "max":
        config["algorithm"] = {"method": method} if isinstance(method, str) else method
    network = mtq.quantize(network, config, None if config["algorithm"] is None else forward)
    if unsigned:
        for name, module in network.named_modules():  # all that come out of a ReLU
            if (
                name.endswith("input_quantizer")
                and name.rsplit(".", 1)[0].removeprefix("layers.") in network.after_relu
            ):
                module._unsigned = True
    if config["algorithm"] is None or unsigned:
        model_calib.enable_stats_collection(network)
        forward(network)
        more = {"percentile": options["percentile"]} if "percentile" in options else {}
        _finish(network, method, more)
    example = batches[0][:2]
    with torch.no_grad():
        torch.onnx.export(
            network, (example,), job["out"], opset_version=17, dynamo=False,
            input_names=["image"], output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )  # fmt: skip
    return {"version": importlib.metadata.version("nvidia-modelopt")}


def _histograms(config: dict[str, Any]) -> None:
    for entry in config["quant_cfg"]:
        if entry.get("quantizer_name") == "*input_quantizer" and "cfg" in entry:
            entry["cfg"]["calibrator"] = "histogram"


def _finish(network: Any, method: str, more: dict[str, Any]) -> None:
    """Do what `finish_stats_collection` does, where inputs have histograms and weights their largest value."""
    from modelopt.torch.quantization.nn import TensorQuantizer

    for module in network.modules():
        if isinstance(module, TensorQuantizer) and not module._disabled:
            histogram = type(module._calibrator).__name__ == "HistogramCalibrator"
            module.load_calib_amax(*([method] if histogram else []), **(more if histogram else {}))
            module.enable_quant()
            module.disable_calib()


def _parser(job: dict[str, Any]) -> dict[str, Any]:
    """Return what TensorRT's parser and builder report, by TensorRT-RTX: it shares the parser, and needs no GPU."""
    import tensorrt_rtx as trt

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append((severity.name, message))

    log = Log()
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    parsed = parser.parse(Path(job["onnx"]).read_bytes())
    errors = [parser.get_error(number).desc() for number in range(parser.num_errors)]
    built = False
    if parsed:
        config = builder.create_builder_config()
        profile = builder.create_optimization_profile()
        image = network.get_input(0)
        if -1 in tuple(image.shape):
            shape = (1, *tuple(image.shape)[1:])
            profile.set_shape(image.name, shape, shape, shape)
            config.add_optimization_profile(profile)
        built = builder.build_serialized_network(network, config) is not None
    messages = [f"{kind.lower()}: {message}" for kind, message in log.lines if kind in ("WARNING", "ERROR")]
    return {"parsed": parsed, "built": built, "errors": errors, "messages": messages, "version": trt.__version__}


_PEERS: dict[str, Work] = {
    "nncf": _nncf,
    "nncf-control": _peer_control.nncf_control,
    "onnxruntime": _onnxruntime,
    "modelopt": _modelopt,
    "modelopt-torch": _modelopt_torch,
    "parser": _parser,
}


if __name__ == "__main__":
    serve(_PEERS)
