"""What every dialect is written from: the range of each tensor over the calibration images, collected once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from ..context import Context
from ..errors import EdgeresnetError, ModelError
from ..quantization import stored
from ..quantization.calibration import Calibration
from ..quantization.net import Net
from ..quantization.ranges import Ranges, Views, collect
from ..store import Parent, write_bytes

if TYPE_CHECKING:
    from ..quantization.equalize import Equalizer

_KEEP_EVERY_S = 5.0


def calibrate(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the traced `network` and the `calibration` images. Writes ranges, of the network and of its equal with
    channels rescaled, which it writes too.
    """
    model, of_what = stored.network_of(parents["network"]), stored.identity_of(parents)
    images = Calibration.of(stored.samples_of(parents))
    if not Net(model).weighted():
        raise ModelError(
            "there is no convolution and no fully connected layer in the network that could become INT8",
            hint="`edgeresnet inspect` lists its operators",
        )
    equalizer = _equalizer(model, images, spec["seed"], ctx)
    views = _collected(model, images, of_what, equalizer, ctx)
    plain = views.plain
    (out / stored.RANGES).write_bytes(plain.dump())
    _tell(plain, ctx)
    if equalizer is not None and views.equalized is not None:
        (out / stored.EQUALIZED).write_bytes(equalizer.applied(model).SerializeToString())
        (out / stored.EQUALIZED_RANGES).write_bytes(views.equalized.dump())
    dead = {name: int(((t.lowest == 0) & (t.highest == 0)).sum()) for name, t in plain.tensors.items()}
    return {
        "images": plain.images,
        "held_out": len(images.held_out),
        "tensors": len(plain.tensors),
        "dead_channels": {name: count for name, count in dead.items() if count},
        "not_reproduced": plain.not_reproduced(),
    }


def _collected(
    model: onnx.ModelProto, images: Calibration, of_what: dict[str, str], equalizer: Equalizer | None, ctx: Context
) -> Views:
    """From where an interrupted one was."""
    kept = {name: ctx.scratch / name for name in (stored.RANGES, stored.EQUALIZED_RANGES)}
    found = {name: Ranges(of_what) for name in kept}
    with contextlib.suppress(EdgeresnetError):
        found_before = {name: Ranges.load(path, of_what) for name, path in kept.items() if path.is_file()}
        if len({ranges.images for ranges in found_before.values()}) == 1:  # written together, or begun anew
            found |= found_before
    plain = found[stored.RANGES]
    views = Views(plain, found[stored.EQUALIZED_RANGES], equalizer.of) if equalizer else Views(plain)
    if plain.images:
        ctx.warn("continued", f"{plain.images} images had been looked at before an interruption")
    last = time.monotonic()

    def on_images(so_far: Views) -> None:
        nonlocal last
        ctx.progress(so_far.plain.images, len(images.learn), "images")
        if time.monotonic() - last >= _KEEP_EVERY_S:
            for name, ranges in ((stored.RANGES, so_far.plain), (stored.EQUALIZED_RANGES, so_far.equalized)):
                if ranges is not None:
                    write_bytes(kept[name], ranges.dump())
            last = time.monotonic()

    return collect(model, images.batches(skip=plain.images), views, on_images, images.learn.name)


def _equalizer(model: onnx.ModelProto, images: Calibration, seed: int, ctx: Context) -> Equalizer | None:
    from ..quantization import equalize, sensitivity

    try:
        found = equalize.Equalizer(model, images.first(sensitivity.observed(images.shape)), seed)
    except ModelError as problem:
        ctx.warn("not-equalized", f"channels are not equalized: {problem.message}")
        return None
    return found if found.changes else None


def _tell(ranges: Ranges, ctx: Context) -> None:
    odd = ranges.not_reproduced()
    odd = dict(sorted(odd.items(), key=lambda item: min(item[1]) / max(item[1])))  # the least alike first
    if odd:
        shown = ", ".join(f"{name} ({one:.3g} and {two:.3g})" for name, (one, two) in list(odd.items())[:3])
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        ctx.warn(
            "ranges-differ",
            f"two halves of the calibration images do not agree on the range of {shown}{more}: give more images",
        )
