"""A finished run as it is stored, made of chosen answers and times, so that a gate can be asked about it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgeresnet.portable import inference, judging, yardstick

NOW = 1_800_000_000.0
IMAGES, CLASSES = 2000, 10
MACHINE = {"cpu": "Some CPU", "instructions": ["avx2"], "cores": 2, "system": "Linux x86_64", "host": "a", "cpus": 2}
NETWORKS = {"fp32": 2.0, "half": 1.5, "int8": 1.0}  # milliseconds
YARDSTICK_MS = 0.8

_RNG = np.random.default_rng(3)
LABELS = _RNG.integers(0, CLASSES, IMAGES)
EXPECTED = np.where(_RNG.random(IMAGES) < 0.9, LABELS, (LABELS + 1) % CLASSES)


def times(ms: float, *, by: tuple[float, ...] = (0.0, 0.003, -0.002, 0.001, -0.001), began: float = NOW) -> dict:
    """Five processes of two windows; `by` is how far each is from the rest."""

    def process(n: int, part: float) -> dict[str, Any]:
        windows = [[ms * (1 + part + 1e-7 * k) for k in range(60)]] * 2
        about = {"machine": MACHINE, "began": began - 60 * (5 - n), "host_ms": windows, "pace_ms": [0.5, 0.5]}
        return about | {"others_cpus": [0.0, 0.0], "stolen_cpus": [0.0, 0.0], "cpu_mhz": [None, None]}

    return {"batch": 1, "processes": [process(n, part) for n, part in enumerate(by)]}


def answered(predicted: np.ndarray, ms: float, **how: Any) -> dict[str, Any]:
    counts = {**inference.counts(EXPECTED, predicted, LABELS), "top5": IMAGES, "sqnr_db": 30.0}
    about = {"accuracy": counts, "predicted": predicted.tolist(), "latency": times(ms, **how), "size_mb": 1.25}
    return about | {"digest": "d" * 64, "notes": {}, "precisions": {}}


def result(target: str, **changes: Any) -> dict[str, Any]:
    """`predicted` of INT8, `slower` of some networks by name, `by` of what would ship, `began`."""
    slower, began = changes.get("slower", {}), changes.get("began", NOW)
    predicted = {"int8": changes.get("predicted", EXPECTED)}
    variants = {
        name: answered(predicted.get(name, EXPECTED), ms * slower.get(name, 1.0), began=began)
        for name, ms in NETWORKS.items()
    }
    if "by" in changes:
        variants["int8"]["latency"] = times(NETWORKS["int8"], by=changes["by"], began=began)
    unit = {"sha256": yardstick.SHA256, "latency": times(YARDSTICK_MS * slower.get("yardstick", 1.0), began=began)}
    about: dict[str, Any] = {"target": target, "candidate": "int8", "variants": variants, "yardstick": unit}
    about |= {"classes": [f"c{n}" for n in range(CLASSES)], "skipped": [], "images": changes.get("images", "i" * 64)}
    about |= {"labels": LABELS.tolist(), "reference_predicted": EXPECTED.tolist()}
    return about | {"machine": {"python": "3.11.7"}, "versions": {target: "1.0"}}


def run(*results: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    results = results or (result("openvino"), result("onnxruntime"))
    promises = changes.pop("promises", {"max_drop_pp": 50.0})
    verdicts = [one.to_json() for each in results for one in judging.judge(promises, each["target"], each)]
    raw: dict[str, Any] = {"version": 1, "seed": 0, "preprocessing": {"size": 32}, "promises": promises}
    raw |= {"model": {"arch": "resnet18", "classes": CLASSES, "checkpoint": "weights/v1.pth"}}
    raw |= {"images": {"evaluation": {"from": "data/val"}}, "quantize": {"effort": "fast"}, "verify": {"processes": 5}}
    raw |= {"targets": {each["target"]: {} for each in results}}
    traced = {"id": "trace", "stage": "trace", "state": "made", "digest": "e" * 64, "key": "k", "warnings": []}
    about = {"format": 2, "id": "20270115-080000-000000-abcdef", "recipe": raw, "recipe_digest": "f" * 64}
    about |= {"results": {each["target"]: each for each in results}, "steps": [traced], "problem": None}
    about |= {"verdicts": verdicts, "verdict": judging.worst([one["verdict"] for one in verdicts]), "undecided": "warn"}
    return about | changes


def altered(document: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """A copy on which something was done to openvino's result."""
    copied = copy.deepcopy(document)
    change(copied["results"]["openvino"])
    return copied


def wrong_for(part: float) -> np.ndarray:
    """Answers that lose this part of the images, among those that were right."""
    right = np.flatnonzero(EXPECTED == LABELS)[: round(part * IMAGES)]
    predicted = EXPECTED.copy()
    predicted[right] = (LABELS[right] + 2) % CLASSES
    return predicted
