"""Print the lowest versions that pyproject.toml allows, as requirements for pip. `make test-lowest` installs them.

Reads `dependencies` and the extra `dev`, and needs nothing but Python and the pip that comes with it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def lowest(project: dict[str, Any]) -> list[str]:
    """Return each requirement at its lower bound: `torch>=2.11; m` becomes `torch==2.11; m`."""
    pinned = []
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        found = re.fullmatch(r"([\w.\[\]-]+)>=([\w.]+)(;.*)?", requirement)
        if not found:
            raise SystemExit(f"pyproject.toml: {requirement!r} is not NAME>=VERSION: give it a lower bound")
        pinned.append(f"{found[1]}=={found[2]}{found[3] or ''}")
    return pinned


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"])))
