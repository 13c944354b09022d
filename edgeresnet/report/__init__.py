"""Stored results → something a person or a program reads. Never measures, never judges, reads nothing but the run.

HTML alone also looks at what still lies beside it: its images, and other runs of its model. A format is loaded when it
is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import bench_text as bench_text
    from . import compare_text as compare_text
    from . import compared as compared
    from . import diagnose_text as diagnose_text
    from . import gate_text as gate_text
    from . import html as html
    from . import inspect_text as inspect_text
    from . import pruned as pruned
    from . import quantized as quantized
    from . import terminal as terminal
    from . import trained as trained
    from . import view as view

Render = Callable[[Mapping[str, Any]], str]
_MODULES = {"terminal": "terminal", "md": "markdown", "json": "json_report", "html": "html", "junit": "junit"}


class _Formats(Mapping[str, Render]):
    def __getitem__(self, name: str) -> Render:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}").render

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


FORMATS: Mapping[str, Render] = _Formats()


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as problem:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from problem
