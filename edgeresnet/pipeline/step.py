"""A step (one stage with what it reads), its key, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .. import targets
from ..portable import codec, machine, manifest
from ..portable.result import RunWarning
from ..runs import State, StepId
from ..stages import specs
from ..stages.table import Stage
from ..store import KEY_FORMAT, Artifact, Given, Origin

Parent = StepId | Given[object]
Parents = dict[str, Parent]


@dataclass(frozen=True)
class Step:
    """One stage with what it reads: other steps, or what the user gave."""

    id: StepId
    stage: Stage
    spec: specs.Spec
    parents: Mapping[str, Parent]
    # Whose failure it is: a target's leaves the other targets running, that of None ends the run.
    target: str | None = None
    # Parents that may be missing: a half-precision variant that cannot be made is left out, and reported.
    optional: frozenset[str] = frozenset()
    # The step whose result decides which network this one builds: its key is not known before.
    after: StepId | None = None
    # About what this recipe gives, reported with the step. Neither its key nor its artifact has them.
    warnings: tuple[RunWarning, ...] = ()

    @property
    def before(self) -> list[StepId]:
        """The steps that must be done before it."""
        found = [parent for parent in self.parents.values() if isinstance(parent, StepId)]
        return [self.after, *found] if self.after else found

    def origin(self, digests: Mapping[str, str]) -> Origin:
        """Return what the step's artifact is made from, with parents of these digests."""
        known = {"fingerprint": machine.fingerprint, "conditions": machine.conditions}
        here = known[self.stage.machine]() if self.stage.machine else None
        return Origin(self.stage.version, self.spec.to_json(), digests, self._versions(), codec.encode(here))

    def key(self, digests: Mapping[str, str]) -> str:
        """Return the key of the step's artifact, with parents of these digests."""
        origin = self.origin(digests)
        return manifest.digest_of(
            {
                "format": KEY_FORMAT,
                "stage": self.stage.name,
                "version": origin.stage_version,
                "spec": origin.spec,
                "parents": origin.parents,
                "libraries": origin.libraries,
                "machine": origin.machine,
            }
        )

    def _versions(self) -> dict[str, str]:
        """Return the version of every library that has a part in what this step writes."""
        found = machine.versions(*self.stage.libraries)
        for target in map(targets.get, self.spec.targets):
            # pip knows all but what an archive or JetPack brought: the target itself knows that
            found |= machine.versions(*target.libraries) or dict(target.available().versions)
        return found


@dataclass
class Outcome:
    """What became of a step.

    It was `done` before, is `made` now, `failed`, is `skipped` for a failed parent, is `deferred` to a device, or is
    `todo` in a preview.
    """

    step: Step
    state: State
    artifact: Artifact | None = None
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    warnings: list[RunWarning] = field(default_factory=list)
