"""Each of these breaks something on purpose. A run that still ends green fails the suite."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import gate, pipeline, recipe, report, targets
from edgeresnet.errors import TargetError
from edgeresnet.pipeline import Listener
from edgeresnet.pipeline import step as steps
from edgeresnet.portable import inference, machine, worker, yardstick
from edgeresnet.store import Store

from ..conftest import tiny
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


def judged(store: Store, add_target: Any, target: Any, **changes: Any) -> dict[str, Any]:
    add_target(target)
    return pipeline.run(recipe.parse(tiny(targets={"sabotaged": {}}, **changes)), store)


class Backwards:
    """An hour back, after every forty looks at it."""

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
    promises = {"max_drop_pp": 2, "max_latency_p99_ms": 1000}
    run = judged(own_store, add_target, Sabotaged(), promises=promises, verify={"processes": 3, "seconds": 3})
    assert run["verdict"] == "KEPT"


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
    assert run["verdict"] in verdict.split()
    assert words in run["verdicts"][0]["reason"]


def test_bgr_for_rgb_on_the_target(tmp_path: Path, colours: Any, add_target: Any) -> None:
    changes: dict[str, Any] = {"train__epochs": 8, "promises": {"max_drop_pp": 10, "min_top1_pct": 80}}
    add_target(Sabotaged())
    wanted = recipe.parse(on_colours(colours("b"), colours("a"), targets={"sabotaged": {}}, **changes))
    store = Store(tmp_path)
    run = pipeline.run(wanted, store)
    assert run["verdict"] == "KEPT", run["verdicts"]
    add_target(Sabotaged(before=lambda batch: np.ascontiguousarray(batch[:, ::-1])))
    again = pipeline.run(wanted, store, again=frozenset({"verify"}))
    assert {verdict["verdict"] for verdict in again["verdicts"]} == {"BROKEN"}


def test_bgr_for_rgb_in_the_recipe(tmp_path: Path, colours: Any) -> None:
    """The weights learned RGB; a recipe that says BGR for them breaks its promise of accuracy."""
    raw = on_colours(colours("b"), colours("a"), train__epochs=8, promises={"min_top1_pct": 80})
    store = Store(tmp_path)
    run = pipeline.run(recipe.parse(raw), store)
    assert run["verdict"] == "KEPT"
    weights = Path(next(step["path"] for step in run["steps"] if step["id"] == "train")) / "weights.safetensors"
    raw.pop("train")
    raw["model"]["checkpoint"] = str(weights)
    raw["preprocessing"]["order"] = "bgr"
    assert pipeline.run(recipe.parse(raw), store)["verdict"] == "BROKEN"


class Ear(Listener):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def warns(self, sentence: str) -> None:
        self.heard.append(sentence)


@pytest.mark.parametrize("step", ["train", "trace", "compile:reference", "verify:onnxruntime"])
def test_a_flipped_byte_in_an_artifact_is_never_used(own_store: Store, step: str) -> None:
    run = pipeline.run(recipe.parse(tiny()), own_store)
    folder = Path(next(s["path"] for s in run["steps"] if s["id"] == step))
    largest = max((p for p in folder.iterdir() if p.name != "manifest.json"), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    ear = Ear()
    again = pipeline.run(recipe.parse(tiny()), own_store, listener=ear)
    digest = next(s["digest"] for s in run["steps"] if s["id"] == step)
    assert any(s["state"] == "made" for s in again["steps"] if digest == s["digest"] or s["id"] == step)
    assert f"{largest.name} has changed: it is made anew" in ear.heard[0]
    assert again["verdict"] == "KEPT"
    assert any("it is made anew" in note for s in again["steps"] for note in s["warnings"]), "and the run remembers"


@pytest.fixture
def two_models(trained: Any, once: Any, tmp_path: Path) -> tuple[Store, dict[str, Any], dict[str, Any]]:
    """A store with two trained networks, copied, and their runs."""

    def make(folder: Path) -> None:
        shutil.copytree(trained[0].root, folder, dirs_exist_ok=True)
        pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), Store(folder))

    store = Store(shutil.copytree(once("two-models", make), tmp_path / "store"))
    wanted = tiny(), tiny(seed=9, train__epochs=1)
    first, other = (pipeline.run(recipe.parse(each), store) for each in wanted)  # found done
    return store, first, other


def test_a_stale_engine_put_in_place_of_the_new_one_is_never_used(two_models: Any) -> None:
    """The compiled network of an earlier model, copied over a later one's: the digests tell."""
    own_store, first, other = two_models
    name = "compile:reference"
    old, new = (Path(next(s["path"] for s in run["steps"] if s["id"] == name)) for run in (first, other))
    shutil.copy(old / "model.onnx", new / "model.onnx")
    ear = Ear()
    again = pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), own_store, listener=ear)
    assert ear.heard
    digest = next(s["digest"] for s in other["steps"] if s["id"] == name)
    assert next(s["digest"] for s in again["steps"] if s["id"] == name) == digest


def test_a_stale_engine_with_its_papers_is_never_used(two_models: Any) -> None:
    """The whole folder, manifest included: then the key is another's."""
    own_store, first, other = two_models
    name = "compile:reference"
    old, new = (Path(next(s["path"] for s in run["steps"] if s["id"] == name)) for run in (first, other))
    shutil.rmtree(new)
    shutil.copytree(old, new)
    ear = Ear()
    pipeline.run(recipe.parse(tiny(seed=9, train__epochs=1)), own_store, listener=ear)
    assert "its key is another" in ear.heard[0]


@pytest.mark.parametrize(
    ("clock", "words"),
    [(lambda: 0.0, "did not move"), (Backwards(), "stepped back")],
    ids=["stands still", "steps back"],
)
def test_a_clock_that_is_none_keeps_no_promise(
    own_store: Store, add_target: Any, monkeypatch: Any, clock: Any, words: str
) -> None:
    monkeypatch.setattr(worker, "MOST_IN_A_ROW", 20)
    monkeypatch.setattr(worker, "start", lambda job: worker.Worker(job, clock=clock))
    run = judged(own_store, add_target, Sabotaged(), promises={"max_latency_p99_ms": 5})
    assert run["verdict"] == "NOT_MEASURED"
    assert words in run["verdicts"][0]["reason"]


def test_a_session_that_slows_down_with_time_is_told(own_store: Store, add_target: Any) -> None:
    asked = [0]

    def slower(answer: np.ndarray, _: int) -> np.ndarray:
        asked[0] += 1
        until = time.perf_counter() + 5e-6 * asked[0]
        while time.perf_counter() < until:
            pass
        return answer

    run = judged(own_store, add_target, Sabotaged(after=slower), verify={"processes": 2, "seconds": 3})
    assert "it slowed down by" in " ".join(report.view.of(run).notes)


def test_a_session_that_answers_differently_the_second_time(own_store: Store, add_target: Any) -> None:
    def forgets(answer: np.ndarray, seen: int) -> np.ndarray:
        return answer if seen <= 450 else answer[:, ::-1]

    run = judged(own_store, add_target, Sabotaged(after=forgets), promises={"max_drop_pp": 50})
    assert run["verdict"] == "NOT_MEASURED"
    assert "answered differently when it was asked" in run["verdicts"][0]["reason"]


def test_a_process_that_dies_while_it_is_timed_leaves_the_rest(own_store: Store, monkeypatch: Any) -> None:
    """onnxruntime dies, OpenVINO does not; what was evaluated before is kept for the next run."""
    real = worker.Worker

    def start(job: worker.Job) -> worker.Worker:
        if job.target.name == "onnxruntime":  # type: ignore[attr-defined]
            raise TargetError("ended the process in which it was timed with signal 11", hint="again")
        return real(job)

    monkeypatch.setattr(worker, "start", start)
    wanted = recipe.parse(tiny(targets={"onnxruntime": {}, "openvino": {}}, verify={"processes": 2, "seconds": 0.5}))
    run = pipeline.run(wanted, own_store)
    assert [verdict["verdict"] for verdict in run["verdicts"]] == ["NOT_MEASURED", "KEPT"]
    monkeypatch.setattr(worker, "start", real)
    asked: list[int] = []
    monkeypatch.setattr(inference, "predict", lambda *_: asked.append(1))
    assert pipeline.run(wanted, own_store)["verdict"] == "KEPT"
    assert not asked, "the answers were there already"


def interrupted_at_the_third(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ctrl-C while the network's third process is started, once; gives a mark for every one that was asked for."""
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
    assert len(started) == 3 + 2, "two of four rounds were kept"
    assert len(run["results"]["onnxruntime"]["variants"]["fp32"]["latency"]["processes"]) == 4


def test_rounds_of_a_machine_in_another_state_are_not_continued(own_store: Store, monkeypatch: Any) -> None:
    """The power mode was changed while the run stood still: fast rounds and slow ones are not one measurement."""
    mode = ["MAXN"]
    monkeypatch.setattr(machine, "conditions", lambda: {"power_mode": mode[0]})
    started = interrupted_at_the_third(monkeypatch)
    monkeypatch.setattr(steps.Step, "machine", lambda self: None)  # or the key alone would tell
    wanted = recipe.parse(tiny(verify={"processes": 4, "seconds": 0.5}))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store)
    mode[0] = "15W"
    pipeline.run(wanted, own_store)
    assert len(started) == 3 + 4


def test_anew_is_anew_after_an_interruption_too(own_store: Store, monkeypatch: Any) -> None:
    started = interrupted_at_the_third(monkeypatch)
    wanted, anew = recipe.parse(tiny()), frozenset({"verify"})
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store, again=anew)
    pipeline.run(wanted, own_store, again=anew)
    assert len(started) == 3 + 3, "all three rounds, not the one that was missing"


def test_what_an_interruption_left_is_told_with_its_time(own_store: Store, monkeypatch: Any) -> None:
    interrupted_at_the_third(monkeypatch)
    wanted = recipe.parse(tiny(verify={"processes": 4, "seconds": 0.5}))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(wanted, own_store)
    notes = " ".join(report.view.of(pipeline.run(wanted, own_store)).notes)
    assert "2 of 4 rounds of processes were timed before an interruption, 20" in notes


def test_a_twin_that_cannot_be_made_leaves_its_target_standing(own_store: Store, monkeypatch: Any) -> None:
    openvino = targets.get("openvino")
    monkeypatch.setattr(type(openvino), "half", lambda self, options: options.__class__(float_parts="f16", threads=3))
    real = type(openvino).compile

    def compiled(self: Any, onnx: Path, options: Any, out: Path, cache: Path | None = None) -> Any:
        if options.float_parts == "f16":
            raise TargetError("this CPU has no f16 instructions", hint="use f32")
        return real(self, onnx, options, out)

    monkeypatch.setattr(type(openvino), "compile", compiled)
    wanted = recipe.parse(tiny(targets={"openvino": {}}, promises={"max_drop_pp": 2}))
    run = pipeline.run(wanted, own_store)
    assert run["verdict"] == "KEPT"
    assert list(run["results"]["openvino"]["variants"]) == ["fp32"]
    assert "compile:openvino:half failed: this CPU has no f16 instructions" in report.view.of(run).notes


def test_a_target_that_slows_down_at_image_300_is_told(own_store: Store, add_target: Any) -> None:
    """Of those that are timed: the session is quick for its first 300 inferences, and slow from there on."""
    asked = [0]

    def slower(answer: np.ndarray, seen: int) -> np.ndarray:
        asked[0] = 1 if seen > 1 and len(answer) > 1 else asked[0] + 1  # a batch: it is evaluated; then timed
        until = time.perf_counter() + (0.001 if asked[0] % 600 > 300 else 0)
        while time.perf_counter() < until:
            pass
        return answer

    run = judged(own_store, add_target, Sabotaged(after=slower), verify={"processes": 2, "seconds": 3})
    notes = " ".join(report.view.of(run).notes)
    assert any(word in notes for word in ("slowed down", "two speeds", "had not come to agree")), notes


def test_a_class_without_images_is_told_and_its_promise_is_not_kept(tmp_path: Path, colours: Any) -> None:
    """Every file of one class is damaged, and `unreadable: skip` leaves them out."""
    damaged = tmp_path / "evaluation"
    shutil.copytree(colours("a"), damaged)
    for path in (damaged / "green").iterdir():
        path.write_bytes(b"no image")
    promises = {"min_recall_pct": {"green": 1}, "max_drop_pp": 15}
    raw = on_colours(colours("b"), damaged, images={"unreadable": "skip"}, promises=promises)
    run = pipeline.run(recipe.parse(raw), Store(tmp_path / "store"))
    words = {verdict["promise"]: verdict["verdict"] for verdict in run["verdicts"]}
    assert words["min_recall_pct green"] == "NOT_MEASURED"
    assert run["verdict"] == "NOT_MEASURED"
    assert "1 classes have no evaluation image, so nothing is known of them: green" in report.view.of(run).notes


def test_a_twin_whose_answers_are_no_numbers_is_left_out(
    own_store: Store, standin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What half precision cannot hold shows when the twin is asked. What would ship is judged all the same."""
    from edgeresnet.stages import verify

    standin()
    real = verify._asked

    def asked(name: str, *more: Any) -> Any:
        if name == "half":
            raise TargetError("answered NaN or infinity for image 0", hint="")
        return real(name, *more)

    monkeypatch.setattr(verify, "_asked", asked)
    run = pipeline.run(recipe.parse(tiny(targets={"tensorrt": {}})), own_store)
    assert run["verdict"] == "KEPT"
    assert list(run["results"]["tensorrt"]["variants"]) == ["fp32"]
    assert "the half-precision twin is left out: it answered NaN" in " ".join(report.view.of(run).notes)
    again = pipeline.run(recipe.parse(tiny(targets={"tensorrt": {"precision": "fp16"}})), own_store)
    assert again["verdict"] == "NOT_MEASURED", "unless it is what would ship"


def test_a_yardstick_that_cannot_be_built_leaves_its_target_standing_and_the_gate_red(
    own_store: Store, monkeypatch: Any
) -> None:
    onnxruntime = targets.get("onnxruntime")
    real = type(onnxruntime).compile

    def compiled(self: Any, onnx: Path, *more: Any) -> Any:
        if onnx.name == yardstick.FILE.name:
            raise TargetError("refuses yardstick.onnx", hint="")
        return real(self, onnx, *more)

    whole = pipeline.run(recipe.parse(tiny()), own_store)
    held = gate.of(whole, gate.Margins(max_slowdown_pct=1000, max_runtime_slowdown_pct=1000))
    assert gate.gate(whole, held)["verdict"] != "NOT_MEASURED"
    monkeypatch.setattr(type(onnxruntime), "compile", compiled)
    again = frozenset({"compile:onnxruntime:yardstick", "verify:onnxruntime"})
    run = pipeline.run(recipe.parse(tiny()), own_store, again=again)
    assert run["verdict"] == "KEPT"
    found = gate.gate(run, held)
    assert found["verdict"] == "NOT_MEASURED"
    reasons = {one["promise"]: one["reason"] for one in found["verdicts"]}
    assert reasons["max_slowdown_pct yardstick"] == "yardstick: its latency was not measured"
