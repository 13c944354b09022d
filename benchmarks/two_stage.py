"""How long does the second stage of Faster R-CNN take in numpy, after the network that a target runs?

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/two_stage.py --size 512 800

Answers and weights are random, with 91 classes. Each level of the pyramid has as many probable anchors, so that
proposals have all sizes; 1,000 are left, or as many as do not overlap. Seconds of one core are printed, the fewest of
several times: other programs change them less than times by the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from edgeresnet.models import anchors
from edgeresnet.portable.tasks import roi_align
from edgeresnet.portable.tasks.two_stage import SecondStage, TwoStage

CLASSES, PROBABLE, TIMES = 91, 1000, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[512, 800], help="sides of images (default: 512 800)")
    for size in parser.parse_args().size:
        print(_measured(size), flush=True)


def _measured(size: int) -> str:
    about, rng = anchors.of("fasterrcnn_resnet50_fpn", size, CLASSES), np.random.default_rng(0)
    assert isinstance(about, TwoStage)
    answer, second = _answer(about, rng), _second(about, rng)
    boxes = about.proposed(answer[0])
    maps = about.maps(answer[0])
    seen = roi_align.aligned(maps, size, boxes, about.cells)
    parts: dict[str, Callable[[], object]] = {
        "proposals": lambda: about.proposed(answer[0]),
        "RoIAlign": lambda: roi_align.aligned(maps, size, boxes, about.cells),
        "box head": lambda: second.answers(seen),
        "all": lambda: about.detections(answer, second),
    }
    times = {name: min(_seconds(each) for _ in range(TIMES)) for name, each in parts.items()}
    shown = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in times.items())
    return f"size {size}, {len(boxes)} proposals, {answer.nbytes / 1e6:.0f} MB of answers: {shown}"


def _seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def _answer(about: TwoStage, rng: np.random.Generator) -> np.ndarray:
    found = rng.standard_normal((1, about.rows, about.columns), np.float32)
    found[..., about.features :] *= 0.3
    first = 0
    for grid in about.grids:
        logits = found[0, first : first + grid * grid, about.features :][:, : about.anchors_of_cell]
        logits -= 20
        places = rng.permutation(logits.size)[:PROBABLE]
        logits[places // about.anchors_of_cell, places % about.anchors_of_cell] = rng.standard_normal(len(places))
        first += grid * grid
    return found


def _second(about: TwoStage, rng: np.random.Generator) -> SecondStage:
    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.standard_normal((inputs, outputs), np.float32) / inputs**0.5, np.zeros(outputs, np.float32)

    first = layer(about.features * about.cells**2, 1024)
    return SecondStage((first, layer(1024, 1024)), layer(1024, CLASSES), layer(1024, 4 * CLASSES))


if __name__ == "__main__":
    main()
