"""A step (one stage with what it reads), its key, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import targets
from ..portable import machine, manifest
from ..stages.table import Stage
from ..store import FORMAT, Artifact, Given


@dataclass(frozen=True)
class Step:
    """One stage with what it reads: other steps by id, or what the user gave."""

    id: str
    stage: Stage
    spec: Mapping[str, Any]
    parents: Mapping[str, str | Given]
    # Whose failure it is: a target's leaves the other targets running, that of None ends the run.
    target: str | None = None
    # Parents without which it goes on: a twin that cannot be made is left out, and told.
    optional: frozenset[str] = frozenset()
    # Sentences about what the user gave, reported when the step is made. They are no part of its key.
    warnings: tuple[str, ...] = ()

    def runs_on(self) -> tuple[str, ...]:
        """The targets that must be here for this step to be made."""
        return (self.spec["target"],) if self.spec.get("target") else tuple(self.spec.get("timed", ()))

    def versions(self) -> dict[str, str]:
        """Of every library that had a part in what this step writes."""
        found = machine.versions(*self.stage.libraries)
        for target in map(targets.get, self.runs_on()):
            # pip knows all but what an archive or JetPack brought: that is asked itself
            found |= machine.versions(*target.libraries) or dict(target.available().versions)
        return found

    def machine(self) -> dict[str, Any] | None:
        return getattr(machine, self.stage.machine)() if self.stage.machine else None

    def key(self, digests: Mapping[str, str]) -> str:
        return manifest.digest_of(
            {
                "format": FORMAT,
                "stage": self.stage.name,
                "version": self.stage.version,
                "spec": self.spec,
                "parents": digests,
                "libraries": self.versions(),
                "machine": self.machine(),
            }
        )


@dataclass
class Outcome:
    """What became of a step: `done` before, `made` now, `failed`, `skipped` for a failed parent, `deferred` to a
    device; `todo` in a plan.
    """

    step: Step
    state: str
    artifact: Artifact | None = None
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
