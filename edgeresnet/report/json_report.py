"""The run as one JSON document: for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..text import in_json


def render(run: Mapping[str, Any]) -> str:
    return in_json(json.dumps(run, indent=1, ensure_ascii=False)) + "\n"
