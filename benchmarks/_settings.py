"""What the peers can be set to: their defaults, the knobs that the search turns, and its best settings.

Plain data that travels to the peers' interpreter as JSON. A knob's value None is the peer's own choice.
"""

from __future__ import annotations

from typing import Any

Options = dict[str, Any]


def _range(statistics: str, aggregator: tuple[str, str], outliers: float | None = None) -> Options:
    low, high = {"minmax": ("min", "max"), "abs_max": ("min", "abs_max"), "abs_quantile": ("min", "abs_quantile")}.get(
        statistics, (statistics, statistics)
    )
    more = {"outliers": outliers} if outliers is not None else {}
    return {"min": [low, aggregator[0]], "max": [high, aggregator[1]], **more}


_MINMAX = _range("minmax", ("min", "max"))
_RANGES = [
    None,
    _MINMAX,
    _range("minmax", ("mean", "mean")),
    _range("minmax", ("median", "median")),
    _range("minmax", ("mean_no_outliers", "mean_no_outliers"), 1e-2),
    _range("minmax", ("min", "mean")),
    *(_range("quantile", ("mean", "mean"), part) for part in (1e-5, 1e-4, 1e-3)),
    *(_range("quantile", ("min", "max"), part) for part in (1e-5, 1e-4, 1e-3, 3e-3)),
    _range("raw", ("histogram", "histogram")),
]
_WEIGHT_RANGES = [
    None,
    *(_range("abs_quantile", ("max", "max"), part) for part in (1e-3, 5e-3, 2e-2)),
    _range("raw", ("histogram", "histogram")),
]

_NNCF: dict[str, list[Any]] = {
    "overflow_fix": ["disable", None],
    "activations_range": _RANGES,
    "preset": ["performance", "mixed"],
    "disable_bias_correction": [True, None],
    "fast_bias_correction": [None, False],
    "weights_range": _WEIGHT_RANGES,
    "propagation": ["DO_NOT_MERGE_BRANCHES", "MERGE_IF_ALL_BRANCHES_SAME", "MERGE_WITH_POTENTIAL_REQUANTIZATION", None],
    "smooth": [{"convolution": alpha} for alpha in (0.05, 0.15, 0.5)] + [None],
    "disable_channel_alignment": [None, False],
    "batch": [64, 16, 1],
    "batchwise_statistics": [None, True],
    "target_device": [None, "CPU", "NPU"],
}

_ORT_COMMON: dict[str, list[Any]] = {
    "method": ["Percentile", "Entropy", "MinMax", "Distribution"],
    "CalibPercentile": [None, 99.99, 99.995, 99.998, 99.9995, 99.9999],
    "CalibTensorRangeSymmetric": [None, False, True],
    "op_types": [
        None,
        ["Conv", "Gemm"],
        ["Conv", "Gemm", "Add"],
        ["Conv", "Gemm", "Add", "Relu"],
        ["Conv", "Gemm", "Add", "Relu", "ReduceMean", "GlobalAveragePool"],
        ["Conv", "Gemm", "Relu"],
    ],
    "OpTypesToExcludeOutputQuantization": [
        None,
        ["Gemm"],
        ["Conv"],
        ["Conv", "Gemm"],
        ["Conv", "Gemm", "Add"],
        ["Conv", "Gemm", "Add", "Relu"],
    ],
    "per_channel": [True, False],
    "bins": [None, {"num_bins": 4096}],
    "QDQDisableWeightAdjustForInt32Bias": [None, True],
    "DedicatedQDQPair": [None, True],
    "AddQDQPairToWeight": [None, True],
    "QDQKeepRemovableActivations": [None, True],
    "ForceQuantizeNoInputCheck": [None, True],
    "preprocess": [None, True],
    "CalibMovingAverage": [None, True],
    "batch": [64, 1],
}

_MODELOPT: dict[str, list[Any]] = {
    "calibration_method": ["entropy", "max"],
    "op_types_to_quantize": [
        None,
        ["Conv"],
        ["Conv", "Gemm"],
        ["Conv", "Gemm", "Add"],
        ["Conv", "Add"],
        ["Conv", "Gemm", "Add", "ReduceMean", "GlobalAveragePool"],
    ],
    "batch": [1, 16, 64, 512],
    "calibrate_per_node": [None, True],
    "simplify": [None, True],
    "passes": [None, []],
    "target_dla": [None, True],
}

_MODELOPT_TORCH: dict[str, list[Any]] = {
    "method": ["max", "percentile", "entropy", "mse"],
    "percentile": [None, 99.9, 99.999, 99.9995],
    "batch": [64, 512],
}

# What makes a peer write TensorRT's form at all: signed and symmetric.
FORMS: dict[tuple[str, str], Options] = {
    ("onnxruntime", "tensorrt"): {"activations": "s8", "ActivationSymmetric": True},
    ("modelopt", "openvino"): {"high_precision_dtype": "fp32"},
    ("modelopt", "tensorrt"): {"high_precision_dtype": "fp32"},
}

_UNCLIPPED: Options = {"overflow_fix": "disable", "activations_range": _MINMAX, "batch": 64}
_FEW = ["Conv", "Gemm"]  # their inputs alone: nothing on the residual edges, which stay float
_ORT: Options = {"per_channel": True, "method": "Percentile", "QuantizeBias": False, "batch": 64}

STARTS: dict[tuple[str, str], list[Options]] = {
    ("nncf", "openvino"): [
        {**_UNCLIPPED, "disable_bias_correction": True},
        {**_UNCLIPPED, "fast_bias_correction": False, "preset": "mixed"},
    ],
    ("onnxruntime", "openvino"): [
        {**_ORT, "activations": "u8"},
        {**_ORT, "activations": "u8", "op_types": _FEW, "OpTypesToExcludeOutputQuantization": _FEW},
    ],
    ("onnxruntime", "tensorrt"): [
        {**_ORT, "op_types": [*_FEW, "Add"], "OpTypesToExcludeOutputQuantization": [*_FEW, "Add"]},
        {**_ORT, "op_types": _FEW, "OpTypesToExcludeOutputQuantization": _FEW},
    ],
    ("modelopt", "openvino"): [{}],
    ("modelopt", "tensorrt"): [{}],
    ("modelopt-torch", "openvino"): [{"batch": 64}],
    ("modelopt-torch", "tensorrt"): [{"batch": 64}],
}

KNOBS: dict[tuple[str, str], dict[str, list[Any]]] = {
    ("nncf", "openvino"): {
        **_NNCF,
        "backend": [None, "openvino"],
        "form": [None, {"weights": {"narrow_range": True}}, {"weights": {"narrow_range": False}}],
    },
    ("onnxruntime", "openvino"): {
        "ActivationRestrictedAsymmetric": [None, True],
        "QuantizeBias": [None, False],
        **_ORT_COMMON,
        "activations": ["u8", "s8"],
        "ActivationSymmetric": [None, True],
    },
    ("onnxruntime", "tensorrt"): {"QuantizeBias": [False], **_ORT_COMMON},
    ("modelopt", "openvino"): _MODELOPT,
    ("modelopt", "tensorrt"): _MODELOPT,
    ("modelopt-torch", "openvino"): {**_MODELOPT_TORCH, "unsigned": [True, None]},
    ("modelopt-torch", "tensorrt"): _MODELOPT_TORCH,
}

REWRITTEN = "rewritten"  # ends the title of a row whose file this benchmark made signed by hand

_ACCURATE: Options = {"overflow_fix": "disable", "fast_bias_correction": False, "batch": 64}
_EVEN = _range("minmax", ("mean_no_outliers", "mean_no_outliers"), 1e-2)
_NNCF_FOUND: list[Options] = [
    {
        "overflow_fix": "disable",
        "batch": 64,
        "preset": "mixed",
        "disable_bias_correction": True,
        "activations_range": _EVEN,
    },
    {**_UNCLIPPED, "preset": "mixed", "disable_bias_correction": True},
    _ACCURATE,  # with its own ranges: the mean of each batch's extremes
]
_ORT_U8: Options = {**_ORT, "activations": "u8", "op_types": _FEW, "OpTypesToExcludeOutputQuantization": _FEW}
_ORT_U8_20: Options = {**_ORT_U8, "CalibPercentile": 99.998, "CalibTensorRangeSymmetric": False}
_ORT_U8_32: Options = {**_ORT_U8, "CalibPercentile": 99.9995, "bins": {"num_bins": 4096}}
_ORT_U8_ALL: Options = {"activations": "u8", "per_channel": True, "method": "Percentile", "batch": 64}
_ORT_S8: Options = {**_ORT_U8, "activations": "s8", "ActivationSymmetric": True, "CalibPercentile": 99.998}
_ORT_S8_32: Options = {**_ORT_S8, "CalibTensorRangeSymmetric": False}
_MODELOPT_MAX: Options = {"calibration_method": "max", "high_precision_dtype": "fp32", "batch": 64}

_UNBIASED: Options = {**_UNCLIPPED, "disable_bias_correction": True}  # for files whose biases NNCF does not correct
_NNCF_ADVERSARIAL: Options = {
    "batch": 64,
    "preset": "mixed",
    "disable_bias_correction": True,
    "activations_range": _EVEN,
}
_NNCF_NSFW: Options = {**_NNCF_ADVERSARIAL, "overflow_fix": "disable", "batch": 10}
_ORT_U8_ADVERSARIAL: Options = {key: value for key, value in _ORT_U8_32.items() if key != "QuantizeBias"}
_ORT_S8_ADVERSARIAL: Options = {key: value for key, value in _ORT_S8_32.items() if key != "CalibPercentile"}
_MODELOPT_CONV: Options = {
    "calibration_method": "entropy",
    "high_precision_dtype": "fp32",
    "op_types_to_quantize": ["Conv"],
    "batch": 64,
}

# What was found best so far, network by network; several where they lie close together, and the table shows them all.
# A network that is not named here was not searched on: it gets them all.
TUNED: dict[tuple[str, str], dict[str, list[Options]]] = {
    ("nncf", "openvino"): {
        "resnet20": _NNCF_FOUND,
        "resnet32": _NNCF_FOUND,
        "adversarial": [_NNCF_ADVERSARIAL],
        "open-nsfw": [_NNCF_NSFW],
    },
    ("nncf", "tensorrt"): {
        "resnet20": [_ACCURATE],
        "resnet32": [_ACCURATE],
        "adversarial": [_UNBIASED],
        "open-nsfw": [_UNBIASED],
    },
    ("onnxruntime", "openvino"): {
        "resnet20": [_ORT_U8_20, _ORT_U8_ALL],
        "resnet32": [_ORT_U8_32, _ORT_U8_ALL],
        "adversarial": [_ORT_U8_ADVERSARIAL],
    },
    ("onnxruntime", "tensorrt"): {
        "resnet20": [_ORT_S8],
        "resnet32": [_ORT_S8_32],
        "adversarial": [_ORT_S8_ADVERSARIAL],
    },
    ("modelopt", "openvino"): {
        "resnet20": [_MODELOPT_MAX],
        "resnet32": [_MODELOPT_MAX],
        "adversarial": [_MODELOPT_CONV],
    },
    ("modelopt", "tensorrt"): {
        "resnet20": [_MODELOPT_MAX],
        "resnet32": [_MODELOPT_MAX],
        "adversarial": [_MODELOPT_CONV],
    },
    ("modelopt-torch", "openvino"): {
        "resnet20": [{"batch": 64, "unsigned": True}],
        "resnet32": [{"batch": 64, "unsigned": True}],
        "adversarial": [{"batch": 64, "unsigned": True, "method": "entropy"}],
    },
    ("modelopt-torch", "tensorrt"): {"resnet20": [{"batch": 64}], "resnet32": [{"batch": 64}]},
}

_DEFAULTS: dict[tuple[str, str], Options] = {
    ("nncf", "openvino"): {},
    ("nncf", "tensorrt"): {},
    ("onnxruntime", "openvino"): {},
    ("onnxruntime", "tensorrt"): {"activations": "s8", "ActivationSymmetric": True},
    ("modelopt", "openvino"): {"high_precision_dtype": "fp32"},
    ("modelopt", "tensorrt"): {"high_precision_dtype": "fp32"},
}
_NAMES = {"nncf": "NNCF", "onnxruntime": "onnxruntime", "modelopt": "ModelOpt", "modelopt-torch": "ModelOpt torch"}

LATENCY_PEERS: dict[str, tuple[str, Options]] = {
    "NNCF, default": ("nncf", {}),
    "NNCF, tuned": ("nncf", _ACCURATE),
    "NNCF, tuned, mixed": ("nncf", {**_UNCLIPPED, "preset": "mixed", "disable_bias_correction": True}),
}


# What photographs need: all activations of 64 of them do not fit into the memory.
LARGE = 128
_LARGE: dict[str, Options] = {
    "nncf": {"batch": 10},
    "onnxruntime": {
        "batch": 10,
        "CalibStridedMinMax": 3,
    },  # histograms of 30 images after the other, not of all at once
    "modelopt": {"batch": 10},
    "modelopt-torch": {"batch": 10},
}


# What a bounded search begins with, too: NNCF corrects biases fully of files that it refuses to take in ONNX.
_MORE: dict[tuple[str, str], list[Options]] = {("nncf", "openvino"): [{**_ACCURATE, "backend": "openvino"}]}


def _fitting(peer: str, options: Options, size: int) -> Options:
    return {**options, **_LARGE[peer]} if size >= LARGE else options


def starts(peer: str, dialect: str, size: int, *, bounded: bool) -> list[Options]:
    """Return what a search begins with; a bounded one with what won on other networks."""
    given = (
        [*_unlike(TUNED[peer, dialect], None), *_MORE.get((peer, dialect), [])] if bounded else STARTS[peer, dialect]
    )
    return [_fitting(peer, {**one, **FORMS.get((peer, dialect), {})}, size) for one in given]


def knobs(peer: str, dialect: str, size: int) -> dict[str, list[Any]]:
    """Return the knobs that a search turns, in turn, with their values."""
    fixed = _LARGE[peer] if size >= LARGE else {}
    return {knob: values for knob, values in KNOBS[peer, dialect].items() if knob not in fixed}


def _unlike(by_network: dict[str, list[Options]], network: str | None) -> list[Options]:
    """Return what was found for a network; for one that was not searched on, all that was found, each once."""
    chosen = by_network.get(network or "", [one for found in by_network.values() for one in found])
    return [one for number, one in enumerate(chosen) if one not in chosen[:number]]


def table(network: str, dialect: str, size: int) -> list[tuple[str, str, Options]]:
    """Return (title, peer, options), row by row."""
    rows: list[tuple[str, str, Options]] = []
    for (peer, form), options in _DEFAULTS.items():
        if form == dialect:
            rows.append((f"{_NAMES[peer]}, default", peer, options))
    for (peer, form), by_network in TUNED.items():
        if form != dialect:
            continue
        unlike = _unlike(by_network, network)
        for number, options in enumerate(unlike, 1):
            more = f" {number}" if len(unlike) > 1 else ""
            ending = f", {REWRITTEN}" if (peer, dialect) == ("nncf", "tensorrt") else ""
            rows.append((f"{_NAMES[peer]}, tuned{more}{ending}", peer, _fitting(peer, options, size)))
    return rows
