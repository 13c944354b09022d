"""Is a pruned network really faster? Milliseconds, next to the multiplications that were pruned.

    speed     ResNet-50 at 224, batch 1, OpenVINO: half the multiplications and a quarter fewer, in FP32 and INT8, timed
              in turn with the unpruned network in the same precision; and pruned INT8 with unpruned FP32.
    speed --goal 1.6    the command `edgeresnet prune --speedup openvino=1.6`; then the cut that it chose, and the next
              milder one, are made again, and timed again in fresh processes.
    choose    Seconds and peak memory of choosing what to cut from ResNet-50, a whole process, from weights to weights.
    accuracy  What pruning and recovery cost ResNet-20 and -32, compared with torch-pruning.

    python benchmarks/pruning.py --data DIR             # all of it, one after the other: two to three hours
    python benchmarks/pruning.py speed [--goal 1.6 [--int8]] [--seconds 60]
    python benchmarks/pruning.py choose
    python benchmarks/pruning.py accuracy --data DIR

ResNet-50 has random weights here: its times are real, and its accuracy means nothing. INT8 stands where `quantize`
puts it, between scales that are made up: no time depends on them. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

SUBCOMMANDS = {"speed": "_faster", "choose": "_faster", "accuracy": "_recovering"}


ALL = (["choose"], ["speed"], ["speed", "--goal", "1.6"], ["speed", "--goal", "1.6", "--int8"], ["accuracy"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", dest="all_data", type=Path, help="for all of it: holds `train`, `eval` and the weights"
    )
    parts = parser.add_subparsers(dest="what")
    speed = parts.add_parser("speed", help="milliseconds of cuts, or of a goal in them")
    speed.add_argument("--goal", type=float, help="times as fast: reached by the command, and measured again")
    speed.add_argument("--int8", action="store_true", help="the goal is for INT8 against INT8")
    speed.add_argument("--seconds", type=float, default=60.0, help="of timing, for each table")
    speed.add_argument("--processes", type=int, default=5)
    for each in (speed, parts.add_parser("choose", help="seconds and peak memory of choosing")):
        each.add_argument("--arch", default="resnet50")
        each.add_argument("--size", type=int, default=224)
        each.add_argument("--target", default="openvino")
    accuracy = parts.add_parser("accuracy", help="top-1 after recovery, compared with torch-pruning")
    accuracy.add_argument("--data", type=Path, required=True, help="holds `train`, `eval` and the weights")
    args, more = parser.parse_known_args(argv)
    if args.what != "accuracy" and more:
        parser.error(f"unknown: {' '.join(more)}")
    if args.what is None:
        if args.all_data is None:
            parser.error(f"name a part, {', '.join(SUBCOMMANDS)}, or --data DIR for all of it")
        for part in ALL:
            print(f"\n== {' '.join(part)}", flush=True)
            main([*part, *(["--data", str(args.all_data)] if part == ["accuracy"] else [])])
        return
    args.more = more  # for the part that knows them
    getattr(importlib.import_module(SUBCOMMANDS[args.what]), args.what)(args)


if __name__ == "__main__":
    main()
