"""Stored results → something a person or a program reads. Never measures, never judges, reads nothing but the run.

HTML alone also reads what the store still has: its images, and other runs of its model. A format is loaded on its
first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runs import Run
    from . import bench_text as bench_text
    from . import compare_text as compare_text
    from . import compared as compared
    from . import diagnose_text as diagnose_text
    from . import gate_text as gate_text
    from . import html as html
    from . import inspect_text as inspect_text
    from . import lines as lines
    from . import noise_text as noise_text
    from . import notes_text as notes_text
    from . import prune_text as prune_text
    from . import quantize_text as quantize_text
    from . import summary as summary
    from . import sweep_text as sweep_text
    from . import tables as tables
    from . import terminal as terminal
    from . import train_text as train_text

    Render = Callable[[Run], str]

_MODULES = {"terminal": "terminal", "md": "markdown", "json": "json_report", "html": "html", "junit": "junit"}


class _Formats(Mapping[str, "Render"]):
    def __getitem__(self, name: str) -> Render:
        render: Render = importlib.import_module(f"{__name__}.{_MODULES[name]}").render
        return render

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


FORMATS: Mapping[str, Render] = _Formats()


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as problem:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from problem
