"""A finished run as it is stored, made of chosen answers and times, so that a gate can judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgeresnet.notes import TraceNotes
from edgeresnet.portable import codec, judging, yardstick
from edgeresnet.portable.machine import Machine, TimedMachine
from edgeresnet.portable.result import Measured, Promise, Result, Variant, Yardstick
from edgeresnet.portable.session import CompileNotes
from edgeresnet.portable.tasks import classification
from edgeresnet.portable.times import Latency, ProcessTimes
from edgeresnet.runs import Run, StepId, StepRecord

NOW = 1_780_000_000.0
IMAGES, CLASSES = 2000, 10
ABOUT = {"cpu": "Some CPU", "instructions": ["avx2"], "cores": 2, "system": "Linux x86_64", "board": None}
TIMED_MACHINE = codec.decode(
    TimedMachine,
    {**ABOUT, "gpus": [], "governor": None, "power_mode": None, "gpu_driver": None, "l4t": None}
    | {"host": "a", "boot": None, "cpus": 2},
)
CPU = {"model": "Some CPU", "instructions": ["avx2"], "cores": 2, "quota": None, "governor": None}
MACHINE = codec.decode(
    Machine,
    {"cpu": CPU, "memory_gb": 8.0, "load": 0.0, "board": None, "l4t": None, "power_mode": None}
    | {"gpus": [], "system": "Linux x86_64", "python": "3.11.7"},
)
SIGNATURE = {"input": "input", "batch": 1, "channels": 3, "size": 32, "output": "logits", "classes": CLASSES}
NETWORKS = {"fp32": 2.0, "half": 1.5, "int8": 1.0}  # milliseconds
YARDSTICK_MS = 0.8

_RNG = np.random.default_rng(3)
LABELS = _RNG.integers(0, CLASSES, IMAGES)
EXPECTED = np.where(_RNG.random(IMAGES) < 0.9, LABELS, (LABELS + 1) % CLASSES)


def times(ms: float, *, by: tuple[float, ...] = (0.0, 0.003, -0.002, 0.001, -0.001), began: float = NOW) -> Latency:
    """Return the times of five processes of two windows; `by` is how far each is from the rest."""

    def process(n: int, part: float) -> ProcessTimes:
        window = tuple(ms * (1 + part + 1e-7 * k) for k in range(60))
        return ProcessTimes(
            began=began - 60 * (5 - n),
            machine=TIMED_MACHINE,
            load_ms=1.0,
            first_ms=ms,
            host_ms=(window, window),
            cpu_work_ms=(0.5, 0.5),
            cpu_mhz=(None, None),
            others_cpus=(0.0, 0.0),
            stolen_cpus=(0.0, 0.0),
        )

    return Latency(1, tuple(process(n, part) for n, part in enumerate(by)))


def variant(predicted: np.ndarray, ms: float, **how: Any) -> Variant:
    """Return a network with these answers; `how` is for `times`."""
    return Variant(
        accuracy=replace(classification.counts(EXPECTED, predicted, LABELS), top5=IMAGES, sqnr_db=30.0),
        predicted=tuple(predicted.tolist()),
        latency=times(ms, **how),
        size_mb=1.25,
        digest="d" * 64,
        notes=codec.decode(CompileNotes, {"signature": SIGNATURE}),
    )


def result(
    target: str,
    *,
    predicted: np.ndarray = EXPECTED,
    slower: Mapping[str, float] | None = None,
    by: tuple[float, ...] | None = None,
    began: float = NOW,
    images: str = "i" * 64,
) -> Measured:
    """Return a result. `predicted` and `by` are of INT8; `slower` is of networks by name, and of the yardstick."""
    factor = {**dict.fromkeys((*NETWORKS, "yardstick"), 1.0), **(slower or {})}
    variants = {
        name: variant(predicted if name == "int8" else EXPECTED, ms * factor[name], began=began)
        for name, ms in NETWORKS.items()
    }
    if by is not None:
        variants["int8"] = replace(variants["int8"], latency=times(NETWORKS["int8"], by=by, began=began))
    return Measured(
        target=target,
        ships="int8",
        classes=tuple(f"c{n}" for n in range(CLASSES)),
        labels=tuple(LABELS.tolist()),
        skipped=(),
        variants=variants,
        machine=MACHINE,
        versions={target: "1.0"},
        reference_predicted=tuple(EXPECTED.tolist()),
        images=images,
        yardstick=Yardstick(yardstick.SHA256, times(YARDSTICK_MS * factor["yardstick"], began=began)),
    )


def step(id: StepId, digest: str, notes: TraceNotes | None = None) -> StepRecord:
    return StepRecord(
        step=id, id=str(id), state="made", seconds=1.0, key="k", digest=digest, path=None, notes=notes
    )  # fmt: skip


def run(
    *results: Result,
    promises: tuple[Promise, ...] = (Promise("max_drop_pp", 50.0),),
    recipe: Mapping[str, object] | None = None,
    **changes: Any,
) -> Run:
    """Return a run of these results (two targets by default). `recipe` replaces sections of its recipe."""
    results = results or (result("openvino"), result("onnxruntime"))
    verdicts = tuple(one for each in results for one in judging.judge(promises, each.target, each))
    raw: dict[str, object] = {
        "version": 1,
        "seed": 0,
        "preprocessing": {"size": 32},
        "promises": {each.kind: each.limit for each in promises},
        "model": {"arch": "resnet18", "classes": CLASSES, "checkpoint": "weights/v1.pth"},
        "images": {"evaluation": {"from": "data/val"}},
        "quantize": {"effort": "fast"},
        "verify": {"processes": 5},
        "targets": {each.target: {} for each in results},
    }
    found = Run(
        id="20270115-080000-000000-abcdef",
        recipe={**raw, **(recipe or {})},
        recipe_digest="f" * 64,
        seconds=1.0,
        steps=(step(StepId("trace"), "e" * 64),),
        results={each.target: each for each in results},
        verdicts=verdicts,
        verdict=judging.worst([one.verdict for one in verdicts]),
        undecided="warn",
        problem=None,
        machine=MACHINE,
    )
    return replace(found, **changes)


def altered(document: Run, change: Callable[[Measured], Result]) -> Run:
    """Return a run of which openvino's result was changed."""
    before = document.results["openvino"]
    assert isinstance(before, Measured)
    return replace(document, results={**document.results, "openvino": change(before)})


def with_variant(result: Measured, name: str, **about: Any) -> Measured:
    """Return a result of which one variant was changed."""
    return replace(result, variants={**result.variants, name: replace(result.variants[name], **about)})


def with_yardstick(result: Measured, **about: Any) -> Measured:
    assert result.yardstick
    return replace(result, yardstick=replace(result.yardstick, **about))


def with_latencies(result: Measured, change: Callable[[Latency], Latency]) -> Measured:
    """Return a result of which all times were changed, the yardstick's too."""
    assert result.yardstick
    assert result.yardstick.latency
    found = with_yardstick(result, latency=change(result.yardstick.latency))
    for name, each in result.timed().items():
        found = with_variant(found, name, latency=change(each))
    return found


def in_every_process(**about: Any) -> Callable[[Measured], Measured]:
    """Return a change: what all networks and the yardstick were measured under."""
    return lambda result: with_latencies(result, lambda latency: _with_processes(latency, about))


def in_the_yardsticks_processes(**about: Any) -> Callable[[Measured], Measured]:
    """Return a change: what the yardstick was measured under."""

    def change(result: Measured) -> Measured:
        assert result.yardstick
        assert result.yardstick.latency
        return with_yardstick(result, latency=_with_processes(result.yardstick.latency, about))

    return change


def _with_processes(latency: Latency, about: Mapping[str, Any]) -> Latency:
    return replace(latency, processes=tuple(replace(process, **about) for process in latency.processes))


def incorrect_for(part: float) -> np.ndarray:
    """Return answers that lose this part of the images, among those that were correct."""
    correct = np.flatnonzero(EXPECTED == LABELS)[: round(part * IMAGES)]
    predicted = EXPECTED.copy()
    predicted[correct] = (LABELS[correct] + 2) % CLASSES
    return predicted
