"""The run as one JSON document: for programs."""

from __future__ import annotations

import json

from ..portable import codec
from ..text import in_json


def render(document: object) -> str:
    """Return a run, or another document of dataclasses, as it is stored."""
    return in_json(json.dumps(codec.encode(document), indent=1, ensure_ascii=False, allow_nan=False)) + "\n"
