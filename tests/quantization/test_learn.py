"""Learning lowers its own loss, is repeated by its seed, and ends with its budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edgeresnet import deadline
from edgeresnet.deadline import Deadline
from edgeresnet.errors import ModelError
from edgeresnet.quantization import learn as learning
from edgeresnet.quantization import qdq
from edgeresnet.quantization.learn import Budget, Learned, learn
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.torch_net import TorchNet

from ..graph.running import answers
from .nets import CPU, RESIDUAL, TENSORRT, Dialect, Make, basic, images, plain, scaled, squeezed

LONG = 1e6
Plan = tuple[list[tuple[int, int]], Learned]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeresnet.portable.machine.cores", lambda *root: 1)


HELD_OUT = images(16, seed=9)
NONE = HELD_OUT[:0]
PROCESSOR = torch.device("cpu")


def learned(model: onnx.ModelProto, steps: int, seed: int = 0, held_out: np.ndarray = NONE) -> Learned:
    placement, values = scaled(model, TENSORRT)
    return learn(model, placement, values, images(), held_out, Budget(steps, LONG, 8), seed)


def wrong(values: qdq.Values) -> float:
    """Return the error of `plain` on held-out images."""
    placement, _ = scaled(plain(), TENSORRT)
    return learning._Student(plain(), placement, values, PROCESSOR).errors(torch.from_numpy(HELD_OUT))[0]


def loss(model: onnx.ModelProto, values: qdq.Values, dialect: Dialect = TENSORRT) -> float:
    placement, _ = scaled(model, dialect)
    expected = answers(model, images())
    given = answers(qdq.write(model, placement, values), images())
    return float(np.square(given - expected).sum() / np.square(expected).sum())


def test_some_steps_bring_the_answers_closer_on_its_own_images() -> None:
    _, before = scaled(plain(), TENSORRT)
    assert loss(plain(), learned(plain(), 60).values) < 0.9 * loss(plain(), before)


@pytest.mark.parametrize("dialect", [TENSORRT, CPU], ids=["tensorrt", "cpu"])
@pytest.mark.parametrize("make", [*RESIDUAL.values(), squeezed], ids=[*RESIDUAL.keys(), "squeezed"])
def test_its_loss_is_that_of_the_written_file(make: Make, dialect: Dialect) -> None:
    """What learns in torch is what onnxruntime runs."""
    model = make()
    placement, values = scaled(model, dialect)
    student = learning._Student(model, placement, values, PROCESSOR)
    apart, whole = student.errors(torch.from_numpy(images()))
    assert apart / whole == pytest.approx(loss(model, values, dialect), rel=0.1)
    with torch.no_grad():  # it is that of the features before them, too
        assert student.loss(torch.from_numpy(images())).item() > apart / whole


@pytest.mark.parametrize("make", [*RESIDUAL.values(), squeezed], ids=[*RESIDUAL.keys(), "squeezed"])
def test_torch_computes_what_onnxruntime_does(make: Make) -> None:
    runner = TorchNet(Net(make()))
    found = runner.run(torch.from_numpy(images()), runner.constants)["logits"].numpy()
    assert np.allclose(found, answers(make(), images()), atol=1e-4)


def test_the_same_seed_learns_the_same_and_another_another() -> None:
    one, two, other = (learned(plain(), 5, seed).values for seed in (3, 3, 4))
    assert one.scales == two.scales
    assert all((one.weights[name] == two.weights[name]).all() for name in one.weights)
    assert all((one.biases[name] == two.biases[name]).all() for name in one.biases)
    assert any((one.weights[name] != other.weights[name]).any() for name in one.weights)


def test_a_layer_without_a_bias_learns_none() -> None:
    model = plain()
    del model.graph.node[0].input[2]
    found = learned(model, 3, 0).values
    assert "c1_out" in found.weights
    assert "c1_out" not in found.biases
    assert found.biases


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stop the time; a test moves it."""
    now = [0.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    return now


def timed(clock: list[float], budget: Budget, seconds: Callable[[int], float], held_out: np.ndarray = NONE) -> Plan:
    """Learn with steps that take some seconds each; return what each step saw, and the result."""
    seen: list[tuple[int, int]] = []

    def on_step(done: int, total: int) -> None:
        seen.append((done, total))
        clock[0] += seconds(done)

    placement, values = scaled(plain(), TENSORRT)
    return seen, learn(plain(), placement, values, images(), held_out, budget, 0, on_step)


def test_the_time_budget_is_planned_again_at_each_step(clock: list[float]) -> None:
    steps, found = timed(clock, Budget(50, 20.0, 8), lambda done: 1.0 if done < 6 else 4.0)
    assert steps[:3] == [(1, 50), (2, 20), (3, 20)]  # one step took one of twenty seconds
    assert found.steps == len(steps) < 12
    assert found.seconds <= 20


def test_a_machine_that_becomes_fast_again_is_planned_for(clock: list[float]) -> None:
    steps, found = timed(clock, Budget(50, 40.0, 8), lambda done: 4.0 if done < 5 else 0.5)
    assert steps[4][1] <= 10
    assert found.steps == 50


def test_a_step_that_takes_all_the_time_is_the_last(clock: list[float]) -> None:
    assert timed(clock, Budget(50, 60.0, 8), lambda done: 100.0)[1].steps == 1


def test_minutes_that_are_over_before_the_first_step_change_nothing(clock: list[float]) -> None:
    _, before = scaled(plain(), TENSORRT)
    for budget in (Budget(50, 0.0, 8), Budget(50, 15.0, 8, after=10.0)):
        steps, found = timed(clock, budget, lambda done: 1.0)
        assert (steps, found.steps) == ([], 0)
        assert found.values.scales == before.scales
        assert loss(plain(), found.values) == loss(plain(), before)


@pytest.mark.parametrize("slower", [1.0, 3.0])
def test_looks_at_held_out_images_and_what_follows_are_in_the_seconds(
    slower: float, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check looks of 4 seconds, 12 on a machine that slows down, and 10 seconds that follow."""
    look = learning._Student.errors

    def slow(self: learning._Student, batch: torch.Tensor) -> tuple[float, float]:
        clock[0] += 4.0 * (slower if clock[0] > 30 else 1.0)
        return look(self, batch)

    monkeypatch.setattr(learning._Student, "errors", slow)
    steps, found = timed(clock, Budget(500, 100.0, 16, after=10.0), lambda done: 1.0, HELD_OUT)
    assert 90 - 12 * slower <= found.seconds <= 90
    assert found.steps == len(steps) > 20


@pytest.mark.parametrize(("at", "spoilt"), [(1, float("nan")), (1, 1e4), (100, float("nan"))])
def test_a_step_that_spoils_everything_is_not_in_the_result(
    at: int, spoilt: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = learning._Course._step

    def spoil(self: learning._Course, *given: float) -> None:
        step(self, *given)
        if self.done + 1 == at:
            with torch.no_grad():
                self.student.learns()[0].mul_(spoilt)

    monkeypatch.setattr(learning._Course, "_step", spoil)
    _, before = scaled(plain(), TENSORRT)
    found = learned(plain(), at + 2, held_out=HELD_OUT)
    assert wrong(found.values) <= 1.01 * wrong(before)  # scales are float16
    assert found.halved >= 1


def test_an_interruption_at_any_step_changes_no_later_result() -> None:
    placement, values = scaled(plain(), TENSORRT)
    model, undisturbed = plain(), learned(plain(), 6, held_out=HELD_OUT).values

    def stopping(at: int) -> Callable[[int, int], None]:
        def stop(done: int, total: int) -> None:
            if done == at:
                raise KeyboardInterrupt

        return stop

    for at in (1, 3, 6):
        with pytest.raises(KeyboardInterrupt):
            learn(model, placement, values, images(), HELD_OUT, Budget(6, LONG, 8), 0, stopping(at))
        again = learn(model, placement, values, images(), HELD_OUT, Budget(6, LONG, 8), 0).values
        one, two = (qdq.write(model, placement, found).SerializeToString() for found in (again, undisturbed))
        assert one == two


@pytest.mark.parametrize("factor", [300.0, float("nan")])
def test_learning_that_loses_goes_back_and_slows_down(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning._Course, "_speed", lambda self: factor)
    _, before = scaled(plain(), TENSORRT)
    found = learned(plain(), 30, held_out=HELD_OUT)
    assert found.halved >= 2
    assert wrong(found.values) <= 1.01 * wrong(before)  # scales are float16


def test_the_best_state_that_held_out_images_saw_is_what_remains() -> None:
    _, before = scaled(plain(), TENSORRT)
    assert wrong(learned(plain(), 60, held_out=HELD_OUT).values) < wrong(before)


def test_rates_follow_from_what_noise_costs() -> None:
    """Check that a network whose rounding is as good as none gets slower rates than one with much to win."""

    def speed(coarse: float) -> float:
        placement, values = scaled(plain(), TENSORRT)
        for scale in values.weight_scales.values():
            scale /= 16  # noise of one rounding costs little
        values.scales = {name: scale * coarse for name, scale in values.scales.items()}
        student = learning._Student(plain(), placement, values, PROCESSOR)
        return learning._Course(student, images(), NONE, Budget(1, LONG, 8), 0, Deadline(LONG))._speed()

    assert learning._LEAST_RATE <= speed(1 / 16) < speed(4.0) <= 1


def test_too_little_memory_makes_batches_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, whole = [], learning._Student.loss

    def small(self: learning._Student, batch: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        taken.append(len(batch))
        return whole(self, batch)

    monkeypatch.setattr(learning._Student, "loss", small)
    found = learned(plain(), 3)
    assert found.steps == 3
    assert taken[-12:] == [2] * 12  # four parts of each batch


def test_where_a_gpu_fails_the_cpu_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a GPU that torch finds and cannot use: the processor does it all, and the step says why."""
    placement, before = scaled(plain(), TENSORRT)
    made, whole = [], learning._Student.__init__

    def begin(self: learning._Student, *given: Any) -> None:
        made.append(given[-1].type)
        if given[-1].type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        whole(self, *given)

    monkeypatch.setattr(learning._Student, "__init__", begin)
    found = learn(plain(), placement, before, images(), NONE, Budget(3, LONG, 8), 0, device=torch.device("cuda"))
    assert made == ["cuda", "cpu"]
    assert (found.steps, found.device) == (3, "cpu")
    assert found.problem == "; the GPU failed: CUDA error: no kernel image is available"
    assert found.values.scales == learned(plain(), 3).values.scales


def test_what_diverges_without_held_out_images_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning._Course, "_speed", lambda self: float("nan"))
    placement, before = scaled(plain(), TENSORRT)
    after = learned(plain(), 5).values
    one, two = (qdq.write(plain(), placement, values) for values in (before, after))
    assert (answers(one, images()) == answers(two, images())).all()


def test_images_of_one_pixel_are_not_shifted() -> None:
    tiny = torch.rand(2, 3, 1, 1)
    assert (learning._varied(tiny, torch.Generator().manual_seed(0)) == tiny).all()


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [learning.device_of(name).type for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [learning.device_of(name).type for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(ModelError, match="needs a GPU, and torch finds none"):
        learning.device_of("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_learns_what_the_cpu_does() -> None:
    placement, before = scaled(basic(), TENSORRT)
    one, two = (
        learn(basic(), placement, before, images(), NONE, Budget(10, LONG, 8), 0, device=torch.device(name)).values
        for name in ("cpu", "cuda")
    )
    assert loss(basic(), one) == pytest.approx(loss(basic(), two), rel=0.1)


def test_scales_stay_float16_and_step_sizes_of_weights_what_they_were() -> None:
    placement, before = scaled(basic(), TENSORRT)
    after = learned(basic(), 5).values
    assert after.scales.keys() == before.scales.keys()
    assert all(np.float16(scale) == scale for scale in after.scales.values())
    assert all((after.weight_scales[name] == before.weight_scales[name]).all() for name in placement.weights)
    assert before.biases == {}
    onnx.checker.check_model(qdq.write(basic(), placement, after), full_check=True)


def test_no_step_at_all_changes_nothing_that_is_written() -> None:
    placement, before = scaled(basic(), TENSORRT)
    after = learn(basic(), placement, before, images(), NONE, Budget(0, LONG, 8), 0).values
    one, two = (qdq.write(basic(), placement, values) for values in (before, after))
    assert (answers(one, images()) == answers(two, images())).all()


def test_learning_leaves_the_threads_of_gradients_as_they_were() -> None:
    with torch.no_grad():
        learned(plain(), 1)
        assert not torch.is_grad_enabled()
