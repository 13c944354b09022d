"""Something else that keeps a core busy while one measures."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_CODE = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # it must not outlive this program


@contextlib.contextmanager
def busy() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _CODE])
    try:
        yield
    finally:
        process.kill()
        process.wait()
