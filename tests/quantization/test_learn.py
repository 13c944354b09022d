"""Learning lowers its own loss, is repeated by its seed, and ends with its budget."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgeresnet.quantization import learn as learning
from edgeresnet.quantization import qdq
from edgeresnet.quantization.learn import Budget, Learned, learn
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.torch_net import TorchNet

from ..graph.running import answers
from .nets import CPU, RESIDUAL, TENSORRT, Dialect, Make, basic, images, plain, scaled, squeezed

LONG = 1e6


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeresnet.portable.machine.cores", lambda *root: 1)


def learned(model: onnx.ModelProto, steps: int, seed: int = 0, seconds: float = LONG) -> Learned:
    placement, values = scaled(model, TENSORRT)
    return learn(model, placement, values, images(), Budget(steps, seconds, 8), seed)


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
    student = learning._Student(model, placement, values)
    assert student.loss(torch.from_numpy(images())).item() == pytest.approx(loss(model, values, dialect), rel=0.1)


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


def test_the_time_budget_cuts_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(learning.time, "monotonic", lambda: float(next(clock)))  # a second at each look
    steps: list[tuple[int, int]] = []
    placement, values = scaled(plain(), TENSORRT)
    found = learn(plain(), placement, values, images(), Budget(50, 2.0, 8), 0, lambda *step: steps.append(step))
    assert found.steps == 6  # three steps took one of two seconds
    assert steps[:3] == [(1, 50), (2, 50), (3, 6)]
    assert steps[-1] == (6, 6)


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
    after = learn(basic(), placement, before, images(), Budget(0, LONG, 8), 0).values
    one, two = (qdq.write(basic(), placement, values) for values in (before, after))
    assert (answers(one, images()) == answers(two, images())).all()


def test_learning_leaves_the_threads_of_gradients_as_they_were() -> None:
    with torch.no_grad():
        learned(plain(), 1)
        assert not torch.is_grad_enabled()
