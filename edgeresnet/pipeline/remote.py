"""Devices of a run: bundles measured over SSH, on several devices at once, and what comes back judged like any result.

Each device has a thread, which does its bundles one after the other. All that a person sees, and every outcome, passes
through the thread of the run.
"""

from __future__ import annotations

import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ..devices import measuring, ssh
from ..devices.book import Device
from ..devices.looking import SKEW_S, span
from ..devices.measuring import Order, Source
from ..errors import ArtifactError, TargetError
from ..notes import ExportNotes, VerifyNotes
from ..portable import documents, manifest
from ..portable.result import RunWarning
from ..portable.timing_warnings import MODE_CHANGED
from ..recipe import Recipe
from ..stages.export import contents, fits
from ..stages.export.contents import Bundle, DeviceResult
from ..stages.export.write import FOLDER
from ..stages.specs import DeviceSpec
from ..store import Artifact, Store, write_text
from . import lookup
from .collecting import stored_result
from .step import Outcome, Step

_RESULT = "result.json"


@dataclass(frozen=True)
class _Known:
    """Which device a name led to when it first measured into a store."""

    identity: str


@dataclass(frozen=True)
class Errand:
    """One bundle for one device. `again`: the digest of the result that is measured again; empty: none is."""

    step: Step
    bundle: Artifact
    again: str

    @property
    def spec(self) -> DeviceSpec:
        assert isinstance(self.step.spec, DeviceSpec)
        return self.step.spec


@dataclass(frozen=True)
class Shown:
    """What a run's listener is given: a count, a line of output, or a sentence that a person should see."""

    count: Callable[[Step, int, int, str], None]
    sentence: Callable[[Step, str, bool], None]  # True: a detail


Event: TypeAlias = tuple[str, Step, tuple[object, ...]]
Events: TypeAlias = "queue.Queue[Event | Future[None]]"  # a thread's end is an event, too


@dataclass
class Devices:
    """The devices that a recipe names, and what waits for them. One that stayed away once is not tried again."""

    known: Mapping[str, Device]
    store: Store
    errands: list[Errand] = field(default_factory=list)
    away: dict[Device, measuring.Away] = field(default_factory=dict)

    def takes(self, step: Step) -> bool:
        """Return whether a step is for one of these devices."""
        return isinstance(step.spec, DeviceSpec) and step.spec.device in self.known

    def is_of(self, step: Step, artifact: Artifact) -> bool:
        """Return whether a stored result was measured on the device that the step's name leads to now."""
        if not isinstance(step.spec, DeviceSpec) or not isinstance(artifact.notes, VerifyNotes):
            return True
        known = self._identity(step.spec.device) if step.spec.device in self.known else ""
        return not known or artifact.notes.identity in (None, known)

    def wait(self, step: Step, bundle: Artifact, again: str) -> Outcome:
        """Note what a device is to do when all else is done: nothing must disturb what is timed on this machine."""
        self.errands.append(Errand(step, bundle, again))
        return Outcome(step, "todo", reason="the run ended before its device measured", hint="run it again")

    def measure(self, shown: Shown) -> Iterator[Outcome]:
        """Yield the outcome of each errand as it comes. Ctrl-C asks the devices to stop."""
        events: Events = queue.Queue()
        stopping = threading.Event()
        by_device: dict[str, list[Errand]] = {}
        for errand in self.errands:
            by_device.setdefault(errand.spec.device, []).append(errand)
        with ThreadPoolExecutor(max_workers=max(len(by_device), 1)) as pool:
            working = {pool.submit(self._work, each, events, stopping) for each in by_device.values()}
            for each in working:
                each.add_done_callback(events.put)
            try:
                yield from _outcomes(events, working, shown)
            except KeyboardInterrupt:
                stopping.set()
                shown.sentence(self.errands[0].step, f"asking {', '.join(by_device)} to stop", False)
                list(_outcomes(events, working, shown, ends=True))
                raise
            finally:
                stopping.set()

    def _work(self, errands: Sequence[Errand], events: Events, stopping: threading.Event) -> None:
        """Run the errands of one device, over one connection as long as it does not drop."""
        name = errands[0].spec.device
        with ssh.Line(name, self.known[name]) as line:
            for errand in errands:
                try:
                    ended = self._measured(errand, _Watcher(errand.step, events), stopping, line)
                except TargetError as problem:
                    ended = Outcome(errand.step, "failed", reason=problem.message, hint=problem.hint)
                except measuring.Stopped:
                    return
                events.put(("ended", errand.step, (ended,)))

    def _measured(self, errand: Errand, watcher: _Watcher, stopping: threading.Event, line: ssh.Line) -> Outcome:
        """Return the outcome of an errand; raise TargetError, at once where its device stayed away before."""
        device, began = self.known[errand.spec.device], time.perf_counter()
        if device in self.away:
            raise self.away[device]
        try:
            artifact, warnings = measuring.measure(self._order(errand), watcher, stopping, line)
        except measuring.Away as problem:
            self.away[device] = problem
            raise
        return Outcome(errand.step, "made", artifact, seconds=time.perf_counter() - began, warnings=warnings)

    def _order(self, errand: Errand) -> Order[tuple[Artifact, list[RunWarning]]]:
        name, key = errand.spec.device, errand.step.key({"bundle": errand.bundle.digest})
        job = f"{key[:16]}-{manifest.digest_of([socket.gethostname(), str(self.store.root.absolute())])[:8]}"
        job += f"-{errand.again[:8]}" if errand.again else ""  # found again by a run after one that was killed
        return Order(
            name,
            self.known[name],
            errand.spec.target,
            errand.bundle.path / FOLDER,
            job,
            lambda data, source: self._accepted(errand, data, source),
            self._identity(name),
        )

    def _accepted(self, errand: Errand, data: bytes, source: Source) -> tuple[Artifact, list[RunWarning]]:
        """Store a result that fits its bundle; raise ArtifactError for one that does not."""
        found, ahead_s = _opened(data, source)
        notes, name = errand.bundle.notes, errand.spec.device
        if not isinstance(notes, ExportNotes) or found.bundle != notes.bundle:
            hint = "run it again"
            raise ArtifactError("the result", f"is of bundle {found.bundle[:12]}, and not of this one", hint=hint)
        fits.check_fit(found.result, Bundle.open(errand.bundle.path / FOLDER), errand.spec.target)
        warnings = list(_warnings(name, ahead_s, source.changed))
        assert source.seen.facts is not None
        images, identity = found.result.count, source.seen.facts.identity
        own = VerifyNotes(images, origin=name, measured=found.measured, identity=identity)
        result = replace(found.result, target=errand.step.id.target)
        artifact = stored_result(result, errand.bundle, errand.step, own, self.store, warnings)
        if identity:
            write_text(self._path(name), f'{{"identity": "{identity}"}}\n')
        return artifact, warnings

    def _path(self, name: str) -> Path:
        return self.store.root / "devices" / f"{name}.json"

    def _identity(self, name: str) -> str:
        """Return the identity that a device must have; empty where any will do."""
        stored = documents.stored_json(self._path(name), _Known)
        return self.known[name].id or (stored.identity if stored else "")


def _opened(data: bytes, source: Source) -> tuple[DeviceResult, float]:
    """Return a device's result by this machine's clock, and by how much the device's was ahead: 0 for a little."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _RESULT
        path.write_bytes(data)
        try:
            document = contents.unsealed(path)
            ahead_s = _ahead_s(document.get("measured"), source)
            return contents.decoded(contents.earlier(document, ahead_s), path), ahead_s
        except ArtifactError as problem:  # its path is of no use to a person
            raise ArtifactError("the result", problem.problem, hint=problem.hint) from problem


def _ahead_s(measured: object, source: Source) -> float:
    ahead_s = source.seen.skew_s
    if source.age_s is not None and isinstance(measured, float):
        ahead_s = measured - (time.time() - source.age_s)
    return ahead_s if abs(ahead_s) > SKEW_S else 0.0


def _warnings(name: str, ahead_s: float, changed: str) -> Iterator[RunWarning]:
    """Yield what was odd about a device while it measured: its clock, or what a person changed there."""
    if ahead_s:
        words = f"its clock was {span(abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}"
        yield RunWarning("clock", f"{words}: the time of the measurement is corrected", name)
    if changed:
        words = f"{changed} while it was measured: its times may belong to neither"
        yield RunWarning(MODE_CHANGED, f"{words}; `--again verify` measures again", name)


@dataclass(frozen=True)
class _Watcher:
    """Carries what happens on a device to the thread of the run."""

    step: Step
    events: Events

    def progress(self, done: int, total: int, word: str) -> None:
        self.events.put(("count", self.step, (done, total, word)))

    def line(self, text: str) -> None:
        self.events.put(("sentence", self.step, (text, True)))

    def remark(self, sentence: str) -> None:
        self.events.put(("sentence", self.step, (sentence, False)))


def _outcomes(events: Events, working: set[Future[None]], shown: Shown, *, ends: bool = False) -> Iterator[Outcome]:
    """Yield outcomes until all threads have ended, and show the rest. `ends`: what a thread raised does not matter."""
    while working:
        event = events.get()
        if isinstance(event, Future):
            working.discard(event)
            if not ends:
                event.result()  # raises what is not one device's failure: this machine's disk is full
            continue
        kind, step, words = event
        if kind == "ended":
            (outcome,) = words
            assert isinstance(outcome, Outcome)
            yield outcome
        elif kind == "count":
            shown.count(step, *words)  # type: ignore[arg-type]
        else:
            shown.sentence(step, *words)  # type: ignore[arg-type]


def of_recipe(recipe: Recipe, store: Store, known: Mapping[str, Device] | None) -> Devices:
    """Return the devices that a recipe names; refuse unknown ones before anything runs. None: those of the folder."""
    if not recipe.devices():
        return Devices({}, store)
    return Devices(lookup.found_for(recipe, Path())[1] if known is None else lookup.checked(recipe, known), store)
