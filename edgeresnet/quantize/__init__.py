"""INT8 that is right on every compiler: one calibration, written once per dialect. The stages `calibrate`, `quantize`.

equalize → ranges → scales → placement → refine → qdq: channels are made to need one scale, tensors are looked at,
scales are chosen, Q/DQ get their places, biases and weights are corrected, and a graph is written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from ..artifact import Artifact, Given, Parent, write_bytes
from ..context import Context
from ..device import manifest
from ..device.preprocessing import Preprocessing
from ..device.session import Dialect
from ..errors import EdgeresnetError, ModelError
from ..graph import about
from ..images import Samples
from . import engine
from .calibration import Calibration
from .net import Net, unshare
from .ranges import Ranges, Views, collect

if TYPE_CHECKING:
    from .equalize import Equalizer

FILE = "model.onnx"
EQUALIZED, RANGES, EQUALIZED_RANGES = "equalized.onnx", "ranges.json", "equalized-ranges.json"
_KEEP_EVERY_S = 5.0


def calibrate(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the traced `network` and the `calibration` images. Writes ranges, of the network and of its equal with
    channels rescaled, which it writes too.
    """
    model, of_what = _network(parents["network"]), _of_what(parents)
    images = Calibration.of(_samples(parents))
    if not Net(model).weighted():
        raise ModelError(
            "there is no convolution and no fully connected layer in the network that could become INT8",
            hint="`edgeresnet inspect` lists its operators",
        )
    equalizer = _equalizer(model, images, spec["seed"], ctx)
    views = _collected(model, images, of_what, equalizer, ctx)
    plain = views.plain
    (out / RANGES).write_bytes(plain.dump())
    _tell(plain, ctx)
    if equalizer is not None and views.equalized is not None:
        (out / EQUALIZED).write_bytes(equalizer.applied(model).SerializeToString())
        (out / EQUALIZED_RANGES).write_bytes(views.equalized.dump())
    dead = {name: int(((t.lowest == 0) & (t.highest == 0)).sum()) for name, t in plain.tensors.items()}
    return {
        "images": plain.images,
        "held_out": len(images.held_out),
        "tensors": len(plain.tensors),
        "dead_channels": {name: count for name, count in dead.items() if count},
        "not_reproduced": plain.not_reproduced(),
    }


def quantize(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the traced `network`, its `ranges` and the `calibration` images. spec: the dialect, and the choices."""
    model, of_what = _network(parents["network"]), _of_what(parents)
    calibrated = parents["ranges"]
    assert isinstance(calibrated, Artifact)
    plain = engine.Source(model, Ranges.load(calibrated.path / RANGES, of_what))
    equalized = None
    if (calibrated.path / EQUALIZED).is_file():
        ranges = Ranges.load(calibrated.path / EQUALIZED_RANGES, of_what)
        equalized = engine.Source(onnx.load(calibrated.path / EQUALIZED), ranges)
    images = Calibration.of(_samples(parents))
    chosen = {key: spec[key] for key in ("estimator", "effort", "minutes", "seed")}
    dialect, preprocessing = Dialect(**spec["dialect"]), images.learn.preprocessing
    choices = engine.Choices(dialect, exclude=tuple(spec["exclude"]), preprocessing=preprocessing, **chosen)
    held_out = images.held()
    found = engine.quantize(plain, equalized, choices, images.batches, held_out, ctx.progress)
    said = replace(
        about.of(model),
        dialect=spec["dialect"],
        largest_weight=found.placement.weight_grid.high,
        parents={name: parents[name].digest for name in ("network", "calibration")},
    )
    written = found.model()
    about.write(written, said)
    onnx.checker.check_model(written)
    data = written.SerializeToString()
    write_bytes(out / FILE, data)
    before = parents["network"]
    assert isinstance(before, Artifact)
    sizes = {"bytes_before": (before.path / FILE).stat().st_size, "bytes_after": len(data)}
    return {**found.notes(), **sizes, "dialect": dict(spec["dialect"])}


def stand_in(
    model: onnx.ModelProto, dialect: Dialect, exclude: tuple[str, ...], preprocessing: Preprocessing
) -> onnx.ModelProto:
    """A traced network as `quantize` would write it, but for the numbers: to be timed, and thrown away."""
    unshare(model)
    choices = engine.Choices(dialect, exclude=exclude, preprocessing=preprocessing)
    written = engine.stand_in(model, choices)
    about.write(written, about.About(dialect=asdict(dialect)))
    return written


def _collected(
    model: onnx.ModelProto, images: Calibration, of_what: dict[str, str], equalizer: Equalizer | None, ctx: Context
) -> Views:
    """From where an interrupted one was."""
    kept = {name: ctx.scratch / name for name in (RANGES, EQUALIZED_RANGES)}
    found = {name: Ranges(of_what) for name in kept}
    with contextlib.suppress(EdgeresnetError):
        stored = {name: Ranges.load(path, of_what) for name, path in kept.items() if path.is_file()}
        if len({ranges.images for ranges in stored.values()}) == 1:  # written together, or begun anew
            found |= stored
    plain = found[RANGES]
    views = Views(plain, found[EQUALIZED_RANGES], equalizer.of) if equalizer else Views(plain)
    if plain.images:
        ctx.warn(f"{plain.images} images had been looked at before an interruption")
    last = time.monotonic()

    def on_images(so_far: Views) -> None:
        nonlocal last
        ctx.progress(so_far.plain.images, len(images.learn), "images")
        if time.monotonic() - last >= _KEEP_EVERY_S:
            for name, ranges in ((RANGES, so_far.plain), (EQUALIZED_RANGES, so_far.equalized)):
                if ranges is not None:
                    write_bytes(kept[name], ranges.dump())
            last = time.monotonic()

    return collect(model, images.batches(skip=plain.images), views, on_images, images.learn.name)


def _equalizer(model: onnx.ModelProto, images: Calibration, seed: int, ctx: Context) -> Equalizer | None:
    from . import equalize, sensitivity

    try:
        found = equalize.Equalizer(model, images.first(sensitivity.observed(images.shape)), seed)
    except ModelError as problem:
        ctx.warn(f"channels are not equalized: {problem.message}")
        return None
    return found if found.changes else None


def _tell(ranges: Ranges, ctx: Context) -> None:
    odd = ranges.not_reproduced()
    odd = dict(sorted(odd.items(), key=lambda item: min(item[1]) / max(item[1])))  # the least alike first
    if odd:
        shown = ", ".join(f"{name} ({one:.3g} and {two:.3g})" for name, (one, two) in list(odd.items())[:3])
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        ctx.warn(f"two halves of the calibration images do not agree on the range of {shown}{more}: give more images")


def _network(network: Parent) -> onnx.ModelProto:
    assert isinstance(network, Artifact)
    model = onnx.load(network.path / FILE)
    unshare(model)
    return model


def _samples(parents: Mapping[str, Parent]) -> Samples:
    given = parents["calibration"]
    assert isinstance(given, Given)
    return given.value


def _of_what(parents: Mapping[str, Parent]) -> dict[str, str]:
    """What ranges belong to. The images are told by their content, whatever their order."""
    samples = _samples(parents)
    return {
        "network": parents["network"].digest,
        "images": manifest.digest_of(sorted(samples.hash(index).hex() for index in range(len(samples)))),
        "preprocessing": samples.preprocessing.digest,
    }
