"""What enters a key, spelled out: another spelling would make everything in every user's store again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import targets
from edgeresnet.portable import codec
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.session import Dialect
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.recipe.sections import Prune, Quantize, Recover, Trace, Train
from edgeresnet.stages import candidates, int8, specs
from edgeresnet.store import Artifact, Given, ManifestRecord, Parent

pytestmark = pytest.mark.unit

NETWORK = specs.Architecture("cifar_resnet8", 10, 1)
ABOUT = {"arch": "cifar_resnet8", "classes": 10, "channels": 1}
PIXELS = Preprocessing(8, (0.305,), (0.376,))
PIXELS_JSON = {
    "size": 8,
    "mean": [0.305],
    "std": [0.376],
    "resize": 8,
    "crop": "center",
    "interpolation": "bilinear",
    "order": "rgb",
}
LEARNING = {
    "rate": 0.001,
    "batch": 64,
    "optimizer": "adamw",
    "schedule": "cosine",
    "weight_decay": 0.0005,
    "augment": {"flip": False, "shift": 0},
    "freeze": [],
    "layer_decay": 1.0,
    "label_smoothing": 0.0,
    "precision": "auto",
    "patience": None,
    "validation": 0.1,
}
PRUNE = {"params": None, "ratio": None, "importance": "l2", "scope": "global", "multiple": None}
PRUNED = {**ABOUT, "multiple": 8, "size": 8, "preprocessing": PIXELS_JSON, "seed": 3}
DIALECT = Dialect("s8-symmetric", "shortcut", 32, 16)
DIALECT_JSON = {
    "activations": "s8-symmetric",
    "residual": "shortcut",
    "channel_multiple": 32,
    "smallest_gemm": 16,
    "weights": "full",
    "sums_in_float": False,
    "zero_points": "never",
    "integer_bias": False,
    "float_additions": "never",
}
DETECTOR = Detector(8, 3, (4,), ((2.0, 3.0),), (1.0,), most=7)
DETECTOR_JSON = {
    "size": 8,
    "classes": 3,
    "grids": [4],
    "sizes": [[2.0, 3.0]],
    "ratios": [1.0],
    "least": 0.05,
    "overlap": 0.5,
    "candidates": 1000,
    "most": 7,
}
PLAN, PLAN_JSON = TimingPlan(5, 30.0), {"processes": 5, "seconds": 30.0}
OPTIONS = targets.get("onnxruntime").options()
OPTIONS_JSON = {"threads": None, "cpu": "this", "residual": None, "zero_points": "auto", "fused": True}
SEARCH = specs.TimedSearch(
    {
        "onnxruntime": specs.TimedTarget(
            "onnxruntime", OPTIONS, "int8", PIXELS, specs.Int8Form(DIALECT, ("conv1",), PIXELS)
        )
    },
    PLAN,
    "dynamic",
    PIXELS,
)
SEARCH_JSON = {
    "timed": {
        "onnxruntime": {
            "target": "onnxruntime",
            "options": OPTIONS_JSON,
            "ships": "int8",
            "preprocessing": PIXELS_JSON,
            "dialect": DIALECT_JSON,
            "exclude": ["conv1"],
            "images": PIXELS_JSON,
        }
    },
    "verify": PLAN_JSON,
    "batch": "dynamic",
}
BUNDLE = specs.ExportSpec("onnxruntime", OPTIONS, "int8", ("int8",), "c", PLAN, 2, "net", judged=True)
BUNDLE_JSON = {
    "on": "onnxruntime",
    "options": OPTIONS_JSON,
    "candidate": "int8",
    "float32": ["int8"],
    "carried": "c",
    "verify": PLAN_JSON,
    "rebuilds": 2,
    "network": "net",
    "judged": True,
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            specs.TrainSpec(NETWORK, Train(epochs=15), seed=3),
            {**ABOUT, "train": {**LEARNING, "epochs": 15, "head": "keep"}, "seed": 3},
        ),
        (
            specs.PruneSpec(NETWORK, Prune(macs=0.75), 8, PIXELS, 3),
            {**PRUNED, "prune": {**PRUNE, "macs": 0.75, "speedup": None}},
        ),
        (
            specs.PruneSpec(NETWORK, Prune(speedup={"onnxruntime": 1.5}), 8, PIXELS, 3, SEARCH),
            {**PRUNED, **SEARCH_JSON, "prune": {**PRUNE, "macs": None, "speedup": {"onnxruntime": 1.5}}},
        ),
        (
            specs.RecoverSpec(NETWORK, Recover(), seed=3),
            {
                **ABOUT,
                "recover": {
                    **LEARNING,
                    "epochs": 5,
                    "rounds": 1,
                    "minutes": None,
                    "enough_pp": 0.0,
                    "distill": 0.7,
                    "temperature": 2.0,
                },
                "seed": 3,
            },
        ),
        (specs.TraceSpec(NETWORK, Trace()), {**ABOUT, "trace": {"batch": "dynamic"}}),
        (
            specs.TraceSpec(
                specs.Architecture(None, 10, 3, {"timm": "1.0"}, ("s",), {"depth": 20}), Trace(batch=4), True
            ),
            {
                "arch": None,
                "classes": 10,
                "channels": 3,
                "libraries": {"timm": "1.0"},
                "sources_sha256": ["s"],
                "arch_args": {"depth": 20},
                "trace": {"batch": 4},
                "as_probabilities": True,
            },
        ),
        (candidates.RecogniseSpec((NETWORK, NETWORK), 3), {"candidates": [ABOUT, ABOUT], "seed": 3}),
        (int8.CalibrateSpec(3), {"seed": 3}),
        (
            int8.QuantizeSpec(Quantize(exclude=("conv1",)), DIALECT, 3),
            {
                "effort": "fast",
                "minutes": 10.0,
                "estimator": "mse",
                "exclude": ["conv1"],
                "dialect": DIALECT_JSON,
                "seed": 3,
            },
        ),
        (specs.CompileSpec("onnxruntime", OPTIONS), {"target": "onnxruntime", "options": OPTIONS_JSON}),
        (
            specs.CompileSpec("onnxruntime", OPTIONS, PIXELS, "int8#2"),
            {"target": "onnxruntime", "options": OPTIONS_JSON, "preprocessing": PIXELS_JSON, "build": "int8#2"},
        ),
        (
            specs.CompileSpec("onnxruntime", OPTIONS, joins=DETECTOR),
            {"target": "onnxruntime", "options": OPTIONS_JSON, "joins": DETECTOR_JSON},
        ),
        (
            specs.TraceSpec(specs.Architecture("x", 3, 1, task="detection", detector=DETECTOR), Trace()),
            {
                "arch": "x",
                "classes": 3,
                "channels": 1,
                "task": "detection",
                "detector": DETECTOR_JSON,
                "trace": {"batch": "dynamic"},
            },
        ),
        (
            specs.VerifySpec("openvino", PLAN, "int8"),
            {"target": "openvino", "latency": PLAN_JSON, "candidate": "int8"},
        ),
        (
            specs.VerifySpec("openvino", None, "fp32"),
            {"target": "openvino", "latency": None, "candidate": "fp32"},
        ),
        (
            specs.VerifySpec("openvino", None, "fp32", "detection", DETECTOR),
            {
                "target": "openvino",
                "latency": None,
                "candidate": "fp32",
                "task": "detection",
                "detector": DETECTOR_JSON,
            },
        ),
        (
            replace(BUNDLE, task="detection", detector=DETECTOR),
            {**BUNDLE_JSON, "task": "detection", "detector": DETECTOR_JSON},
        ),
        (specs.DeviceSpec("tensorrt"), {"on": "tensorrt"}),
        (BUNDLE, BUNDLE_JSON),
    ],
)
def test_a_specs_json_is_what_keys_are_made_of(spec: specs.Spec, expected: dict[str, Any]) -> None:
    assert spec.to_json() == expected


def test_the_targets_that_must_be_on_this_machine() -> None:
    assert specs.CompileSpec("onnxruntime", OPTIONS).targets == ("onnxruntime",)
    assert specs.VerifySpec("openvino", None, "fp32").targets == ("openvino",)
    assert specs.PruneSpec(NETWORK, Prune(speedup={"a": 2}), 8, PIXELS, 0, SEARCH).targets == ("onnxruntime",)
    assert (specs.DeviceSpec("tensorrt").targets, BUNDLE.targets, int8.CalibrateSpec(0).targets) == ((), (), ())


def test_what_the_runner_knows_of_a_spec() -> None:
    """Its seed, what it times, whose failure it ends with, and which section of the recipe wants a target of it."""
    pruned = specs.PruneSpec(NETWORK, Prune(speedup={"a": 2}), 8, PIXELS, 3, SEARCH)
    compiled = specs.CompileSpec("onnxruntime", OPTIONS)
    assert (pruned.seed, int8.CalibrateSpec(4).seed, compiled.seed, specs.TraceSpec(NETWORK, Trace()).seed) == (
        3,
        4,
        0,
        0,
    )
    assert (pruned.timed, specs.PruneSpec(NETWORK, Prune(macs=0.5), 8, PIXELS, 3).timed) == (SEARCH, None)
    assert (compiled.timed, compiled.sole_target, pruned.sole_target) == (None, "onnxruntime", None)
    assert specs.VerifySpec("openvino", None, "fp32").sole_target == "openvino"
    assert (BUNDLE.sole_target, specs.DeviceSpec("tensorrt").sole_target) == (None, None)
    assert (pruned.section, compiled.section) == ("prune.speedup", "")


def artifact(name: str) -> Artifact:
    about = {"format": 2, "key": name, "stage": "export", "stage_version": 1, "spec": {}, "parents": {}}
    about |= {"libraries": {}, "machine": None, "seconds": 0, "warnings": [], "digest": name, "files": []}
    return Artifact(
        Path(name), codec.decode(ManifestRecord, about | {"notes": {"bundle": "", "files": 0, "size_mb": 0}})
    )


def test_parents_become_inputs_by_their_names() -> None:
    from edgeresnet import images, recipe

    from ..conftest import tiny

    samples = images.open_samples(recipe.parse(tiny()), "evaluation")
    given: dict[str, Parent] = {
        "evaluation": Given(samples.digest, samples),
        "reference": artifact("r"),
        "fp32": artifact("f"),
    }
    found = specs.VerifyInputs.from_parents({**given, "int8#2": artifact("i"), "yardstick": artifact("y")})
    assert found.evaluation.value is samples
    assert {name: each.digest for name, each in found.variants.items()} == {"fp32": "f", "int8#2": "i"}
    assert [each.digest for each in (found.reference, found.yardstick) if each] == ["r", "y"]
    bundle = specs.ExportInputs.from_parents({**given, "candidate": Given("c", Path("net.onnx"))})
    assert {name: each.digest for name, each in bundle.variants.items()} == {"fp32": "f", "candidate": "c"}
    alone = specs.VerifyInputs.from_parents({name: given[name] for name in ("evaluation", "fp32")})
    assert (alone.reference, alone.yardstick) == (None, None)
    with pytest.raises(AssertionError):
        int8.QuantizeInputs.from_parents({"network": Given("n", Path("n")), "calibration": given["evaluation"]})
