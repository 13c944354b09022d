"""Ranges belong to a network and a set of images, and to nothing else: no order, no batch, no interruption."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeresnet.context import Context
from edgeresnet.errors import EdgeresnetError, ImagesError, ModelError
from edgeresnet.graph import canonical
from edgeresnet.images import Samples
from edgeresnet.notes import CalibrateNotes
from edgeresnet.quantization import engine, session
from edgeresnet.quantization import ranges as ranges_module
from edgeresnet.quantization.calibration import Calibration, held_out
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.ranges import Origin, Ranges, Views, wanted
from edgeresnet.stages.calibrate import _collected, _warn_of_differences, calibrate
from edgeresnet.stages.int8 import CalibrateInputs, CalibrateSpec
from edgeresnet.store import Given

from .nets import CPU, TENSORRT, Maker, artifact, basic, changed, collect, constants, images, plain, samples

ORIGIN = Origin(network="a", images="b", preprocessing="c")


def collected(model: onnx.ModelProto, given: Samples, skip: int = 0, into: Ranges | None = None) -> Ranges:
    return collect(model, Calibration.of(given).batches(skip), into or Ranges(ORIGIN))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the engine's own batch small, so that there are several."""
    monkeypatch.setattr("edgeresnet.quantization.calibration.batch_for", lambda shape: 5)


def test_the_batch_that_a_network_is_fixed_to_changes_no_bit(few_at_once: None) -> None:
    expected = collected(basic(), samples()).dump()
    for batch in (1, 7, 64):
        fixed = basic()
        canonical.set_batch(fixed, batch)
        assert fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value == batch
        assert collected(fixed, samples()).dump() == expected


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_the_images_changes_no_bit(few_at_once: None, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(40).tolist()
    given = [samples(), samples(order=shuffled)]
    one, two = (collected(basic(), each) for each in given)
    assert one.dump() == two.dump()
    held = [Calibration.of(each).held() for each in given]
    assert (held[0] == held[1]).all()
    for dialect in (CPU, TENSORRT):
        scales = [
            engine.scaled(engine.Source(basic(), each), engine.Choices(dialect)).values.scales for each in (one, two)
        ]
        assert scales[0] == scales[1]


def test_ranges_saved_before_an_interruption_are_used_and_reported(few_at_once: None, tmp_path: Path) -> None:
    ctx, calibration = Context(0, tmp_path), Calibration.of(samples())
    complete = _collected(basic(), calibration, ORIGIN, None, ctx).plain
    assert not ctx.warnings
    first = collect(basic(), [next(calibration.batches())], Ranges(ORIGIN))
    assert 0 < first.images < complete.images
    (tmp_path / "ranges.json").write_bytes(first.dump())
    stored = Ranges.load(tmp_path / "ranges.json", ORIGIN)
    assert stored.dump() == first.dump()
    assert collected(basic(), samples(), skip=stored.images, into=stored).dump() == complete.dump()
    assert _collected(basic(), calibration, ORIGIN, None, ctx).plain.dump() == complete.dump()
    (warning,) = ctx.warnings
    assert (warning.code, warning.text) == (
        "continued",
        "calibration continues after an interruption: 5 images were already read",
    )
    (tmp_path / "ranges.json").write_bytes(first.dump())
    again = Context(0, tmp_path)
    other = replace(ORIGIN, images="others")
    assert _collected(basic(), calibration, other, None, again).plain.images == complete.images
    assert not again.warnings


def test_ranges_are_saved_while_they_are_collected(
    few_at_once: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeresnet.stages.calibrate._SAVE_EVERY_S", 0.0)
    _collected(basic(), Calibration.of(samples()), ORIGIN, None, Context(0, tmp_path))
    assert Ranges.load(tmp_path / "ranges.json", ORIGIN).images == 30


@pytest.mark.parametrize("what", [each.name for each in fields(Origin)])
def test_ranges_of_anything_else_are_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "ranges.json"
    path.write_bytes(collected(plain(), samples(16)).dump())
    Ranges.load(path, ORIGIN)
    with pytest.raises(EdgeresnetError, match=f"another {what}") as caught:
        Ranges.load(path, replace(ORIGIN, **{what: "other"}))
    assert caught.value.hint.startswith("calibrate again")


def test_ranges_of_another_version_and_files_that_hold_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    data = Ranges(ORIGIN).dump()
    path.write_bytes(data.replace(b'"version": 2', b'"version": 0'))
    with pytest.raises(EdgeresnetError, match="another version of edgeresnet"):
        Ranges.load(path, ORIGIN)
    for broken in (b"", b"[]", b"{}", data[:-9], b'{"version": 2, "about": {}, "images": 0, "tensors": {"x": {}}}'):
        path.write_bytes(broken)
        with pytest.raises(EdgeresnetError, match="does not contain calibration ranges"):
            Ranges.load(path, ORIGIN)
    with pytest.raises(EdgeresnetError, match="does not contain calibration ranges"):
        Ranges.load(tmp_path / "absent.json", ORIGIN)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_activations_are_reported_with_layer_and_image(value: float) -> None:
    given = images(8)
    given[5, 0, 0, 0] = 1e30
    spoiled = changed(plain(), "c2.weight", constants(plain())["c2.weight"] * 1e30)
    with pytest.raises(ModelError, match="c2_out_relu is NaN or infinite for photo 5") as caught:
        collect(spoiled, [given[:4], given[4:]], Ranges(), name=lambda index: f"photo {index}")
    assert "image" in caught.value.hint
    given[5, 0, 0, 0] = value
    with pytest.raises(ModelError, match="is NaN or infinite for photo 5"):
        collect(plain(), [given[:4], given[4:]], Ranges(), name=lambda index: f"photo {index}")


def test_large_values_whose_sum_alone_is_infinite_are_taken() -> None:
    given = np.full((2, 3, 8, 8), 3e38, np.float32)
    given[1] *= -1
    small = changed(plain(), "c1.weight", constants(plain())["c1.weight"] * 1e-38)
    assert collect(small, [given], Ranges()).tensors["image"].extremes == (-np.float32(3e38), np.float32(3e38))


def test_images_of_one_colour_are_refused() -> None:
    given = np.broadcast_to(np.array([0.1, 0.2, 0.3], np.float32)[:, None, None], (8, 3, 8, 8)).copy()
    with pytest.raises(ImagesError, match="have only one colour"):
        collect(plain(), [given], Ranges())
    given[3, 1, 2, 2] = 0.5
    collect(plain(), [given], Ranges())


def test_halves_that_disagree_are_named_and_those_that_agree_are_not() -> None:
    even = collect(plain(), [images(64)], Ranges())
    assert even.not_reproduced() == {}
    spoiled = images(64)
    spoiled[1::2] *= 3
    odd = collect(plain(), [spoiled], Ranges()).not_reproduced()
    assert "image" in odd
    one, two = odd["image"]
    assert 2 < two / one < 4
    spoiled = images(128)  # the reach of a half is that of all but its rarest values
    spoiled[3, 0, 0, 0] = 1000.0
    assert "image" not in collect(plain(), [spoiled], Ranges()).not_reproduced()


def test_what_is_counted_is_bounded_and_extremes_are_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeresnet.quantization.ranges._COUNTED", 30)
    given = images(4)
    given[2, 1, 0, 1] = 77.0
    found = collect(plain(), [given], Ranges()).tensors["image"]
    assert len(found.histogram) <= 4 * 30
    assert found.extremes[1] == 77.0
    assert (found.highest == given.max((0, 2, 3))).all()
    assert (found.lowest == given.min((0, 2, 3))).all()


def test_every_tensor_that_a_dialect_may_quantize_is_looked_at() -> None:
    found = wanted(Net(basic()))
    assert found[0] == "image"
    assert {"stem_out_relu", "b1.conv2_out", "b1_relu", "b2_pad", "b2_relu", "flat"} <= set(found)
    assert not {"b1", "logits", "stem.weight"} & set(found)


def test_the_engine_runs_a_network_of_a_fixed_batch_at_its_own() -> None:
    fixed = basic()
    canonical.set_batch(fixed, 7)
    given = images(12)
    run = session.Runner(fixed, ["logits", "b1"])
    logits, inner = run(given)
    assert (len(logits), len(inner)) == (12, 12)
    with pytest.raises(ModelError, match="cannot take a batch of 12"):
        run(given[:, :1])


def test_few_images_are_all_learned_from_and_of_more_one_in_four_is_held_out() -> None:
    few, many = Calibration.of(samples(15)), Calibration.of(samples(40))
    assert [(len(each.held_out), len(each.learn)) for each in (few, many)] == [(0, 15), (10, 30)]
    hashes = [{each.hash(i) for i in range(len(each))} for each in (many.learn, many.held_out)]
    assert not hashes[0] & hashes[1]
    assert len(hashes[0] | hashes[1]) == 40
    assert few.held().shape == (0, 3, 8, 8)


def test_no_more_are_held_out_than_steps_are_evaluated_on() -> None:
    assert [int(held_out(count, (3, 32, 32)).sum()) for count in (64, 512, 5000)] == [16, 128, 128]
    assert [int(held_out(count, (3, 224, 224)).sum()) for count in (64, 512, 5000)] == [16, 55, 55]
    apart = np.diff(np.flatnonzero(held_out(5000, (3, 32, 32))))
    assert apart.max() - apart.min() <= 1


def test_batches_skip_and_count_images(few_at_once: None) -> None:
    calibration = Calibration.of(samples())
    every = np.concatenate(list(calibration.batches()))
    assert len(every) == 30
    for skip, count in ((0, 3), (0, 5), (0, 12), (7, None), (29, None), (3, 9)):
        found = np.concatenate(list(calibration.batches(skip, count)))
        np.testing.assert_array_equal(found, every[skip:][:count])
    assert list(calibration.batches(count=0)) == []
    assert list(calibration.batches(skip=30)) == []


def _calibrated(tmp_path: Path, model: onnx.ModelProto, of: Samples) -> tuple[CalibrateNotes, Context]:
    """Run the stage, which writes into the folder `out`."""
    for name in ("network", "out"):
        (tmp_path / name).mkdir()
    onnx.save(model, tmp_path / "network" / "model.onnx")
    inputs = CalibrateInputs(artifact(tmp_path / "network"), Given(of.digest, of))
    ctx = Context(0, tmp_path)
    return calibrate(inputs, CalibrateSpec(seed=0), tmp_path / "out", ctx), ctx


def test_the_stage_writes_ranges_and_reports_what_is_odd(tmp_path: Path) -> None:
    dead = constants(plain())
    weights, bias = dead["c1.weight"].copy(), dead["c1.bias"].copy()
    weights[2], bias[2] = 0.0, -1.0
    model = changed(changed(plain(), "c1.weight", weights), "c1.bias", bias)
    notes, _ = _calibrated(tmp_path, model, samples())
    assert notes.images == 30
    assert notes.held_out == 10
    assert notes.dead_channels == {"c1_out_relu": 1}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"ranges.json", "equalized.onnx", "equalized-ranges.json"}


def test_the_stage_warns_of_halves_that_disagree(tmp_path: Path) -> None:
    given = samples(12)
    learned = Calibration.of(given).learn
    pixels = given.source._pixels  # type: ignore[attr-defined]
    bright = {learned.hash(index) for index in range(0, 12, 2)}
    for index in range(12):
        if given.hash(index) in bright:
            pixels[index] = 120 + pixels[index] // 16  # the hash, and with it the order, stays
    notes, ctx = _calibrated(tmp_path, plain(), given)
    assert "image" in notes.not_reproduced
    (warning,) = [warning for warning in ctx.warnings if warning.code == "ranges-differ"]
    assert warning.text.startswith("two halves of the calibration images give different ranges for ")
    assert "the images (" in warning.text
    assert warning.text.endswith(
        ". This matters only if INT8 loses too much accuracy: then raise `images.calibration.count`"
    )


def test_a_network_with_nothing_to_quantize_is_refused(tmp_path: Path) -> None:
    net = Maker()
    net.add("GlobalAveragePool", [net.relu("image")], "pooled")
    net.add("Flatten", ["pooled"], "logits")
    with pytest.raises(ModelError, match="no convolution and no fully connected layer") as caught:
        _calibrated(tmp_path, net.model(3), samples())
    assert "inspect" in caught.value.hint


def test_the_range_that_is_reproduced_least_is_named_first() -> None:
    found = Ranges()
    odd = {"c1_out": (1.0, 1.5), "c2_out": (9.0, 1.0), "c1_out_relu": (1.0, 4.0), "pooled": (1.0, 1.3)}
    found.not_reproduced = lambda *_: odd  # type: ignore[method-assign]
    ctx = Context(0, Path())
    _warn_of_differences(found, Net(plain()), ctx)
    (warning,) = ctx.warnings
    assert "for c2 (9 and 1), the ReLU after c1 (1 and 4), c1 (1 and 1.5) and 1 more." in warning.text


def test_the_rescaled_view_counts_rescaled_values() -> None:
    factors = np.array([0.5, 2.0, 4.0])
    views = Views(Ranges(), Ranges(), lambda tensor: factors)
    image = images(1)[0]
    views.add("image", image, 0)
    alone = Views(Ranges())
    alone.add("image", image * factors.astype(np.float32)[:, None, None], 0)
    assert views.equalized is not None
    assert views.equalized.tensors["image"].stored() == alone.plain.tensors["image"].stored()


@pytest.mark.parametrize("shape", [(2048, 7, 7), (512, 14, 14), (128, 28, 28), (256, 56, 56), (64, 112, 112)])
def test_every_column_of_a_tensor_is_counted(shape: tuple[int, int, int]) -> None:
    """Check the shapes of ResNet-50 at 224 pixels: a step of 7 sees only the left edge of the last stage."""
    columns = np.broadcast_to(np.arange(shape[2]), shape).reshape(shape[0], -1)
    seen = columns[:, :: ranges_module._stride(shape)]
    assert set(np.unique(seen)) == set(range(shape[2]))
    assert seen.size <= 1.1 * ranges_module._COUNTED
