"""Which files a factory in user code is made of, found without running any of them.

A factory is named by its module, `my.module:make`, or by its file, `path/model.py:make`. Its imports are followed as
far as they lead to the user's own files.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from .. import recipe

_of_files: dict[str, ModuleType] = {}
_INSTALLED = ("site-packages", "dist-packages")
_MAKES_NAMES = re.compile(r"import\s*\(?\s*\*|\bglobals\(|\b__getattr__\b|\bsetattr\(")  # that its text need not hold


class Place(NamedTuple):
    """Where a factory's module is, and how Python imports it."""

    name: str  # of the module
    file: Path
    roots: tuple[Path, ...]  # folders that its imports begin in, the first one first
    by_file: bool  # it was named by its file


def files_of(arch: str) -> list[Path]:
    """Return the files behind a factory in user code: its own, what that imports from user code, and what these do."""
    factory = recipe.module_of_factory(arch)
    place = place_of(factory[0]) if factory else None
    return files_of_place(place) if place else []


def files_of_place(place: Place) -> list[Path]:
    """Return the files behind a module in user code."""
    found, waiting = [place.file], [place.file]
    while waiting:
        for path in _imported(waiting.pop(), place):
            if path not in found:
                found.append(path)
                waiting.append(path)
    return sorted(found)


def place_of(module: str) -> Place | None:
    """Find a module by its name or its file; return None where there is none."""
    if module.endswith(".py"):
        file = Path(os.path.abspath(os.path.expanduser(module)))
        return _place_of_file(file) if file.is_file() else None
    forget_files()
    look_here()
    found = recipe.file_of_module(module)
    if found is None:
        return None
    levels = module.count(".") + (found.name == "__init__.py")
    root = found.parents[min(levels, len(found.parents) - 1)]
    return Place(module, found, tuple(dict.fromkeys((Path.cwd(), root))), by_file=False)


def _place_of_file(file: Path) -> Place:
    """Return how a file is imported: alone, or as part of a package where it has relative imports."""
    level = max((node.level for node in _nodes(file) if isinstance(node, ast.ImportFrom)), default=0)
    if not level or level >= len(file.parents):
        name = re.sub(r"\W", "_", file.stem) + "_" * (file.stem in sys.builtin_module_names)
        return Place(name, file, tuple(dict.fromkeys((file.parent, Path.cwd()))), by_file=True)
    package = file.parents[level - 1]
    while (package.parent / "__init__.py").is_file():
        package = package.parent
    name = ".".join(file.relative_to(package.parent).with_suffix("").parts)
    return Place(name, file, tuple(dict.fromkeys((package.parent, file.parent, Path.cwd()))), by_file=True)


def look_here() -> None:
    """Let Python find modules in the current folder: a console script does not, and a user's module lies there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def remember(loaded: Mapping[str, ModuleType]) -> None:
    """Record modules that a factory named by its file loaded: their names mean nothing outside its folder."""
    _of_files.update(loaded)


def forget_files() -> None:
    """Let Python forget these modules, so that another network finds its own of the same names."""
    for name, module in _of_files.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _of_files.clear()


def lacks(place: Place, name: str) -> bool:
    """Return whether a module surely has no such name, by its text."""
    text = _text(place.file)
    return re.search(rf"\b{name}\b", text) is None and _MAKES_NAMES.search(text) is None


def names_in(file: Path) -> list[str]:
    """List the functions and classes of a file that may be factories."""
    try:
        body = ast.parse(_text(file)).body
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [
        node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _nodes(file: Path) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):  # reported when it is imported for real
        return []


def _imported(file: Path, place: Place) -> Iterator[Path]:
    """Yield the user's files that a file imports."""
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _absolute(alias.name, place)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for name in _with_members(node.module or "", node):
                yield from _absolute(name, place)
        elif isinstance(node, ast.ImportFrom) and node.level <= len(file.parents) and not _is_installed(file):
            for name in _with_members(node.module or "", node):
                yield from _in_folder(name, file.parents[node.level - 1])


def _with_members(module: str, node: ast.ImportFrom) -> Iterator[str]:
    """Yield a module and what is imported from it, which may be modules too."""
    yield module
    yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _absolute(name: str, place: Place) -> Iterator[Path]:
    """Yield the file of a module, from the first folder that has it."""
    for root in place.roots:
        if _is_users(name, root, place.name) and (found := list(_in_folder(name, root))):
            yield from found
            return


def _is_users(name: str, root: Path, module: str) -> bool:
    """Return whether a module in this folder is the user's: of what is installed, only their own package is."""
    return not _is_installed(root) or name.partition(".")[0] == module.partition(".")[0]


def _is_installed(path: Path) -> bool:
    return not set(_INSTALLED).isdisjoint(path.parts)


def _in_folder(name: str, folder: Path) -> Iterator[Path]:
    path = folder.joinpath(*filter(None, name.split(".")))
    choices: Sequence[Path] = (
        (path / "__init__.py", path.with_name(f"{path.name}.py")) if name else (path / "__init__.py",)
    )
    yield from [each for each in choices if each.is_file()][:1]
