"""What mmpretrain's checkpoints say of their networks: the text of the configuration lies next to the weights.

Its tensors are torchvision's under `backbone.`, with `head.fc`. Their names show stem and averaged shortcuts. Where a
bottleneck has its stride is the `style` of the backbone: "pytorch", the default, or "caffe".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import hub
from .hub import Convention

LIBRARY = "mmpretrain"
_TEXTS = ("cfg", "config")  # of mmengine; of mmcv before it
_LONGEST = 1 << 20  # characters
_STYLE = re.compile(r"\bstyle\s*=\s*['\"](caffe|pytorch)['\"]")
_RESNET = re.compile(r"\btype\s*=\s*['\"](?:SE|Wide)?ResNe[Xx]?t\w*['\"]")


def convention_of(held: Any) -> Convention | None:
    """Return where the strides are, as the configuration in a checkpoint says it; None where it has none."""
    about = held.get("meta") if isinstance(held, Mapping) else None
    texts = [about.get(key) for key in _TEXTS] if isinstance(about, Mapping) else []
    text = next((each for each in texts if isinstance(each, str)), "")[:_LONGEST]
    if not _RESNET.search(text):
        return None
    styles = set(_STYLE.findall(text))
    if len(styles) > 1:  # of two backbones
        return None
    return Convention(LIBRARY, stride=hub.V1 if styles == {"caffe"} else hub.V15)
