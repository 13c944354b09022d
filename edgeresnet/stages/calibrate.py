"""The range of each tensor over the calibration images, collected once: every dialect is written from it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import onnx

from ..context import Context
from ..errors import EdgeresnetError, ModelError
from ..notes import CalibrateNotes
from ..quantization import collecting, sensitivity, stored
from ..quantization.calibration import Calibration
from ..quantization.equalize import Equalizer
from ..quantization.net import Net
from ..quantization.placement import described
from ..quantization.ranges import Origin, Ranges, Views, collect
from ..store import write_bytes
from .int8 import CalibrateInputs, CalibrateSpec

_SAVE_EVERY_S = 5.0


def calibrate(inputs: CalibrateInputs, spec: CalibrateSpec, out: Path, ctx: Context) -> CalibrateNotes:
    """Collect ranges, and write them: of the network, and of the same network with channels rescaled, written too."""
    samples = inputs.calibration.value
    model, origin = stored.network_of(inputs.network), stored.origin_of(inputs.network, samples)
    images = Calibration.of(samples)
    net = Net(model)
    if not net.weighted():
        raise ModelError(
            "the network",
            "has no convolution and no fully connected layer that could become INT8",
            hint="`edgeresnet inspect` lists its operators",
        )
    equalizer = _equalizer(model, images, spec.seed, ctx)
    views = _by_workers(model, images, origin, equalizer, ctx)
    if views is None:
        views = _collected(model, images, origin, equalizer, ctx)
    plain = views.plain
    (out / stored.RANGES).write_bytes(plain.dump())
    _warn_of_differences(plain, net, ctx)
    if equalizer is not None and views.equalized is not None:
        (out / stored.EQUALIZED).write_bytes(equalizer.applied(model).SerializeToString())
        (out / stored.EQUALIZED_RANGES).write_bytes(views.equalized.dump())
    dead = {name: int(((t.lowest == 0) & (t.highest == 0)).sum()) for name, t in plain.tensors.items()}
    return CalibrateNotes(
        images=plain.images,
        held_out=len(images.held_out),
        tensors=len(plain.tensors),
        dead_channels={name: count for name, count in dead.items() if count},
        not_reproduced=plain.not_reproduced(),
    )


def _by_workers(
    model: onnx.ModelProto, images: Calibration, origin: Origin, equalizer: Equalizer | None, ctx: Context
) -> Views | None:
    """Collect ranges by workers; None where there is no worker or one shard, or where this process reports a problem:
    no image can be read.
    """
    if ctx.workers is None or len(images.learn) <= collecting.IMAGES:
        return None

    def count(done: int) -> None:
        ctx.progress(done, len(images.learn), "images")

    views = collecting.collected(ctx.workers, model, images, origin, equalizer, ctx.scratch / "shards", count)
    return views if views.plain.images else None


def _collected(
    model: onnx.ModelProto, images: Calibration, origin: Origin, equalizer: Equalizer | None, ctx: Context
) -> Views:
    """Collect ranges, from where an interrupted collection was."""
    saved = {name: ctx.scratch / name for name in (stored.RANGES, stored.EQUALIZED_RANGES)}
    found = {name: Ranges(origin) for name in saved}
    with contextlib.suppress(EdgeresnetError):
        before = {name: Ranges.load(path, origin) for name, path in saved.items() if path.is_file()}
        if len({ranges.images for ranges in before.values()}) == 1:  # else they were not saved together
            found |= before
    plain = found[stored.RANGES]
    views = Views(plain, found[stored.EQUALIZED_RANGES], equalizer.of) if equalizer else Views(plain)
    if plain.images:
        ctx.warn("continued", f"calibration continues after an interruption: {plain.images} images were already read")
    last = time.monotonic()

    def on_images(so_far: Views) -> None:
        nonlocal last
        ctx.progress(so_far.plain.images, len(images.learn), "images")
        if time.monotonic() - last >= _SAVE_EVERY_S:
            for name, ranges in ((stored.RANGES, so_far.plain), (stored.EQUALIZED_RANGES, so_far.equalized)):
                if ranges is not None:
                    write_bytes(saved[name], ranges.dump())
            last = time.monotonic()

    return collect(model, images.batches(skip=plain.images), views, on_images, images.learn.name)


def _equalizer(model: onnx.ModelProto, images: Calibration, seed: int, ctx: Context) -> Equalizer | None:
    try:
        found = Equalizer(model, images.first(sensitivity.observed(images.shape)), seed)
    except ModelError as problem:
        ctx.warn("not-equalized", f"channels are not equalized: {problem.message}")
        return None
    return found if found.changes else None


def _warn_of_differences(ranges: Ranges, net: Net, ctx: Context) -> None:
    odd = ranges.not_reproduced()
    odd = dict(sorted(odd.items(), key=lambda item: min(item[1]) / max(item[1])))  # the largest difference first
    if odd:
        first = [(described(net, name), *both) for name, both in list(odd.items())[:3]]
        shown = ", ".join(f"{name} ({one:.3g} and {two:.3g})" for name, one, two in first)
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        ctx.warn(
            "ranges-differ",
            f"two halves of the calibration images give different ranges for {shown}{more}. This matters only if INT8 "
            "loses too much accuracy: then raise `images.calibration.count`",
        )
