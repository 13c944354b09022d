"""On the device: a bundle is checked, built, evaluated and timed, and the result is written, to be collected.

What `verify` measures on the host is measured here, by the same code; what it means is judged on the host.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EdgeresnetError, MachineError, TargetError, first_line, machine_error
from ...portable import (
    advice,
    codec,
    decoding,
    energy,
    evaluation,
    inference,
    machine,
    manifest,
    measure,
    timing_warnings,
    yardstick,
)
from ...portable.measure import TimingPlan
from ...portable.result import DecodingDifference, Measured, Variant
from ...portable.session import Target
from ...portable.times import Latency
from ...portable.worker import Job
from .contents import BUILT, RESULT_FORMAT, SAMPLES, Bundle, DeviceResult, sealed

PACKAGE = __name__.split(".")[0]


@dataclass(frozen=True)
class Options:
    """The options of `deploy.py`; None: as the recipe has it."""

    check: bool = False
    processes: int | None = None
    seconds: float | None = None
    rebuilds: int | None = None
    output: Path | None = None

    def plan(self, recipe: TimingPlan) -> TimingPlan:
        """Return how latency is measured."""
        return replace(recipe, processes=self.processes or recipe.processes, seconds=self.seconds or recipe.seconds)


def main(folder: Path, words: Sequence[str] | None = None) -> int:
    """Run `deploy.py`. Exit codes are those of `edgeresnet`: 0 measured, 2 bundle or option, 4 target, 5 machine."""
    options = Options(**vars(_arguments().parse_args(words)))
    try:
        _deploy(folder, options)
    except EdgeresnetError as problem:
        _say(f"error: {problem.message}\n  {problem.hint}")
        return problem.exit_code
    except (OSError, MemoryError) as caught:
        failed = machine_error(caught) or MachineError(
            "the bundle", f"cannot be measured: {caught}", hint="check that you may write to its folder"
        )
        _say(f"error: {failed.message}\n  {failed.hint}")
        return failed.exit_code
    except KeyboardInterrupt:
        _say("interrupted (run it again)")
        return 130
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy.py", description="Build this bundle's network here, measure it, and write result.json."
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check that the bundle is complete and the runtime is installed; build nothing",
    )
    parser.add_argument(
        "--processes", type=_count, help="number of fresh processes that are timed (default: the recipe's)"
    )
    parser.add_argument("--seconds", type=_seconds, help="seconds of timing (default: the recipe's)")
    parser.add_argument(
        "--rebuilds", type=_count, help="how often the network that would ship is built (default: the recipe's)"
    )
    parser.add_argument("--output", type=Path, help="file to write (default: result.json next to deploy.py)")
    return parser


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return float(text)


def _deploy(folder: Path, options: Options) -> None:
    bundle = Bundle.open(folder)
    about = bundle.about
    target: Target = importlib.import_module(f"{PACKAGE}.targets.{about.target}").TARGET
    found = target.available(_shipped(bundle, target))
    _say(f"bundle {bundle.digest[:12]}: complete; {about.network} for {target.title}")
    if not found.ok:
        raise TargetError(target.title, f"cannot be used here: {found.reason}", hint=found.hint)
    _say(f"{', '.join(f'{name} {version}' for name, version in found.versions.items())}: here")
    if options.check:
        return
    output = options.output or folder / evaluation.RESULT
    if not output.parent.is_dir():
        raise EdgeresnetError(str(output.parent), "does not exist", hint="make the folder, or write to another one")
    measure.check_clock()
    missing = _Missing(bundle, target)
    networks = _built(bundle, target, options.rebuilds or about.rebuilds, missing)
    if not set(about.choices) & set(networks):
        raise TargetError(
            target.title,
            "has no half precision on this device, and this bundle's network needs it",
            hint="export a bundle of INT8 or FP32: `edgeresnet export --precision int8`",
        )
    unit = _yardstick(bundle, target)
    measured = _evaluated(bundle, target, networks, unit, options.plan(about.timing), missing)
    first = measured.choice.taken if measured.choice else about.ships
    measured = replace(measured, decoding=_decoded(bundle, target, networks[first]))
    document = codec.encode(DeviceResult(RESULT_FORMAT, bundle.digest, time.time(), measured))
    output.write_text(json.dumps(sealed(document), ensure_ascii=False, allow_nan=False), encoding="utf-8")
    _report(measured)
    _say(f"wrote {output}\n  on the host: edgeresnet collect {output.name}")


@dataclass
class _Missing:
    """What fails here, and why: what is only there to compare with, or one of several that may ship."""

    bundle: Bundle
    target: Target
    problems: dict[str, TargetError] = field(default_factory=dict)

    @contextlib.contextmanager
    def left_out(self, name: str) -> Iterator[None]:
        """Leave out what fails: a promise that needs it is not measured. Raise where nothing that may ship is left."""
        try:
            yield
        except TargetError as problem:
            self.problems.setdefault(_variant_of(name), problem)
            choices = self.bundle.about.choices
            if set(choices) <= set(self.problems):
                raise self.problems[choices[0]].within(self.target.title) from problem
            _say(f"{name}: left out: {problem.message}")

    def without(self, networks: Mapping[str, evaluation.Network]) -> dict[str, evaluation.Network]:
        """Return the networks without those that fail in one of their builds."""
        return {name: network for name, network in networks.items() if _variant_of(name) not in self.problems}

    def several(self) -> evaluation.Several | None:
        """Return the INT8 networks from which the host chooses; None where only one may ship."""
        names = self.bundle.about.choices
        if len(names) < 2:
            return None
        return evaluation.Several(names, {n: self.problems[n].message for n in names if n in self.problems})


def _variant_of(name: str) -> str:
    """Return which variant a build is of."""
    return name.split(evaluation.REBUILT)[0]


def _shipped(bundle: Bundle, target: Target) -> Any:
    """Return the options of what would ship."""
    return target.options(**bundle.about.variants[bundle.about.ships].options)


def _built(bundle: Bundle, target: Target, rebuilds: int, missing: _Missing) -> dict[str, evaluation.Network]:
    """Compile each variant with its options; half precision only where this device has it."""
    found = {}
    for variant, about in bundle.about.networks.items():
        options = target.options(**about.options)
        if about.half:
            options = target.half(options)
        if options is None:
            _say(f"{variant}: left out: this device has no half precision")
            continue
        for name in evaluation.builds(variant, rebuilds if variant in bundle.about.choices else 1):
            with missing.left_out(variant):
                found[name] = _build(name, bundle, target, bundle.network(variant), options)
    return missing.without(found)


def _yardstick(bundle: Bundle, target: Target) -> evaluation.Network | None:
    """Build it with the target's default options, whatever the bundle's; leave it out where it fails."""
    try:
        options = yardstick.options_of(target, _shipped(bundle, target))
        unit = _build(yardstick.NAME, bundle, target, yardstick.file(), options)
        evaluation.runs(target, unit.compiled, yardstick.image())
        return unit
    except TargetError as problem:
        _say(f"{yardstick.NAME}: left out: {problem.within(target.title).message}")
        return None


def _build(name: str, bundle: Bundle, target: Target, network: Path, options: Any) -> evaluation.Network:
    out, again = bundle.folder / BUILT / name, evaluation.REBUILT in name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    began = time.perf_counter()
    # What was timed before would make the second engine the first one's copy: this measures whether they differ.
    notes, warnings = target.compile(network, options, out, None if again else bundle.folder / BUILT)
    _say(f"{name}: built in {time.perf_counter() - began:.1f} s")
    for warning in warnings:
        _say(f"{name}: {target.title} warns: {warning}")
    files = manifest.files_in(out)
    return evaluation.Network(out, manifest.content_digest(files), sum(file.size for file in files) / 1e6, notes)


def _evaluated(
    bundle: Bundle,
    target: Target,
    networks: dict[str, evaluation.Network],
    unit: evaluation.Network | None,
    plan: TimingPlan,
    missing: _Missing,
) -> Measured:
    pixels, outputs = bundle.pixels, bundle.outputs
    answered = {}
    for name, network in networks.items():
        began = time.perf_counter()
        with missing.left_out(name):
            answered[name] = evaluation.answers(
                target, network.compiled, _batches(bundle, network, pixels), outputs=outputs
            )
            _say(f"{name}: {len(pixels)} images answered in {time.perf_counter() - began:.1f} s")
    networks = missing.without(networks)
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
    timed = []
    meter, throughput = energy.meter(on_card=target.on_card), plan.throughput
    _say(f"energy: {f'not measured: {meter}' if isinstance(meter, str) else f'measured by {meter.sensor.name}'}")
    for one in measure.rounds(jobs, processes=plan.processes, seconds=plan.seconds, throughput=throughput, meter=meter):
        timed.append(one)
        _say(f"timed: {len(timed)} of {plan.processes} processes")
    about = bundle.about
    images = evaluation.ImageSet(about.classes, bundle.labels, bundle.expected, about.skipped, about.images, outputs)
    latencies = measure.collected(jobs, timed)
    return evaluation.result(target, about.ships, images, networks, answered, latencies, missing.several())


def _decoded(bundle: Bundle, target: Target, network: evaluation.Network) -> Mapping[str, DecodingDifference | None]:
    """Compare each library's pixels with the host's, and the answers to both; None where the library is not here."""
    files = sorted(path for path in (bundle.folder / SAMPLES).iterdir() if path.suffix in (".jpg", ".png"))
    host = np.load(bundle.folder / SAMPLES / "pixels.npy", allow_pickle=False)
    outputs = bundle.outputs
    found: dict[str, DecodingDifference | None] = {}
    for library in decoding.LIBRARIES:
        found[library] = None
        try:
            pixels = decoding.decoded(library, files, bundle.preprocessing)
        except (AttributeError, ValueError, OSError) as problem:  # what an old or reduced library cannot do
            _say(f"decoding with {library}: not compared: it failed: {first_line(problem)}")
            continue
        if pixels is None:
            _say(f"decoding with {library}: not compared: it is not installed")
            continue
        both = (network.images(each, bundle.preprocessing) for each in (host, pixels))
        one, other = (evaluation.answers(target, network.compiled, [each], outputs=outputs).given for each in both)
        apart = np.abs(pixels.astype(np.int32) - host)
        difference = DecodingDifference(
            len(files), float(apart.mean()), int(apart.max()), outputs.of_task.changed(one, other)
        )
        found[library] = difference
        _say(
            f"decoding with {library}: pixels differ from the host's by {difference.mean_levels:.2f} levels "
            f"on average, {difference.largest_levels} at most; the {outputs.of_task.flipped} "
            f"of {difference.answers_changed} of {len(files)} images change"
        )
    return found


def _batches(bundle: Bundle, network: evaluation.Network, pixels: np.ndarray) -> Iterator[np.ndarray]:
    most = bundle.about.outputs.batch(inference.BATCH)
    for start in range(0, len(pixels), most):
        yield network.images(np.asarray(pixels[start : start + most]), bundle.preprocessing)


def _notes(measured: Measured) -> Iterator[str]:
    """Yield the state of this device, for another power mode gives other numbers; then warnings and advice."""
    about, now = measured.machine, machine.state()
    known = {"board": about.board, "power mode": about.power_mode, "CPU governor": about.cpu.governor}
    clocks: dict[str, float | None] = {"CPU MHz": now.cpu_mhz, "hottest °C": now.temperature_c}
    shown = [f"{name} {value}" for name, value in known.items() if value]
    shown += [f"{name} {value:g}" for name, value in clocks.items() if value]
    for gpu in now.gpus:
        clocks = {"GPU MHz": gpu.sm_mhz, "GPU °C": gpu.temperature_c}
        shown += [f"{name} {value:g}" for name, value in clocks.items() if value]
        shown += [f"throttled by {', '.join(gpu.throttle)}"] if gpu.throttle else []
    yield "conditions: " + (", ".join(shown) or "this device reports no power mode, clocks or temperature")
    yield from map(str, timing_warnings.of(measured.timed()))
    if len(_networks(measured)) > 1:
        yield f"one of {', '.join(_networks(measured))} ships: the host chooses, by the promises"
    elif found := advice.advice(measured):
        yield found.sentence


def _networks(measured: Measured) -> dict[str, Variant]:
    """Return what may ship under its own name: one of several INT8 networks has another one."""
    choice = measured.choice
    others = {name: each.variant for name, each in choice.others.items()} if choice else {}
    return {choice.taken if choice else measured.ships: measured.shipped, **others}


def _report(measured: Measured) -> None:
    named = {name: each for name, each in measured.variants.items() if name != measured.ships} | _networks(measured)
    longest = max(5, *map(len, named))
    for name, variant in named.items():
        counts, times = variant.accuracy, variant.latency.host if variant.latency else None
        score = f"{counts.name.short} {counts.score_pct:.2f} %, " if counts.has_labels else ""
        shown = f", p50 {times.p50:.3f} ms, p99 {times.p99:.3f} ms" if times else ""
        shown += _more(variant.latency) if variant.latency else ""
        shown += " (emulated)" if variant.latency and variant.latency.is_emulated else ""
        print(f"{name:{longest}} {score}{counts.agreeing} those of FP32 on the host{shown}")
    for sentence in _notes(measured):
        print(sentence)


def _more(latency: Latency) -> str:
    """Return energy and throughput, where they were measured."""
    power, rate = latency.energy, latency.rate
    found = "" if isinstance(power, str) else f", {power.mj:.3g} mJ, {power.watts:.3g} W"
    return found if isinstance(rate, str) else f"{found}, {rate.images_per_s:,.0f} images/s ({rate.setting})"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
