"""A bundle without a network: its deploy.py does what a test wants, as fast as a script can."""

from __future__ import annotations

import textwrap
from pathlib import Path

from edgeresnet.portable import manifest

# Writes a result, after the steps that a test wants. Each start leaves a line in `starts`.
DEPLOY = """
import json, os, pathlib, sys, time
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
with open(os.environ.get("STARTS", os.devnull), "a") as file:
    file.write(f"{os.getpid()}\\n")
print("bundle: complete", file=sys.stderr, flush=True)
STEPS
output.write_text(json.dumps({"measured": sys.argv[1:], "clock": time.time()}))
"""


def made(folder: Path, steps: str = "", **files: bytes) -> Path:
    """Write a bundle whose deploy.py runs these steps between its first line and its result."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deploy.py").write_text(DEPLOY.replace("STEPS", textwrap.dedent(steps)))
    (folder / "data.bin").write_bytes(b"x" * 3_000_000)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest.write(folder, format=2)
    return folder


COUNTING = """
for number in range(1, 6):
    time.sleep({pause})
    print(f"timed: {{number}} of 5 processes", file=sys.stderr, flush=True)
"""
