"""On the device: a bundle is checked, built, asked and timed, and what came out is written down to be taken home.

What `verify` measures at home is measured here, by the same code; what it means is judged at home.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EdgeresnetError, MachineError, TargetError, first_line, machine_error
from ...portable import (
    advice,
    decoding,
    evaluation,
    inference,
    machine,
    manifest,
    measure,
    timing_warnings,
    timings,
    yardstick,
)
from ...portable.session import Target
from ...portable.worker import Job
from .contents import BUILT, FORMAT, SAMPLES, Bundle, sealed

PACKAGE = __name__.split(".")[0]


def main(folder: Path, words: Sequence[str] | None = None) -> int:
    """Exit codes are those of `edgeresnet`: 0 measured, 2 the bundle or an option, 4 the target, 5 the machine."""
    asked = _arguments().parse_args(words)
    try:
        _deploy(folder, asked)
    except EdgeresnetError as problem:
        _say(f"error: {problem.message}\n  {problem.hint}")
        return problem.exit_code
    except (OSError, MemoryError) as caught:
        failed = machine_error(caught) or MachineError(str(caught), hint="is the folder yours to write?")
        _say(f"error: {failed.message}\n  {failed.hint}")
        return failed.exit_code
    except KeyboardInterrupt:
        _say("interrupted: run it once more")
        return 130
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy.py", description="Build this bundle's network here, measure it, and write result.json."
    )
    parser.add_argument("--check", action="store_true", help="only whether the bundle is whole and can be built here")
    parser.add_argument("--processes", type=_count, help="fresh processes to time; by default as the recipe says")
    parser.add_argument("--seconds", type=_seconds, help="for timing; as the recipe says by default")
    parser.add_argument("--rebuilds", type=_count, help="build what would ship so often; by default as the recipe says")
    parser.add_argument("--output", type=Path, help="result.json beside deploy.py by default")
    return parser


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return float(text)


def _deploy(folder: Path, asked: argparse.Namespace) -> None:
    bundle = Bundle.open(folder)
    target: Target = importlib.import_module(f"{PACKAGE}.targets.{bundle.about['target']}").TARGET
    found = target.available()
    _say(f"bundle {bundle.digest[:12]}: whole; {bundle.about['network']} for {target.title}")
    if not found.ok:
        raise TargetError(f"{target.title} is not here: {found.reason}", hint=found.hint)
    _say(f"{', '.join(f'{name} {version}' for name, version in found.versions.items())}: here")
    if asked.check:
        return
    output = asked.output or folder / evaluation.RESULT
    if not output.parent.is_dir():
        raise EdgeresnetError(f"there is no folder {output.parent}", hint="make it, or write elsewhere")
    networks = _built(bundle, target, asked.rebuilds or bundle.about["rebuilds"])
    if bundle.about["candidate"] not in networks:
        raise TargetError(
            f"{target.title} has no half precision on this device, and this bundle's network is in it",
            hint="hand over a bundle of INT8 or FP32: `edgeresnet export --precision`",
        )
    decoding_told = _decoded(bundle, target, networks[bundle.about["candidate"]])
    unit = _yardstick(bundle, target)
    result = {**_tried(bundle, target, networks, unit, asked), "decoding": decoding_told}
    written = sealed({"format": FORMAT, "bundle": bundle.digest, "measured": time.time(), "result": result})
    output.write_text(json.dumps(written, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    _tell(result)
    _say(f"wrote {output}\n  at home: edgeresnet verify --from {output.name}")


def _built(bundle: Bundle, target: Target, rebuilds: int) -> dict[str, evaluation.Network]:
    """Each variant compiled, with the options it was handed over with; a twin only where this device has one."""
    found = {}
    for variant, about in bundle.about["variants"].items():
        options = target.options(**about["options"])
        if about.get("twin"):
            options = target.half(options)
        if options is None:
            _say(f"{variant}: this device has none")
            continue
        for name in evaluation.builds(variant, rebuilds if variant == bundle.about["candidate"] else 1):
            with _left_out(variant, bundle):
                found[name] = _build(name, bundle, target, bundle.network(variant), options)
    return found


@contextlib.contextmanager
def _left_out(variant: str, bundle: Bundle) -> Iterator[None]:
    """What is there to compare with takes nothing with it where it fails: a promise that needs it is not measured."""
    try:
        yield
    except TargetError as problem:
        if variant.split(evaluation.REBUILT)[0] == bundle.about["candidate"]:
            raise
        _say(f"{variant}: left out, it {problem.message}")


def _yardstick(bundle: Bundle, target: Target) -> evaluation.Network | None:
    """Built as everywhere, whatever the options of the bundle's own network; what fails takes nothing with it."""
    try:
        unit = _build(yardstick.NAME, bundle, target, yardstick.file(), target.full(target.options()))
        evaluation.runs(target, unit.compiled, yardstick.image())
        return unit
    except TargetError as problem:
        _say(f"{yardstick.NAME}: left out, {target.title} {problem.message}")
        return None


def _build(name: str, bundle: Bundle, target: Target, network: Path, options: Any) -> evaluation.Network:
    out, again = bundle.folder / BUILT / name, evaluation.REBUILT in name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    began = time.perf_counter()
    # What was timed before would make the second engine the first one's copy: whether they differ is what is asked.
    notes = target.compile(network, options, out, None if again else bundle.folder / BUILT)
    _say(f"{name}: built in {time.perf_counter() - began:.1f} s")
    for sentence in notes.pop("warnings", ()):
        _say(f"{name}: {target.title} says: {sentence}")
    files = manifest.files_in(out)
    return evaluation.Network(out, manifest.content_digest(files), sum(file["size"] for file in files) / 1e6, notes)


def _tried(
    bundle: Bundle,
    target: Target,
    networks: dict[str, evaluation.Network],
    unit: evaluation.Network | None,
    asked: argparse.Namespace,
) -> Any:
    pixels, expected = bundle.array("pixels"), np.asarray(bundle.array("expected"))
    answered = {}
    for name, network in networks.items():
        began = time.perf_counter()
        with _left_out(name, bundle):
            answered[name] = evaluation.answers(target, network.compiled, _batches(bundle, network, pixels))
            _say(f"{name}: {len(pixels)} images answered in {time.perf_counter() - began:.1f} s")
    networks = {name: network for name, network in networks.items() if name in answered}
    image = np.asarray(pixels[:1])
    jobs = {
        name: Job(
            target,
            network.compiled,
            np.repeat(network.images(image, bundle.preprocessing), network.batch, axis=0),
        )
        for name, network in networks.items()
    }
    if unit:
        jobs[yardstick.NAME] = Job(target, unit.compiled, yardstick.image(), is_unit=True)
    plan = dict(bundle.about["verify"])
    plan |= {key: value for key in plan if (value := getattr(asked, key, None)) is not None}
    timed = []
    for one in measure.rounds(jobs, **plan):
        timed.append(one)
        _say(f"timed: {len(timed)} of {plan['processes']} processes")
    said = bundle.about
    about = evaluation.Asked(said["classes"], bundle.labels, expected, said["skipped"], said.get("images"))
    return evaluation.result(
        target, bundle.about["candidate"], about, networks, answered, measure.collected(jobs, timed)
    )


def _decoded(bundle: Bundle, target: Target, network: evaluation.Network) -> dict[str, Any]:
    """By library: how far its pixels are from home's, and how many answers change; None where it is not here."""
    files = sorted(path for path in (bundle.folder / SAMPLES).iterdir() if path.suffix in (".jpg", ".png"))
    home = np.load(bundle.folder / SAMPLES / "pixels.npy", allow_pickle=False)
    found: dict[str, Any] = {}
    for library in decoding.LIBRARIES:
        try:
            pixels = decoding.decoded(library, files, bundle.preprocessing)
        except (AttributeError, ValueError, OSError) as problem:  # what an old or a bare library cannot do
            found[library] = None
            _say(f"decoding with {library}: not compared, it fails here: {first_line(problem)}")
            continue
        if pixels is None:
            found[library] = None
            _say(f"decoding with {library}: not compared, it is not here")
            continue
        both = (network.images(each, bundle.preprocessing) for each in (home, pixels))
        one, other = (evaluation.answers(target, network.compiled, [each]).logits.argmax(1) for each in both)
        apart = np.abs(pixels.astype(np.int32) - home)
        about = {"images": len(files), "mean_levels": float(apart.mean()), "largest_levels": int(apart.max())}
        found[library] = {**about, "answers_changed": int((one != other).sum())}
        _say(
            f"decoding with {library}: {about['mean_levels']:.2f} levels from home's on average, "
            f"{about['largest_levels']} at most; {found[library]['answers_changed']} of {len(files)} answers change"
        )
    return found


def _batches(bundle: Bundle, network: evaluation.Network, pixels: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(pixels), inference.BATCH):
        yield network.images(np.asarray(pixels[start : start + inference.BATCH]), bundle.preprocessing)


def _conditions(result: dict[str, Any]) -> Iterator[str]:
    """In which state this device was: the same numbers in another power mode are other numbers."""
    about, now = result["machine"], machine.state()
    known = {"board": about["board"], "power mode": about["power_mode"], "CPU governor": about["cpu"]["governor"]}
    known |= {"CPU MHz": now["cpu_mhz"], "hottest °C": now["temperature_c"]}
    for gpu in now["gpus"]:
        known |= {"GPU MHz": gpu["sm_mhz"], "GPU °C": gpu["temperature_c"], "held down by": ", ".join(gpu["throttle"])}
    told = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in known.items() if value
    ]
    yield "conditions: " + (", ".join(told) or "this device tells nothing of its power mode, clocks and temperature")
    yield from timing_warnings.troubles({name: variant["latency"] for name, variant in result["variants"].items()})
    found = advice.advice(result)
    if found:
        yield found.sentence


def _tell(result: dict[str, Any]) -> None:
    for name, variant in result["variants"].items():
        counts, times = variant["accuracy"], timings.percentiles(variant["latency"])
        right = f"top-1 {100 * counts['top1'] / counts['images']:.2f} %, " if "top1" in counts else ""
        print(
            f"{name:5} {right}same answer as FP32 at home {counts['agree']} of {counts['images']}, "
            f"p50 {times['p50']:.3f} ms, p99 {times['p99']:.3f} ms"
        )
    for sentence in _conditions(result):
        print(sentence)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
