"""Networks from user code: a function or class that returns one, named by its module or by its file.

A file is imported as if its folder were the current one, and again for each network: its text may have changed. What
fails in user code is reported as theirs, with the line.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import recipe
from ..errors import ModelError, first_line, listed, shortened
from ..portable.documents import shown
from ..recipe import Argument
from . import signatures, sources
from .sources import Place

if TYPE_CHECKING:
    from torch import nn

_WHERE = "run from the folder that holds the module, or install it; write my.module:make or path/model.py:make"
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)")


def check(arch: str) -> None:
    """Refuse a factory whose module or file is not there, or surely does not have it. Runs no code of theirs."""
    module, name = _halves(arch)
    place = sources.place_of(module)
    if place is None and module.endswith(".py"):
        hint = "check the path: relative paths start in the current folder"
        raise ModelError(f"the file {shown(module)} of the factory {name}", "does not exist", hint=hint)
    if place is None:
        raise ModelError(f"the module of the factory {arch}", "is not found", hint=_WHERE)
    if sources.lacks(place, name):
        raise _absent(module, name, sources.names_in(place.file))


def build(arch: str, classes: int, channels: int, arguments: Mapping[str, Argument]) -> nn.Module:
    """Call a factory with what its signature wants, and return its network."""
    from torch import nn

    module, name = _halves(arch)
    place = sources.place_of(module)
    assert place is not None  # `check` came first
    # What their code prints is not part of a command's output.
    with _theirs(arch, place), contextlib.redirect_stdout(sys.stderr), _importing(place):
        make = _made_by(_imported(place), module, name)
        network = _called(arch, make, signatures.Known(classes, channels, arguments))
    if not isinstance(network, nn.Module):
        hint = "return a torch.nn.Module"
        raise ModelError(f"the factory {arch}", f"returned {type(network).__name__}", hint=hint)
    return network


def _halves(arch: str) -> tuple[str, str]:
    factory = recipe.module_of_factory(arch)
    assert factory is not None, arch
    return factory


def _imported(place: Place) -> ModuleType:
    if not place.by_file:
        sources.look_here()
    spec = importlib.util.spec_from_file_location(place.name, place.file)
    if not place.by_file or "." in place.name or spec is None or spec.loader is None:  # a module, alone or of a package
        return importlib.import_module(place.name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[place.name] = module
    spec.loader.exec_module(module)
    return module


def _made_by(module: ModuleType, named: str, name: str) -> Any:
    """Return what a module has by the factory's name: anything that can be called, but not a network."""
    try:
        found = getattr(module, name)
    except AttributeError:
        raise _absent(named, name, [each for each, value in vars(module).items() if _is_own(value, module)]) from None
    if isinstance(found, type) or (callable(found) and not hasattr(found, "state_dict")):
        return found
    what = "a network" if callable(found) else f"of the type {type(found).__name__}"
    hint = "name a function or a class that returns a new network"
    raise ModelError(f"the factory {shortened(named, 80)}:{name}", f"is {what}, not a function", hint=hint)


def _is_own(value: object, module: ModuleType) -> bool:
    named = getattr(value, "__name__", "_")
    return callable(value) and not named.startswith("_") and getattr(value, "__module__", "") == module.__name__


def _absent(module: str, name: str, others: list[str]) -> ModelError:
    near = difflib.get_close_matches(name, others, 3)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = f"it has {listed(others, 80)}" if others else "name a function or a class that returns a network"
    return ModelError(shown(module), f"has no attribute {shortened(name, 80)}", hint=hint)


def _called(arch: str, make: Any, known: signatures.Known) -> Any:
    """Call a factory; where its `**kwargs` do not take a name, try the next that people write."""
    call = signatures.call_of(arch, make, known)
    while True:
        try:
            return make(*call.positional, **call.given())
        except TypeError as problem:
            refused = _UNEXPECTED.search(str(problem))
            following = call.without(refused[1]) if refused else None
            if following is None:
                if refused and refused[1] in known.arguments:
                    raise signatures.not_taken(arch, make, refused[1]) from problem
                if signatures.passes_on(make) and (missing := _MISSING.search(str(problem))):
                    raise signatures.needs(arch, make, re.findall(r"'(\w+)'", missing[1])) from problem
                raise
            call = following
        except Exception as problem:
            # Those who check their options by hand raise something else.
            following = call.without(signatures.PRETRAINED) if signatures.PRETRAINED in str(problem) else None
            if following is None:
                raise
            call = following


@contextlib.contextmanager
def _importing(place: Place) -> Iterator[None]:
    """Let Python find what a file imports, while it is imported and called.

    Modules of the same names that others loaded are put back afterwards.
    """
    if not place.by_file:
        yield
        return
    sources.forget_files()
    own = {str(path) for path in sources.files_of_place(place)}
    names = {place.name.partition(".")[0], *(_first_name(Path(path), place) for path in own)}
    names -= {__name__.partition(".")[0], *sys.builtin_module_names}
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    path, writes = sys.path[:], sys.dont_write_bytecode
    for name in hidden:
        del sys.modules[name]
    sys.path[:0] = [str(root) for root in place.roots]
    sys.dont_write_bytecode = True  # nothing is left in their folder
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes
        new = {name: each for name, each in sys.modules.items() if name.partition(".")[0] in names}
        sources.remember({name: each for name, each in new.items() if name not in hidden})
        sys.modules.update(hidden)


def _first_name(path: Path, place: Place) -> str:
    """Return the name that an import of this file begins with."""
    root = next((root for root in place.roots if path.is_relative_to(root)), path.parent)
    return path.relative_to(root).parts[0].removesuffix(".py")


@contextlib.contextmanager
def _theirs(arch: str, place: Place) -> Iterator[None]:
    """Turn what user code raises into an error of its factory, with the last of its own lines."""
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as problem:
        reason = f"{type(problem).__name__}: {first_line(problem)}"
        raise ModelError(
            f"the factory {arch}", f"failed: {reason} ({_where(problem, place)})", hint=_what_helps(problem)
        ) from problem


def _where(problem: BaseException, place: Place) -> str:
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{shortened(problem.filename, 120)}, line {problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    own = {str(path) for path in sources.files_of_place(place)}
    last = next((frame for frame in reversed(frames) if frame.filename in own), frames[-1])
    return f"{shortened(last.filename, 120)}, line {last.lineno}"


def _what_helps(problem: BaseException) -> str:
    if isinstance(problem, ImportError):
        return f"install {problem.name or 'what it imports'}, or run from the folder that holds it"
    if isinstance(problem, SystemExit):
        return 'move what runs as a program under `if __name__ == "__main__":`'
    return "call it in Python until it returns a network"
