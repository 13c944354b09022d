"""Does the 95 % interval of the accuracy drop contain the true drop 95 % of the time?

Two networks answer the same n images. They disagree on a part of them (the discordance), and the drop is how much more
often the change was a loss than a win. For each setting every possible outcome is enumerated with its probability, so
the figures are exact and come out the same everywhere. Next to ours is the interval that most tools would print, the
plain one for two independent proportions: it forgets that the images are the same, and pays with its width.

With --masks the same for segmentation: samples are drawn from populations of images whose mIoU is known before and
after (`_mask_populations.py`). Next to ours is the plain interval, percentiles of a bootstrap over images. With --boxes
the same for detection and mAP (`_box_populations.py`).

    python benchmarks/coverage.py
    python benchmarks/coverage.py --masks             # minutes
    python benchmarks/coverage.py --masks --looks 12  # as wide as twelve promises need them
    python benchmarks/coverage.py --boxes             # minutes
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType

from edgeresnet.portable import intervals

IMAGES = (200, 1000, 5000)
DISCORDANCE = (0.005, 0.02, 0.05)
PARTS = (0.0, 0.25, 0.5, 0.75)  # of the discordance that is a true drop
TOP1 = 0.80  # of the images on which both agree; matters to the unpaired interval only
_NEGLIGIBLE = 1e-12
MASKS = (30, 100, 300, 1000)  # images with masks
CLASSES = (2, 11, 21)
CLASSES_OF_BOXES = (1, 2, 10)
POPULATIONS = 8  # of each setting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", action="store_true", help="mIoU of segmentation, and not the accuracy of classes")
    parser.add_argument("--boxes", action="store_true", help="mAP of detection, and not the accuracy of classes")
    parser.add_argument("--draws", type=int, default=400, help="samples of each setting drawn (default: 400)")
    parser.add_argument("--looks", type=int, default=1, help="promises that share the 5 %% (default: 1)")
    given = parser.parse_args()
    if given.masks:
        _of_masks(given.draws, given.looks)
    elif given.boxes:
        _of_boxes(given.draws, given.looks)
    else:
        _of_classes()


def _of_masks(draws: int, looks: int) -> None:
    import _mask_populations as masks

    _of_populations(masks, CLASSES, {"mIoU": "miou", "IoU": "iou"}, draws, looks)
    print("goal: never below 94 % but for `broken`, where few images cannot show what is rare")


def _of_boxes(draws: int, looks: int) -> None:
    import _box_populations as boxes

    _of_populations(boxes, CLASSES_OF_BOXES, {"mAP": "map", "AP": "of_class"}, draws, looks)
    print("goal: never below 94 %")


def _of_populations(
    populations: ModuleType, classes: Sequence[int], metrics: Mapping[str, str], draws: int, looks: int
) -> None:
    """Print how often intervals of the drop and of two metrics hold the truth. `metrics`: title → field of a cell."""
    titles = "".join(f"{title:>7}" for title in ("drop", "plain", *metrics))
    print(f"coverage, in %{titles:>47}   mean width, points:  drop   plain")
    fields, lowest = ("drop", "plain", *metrics.values()), {}
    for name, change in populations.CHANGES.items():
        cells = []
        for count in classes:
            for images in MASKS:
                found = populations.cell(count, images, change, draws, POPULATIONS, intervals.z_for(looks))
                cells.append(found)
                held = " ".join(f"{100 * getattr(found, field):6.2f}" for field in fields)
                widths = f"{100 * found.width:6.2f}  {100 * found.plain_width:6.2f}"
                print(f"{name:6}  {count:2} classes  {images:5} images  {held}{'':22}{widths}", flush=True)
        lowest[name] = populations.Cell(*map(min, zip(*cells, strict=True)))
    for name, found in lowest.items():
        shown = zip(("drop", "plain", *metrics), fields, strict=True)
        print(f"{name:6}  lowest: " + ", ".join(f"{title} {100 * getattr(found, field):.2f}" for title, field in shown))


def _of_classes() -> None:
    print("coverage of the true drop, in %                          mean width, points")
    print("images  discordance  drop     paired  unpaired           paired  unpaired")
    found = []
    for images in IMAGES:
        for discordance in DISCORDANCE:
            for part in PARTS:
                ours, plain, width, plain_width = _exact(images, discordance, part * discordance)
                found.append(ours)
                print(
                    f"{images:6}  {100 * discordance:9.1f} %  {100 * part * discordance:5.2f}  {100 * ours:8.2f}"
                    f"  {100 * plain:8.2f}           {100 * width:6.2f}  {100 * plain_width:8.2f}"
                )
    print(f"\npaired: lowest {100 * min(found):.2f} %, mean {100 * sum(found) / len(found):.2f} %")
    print("goal:   never below 94 %, mean between 95 and 98 %")


def _exact(images: int, discordance: float, drop: float) -> tuple[float, float, float, float]:
    covered = plain_covered = width = plain_width = total = 0.0
    for lost, won, probability in _outcomes(images, (discordance + drop) / 2, (discordance - drop) / 2):
        low, high = intervals.tango(lost, won, images)
        plain_low, plain_high = _unpaired(lost, won, images)
        total += probability
        covered += probability * (low <= drop <= high)
        plain_covered += probability * (plain_low <= drop <= plain_high)
        width += probability * (high - low)
        plain_width += probability * (plain_high - plain_low)
    return covered / total, plain_covered / total, width / total, plain_width / total


def _outcomes(images: int, lose: float, win: float) -> Iterator[tuple[int, int, float]]:
    for lost in _likely(images * lose):
        for won in _likely(images * win):
            same = images - lost - won
            if same < 0:
                continue
            log = math.lgamma(images + 1) - math.lgamma(lost + 1) - math.lgamma(won + 1) - math.lgamma(same + 1)
            log += lost * math.log(lose) + won * math.log(win) + same * math.log(1 - lose - win)
            if (probability := math.exp(log)) > _NEGLIGIBLE:
                yield lost, won, probability


def _likely(mean: float) -> range:
    reach = 8 * math.sqrt(mean) + 12
    return range(max(0, math.floor(mean - reach)), math.ceil(mean + reach))


def _unpaired(lost: int, won: int, images: int) -> tuple[float, float]:
    both_correct = TOP1 * (images - lost - won)
    before, now = (both_correct + lost) / images, (both_correct + won) / images
    half = 1.959964 * math.sqrt((before * (1 - before) + now * (1 - now)) / images)
    return before - now - half, before - now + half


if __name__ == "__main__":
    main()
