"""Each of these breaks something on purpose. A run that still ends green fails the suite."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import gate, pipeline, recipe, report, targets
from edgeresnet.errors import TargetError
from edgeresnet.pipeline import Listener
from edgeresnet.pipeline import step as steps
from edgeresnet.portable import inference, machine, timing_warnings, worker, yardstick
from edgeresnet.portable.result import Promise
from edgeresnet.runs import Margins, Run
from edgeresnet.store import Origin, Store

from ..conftest import folder_of, result_of, step_of, tiny
from .test_run import on_colours

OnnxRuntime: Any = type(targets.get("onnxruntime"))


class Sabotaged(OnnxRuntime):
    """The real target, with one thing done to every batch or answer."""

    name = "sabotaged"

    def __init__(self, before: Callable | None = None, after: Callable | None = None):
        self.before, self.after = before, after

    def load(self, compiled: Path) -> Any:
        session = super().load(compiled)
        real, seen = session.infer, [0]

        def infer(batch: np.ndarray) -> np.ndarray:
            seen[0] += len(batch)
            answer = real(self.before(batch) if self.before else batch)
            return self.after(answer, seen[0]) if self.after else answer

        session.infer = infer
        return session


def judged(store: Store, add_target: Any, target: Any, **changes: Any) -> Run:
    add_target(target)
    return pipeline.run(recipe.parse(tiny(targets={"sabotaged": {}}, **changes)), store)


def timing_texts(run: Run, target: str = "sabotaged") -> str:
    return " ".join(str(warning) for warning in timing_warnings.of(result_of(run, target).timed()))


class Backwards:
    """A clock that goes an hour back each time that it was read forty times."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return 0.001 * self.looks - 3600 * (self.looks // 40)


def _raise_at(image: int) -> Callable:
    def after(answer: np.ndarray, seen: int) -> np.ndarray:
        if seen > image:
            raise RuntimeError("device lost")
        return answer

    return after


def _nan_at(image: int) -> Callable:
    return lambda answer, seen: answer if seen <= image else np.full_like(answer, np.nan)


def _slower(answer: np.ndarray, seen: int) -> np.ndarray:
    time.sleep(0.005)
    return answer


def test_the_harness_itself_is_green(own_store: Store, add_target: Any) -> None:
    promises = {"max_drop_pp": 2, "max_latency_p99_ms": 1e6}
    run = judged(own_store, add_target, Sabotaged(), promises=promises, verify={"processes": 3, "seconds": 3})
    found = {each.promise.kind: each for each in run.verdicts}
    assert found["max_drop_pp"].verdict == "KEPT", found["max_drop_pp"].reason
    # where one of the three processes stalls on a busy machine, no limit of the p99 is shown to be kept
    assert found["max_latency_p99_ms"].verdict in {"KEPT", "UNDECIDED"}, found["max_latency_p99_ms"].reason


@pytest.mark.parametrize(
    ("sabotage", "promises", "verdict", "words"),
    [
        (Sabotaged(after=lambda a, _: np.roll(a, 1, axis=1)), {"max_drop_pp": 2}, "BROKEN", "points lost"),
        (Sabotaged(after=lambda a, _: a[::-1]), {"max_drop_pp": 2}, "BROKEN", "points lost"),
        (Sabotaged(before=lambda b: -b), {"max_flips_pct": 5}, "BROKEN", "answers changed"),
        (Sabotaged(after=lambda a, _: np.zeros_like(a)), {"max_drop_pp": 2}, "BROKEN", "points lost"),
        (Sabotaged(after=_raise_at(300)), {"max_drop_pp": 2}, "NOT_MEASURED", "from image 288 on: device lost"),
        (Sabotaged(after=_nan_at(300)), {"max_drop_pp": 2}, "NOT_MEASURED", "NaN or infinity for image 288"),
        (Sabotaged(after=lambda a, _: a[:, :9]), {"max_drop_pp": 2}, "NOT_MEASURED", "shape"),
        # on a busy machine its processes may differ too much to be sure
        (Sabotaged(after=_slower), {"max_latency_p99_ms": 0.5}, "BROKEN UNDECIDED", "ms at p99"),
    ],
    ids=["shuffled logits", "shuffled images", "inverted", "all equal", "raises", "nan", "shape", "slow"],
)
def test_a_sabotaged_target_is_caught(
    own_store: Store, add_target: Any, sabotage: Any, promises: dict, verdict: str, words: str
) -> None:
    run = judged(own_store, add_target, sabotage, promises=promises)
    assert run.verdict in verdict.split()
    assert words in run.verdicts[0].reason


def test_probabilities_that_move_while_every_answer_stays_break_their_own_promise(
    own_store: Store, add_target: Any
) -> None:
    """Half of every logit: every answer is the same, and a program that has a threshold gets another network."""
    promises = {"max_drop_pp": 2, "max_flips_pct": 2, "max_confidence_change": 0.05}
    assert judged(own_store, add_target, Sabotaged(), promises=promises).verdict == "KEPT"
    add_target(Sabotaged(after=lambda answer, _: 0.5 * answer))
    wanted = recipe.parse(tiny(targets={"sabotaged": {}}, promises=promises, verify__threshold=0.5))
    run = pipeline.run(wanted, own_store, again=frozenset({"verify"}))
    words = {one.promise.kind: one.verdict for one in run.verdicts}
    assert words == {"max_drop_pp": "KEPT", "max_flips_pct": "KEPT", "max_confidence_change": "BROKEN"}
    found = result_of(run, "sabotaged").confidence["fp32"]
    assert found.crossings is not None
    assert found.calibration is not None
    assert found.crossings.fell > found.crossings.rose == 0
    assert found.calibration.change.low > 0
    assert "Threshold 0.5, sabotaged fp32: " in report.FORMATS["terminal"](run)


def test_bgr_for_rgb_on_the_target(tmp_path: Path, colours: Any, add_target: Any) -> None:
    changes: dict[str, Any] = {"train__epochs": 8, "promises": {"max_drop_pp": 10, "min_top1_pct": 80}}
    add_target(Sabotaged())
    wanted = recipe.parse(on_colours(colours("b"), colours("a"), targets={"sabotaged": {}}, **changes))
    store = Store(tmp_path)
    run = pipeline.run(wanted, store)
    assert run.verdict == "KEPT", run.verdicts
    add_target(Sabotaged(before=lambda batch: np.ascontiguousarray(batch[:, ::-1])))
    again = pipeline.run(wanted, store, again=frozenset({"verify"}))
    assert {verdict.verdict for verdict in again.verdicts} == {"BROKEN"}


@pytest.mark.slow
def test_bgr_for_rgb_in_the_recipe(tmp_path: Path, colours: Any) -> None:
    """The weights learned RGB; a recipe with BGR for them breaks its promise of accuracy."""
    raw = on_colours(colours("b"), colours("a"), train__epochs=8, promises={"min_top1_pct": 80})
    store = Store(tmp_path)
    run = pipeline.run(recipe.parse(raw), store)
    assert run.verdict == "KEPT"
    weights = folder_of(run, "train") / "weights.safetensors"
    raw.pop("train")
    raw["model"]["checkpoint"] = str(weights)
    raw["preprocessing"]["order"] = "bgr"
    assert pipeline.run(recipe.parse(raw), store).verdict == "BROKEN"


class Ear(Listener):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def warns(self, sentence: str) -> None:
        self.heard.append(sentence)


@pytest.mark.parametrize("step", ["train", "trace", "compile:reference", "verify:onnxruntime"])
def test_a_flipped_byte_in_an_artifact_is_never_used(own_store: Store, step: str) -> None:
    run = pipeline.run(recipe.parse(tiny()), own_store)
    folder = folder_of(run, step)
    largest = max((p for p in folder.iterdir() if p.name != "manifest.json"), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    ear = Ear()
    again = pipeline.run(recipe.parse(tiny()), own_store, listener=ear)
    digest = step_of(run, step).digest
    assert any(each.state == "made" for each in again.steps if digest == each.digest or each.id == step)
    assert f"{largest.name} has changed: edgeresnet makes it again" in ear.heard[0]
    assert again.verdict == "KEPT"
    assert any(w.code == "made-again" for each in again.steps for w in each.warnings), "and the run remembers"


@pytest.fixture
def two_models(trained: Any, once: Any, tmp_path: Path) -> tuple[Store, Run, Run]:
    """A store with two trained networks, copied, and their runs."""

    def make(folder: Path) -> None:
        shutil.copytree(trained[0].root, folder, dirs_exist_ok=True)
        pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), Store(folder))

    store = Store(shutil.copytree(once("two-models", make), tmp_path / "store"))
    wanted = tiny(), tiny(seed=9, train__epochs=1)
    first, other = (pipeline.run(recipe.parse(each), store) for each in wanted)  # done already
    return store, first, other


def test_a_stale_engine_put_in_place_of_the_new_one_is_never_used(two_models: Any) -> None:
    """The compiled network of an earlier model, copied over a later one's: the digests differ."""
    own_store, first, other = two_models
    name = "compile:reference"
    old, new = (folder_of(run, name) for run in (first, other))
    shutil.copy(old / "model.onnx", new / "model.onnx")
    ear = Ear()
    again = pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), own_store, listener=ear)
    assert ear.heard
    assert step_of(again, name).digest == step_of(other, name).digest


def test_a_stale_engine_with_its_manifest_is_never_used(two_models: Any) -> None:
    """The complete folder, manifest included: then the key is another's."""
    own_store, first, other = two_models
    name = "compile:reference"
    old, new = (folder_of(run, name) for run in (first, other))
    shutil.rmtree(new)
    shutil.copytree(old, new)
    ear = Ear()
    pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), own_store, listener=ear)
    assert "its manifest has another key" in ear.heard[0]


@pytest.mark.parametrize(
    ("clock", "words"),
    [(lambda: 0.0, "stood still"), (Backwards(), "went backwards")],
    ids=["stands still", "steps back"],
)
def test_a_clock_that_does_not_run_keeps_no_promise(
    own_store: Store, add_target: Any, monkeypatch: Any, clock: Any, words: str
) -> None:
    monkeypatch.setattr(worker, "MOST_IN_A_ROW", 20)
    monkeypatch.setattr(worker, "start", lambda job: worker.Worker(job, clock=clock))
    run = judged(own_store, add_target, Sabotaged(), promises={"max_latency_p99_ms": 5})
    assert run.verdict == "NOT_MEASURED"
    assert words in run.verdicts[0].reason


def test_a_session_that_slows_down_with_time_is_reported(own_store: Store, add_target: Any) -> None:
    count = [0]

    def slower(answer: np.ndarray, _: int) -> np.ndarray:
        count[0] += 1
        until = time.perf_counter() + 5e-6 * count[0]
        while time.perf_counter() < until:
            pass
        return answer

    run = judged(own_store, add_target, Sabotaged(after=slower), verify={"processes": 2, "seconds": 3})
    assert "inference became slower" in timing_texts(run)


def test_a_session_that_answers_differently_the_second_time(own_store: Store, add_target: Any) -> None:
    def forgets(answer: np.ndarray, seen: int) -> np.ndarray:
        return answer if seen <= 450 else answer[:, ::-1]

    run = judged(own_store, add_target, Sabotaged(after=forgets), promises={"max_drop_pp": 50})
    assert run.verdict == "NOT_MEASURED"
    assert "the network gave other logits when image" in run.verdicts[0].reason


def test_a_process_that_dies_while_it_is_timed_leaves_the_rest(own_store: Store, monkeypatch: Any) -> None:
    """onnxruntime dies, OpenVINO does not; what was evaluated before is stored for the next run."""
    real = worker.Worker

    def start(job: worker.Job) -> worker.Worker:
        if job.target.name == "onnxruntime":  # type: ignore[attr-defined]
            raise TargetError("the network", "crashed the process that timed it (signal 11)", hint="again")
        return real(job)

    monkeypatch.setattr(worker, "start", start)
    wanted = recipe.parse(tiny(targets={"onnxruntime": {}, "openvino": {}}, verify={"processes": 2, "seconds": 0.5}))
    run = pipeline.run(wanted, own_store)
    assert [verdict.verdict for verdict in run.verdicts] == ["NOT_MEASURED", "KEPT"]
    monkeypatch.setattr(worker, "start", real)
    evaluated: list[int] = []
    monkeypatch.setattr(inference, "predict", lambda *_: evaluated.append(1))
    assert pipeline.run(wanted, own_store).verdict == "KEPT"
    assert not evaluated, "the answers were there already"


def interrupted_at_the_third(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ctrl-C while the network's third process is started, once; return a mark for every process that was started."""
    started: list[str] = []
    real = worker.Worker

    def start(job: worker.Job) -> worker.Worker:
        if job.batch.shape == yardstick.image().shape:
            return real(job)
        started.append("x")
        if len(started) == 3:
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(worker, "start", start)
    return started


def test_an_interrupted_measurement_goes_on_where_it_was(own_store: Store, monkeypatch: Any) -> None:
    started = interrupted_at_the_third(monkeypatch)
    wanted = recipe.parse(tiny(verify={"processes": 4, "seconds": 0.5}))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store)
    assert len(started) == 3
    run = pipeline.run(wanted, own_store)
    assert len(started) == 3 + 2, "two of four rounds were stored"
    latency = result_of(run, "onnxruntime").variants["fp32"].latency
    assert latency is not None
    assert len(latency.processes) == 4


def test_rounds_of_a_machine_in_another_state_are_not_continued(own_store: Store, monkeypatch: Any) -> None:
    """The power mode was changed while the run stood still: fast rounds and slow ones are not one measurement."""
    mode, conditions, real = ["MAXN"], machine.timed_machine(), steps.Step.origin
    monkeypatch.setattr(machine, "timed_machine", lambda: replace(conditions, power_mode=mode[0]))
    started = interrupted_at_the_third(monkeypatch)

    def origin(step: steps.Step, digests: Mapping[str, str]) -> Origin:
        return replace(real(step, digests), machine=None)  # or the key would be another

    monkeypatch.setattr(steps.Step, "origin", origin)
    wanted = recipe.parse(tiny(verify={"processes": 4, "seconds": 0.5}))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store)
    mode[0] = "15W"
    pipeline.run(wanted, own_store)
    assert len(started) == 3 + 4


def test_again_begins_at_the_start_after_an_interruption_too(own_store: Store, monkeypatch: Any) -> None:
    started = interrupted_at_the_third(monkeypatch)
    wanted, again = recipe.parse(tiny()), frozenset({"verify"})
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store, again=again)
    pipeline.run(wanted, own_store, again=again)
    assert len(started) == 3 + 3, "all three rounds, not the one that was missing"


def test_what_an_interruption_left_is_reported_with_its_time(own_store: Store, monkeypatch: Any) -> None:
    interrupted_at_the_third(monkeypatch)
    wanted = recipe.parse(tiny(verify={"processes": 4, "seconds": 0.5}))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store)
    (warning,) = step_of(pipeline.run(wanted, own_store), "verify:onnxruntime").warnings
    assert warning.code == "continued"
    assert "timing continues after an interruption: 2 of 4 rounds date from 20" in warning.text


def test_a_half_precision_variant_that_cannot_be_made_does_not_stop_its_target(
    own_store: Store, monkeypatch: Any
) -> None:
    openvino = targets.get("openvino")
    monkeypatch.setattr(type(openvino), "half", lambda self, options: options.__class__(float_parts="f16", threads=3))
    real = type(openvino).compile

    def compiled(self: Any, onnx: Path, options: Any, out: Path, cache: Path | None = None) -> Any:
        if options.float_parts == "f16":
            raise TargetError("this CPU", "has no f16 instructions", hint="use f32")
        return real(self, onnx, options, out)

    monkeypatch.setattr(type(openvino), "compile", compiled)
    wanted = recipe.parse(tiny(targets={"openvino": {}}, promises={"max_drop_pp": 2}))
    run = pipeline.run(wanted, own_store)
    assert run.verdict == "KEPT"
    assert list(result_of(run, "openvino").variants) == ["fp32"]
    assert "compile:openvino:half failed: this CPU has no f16 instructions" in report.summary.of(run).notes


@pytest.mark.slow
def test_a_target_that_slows_down_at_image_300_is_reported(own_store: Store, add_target: Any) -> None:
    """Of those that are timed: the session is quick for its first 300 inferences, and slow from there on."""
    count = [0]

    def slower(answer: np.ndarray, seen: int) -> np.ndarray:
        count[0] = 1 if seen > 1 and len(answer) > 1 else count[0] + 1  # a batch: it is evaluated; then timed
        until = time.perf_counter() + (0.001 if count[0] % 600 > 300 else 0)
        while time.perf_counter() < until:
            pass
        return answer

    run = judged(own_store, add_target, Sabotaged(after=slower), verify={"processes": 2, "seconds": 3})
    notes = timing_texts(run)
    assert any(word in notes for word in ("became slower", "two groups", "did not settle")), notes


def test_a_class_without_images_is_reported_and_its_promise_is_not_kept(tmp_path: Path, colours: Any) -> None:
    """Every file of one class is damaged, and `unreadable: skip` leaves them out."""
    damaged = tmp_path / "evaluation"
    shutil.copytree(colours("a"), damaged)
    for path in (damaged / "green").iterdir():
        path.write_bytes(b"no image")
    promises = {"min_recall_pct": {"green": 1}, "max_drop_pp": 15}
    raw = on_colours(colours("b"), damaged, images={"unreadable": "skip"}, promises=promises)
    run = pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))
    words = {verdict.promise: verdict.verdict for verdict in run.verdicts}
    assert words[Promise("min_recall_pct", 1, "green")] == "NOT_MEASURED"
    assert run.verdict == "NOT_MEASURED"
    notes = report.summary.of(run).notes
    assert "1 classes have no evaluation image, so nothing is known of them: green" in notes


def test_a_half_precision_variant_whose_answers_are_nan_is_left_out(
    own_store: Store, standin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What half precision cannot hold shows in its answers. What would ship is judged all the same."""
    from edgeresnet.stages import verify

    standin()
    real = verify._answers

    def answers(name: str, *more: Any) -> Any:
        if name == "half":
            raise TargetError("the network", "returned NaN or infinity for image 0", hint="")
        return real(name, *more)

    monkeypatch.setattr(verify, "_answers", answers)
    run = pipeline.run(recipe.parse(tiny(targets={"tensorrt": {}})), own_store)
    assert run.verdict == "KEPT"
    assert list(result_of(run, "tensorrt").variants) == ["fp32"]
    (warning,) = step_of(run, "verify:tensorrt").warnings
    assert warning.code == "no-half"
    assert "the half-precision variant is left out: the network returned NaN" in warning.text
    again = pipeline.run(recipe.parse(tiny(targets={"tensorrt": {"precision": "fp16"}})), own_store)
    assert again.verdict == "NOT_MEASURED", "unless it is what would ship"


def test_a_yardstick_that_cannot_be_built_does_not_stop_its_target_and_the_gate_is_red(
    own_store: Store, monkeypatch: Any
) -> None:
    onnxruntime = targets.get("onnxruntime")
    real = type(onnxruntime).compile

    def compiled(self: Any, onnx: Path, *more: Any) -> Any:
        if onnx.name == yardstick.FILE.name:
            raise TargetError("yardstick.onnx", "is refused", hint="")
        return real(self, onnx, *more)

    complete = pipeline.run(recipe.parse(tiny()), own_store)
    baseline = gate.of(complete, Margins(max_slowdown_pct=1000, max_runtime_slowdown_pct=1000))
    assert gate.gate(complete, baseline).verdict != "NOT_MEASURED"
    monkeypatch.setattr(type(onnxruntime), "compile", compiled)
    again = frozenset({"compile:onnxruntime:yardstick", "verify:onnxruntime"})
    run = pipeline.run(recipe.parse(tiny()), own_store, again=again)
    assert run.verdict == "KEPT"
    found = gate.gate(run, baseline)
    assert found.verdict == "NOT_MEASURED"
    reasons = {(one.promise.kind, one.promise.subject): one.reason for one in found.verdicts}
    assert reasons["max_slowdown_pct", "yardstick"] == "yardstick: its latency was not measured"
