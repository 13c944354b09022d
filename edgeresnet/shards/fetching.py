"""The artifact that a worker needs, on the worker's machine: where it was made, or pulled from a shared store."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from ..errors import MachineError
from ..portable.frozen import dataclass
from ..store import Artifact, Shared, Store, manifest_in


@dataclass(frozen=True)
class Source:
    """Where a worker finds an artifact."""

    path: Path
    stage: str
    key: str
    digest: str
    shared: Shared | None
    sender: str  # the machine that has it

    @staticmethod
    def of(artifact: Artifact, shared: Shared | None) -> Source:
        """Return where workers find an artifact, which the shared store then has."""
        if shared is not None:
            shared.offer(artifact.path, artifact.stage, artifact.key, replace=True)
        return Source(artifact.path, artifact.stage, artifact.key, artifact.digest, shared, platform.node())

    def fetched(self) -> Path:
        """Return the folder of the artifact on this machine; refuse one with other bytes."""
        record = manifest_in(self.path)
        if record is not None and record.digest == self.digest:
            return self.path
        worker, hint = f"the worker on {platform.node()}", "start all nodes with the same `--shared`"
        if self.shared is None:
            hint = (
                "give a shared store, `--shared s3://bucket/folder`, or keep the store on a disk that all nodes mount"
            )
            raise MachineError(worker, f"does not see {self.path}, which {self.sender} has", hint=hint)
        self.shared.refuse_another(self.sender)
        store = Store.open(cache())
        found, problem = Store(store.root, self.shared).find(self.stage, self.key)
        if found is None or found.digest != self.digest:
            why = problem or ("it has other bytes" if found else "it is not there")
            raise MachineError(worker, f"cannot take {self.stage} from {self.shared.url}: {why}", hint=hint)
        return found.path


def cache() -> Path:
    """Return the store in which a worker keeps what it pulled: a node's own EDGERESNET_STORE, if it has one."""
    usual = os.path.join(os.path.expanduser("~"), ".cache", "edgeresnet", "pulled")
    return Path(os.environ.get("EDGERESNET_STORE") or usual)
