"""Runs as they are stored, made up: enough of them to show every state that a report has to tell."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from edgeresnet import images, recipe
from edgeresnet.store import FORMAT, Store

from ..conftest import tiny

CLASSES = ("cat", "dog", "newt")
IMAGES = 300
MACHINE = {"cpu": "Some CPU", "cores": 2, "boot": "1"}
_ABOUT = {
    "cpu": {"model": "Some CPU", "cores": 2, "instructions": ["avx2"], "quota": None},
    "memory_gb": 8,
    "system": "Linux x86_64",
}


def digest(number: int) -> str:
    return f"{number:x}".zfill(2) * 32


def step(name: str, number: int, notes: Any = None, **changes: Any) -> dict[str, Any]:
    about = {"id": name, "stage": name.split(":")[0], "state": "made", "seconds": 1.5, "key": digest(number + 99)}
    about |= {"digest": digest(number), "path": None, "notes": notes or {}, "reason": "", "hint": "", "warnings": []}
    return about | changes


def latency(p50: float, processes: int = 3) -> dict[str, Any]:
    def process(number: int) -> dict[str, Any]:
        values = (p50 * (1 + 0.01 * number) * np.random.default_rng(number).lognormal(0, 0.05, 200)).tolist()
        about = {"machine": MACHINE, "others_cpus": [0.0], "host_ms": [values[:100], values[100:]]}
        return about | {"load_ms": 50.0, "first_ms": 9.0, "peak_memory_mb": 120.0}

    return {"batch": 1, "processes": [process(number) for number in range(processes)]}


def variant(predicted: list[int], before: list[int], labels: list[int], p50: float, number: int) -> dict[str, Any]:
    now, was, right = np.asarray(predicted), np.asarray(before), np.asarray(labels)
    counts = {
        "images": len(right),
        "top1": int((now == right).sum()),
        "top5": len(right),
        "agree": int((now == was).sum()),
        "flips_lost": int(((was == right) & (now != right)).sum()),
        "flips_won": int(((was != right) & (now == right)).sum()),
        "sqnr_db": 27.5,
    }
    about = {"accuracy": counts, "predicted": predicted, "latency": latency(p50), "size_mb": 1.0 / number}
    return about | {"digest": digest(number + 10), "notes": {}, "precisions": {"f32": 3}}


def result(target: str = "openvino", **changes: Any) -> dict[str, Any]:
    """FP32, its twin and INT8: a few answers of each kind changed."""
    labels = [number % len(CLASSES) for number in range(IMAGES)]
    before = [(label + (number % 20 == 0)) % 3 for number, label in enumerate(labels)]
    now = [(answer + (number % 30 == 7)) % 3 for number, answer in enumerate(before)]
    now[0] = labels[0]
    variants = {"fp32": variant(before, before, labels, 2.0, 1), "half": variant(before, before, labels, 1.5, 2)}
    variants["int8"] = variant(now, before, labels, 0.8, 4)
    about: dict[str, Any] = {"target": target, "candidate": "int8", "classes": list(CLASSES), "labels": labels}
    about |= {"skipped": [], "reference_predicted": before, "variants": variants}
    about |= {"versions": {target: "1.2"}, "machine": _ABOUT}
    return about | changes


def verdict(word: str = "KEPT", **changes: Any) -> dict[str, Any]:
    about = {"target": "openvino", "promise": "max_drop_pp", "verdict": word, "limit": 5.0, "value": 3.0, "low": 1.2}
    return about | {"high": 4.8, "reason": "3.00 points lost; promised at most 5", "more_images": None} | changes


def history(epochs: int = 6) -> list[dict[str, Any]]:
    return [
        {"epoch": each, "loss": 2 / each, "validation_loss": 2.1 / each, "validation_top1": 1 - 0.3 / each, "rate": 0.1}
        for each in range(1, epochs + 1)
    ]


def speedup() -> dict[str, Any]:
    """Cuts, the mildest first, as a search for a goal in milliseconds tells them."""

    def row(part: float, times: float, high: float | None) -> dict[str, Any]:
        told = {"times": times, "low": times - 0.1, "high": high, "whole_ms": 4.0, "ms": 4.0 / times, "processes": 5}
        return {"part": part, "macs": part * 2e6, "params": part * 2e5, "top1": part, "targets": {"openvino": told}}

    curve = [row(0.9, 0.97, 1.1), row(0.7, 1.4, None), row(0.5, 1.8, 1.9)]
    about = {"goals": {"openvino": 1.6}, "ships": {"openvino": "int8"}, "top1": 0.95}
    return {**about, "curve": curve, "chosen": 2, "milder": 1, "sure": True}


def steps() -> list[dict[str, Any]]:
    learned = {"history": history(), "best_epoch": 5, "epochs": 6, "validation_images": 50, "validation_top1": 0.94}
    cut = {"macs": [2e6, 1e6], "params": [2e5, 1e5], "ratio": 0.3, "importance": "l2", "multiple": 8}
    cut |= {"speedup": speedup()}
    back = {"dense_top1": 0.95, "pruned_top1": 0.4, "statistics_top1": 0.7}
    tried = [{"name": "scales", "sqnr_db": 25.0, "kept": True}, {"name": "bias", "sqnr_db": 24.0, "kept": False}]
    int8 = {"steps": tried, "int8": ["conv1"], "kept_float": {"fc": "named"}, "held_out": {"images": 64, "agree": 60}}
    int8 |= {"layers": {"conv1": 31.5, "layer1.0": 18.25, "fc": None}}
    return [
        step("train", 1, learned),
        step("prune", 2, cut | {"widths": {"conv1": [16, 8], "layer1.0": [32, 16]}}),
        step("recover", 3, learned | back),
        step("trace", 4),
        step("quantize:openvino", 5, int8),
        step("compile:openvino:int8", 6),
        step("verify:openvino", 7),
    ]


def run(**changes: Any) -> dict[str, Any]:
    raw = recipe.parse(tiny(targets={"openvino": {}}, quantize={"effort": "fast"}, images__calibration="digits"))
    about = {"format": FORMAT, "id": "20260101-120000-000000-abcdef", "recipe": raw.to_json()}
    about |= {"recipe_digest": "f" * 64, "results": {"openvino": result()}, "verdicts": [verdict()], "verdict": "KEPT"}
    about |= {"steps": steps(), "problem": None, "machine": _ABOUT, "undecided": "warn", "seconds": 12.0}
    return copy.deepcopy(about | changes)


def stored(root: Path, *runs: dict[str, Any]) -> Store:
    store = Store.open(root)
    for each in runs:
        store.save_run(each)
    return store


def on_images(store: Store, folder: Path | dict[str, Any]) -> dict[str, Any]:
    """A run on class folders of colours; the first image, and another one, are answered otherwise than before."""
    raw = tiny(
        model={"arch": "cifar_resnet8"},
        preprocessing={"size": 8, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        images={"training": "digits", "evaluation": folder if isinstance(folder, dict) else str(folder)},
    )
    asked = recipe.parse(raw)
    samples = images.open_samples(asked, "evaluation", store)
    labels = samples.labels.tolist()
    now = [labels[-1], *labels[1:5], 0, *labels[6:]]
    every = {"fp32": variant(labels, labels, labels, 2.0, 1), "int8": variant(now, labels, labels, 1.0, 2)}
    about = {"classes": list(samples.classes), "labels": labels, "reference_predicted": labels, "variants": every}
    with store.making("verify", digest(88)) as making:
        (making.out / "x").write_text("x")
        made = making.commit(parents={"evaluation": samples.digest}, notes={})
    done = [*steps()[:-1], {**steps()[-1], "key": made.key, "digest": made.digest}]
    found = run(results={"openvino": result(**about)}, recipe=asked.to_json(), steps=done)
    store.save_run(found)
    return found
