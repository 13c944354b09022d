"""Runs as they are stored, made up: enough of them to show every state that a report has to show.

The parts are JSON, with every key that the types need. `run(**changes)` is a `Run`, `document(**changes)` its JSON to
change further, `decoded` and `as_json` go from one to the other.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeresnet import images, recipe
from edgeresnet.notes import VerifyNotes
from edgeresnet.portable import codec, confidence
from edgeresnet.portable.probabilities import Probabilities
from edgeresnet.portable.result import Measured
from edgeresnet.runs import FORMAT, Run
from edgeresnet.store import Store
from edgeresnet.store.artifact import Origin

from ..conftest import tiny

Json = dict[str, Any]

CLASSES = ("cat", "dog", "newt")
IMAGES = 300
_FINGERPRINT: Json = {
    "cpu": "Some CPU", "instructions": ["avx2"], "cores": 2, "system": "Linux x86_64", "board": None, "gpus": [],
}  # fmt: skip
MACHINE: Json = {  # that timed something
    **_FINGERPRINT, "governor": None, "power_mode": None, "gpu_driver": None, "l4t": None, "host": "here", "boot": "1",
    "cpus": 2,
}  # fmt: skip
ABOUT: Json = {  # all that is known of it
    "cpu": {"model": "Some CPU", "cores": 2, "instructions": ["avx2"], "quota": None, "governor": None},
    "memory_gb": 8, "load": None, "board": None, "l4t": None, "power_mode": None, "gpus": [], "system": "Linux x86_64",
    "python": "3.12.1",
}  # fmt: skip
_SIGNATURE: Json = {"input": "x", "batch": 1, "channels": 3, "size": 8, "output": "y", "classes": len(CLASSES)}
_DIALECT: Json = {"activations": "u8-after-relu", "residual": "both", "channel_multiple": 8}


def decoded(document: Json) -> Run:
    """Return the run that a document is of. What in it is a dataclass already may stay so."""
    return codec.decode(Run, codec.encode(document))


def as_json(run: Run) -> Json:
    """Return a run as it is stored, to be changed."""
    document: Json = codec.encode(run)
    return document


def digest(number: int) -> str:
    return f"{number:x}".zfill(2) * 32


def warning(text: str, code: str = "some") -> Json:
    return {"code": code, "text": text}


def step(name: str, number: int, notes: Json | None = None, **changes: Any) -> Json:
    stage, target, variant = (*name.split(":"), "", "")[:3]
    about: Json = {"step": {"stage": stage, "target": target, "variant": variant}, "id": name, "state": "made"}
    about |= {"seconds": 1.5, "key": digest(number + 99), "digest": digest(number), "path": None, "notes": notes}
    return about | changes


def process(**changes: Any) -> Json:
    about: Json = {"began": 1.78e9, "machine": MACHINE, "load_ms": 50.0, "first_ms": 9.0, "peak_memory_mb": 120.0}
    quiet = [0.0] * len(changes.get("host_ms", ()))
    return about | {"stable": True, "others_cpus": quiet} | changes


def latency(p50: float, processes: int = 3) -> Json:
    def timed(number: int) -> Json:
        values = (p50 * (1 + 0.01 * number) * np.random.default_rng(number).lognormal(0, 0.05, 200)).tolist()
        return process(host_ms=[values[:100], values[100:]])

    return {"batch": 1, "processes": [timed(number) for number in range(processes)]}


def variant(predicted: list[int], before: list[int], labels: list[int], p50: float, number: int) -> Json:
    now, was, correct = np.asarray(predicted), np.asarray(before), np.asarray(labels)
    counts = {
        "images": len(correct),
        "top1": int((now == correct).sum()),
        "top5": len(correct),
        "agree": int((now == was).sum()),
        "flips_lost": int(((was == correct) & (now != correct)).sum()),
        "flips_won": int(((was != correct) & (now == correct)).sum()),
        "sqnr_db": 27.5,
    }
    about: Json = {"accuracy": counts, "predicted": predicted, "latency": latency(p50), "size_mb": 1.0 / number}
    return about | {"digest": digest(number + 10), "notes": {"signature": _SIGNATURE}, "precisions": {"f32": 3}}


def result(target: str = "openvino", **changes: Any) -> Json:
    """Return FP32, its half-precision variant and INT8: a few answers of each kind changed."""
    labels = [number % len(CLASSES) for number in range(IMAGES)]
    before = [(label + (number % 20 == 0)) % 3 for number, label in enumerate(labels)]
    now = [(answer + (number % 30 == 7)) % 3 for number, answer in enumerate(before)]
    now[0] = labels[0]
    variants = {"fp32": variant(before, before, labels, 2.0, 1), "half": variant(before, before, labels, 1.5, 2)}
    variants["int8"] = variant(now, before, labels, 0.8, 4)
    about: Json = {"state": "measured", "target": target, "candidate": "int8", "classes": list(CLASSES)}
    about |= {"labels": labels, "skipped": [], "reference_predicted": before, "variants": variants}
    about |= {"versions": {target: "1.2"}, "machine": ABOUT}
    return about | changes


@dataclass(frozen=True)
class Amounts:
    """What energy and throughput were: watts of a rail or why none was read, and images per second of 4 × 8."""

    watts: float | str
    rate: float | None = None
    sensor: str = "the board's rail VDD_IN"
    idle_w: float | None = 4.1


def with_amounts(found: Json, amounts: Amounts, **others: Amounts) -> Json:
    """Return a result in which each process measured energy and throughput; `others` are of variants by name."""
    made = copy.deepcopy(found)
    for name, each in made["variants"].items():
        wanted = others.get(name, amounts)
        for number, process in enumerate(each["latency"]["processes"]):
            seconds = [sum(window) / 1000 for window in process["host_ms"]]
            process["energy"] = wanted.watts
            if not isinstance(wanted.watts, str):
                watts = [wanted.watts * (1 + 0.006 * (number - 1))] * len(seconds)
                about = {"sensor": wanted.sensor, "watts": watts, "seconds": seconds}
                process["energy"] = about | ({} if wanted.idle_w is None else {"idle_w": wanted.idle_w})
            if wanted.rate:
                rate = wanted.rate * (1 + 0.006 * (number - 1))
                process["sweep"] = [{"batch": 8, "streams": 4, "images_per_s": rate, "ms": [1.0]}]
    return made


def emulated(found: Json) -> Json:
    """Return a result whose times an emulator ran: half of what they were, as if it were the fastest device."""
    made = copy.deepcopy(found)
    for each in made["variants"].values():
        for process in each["latency"]["processes"]:
            process["machine"] = {**process["machine"], "emulated": True}
            process["host_ms"] = [[value / 2 for value in window] for window in process["host_ms"]]
    return made


def with_probabilities(found: Json, threshold: float | None = None, fall: float = 0.02) -> Json:
    """Return a result with probabilities: INT8's are lower by `fall`, the other variants' are FP32's own."""
    measured = codec.decode(Measured, found)
    before = np.round(np.random.default_rng(0).uniform(0.45, 0.99, len(measured.reference_predicted)), 6)
    variants = {}
    for name, each in measured.variants.items():
        now = before - (fall if name == "int8" else 0.0)
        changed = np.asarray(each.predicted) != np.asarray(measured.reference_predicted)
        others = tuple((now[changed] - 0.1).tolist())
        variants[name] = replace(each, probabilities=Probabilities(tuple(now.tolist()), others))
    known = replace(measured, variants=variants, reference_probabilities=tuple(before.tolist()))
    made: Json = codec.encode(confidence.described(known, threshold))
    return made


def deferred(target: str, reason: str, hint: str = "") -> Json:
    return {"state": "deferred", "target": target, "reason": reason, "hint": hint}


def not_measured(target: str, reason: str, hint: str = "") -> Json:
    return {"state": "not_measured", "target": target, "reason": reason, "hint": hint}


def verdict(
    word: str = "KEPT", kind: str = "max_drop_pp", subject: str = "", limit: float = 5.0, **changes: Any
) -> Json:
    about: Json = {"target": "openvino", "promise": {"kind": kind, "limit": limit, "subject": subject}, "verdict": word}
    about |= {"value": 3.0, "low": 1.2, "high": 4.8, "reason": "3.00 points lost; promised at most 5"}
    return about | changes


def history(epochs: int = 6) -> list[Json]:
    return [
        {"epoch": each, "loss": 2 / each, "validation_loss": 2.1 / each, "validation_top1": 1 - 0.3 / each, "rate": 0.1}
        for each in range(1, epochs + 1)
    ]


def training(**changes: Any) -> Json:
    about: Json = {"arch": "resnet18", "images": 500, "validation_images": 50, "history": history()}
    return about | {"best_epoch": 5, "epochs": 6, "validation_top1": 0.94} | changes


def recovery(**changes: Any) -> Json:
    about: Json = {
        "images": 500,
        "validation_images": 50,
        "history": history(),
        "best_epoch": 5,
        "epochs": 6,
        "rounds": 1,
    }
    about |= {"validation_top1": 0.94, "enough": False}
    return about | {"dense_top1": 0.95, "pruned_top1": 0.4, "statistics_top1": 0.7} | changes


def speedup() -> Json:
    """Return cuts, the mildest first, as a search for a goal in milliseconds reports them."""

    def row(part: float, times: float, high: float | None) -> Json:
        timed = {"times": times, "low": times - 0.1, "high": high, "whole_ms": 4.0, "ms": 4.0 / times, "processes": 5}
        about = {"part": part, "macs": int(part * 2e6), "params": int(part * 2e5), "ratio": 0.3, "top1": part}
        return about | {"again": False, "targets": {"openvino": timed}}

    curve = [row(0.9, 0.97, 1.1), row(0.7, 1.4, None), row(0.5, 1.8, 1.9)]
    about: Json = {"goals": {"openvino": 1.6}, "ships": {"openvino": "int8"}, "top1": 0.95, "images": 50}
    return {**about, "curve": curve, "chosen": 2, "milder": 1, "sure": True}


def pruning(**changes: Any) -> Json:
    about: Json = {"macs": [2_000_000, 1_000_000], "params": [200_000, 100_000], "ratio": 0.3, "importance": "l2"}
    about |= {"multiple": 8, "speedup": speedup(), "widths": {"conv1": [16, 8], "layer1.0": [32, 16]}}
    return about | changes


def quantizing(**changes: Any) -> Json:
    tried = [{"name": "scales", "sqnr_db": 25.0, "kept": True}, {"name": "bias", "sqnr_db": 24.0, "kept": False}]
    about: Json = {"steps": tried, "int8": ["conv1"], "kept_float": {"fc": "named"}, "images_in_levels": True}
    about |= {"held_out": {"images": 64, "agree": 60, "sqnr_db": 25.0}, "bytes_before": 4000, "bytes_after": 1000}
    return about | {"layers": {"conv1": 31.5, "layer1.0": 18.25, "fc": None}, "dialect": _DIALECT} | changes


def tracing() -> Json:
    return {"parity": 1e-6, "parity_images": 64, "opset": 17, "operators": {"Conv": 9}, "parameters": 78_000}


def steps() -> list[Json]:
    return [
        step("train", 1, training()),
        step("prune", 2, pruning()),
        step("recover", 3, recovery()),
        step("trace", 4, tracing()),
        step("quantize:openvino", 5, quantizing()),
        step("compile:openvino:int8", 6, {"signature": _SIGNATURE}),
        step("verify:openvino", 7, {"images": IMAGES}),
    ]


def document(**changes: Any) -> Json:
    """Return the JSON of a run, to be changed."""
    raw = recipe.parse(tiny(targets={"openvino": {}}, quantize={"effort": "fast"}, images__calibration="digits"))
    about: Json = {"format": FORMAT, "id": "20260101-120000-000000-abcdef", "recipe": raw.to_json()}
    about |= {"recipe_digest": "f" * 64, "results": {"openvino": result()}, "verdicts": [verdict()], "verdict": "KEPT"}
    about |= {"steps": steps(), "problem": None, "machine": ABOUT, "undecided": "warn", "seconds": 12.0}
    return copy.deepcopy(about | changes)


def run(**changes: Any) -> Run:
    """Return a run in which these keys are others."""
    return decoded(document(**changes))


def stored(root: Path, *runs: Run) -> Store:
    store = Store.open(root)
    for each in runs:
        store.save_run(each)
    return store


def on_images(store: Store, folder: Path | Json) -> Run:
    """Return a run on class folders of colours; the first image, and another one, are answered differently in INT8."""
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
    about: Json = {"classes": list(samples.classes), "labels": labels, "reference_predicted": labels, "variants": every}
    with store.making("verify", digest(88)) as making:
        (making.out / "x").write_text("x")
        made = making.commit(VerifyNotes(IMAGES), Origin(1, parents={"evaluation": samples.digest}))
    done = [*steps()[:-1], {**steps()[-1], "key": made.key, "digest": made.digest}]
    made_up = run(results={"openvino": result(**about)}, recipe=asked.to_json(), steps=done)
    store.save_run(made_up)
    return made_up
