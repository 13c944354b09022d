"""One step, found in the store or made: what a run does with each of its steps, and a worker with the one it gets."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .. import targets
from ..context import Context, Progress, Workers
from ..errors import TargetError, closed, machine_error
from ..images import Samples
from ..portable.result import RunWarning
from ..stages.export.write import FOLDER
from ..stages.specs import DeviceInputs
from ..stages.table import ON_DEVICE
from ..store import Artifact, Making, Parent, Store
from . import remote
from .listener import Listener
from .measuring import Measuring
from .network import GIVEN_WEIGHTS
from .planner import samples_of
from .step import Outcome, Step


def look_at(sets: Mapping[str, Samples], progress: Progress) -> None:
    """Decode every image once, with its labels, and keep none in memory."""
    for slot, samples in sets.items():
        done = 0
        for batch in samples.batches(64):
            samples.check_labels(batch.indices.tolist())
            done += len(batch.indices)
            progress(done, len(samples), f"{slot} images")


def digests_of(parents: Mapping[str, Parent]) -> dict[str, str]:
    """Return the digests of a step's parents, by their names in its key."""
    return {name: parent.digest for name, parent in parents.items()}


@dataclass
class Maker:
    """Finds and makes steps in a store."""

    store: Store
    listener: Listener
    devices: remote.Devices | None = None
    workers: Workers | None = None
    repeated: set[str] = field(default_factory=set)  # keys of what was made again

    def outcome(
        self, step: Step, parents: Mapping[str, Parent], *, again: bool = False, steps: Sequence[Step] = ()
    ) -> Outcome:
        """Find a step or make it; `again`: even if it is there. Images of all `steps` of the run must be readable."""
        key = step.key(digests_of(parents))
        again = again and key not in self.repeated  # two rounds may need the same
        self.repeated |= {key} if again else set()
        artifact, problem = self.store.find(step.stage.name, key)
        if artifact and not again and (self.devices is None or self.devices.is_of(step, artifact)):
            self.store.tidy(step.stage.name, key)
            return _found(step, artifact)
        if step.stage is ON_DEVICE:
            bundle = DeviceInputs.from_parents(parents).bundle
            is_reached = self.devices is not None and self.devices.takes(step)
            before = artifact.digest if again and artifact else ""
            return self.devices.wait(step, bundle, before) if self.devices and is_reached else _deferred(step, bundle)
        if step.stage.long and artifact is None:  # an unreadable file must not end a training after hours
            look_at(samples_of(steps or [step]), self.listener.begins(step))
        warnings = [RunWarning("made-again", f"{problem}: edgeresnet makes it again")] if problem else []
        for warning in warnings:
            self.listener.warns(str(warning))
        absent = _absent(step)
        if absent:
            return _failed(step, absent)
        try:
            with self.store.making(step.stage.name, key, lambda: self.listener.waits(step)) as making:
                made = _made_meanwhile(step, making, artifact) or self._make(step, making, parents, again)
                made.warnings = [*warnings, *made.warnings]
                return made
        except TargetError as failure:
            sole = step.spec.sole_target
            if step.target is None and sole:
                raise failure.within(targets.get(sole).title) from failure
            return _failed(step, failure)
        except (OSError, MemoryError) as caught:
            raise machine_error(caught) or closed(caught) or caught from caught

    def _make(self, step: Step, making: Making, parents: Mapping[str, Parent], again: bool) -> Outcome:
        if again:  # from the start, not from where an interrupted attempt was
            making.clear_scratch()
        began = time.perf_counter()
        record = functools.partial(self.listener.records, step)
        ctx = Context(step.spec.seed, making.scratch, self.listener.begins(step), record, making.store.cache)
        ctx.workers, ctx.shared = self.workers, self.store.shared
        if step.spec.timed:
            ctx.measure = Measuring(step.spec.timed, ctx)
        notes = step.stage.run(parents, step.spec, making.out, ctx)
        seconds = time.perf_counter() - began
        origin = step.origin(digests_of(parents))
        artifact = making.commit(notes, origin, seconds=round(seconds, 3), warnings=ctx.warnings)
        return Outcome(step, "made", artifact, seconds=seconds, warnings=[*step.warnings, *ctx.warnings])


def _deferred(step: Step, bundle: Artifact) -> Outcome:
    folder = bundle.path / FOLDER
    hint = f"copy {folder} to the device, run deploy.py in it, then run `edgeresnet collect result.json` here"
    return Outcome(step, "deferred", reason="the device must measure its bundle", hint=hint)


def _made_meanwhile(step: Step, making: Making, before: Artifact | None) -> Outcome | None:
    """Return what another run made while this one waited for it."""
    artifact, _ = making.store.find(making.stage, making.key)
    is_new = artifact is not None and (before is None or artifact.digest != before.digest)
    return _found(step, artifact) if artifact is not None and is_new else None


def _found(step: Step, artifact: Artifact) -> Outcome:
    """Return an artifact of the store as the outcome of a step.

    Warnings about the given weights are those of this recipe: an older store kept those of the recipe that made it.
    """
    stored = [each for each in artifact.manifest.warnings if each.code != GIVEN_WEIGHTS]
    return Outcome(step, "done", artifact, warnings=[*step.warnings, *stored])


def _absent(step: Step) -> TargetError | None:
    """Return why a target that the step needs does not work here."""
    for target in map(targets.get, step.spec.targets):
        found = target.available(getattr(step.spec, "options", None))
        if not (found.ok or (found.builds and step.stage.only_builds)):
            absent = TargetError(target.title, f"is not available: {found.reason}", hint=found.hint)
            section = step.spec.section
            return absent.within(f"{section}.{target.name}") if section else absent
    return None


def _failed(step: Step, failure: TargetError) -> Outcome:
    """Record a target's failure, which leaves the other targets running; raise any other, which ends the run."""
    if step.target is None:
        raise failure
    return Outcome(step, "failed", reason=failure.message, hint=failure.hint)
