"""Factors and ranges follow from what rounding and clipping do to the logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edgeresnet import deadline as deadlines
from edgeresnet.deadline import Deadline
from edgeresnet.errors import ModelError
from edgeresnet.quantization import clipping, engine
from edgeresnet.quantization.channels import Channels
from edgeresnet.quantization.clipping import Curve, _Part, smoothed
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import Placement
from edgeresnet.quantization.torch_net import TorchNet

from ..graph.running import answers
from .nets import BOTH, RESIDUAL, TENSORRT, Dialect, Make, basic, changed, images, plain, source, squeezed

LONG = 1e6


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeresnet.portable.machine.cores", lambda *root: 1)
    monkeypatch.setattr(clipping, "_STEPS", 30)


def observed(
    model: onnx.ModelProto, dialect: Dialect = TENSORRT, batch: int = 8
) -> tuple[engine.Quantized, dict[str, Curve]]:
    found = engine.scaled(source(model), engine.Choices(dialect))
    given = found.source.model, found.placement, found.source.ranges, images(), batch, Deadline(LONG), 0
    return found, clipping.observe(*given).curves()


def learned(found: engine.Quantized, curves: dict[str, Curve]) -> clipping.Learned | None:
    net = Net(found.source.model)
    return clipping.learn(net, found.placement, found.values.scales, Channels(net), None, curves)


def curve(peak: float, felt: float, clipped: list[float], exceeding: list[float], excess: float = 1.0) -> Curve:
    """Return the curve of one channel, from the highest threshold down; the last value stands for all that follow."""
    count = len(clipping._THRESHOLDS)
    costs, images = (torch.tensor([*part, *[part[-1]] * (count - len(part))]).double() for part in (clipped, exceeding))
    one, every = torch.ones(1, dtype=torch.float64), torch.full((count, 1), excess, dtype=torch.float64)
    alone = torch.ones(count, dtype=torch.float64)
    return Curve(peak * one, felt * one, costs[:, None], images[:, None], every, alone)


def test_what_is_clipped_is_felt_as_a_sum_over_the_image() -> None:
    """Check the sums against each value clipped by itself."""
    rng = np.random.default_rng(0)
    values, slopes = (torch.from_numpy(rng.normal(size=(5, 3, 40))) for _ in range(2))
    peak = values.abs().amax((0, 2))
    first, last = (clipping.Sums.of(peak, values[part], slopes[part]) for part in (slice(2), slice(2, 5)))
    found = first.plus(last).curve(5)
    for row, part in enumerate(clipping._THRESHOLDS):
        limit = (part * found.peak)[:, None]
        clipped = values - values.clamp(-limit, limit)
        assert torch.allclose(found.clipped[row], (slopes * clipped).sum(2).square().sum(0) / 5)
        above = (values.abs() > limit).any(2)
        assert torch.equal(found.exceeding[row], above.sum(0).double())
        excess = (values.abs().amax(2) - limit[:, 0]).clamp_min(0).sum(0) / above.sum(0).clamp_min(1)
        assert torch.allclose(found.excess[row], excess)
    assert torch.allclose(found.felt, slopes.square().sum((0, 2)) / 5)


def test_channels_that_are_clipped_in_the_same_images_cost_more() -> None:
    """Check two channels with one value each: together they move the logits twice as far, not 1.4 times."""
    values = torch.ones(4, 2, 1, dtype=torch.float64)
    for signs, times in (([1.0, 1.0], 2.0), ([1.0, -1.0], 1.0)):
        slopes = torch.tensor(signs, dtype=torch.float64).expand(4, 2)[:, :, None]
        sums = clipping.Sums.of(torch.ones(2, dtype=torch.float64), values, slopes)
        found = sums.curve(4)
        assert found.together[-1] == times
        assert found.together[0] == 1  # nothing is above twice the peak
        noise = [
            float(_Part(one, 127, None, 1.0, executed=True).noise(torch.zeros(0), torch.tensor(math.log(0.2)).double()))
            for one in (found, found._replace(together=torch.ones_like(found.together)))
        ]
        assert noise[0] / noise[1] == pytest.approx(times, rel=1e-3)


@pytest.mark.parametrize("dialect", [TENSORRT, BOTH], ids=["tensorrt", "both"])
@pytest.mark.parametrize("make", [*RESIDUAL.values(), squeezed], ids=[*RESIDUAL.keys(), "squeezed"])
def test_the_network_stays_what_it_was_and_each_tensor_has_a_scale(make: Make, dialect: Dialect) -> None:
    found, curves = observed(make(), dialect)
    rounded = {found.placement.source(name) for name in found.placement.points} - {"image"}
    assert curves.keys() == rounded
    new = learned(found, curves)
    assert new is not None
    model = clipping_applied(found, new)
    assert np.allclose(answers(model, images()), answers(make(), images()), atol=1e-3)
    scales = new.scales(found.placement)
    assert scales.keys() == rounded
    assert all(np.float16(scale) == scale for scale in scales.values())


def clipping_applied(found: engine.Quantized, new: clipping.Learned) -> onnx.ModelProto:
    return engine.equalize.rescaled(found.source.model, new.of(Channels(Net(found.source.model))))


def test_all_batches_show_the_same_noise_as_one() -> None:
    """Random signs differ, but what was counted does not."""
    (_, one), (_, two) = observed(plain(), batch=32), observed(plain(), batch=5)
    for name, found in one.items():
        assert torch.equal(found.exceeding, two[name].exceeding)
        assert torch.allclose(found.excess, two[name].excess, rtol=1e-5)
        assert found.felt.sum() == pytest.approx(float(two[name].felt.sum()), rel=0.5)


def test_the_same_seed_learns_the_same() -> None:
    one, two = (learned(*observed(basic())) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.reach == two.reach
    assert (one.factors == two.factors).all()


def test_a_rare_value_that_the_logits_do_not_feel_is_clipped() -> None:
    """Check that one channel's outlier makes its tensor's range narrower only where clipping costs little."""
    for cost, narrower in ((1e-9, True), (1e3, False)):
        felt = curve(1.0, 1.0, [0.0] * 7 + [cost], [0.0] * 7 + [100.0])
        part = _Part(felt, 127, None, 1.0, executed=True)
        zeros = torch.zeros(0, dtype=torch.float64)
        narrow, wide = (float(part.noise(zeros, torch.tensor(math.log(reach)).double())) for reach in (0.5, 1.0))
        assert (narrow < wide) == narrower


def test_a_peak_that_few_images_reached_is_not_trusted() -> None:
    """One image in a hundred reached the peak: another one will exceed it."""
    exceeding = [0.0] * 6 + [0.0, 1.0, 2.0, 4.0, 50.0]
    cost = [0.0] * 6 + [0.0, 0.1, 0.4, 1.0, 4.0]
    found = smoothed(curve(1.0, 1.0, cost, exceeding, excess=0.5))[:, 0]
    known = exceeding.index(50.0)
    assert found[known] == cost[known]
    assert found[6] > 0  # above the peak, too
    assert (found[:-1] <= found[1:]).all()
    beyond = clipping._THRESHOLDS[0] - clipping._THRESHOLDS[known]
    assert found[0] == pytest.approx(4.0 * math.exp(-float(beyond) / 0.5))


def test_what_the_compiler_does_not_round_moves_no_factor() -> None:
    factors = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    reach = torch.zeros((), dtype=torch.float64)
    felt = curve(1.0, 1.0, [0.0], [0.0])
    for executed in (True, False):
        part = _Part(felt, 127, torch.zeros(1, dtype=torch.long), 1.0, executed=executed)
        with torch.enable_grad():
            noise = part.noise(factors, reach.requires_grad_())
        assert bool(torch.autograd.grad(noise, factors, allow_unused=True, retain_graph=True)[0]) == executed
        assert float(torch.autograd.grad(noise, reach)[0]) > 0


def test_weights_hold_the_factors_back() -> None:
    found, curves = observed(plain())
    net, channels = Net(plain()), Channels(Net(plain()))
    given = net, found.placement, found.values.scales, channels

    def weights(factors: np.ndarray) -> tuple[float, np.ndarray]:
        return float(1e3 * np.square(factors).sum()), 2e3 * factors

    free, held = clipping.learn(*given, None, curves), clipping.learn(*given, weights, curves)
    assert free is not None
    assert held is not None
    assert np.abs(np.log(held.factors)).max() < 0.5 * np.abs(np.log(free.factors)).max()


def test_a_network_that_looks_at_nothing_learns_nothing() -> None:
    """Its last ReLU is dead: no noise reaches the logits."""
    assert learned(*observed(changed(plain(), "c2.bias", np.full(8, -1e6)))) is None


def test_images_are_observed_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(deadlines.time, "monotonic", lambda: now[0])
    sums = clipping._sums

    def slow(*given: Any) -> Any:
        now[0] += 3.0
        return sums(*given)

    monkeypatch.setattr(clipping, "_sums", slow)
    found = engine.scaled(source(plain()), engine.Choices(TENSORRT))
    given = found.source.model, found.placement, found.source.ranges, images(), 4
    assert clipping.observe(*given, Deadline(10.0), 0).images == 12
    assert clipping.observe(*given, Deadline(0.0), 0) == clipping.Observed({}, 0)


def test_where_a_gpu_fails_the_cpu_observes(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, devices = clipping._peaks, []

    def begin(*given: Any) -> Any:
        devices.append(given[-1].type)
        if given[-1].type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        return begun(*given)

    monkeypatch.setattr(clipping, "_peaks", begin)
    monkeypatch.setattr(clipping, "TorchNet", lambda net, device: TorchNet(net))
    found = engine.scaled(source(plain()), engine.Choices(TENSORRT))
    given = found.source.model, found.placement, found.source.ranges, images(), 8, Deadline(LONG), 0
    seen = clipping.observe(*given, torch.device("cuda"))
    assert (seen.images, seen.device, devices) == (32, "cpu", ["cuda", "cpu"])
    assert seen.problem == "; the GPU failed: CUDA error: no kernel image is available"


def test_too_little_memory_makes_batches_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, taken = clipping._sums, []

    def small(run: Any, peaks: Any, some: np.ndarray, *rest: Any) -> Any:
        if len(some) > 4:
            raise torch.cuda.OutOfMemoryError
        taken.append(len(some))
        return sums(run, peaks, some, *rest)

    monkeypatch.setattr(clipping, "_sums", small)
    found = engine.scaled(source(plain()), engine.Choices(TENSORRT))
    given = found.source.model, found.placement, found.source.ranges, images(), 16, Deadline(LONG), 0
    assert clipping.observe(*given).images == 32
    assert taken == [4] * 8


def test_images_seen_in_parts_show_what_they_show_together() -> None:
    found = engine.scaled(source(plain()), engine.Choices(TENSORRT))
    given = found.source.model, found.placement, found.source.ranges
    rest = 8, Deadline(LONG), 0
    every = clipping.observe(*given, images(), *rest)
    first, last = (clipping.observe(*given, images()[part], *rest) for part in (slice(24), slice(24, 32)))
    both = first.plus(last)
    assert both.images == 32
    for name, curve in every.curves().items():
        other = both.curves()[name]
        assert torch.allclose(curve.exceeding, other.exceeding)
        assert torch.allclose(curve.excess, other.excess)
    assert first.plus(clipping.Observed({}, 0)) is first
    assert clipping.Observed({}, 0).plus(first) is first


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [clipping.device_of(name).type for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [clipping.device_of(name).type for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(ModelError, match="needs a GPU, and torch finds none"):
        clipping.device_of("cuda")


@pytest.mark.parametrize("make", [*RESIDUAL.values(), squeezed], ids=[*RESIDUAL.keys(), "squeezed"])
def test_torch_computes_what_onnxruntime_does(make: Make) -> None:
    runner = TorchNet(Net(make()))
    found = runner.run(torch.from_numpy(images()), runner.constants)["logits"].detach().numpy()
    assert np.allclose(found, answers(make(), images()), atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_observes_what_the_cpu_does() -> None:
    found = engine.scaled(source(basic()), engine.Choices(TENSORRT))
    given = found.source.model, found.placement, found.source.ranges, images(), 8, Deadline(LONG), 0
    one, two = (clipping.observe(*given, torch.device(name)).curves() for name in ("cpu", "cuda"))
    for name, curve in one.items():
        assert torch.allclose(curve.clipped, two[name].clipped, rtol=0.05, atol=1e-6)


def test_placements_know_their_levels() -> None:
    placement = Placement(engine.scales.Grid(-127, 127))
    placement.points.update(
        a=engine.scales.Grid(0, 255), b=engine.scales.Grid(-128, 127), c=engine.scales.Grid(-200, 55)
    )
    assert [clipping._levels(placement, tensor) for tensor in "abc"] == [255, 127, 199]
