"""Write docs/reference/ and docs/llms.txt from the code, or check that they are what the code makes: `--check`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from pages import commands, exit_codes, files, llms, python_api, recipe

ROOT = Path(__file__).parents[1]
# In this order: llms.txt quotes the first sentence of each page.
PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/commands.md": commands.page_of_commands,
    "docs/reference/recipe.md": recipe.page_of_recipe,
    "docs/reference/targets.md": recipe.page_of_targets,
    "docs/reference/exit-codes.md": exit_codes.page_of_exit_codes,
    "docs/reference/files.md": files.page_of_files,
    "docs/reference/python.md": python_api.page_of_python,
    "docs/llms.txt": llms.text,
}


def stale() -> dict[str, str]:
    """Return the first lines of the difference of each page that is not what the code makes."""
    found = {}
    for name, make in PAGES.items():
        path, wanted = ROOT / name, make()
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        if written != wanted:
            lines = difflib.unified_diff(written.splitlines(), wanted.splitlines(), "written", "made", lineterm="", n=0)
            found[name] = "\n".join(list(lines)[:12])
    return found


def main() -> None:
    """Write the pages, or check them."""
    if sys.argv[1:] == ["--check"]:
        found = stale()
        for name, difference in found.items():
            print(f"{name} is stale: run `make docs`\n{difference}\n")
        sys.exit(bool(found))
    for name, make in PAGES.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
