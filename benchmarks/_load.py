"""Something else that keeps a core busy during a measurement."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_CODE = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # it must not outlive this program


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep one core busy."""
    process = subprocess.Popen([sys.executable, "-c", _CODE])
    try:
        yield
    finally:
        process.kill()
        process.wait()
