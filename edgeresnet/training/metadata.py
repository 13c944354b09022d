"""What a weights file holds next to its tensors: which network it is, and what its pixels and classes are."""

from __future__ import annotations

import json
from pathlib import Path

from ..images import Samples
from ..models import NetworkSpec, checkpoint, shapes
from ..store import Parent


def of(network: NetworkSpec, samples: Samples, before: Parent | None) -> dict[str, str]:
    """Return the metadata of trained weights. What was pruned is copied from the weights `before`."""
    earlier = shapes.metadata(Path(checkpoint.of(before))) if before else {}
    return {
        "arch": str(network.arch),
        "classes": str(network.classes),
        "channels": str(network.channels),
        **{key: earlier[key] for key in ("pruned",) if key in earlier},
        "preprocessing": json.dumps(samples.preprocessing.to_json()),
        "labels": json.dumps(samples.classes),
    }
