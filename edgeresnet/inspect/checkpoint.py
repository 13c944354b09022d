"""Which network a checkpoint holds, by names and shapes of its tensors, and how its publisher prepares images.

Loads no weights, and torch only for a published file's record.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..models import conventions, hub, plans, recognise, records, shapes, unwrap
from ..models import names as architectures
from ..models.hub import Labels
from ..models.recognised import Recognised
from ..models.records import Record
from ..portable.frozen import OMIT

_FIRST_NAMES = 5


@dataclass(frozen=True)
class CheckpointReport:
    """A checkpoint: which network its tensors belong to, and its publisher's record."""

    file: str
    tensors: int
    parameters: int
    kinds: Mapping[str, int]
    recognised: Recognised | None
    named: str = field(metadata={"key": "says"})  # the architecture that the file names itself
    average: bool  # it holds an average of its weights, too
    record: Record | None
    doubt: str  # why a file with a published file's name is not that file
    missing_library: str
    first: tuple[str, ...]  # names of tensors
    labels: Labels | None = field(default=None, metadata=OMIT)  # class names that lie next to the weights


def inspect_checkpoint(path: Path) -> CheckpointReport:
    """Inspect a checkpoint by its tensors' names and shapes, and its publisher's record."""
    contents = shapes.look(path)
    weights = contents.networks[unwrap.MODEL]
    found = conventions.decided(recognise.recognise(weights, contents.arch), contents.convention)
    labels = hub.labels_of(path)
    return CheckpointReport(
        file=str(path),
        tensors=len(weights),
        parameters=sum(math.prod(each.shape) for each in weights.values()),
        kinds=dict(Counter(each.kind for each in weights.values())),
        recognised=found,
        named=contents.arch,
        average=unwrap.AVERAGE in contents.networks,
        record=records.of(path, found.archs if found else ()),
        doubt=records.doubt(path),
        missing_library=architectures.missing_library(found.archs[0]) if found and found.archs else "",
        first=tuple(name for name in weights if not name.endswith(plans.COUNTER))[:_FIRST_NAMES],
        labels=hub.fitting(labels, found.classes if found else 0) if labels else None,
    )
