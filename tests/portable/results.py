"""Results for the tests of this room, made as they are stored: what a test does not mention has a sensible value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from edgeresnet.portable import codec
from edgeresnet.portable.machine import MachineState, TimedMachine
from edgeresnet.portable.result import Accuracy, Measured, Promise, Variant
from edgeresnet.portable.times import Latency, ProcessTimes, Windows

T = TypeVar("T")

_GPU = {"name": "Orin", "compute_capability": 8.7}
FINGERPRINT = {
    "cpu": "Some CPU",
    "instructions": ["avx2", "avx512_vnni"],
    "cores": 2,
    "system": "Linux x86_64",
    "board": None,
    "gpus": [_GPU],
}
CONDITIONS = {**FINGERPRINT, "governor": "performance", "power_mode": "15W", "gpu_driver": "540.4.0", "l4t": None}
TIMED_MACHINE = {**CONDITIONS, "host": "box", "boot": "b0", "cpus": 2}
MACHINE = {
    "cpu": {"model": "Some CPU", "instructions": ["avx2"], "cores": 2, "quota": None, "governor": None},
    "memory_gb": 8.0,
    "load": 0.1,
    "board": None,
    "l4t": None,
    "power_mode": None,
    "gpus": [],
    "system": "Linux x86_64",
    "python": "3.10.0",
}
SIGNATURE = {"input": "image", "batch": None, "channels": 3, "size": 8, "output": "logits", "classes": 10}


def machine_state(**about: object) -> MachineState:
    quiet: dict[str, object] = {"load": 0.1, "cpu_mhz": None, "throttled": None, "temperature_c": None, "gpus": []}
    return codec.decode(MachineState, {**quiet, **about})


def timed_machine(**about: object) -> TimedMachine:
    return codec.decode(TimedMachine, {**TIMED_MACHINE, **about})


def windows(found: Iterable[Iterable[float]]) -> Windows:
    return tuple(tuple(window) for window in found)


def unchecked(kind: Callable[..., T], document: Mapping[str, object]) -> T:
    """Decode each field, but not their whole, which would refuse what cannot be: NaN, lists that do not fit."""
    found = {
        key.attribute: codec.decode(key.kind, document[key.name]) for key in codec.keys(kind) if key.name in document
    }
    return kind(**found)


def process(*times: Iterable[float], **about: object) -> ProcessTimes:
    """One quiet process with these windows; `about` is what differs, by attribute, as JSON."""
    quiet: dict[str, object] = {"began": 1.78e9, "machine": TIMED_MACHINE, "load_ms": 1.0, "first_ms": 1.0}
    quiet |= {"stable": True, "others_cpus": [0.0], "stolen_cpus": [0.0], "cpu_work_ms": [1.0], **about}
    stored = {key.name: quiet[key.attribute] for key in codec.keys(ProcessTimes) if key.attribute in quiet}
    return replace(unchecked(ProcessTimes, stored), host_ms=windows(times))


def latency(processes: Iterable[ProcessTimes]) -> Latency:
    return Latency(1, tuple(processes))


def accuracy(images: int = 10, **counts: int) -> Accuracy:
    """Counts; by default every answer is correct, as before."""
    return replace(Accuracy(images, agree=images, top1=images, lost=0, won=0, top5=images), **counts)


def variant(times: Latency | None = None, counts: Accuracy | None = None, **about: object) -> Variant:
    empty = {"accuracy": codec.encode(accuracy()), "predicted": [], "latency": None, "size_mb": 1.5, "digest": "d"}
    made = codec.decode(Variant, {**empty, "notes": {"signature": SIGNATURE}, **about})
    return replace(made, latency=times, accuracy=counts or made.accuracy)


def measured(ships: str, variants: Mapping[str, Variant], **about: object) -> Measured:
    empty = {"target": "x", "candidate": ships, "classes": [], "labels": [], "skipped": [], "variants": {}}
    machine = {"machine": MACHINE, "versions": {}, "reference_predicted": []}
    return replace(unchecked(Measured, {**empty, **machine, **about}), variants=dict(variants))


def change(result: Measured, name: str, **changes: object) -> Measured:
    """The same result with one variant changed."""
    changed = replace(result.variants[name], **changes)  # type: ignore[arg-type]
    return replace(result, variants={**result.variants, name: changed})


def promises(recall: Mapping[str, float] | None = None, **limits: float) -> list[Promise]:
    """Promises by kind; `recall` is `min_recall_pct`, by class."""
    found = [Promise(kind, limit) for kind, limit in limits.items()]
    return found + [Promise("min_recall_pct", limit, label) for label, limit in (recall or {}).items()]
