"""What a weights file says of itself, beside its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..images import Samples
from ..models import checkpoint, shapes
from ..store import Parent


def of(spec: Mapping[str, Any], samples: Samples, before: Parent | None) -> dict[str, str]:
    """What weights say of themselves, beside their tensors; of what was cut, what those `before` said."""
    told = {key: str(spec[key]) for key in ("arch", "classes", "channels")}
    said = shapes.metadata(Path(checkpoint.of(before))) if before else {}
    return {
        **told,
        **{key: said[key] for key in ("pruned",) if key in said},
        "preprocessing": json.dumps(samples.preprocessing.to_json()),
        "labels": json.dumps(samples.classes),
    }
