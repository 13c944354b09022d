"""edgeresnet from Python: a recipe in, a run with its verdict out; what the doors call, without printing.

A recipe is a path, the same as a dict, or a `Recipe`; paths in it are read from the current folder. Errors are
`EdgeresnetError`s, each with a hint. Nothing is said on stdout or stderr: a `Listener` is told what happens.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import ArtifactError, EdgeresnetError, RecipeError
from .store import Store, write_text

if TYPE_CHECKING:
    from .pipeline import Listener
    from .portable.judging import Verdict
    from .recipe import Recipe

    AnyRecipe = str | os.PathLike[str] | Mapping[str, Any] | Recipe

Deed = Literal["train", "prune", "recover", "trace", "calibrate", "quantize", "compile", "verify", "export"]
DEEDS: tuple[str, ...] = get_args(Deed)

_FORMATS = {".txt": "terminal", ".md": "md", ".json": "json", ".xml": "junit", ".html": "html"}


@dataclass(frozen=True)
class Run:
    """A run as it is stored: what was measured, what was promised, and the verdict."""

    document: Mapping[str, Any]
    store: Path

    @property
    def id(self) -> str:
        return self.document["id"]

    @property
    def verdict(self) -> str:
        """KEPT, DEFERRED, UNDECIDED, NOT_MEASURED or BROKEN: the worst of `verdicts` and of what was not done."""
        return self.document["verdict"]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One for each promise on each target, with its number, interval and reason."""
        from .portable.judging import Verdict

        return tuple(Verdict(**one) for one in self.document["verdicts"])

    @property
    def results(self) -> Mapping[str, Mapping[str, Any]]:
        """By target: its variants with every answer and every time, or the reason why there are none."""
        return self.document["results"]

    def artifact(self, step: str) -> Path:
        """The folder that a step made, as `edgeresnet show` names them: `trace`, `quantize:openvino`."""
        return _folder(self.document["steps"], step, f"run {self.id}")

    def report(self, kind: str = "terminal") -> str:
        """The report in one of the formats of `edgeresnet report`."""
        from . import report

        if kind not in report.FORMATS:
            raise EdgeresnetError(f"there is no format {kind!r}", hint=f"formats are {', '.join(report.FORMATS)}")
        if kind == "html":
            return report.html.of_store(self.document, Store(self.store))
        return report.FORMATS[kind](self.document)

    def save_report(self, path: str | os.PathLike[str]) -> Path:
        """The report as a file; its ending says which: .md, .json, .txt, …"""
        path = Path(path)
        if path.suffix.lower() not in _FORMATS:
            raise EdgeresnetError(f"{path}: no report ends so", hint=f"give it one of {', '.join(_FORMATS)}")
        write_text(path, self.report(_FORMATS[path.suffix.lower()]))
        return path


@dataclass(frozen=True)
class Made:
    """What one deed made, and whatever it needed for that."""

    document: Mapping[str, Any]
    steps: tuple[str, ...]  # of the deed itself: `quantize:openvino`, `quantize:tensorrt`

    @property
    def missing(self) -> dict[str, str]:
        """Steps of the deed that were not done, and why: a target that is not here leaves the others running."""
        steps = self.document["steps"]
        return {name: steps[name]["reason"] for name in self.steps if steps[name]["path"] is None}

    def artifact(self, step: str | None = None) -> Path:
        """The folder of a step; of the deed's own where it is one step."""
        if step is None and len(self.steps) != 1:
            raise ArtifactError(f"{len(self.steps)} steps were made", hint=f"name one of {', '.join(self.steps)}")
        return _folder(self.document["steps"].values(), step or self.steps[0], "what was made")

    def notes(self, step: str) -> Mapping[str, Any]:
        """What a step says of itself: a training its history, a quantization its layers."""
        return self.document["steps"][step]["notes"] or {}


def run(
    recipe: AnyRecipe,
    *,
    store: str | os.PathLike[str] | None = None,
    again: Iterable[str] = (),
    listener: Listener | None = None,
) -> Run:
    """Does what the recipe names and is not done yet, measures, judges: `edgeresnet run`.

    `store` is where artifacts are kept: EDGERESNET_STORE, or `artifacts`, by default. `again` names stages to be done
    anew: `["verify"]` measures once more.
    """
    from . import pipeline

    wanted, opened = parsed(recipe), _opened(store)
    with opened.used():
        return Run(pipeline.run(wanted, opened, again=frozenset(again), listener=listener), opened.root)


def make(
    recipe: AnyRecipe,
    deed: Deed,
    *,
    store: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
) -> Made:
    """One deed of the recipe and what leads to it, nothing else, and no verdict: what `edgeresnet quantize` does.

    The store shares what is equal: a run of the recipe finds it done.
    """
    from . import pipeline

    if deed not in DEEDS:
        raise RecipeError(f"there is no deed {deed!r}", hint=f"deeds are {', '.join(DEEDS)}")
    wanted, opened = parsed(recipe), _opened(store)
    with opened.used():
        steps = pipeline.steps(wanted, opened)
        names = tuple(step.id for step in steps if step.stage.name == deed)
        if not names:
            there = ", ".join(dict.fromkeys(step.stage.name for step in steps))
            raise RecipeError(f"this recipe has no stage {deed!r}", hint=f"it has {there}")
        done = pipeline.make(wanted, opened, lambda step: step.id in names, listener or pipeline.Listener())
    return Made(done, names)


def plan(recipe: AnyRecipe, *, store: str | os.PathLike[str] | None = None) -> dict[str, bool]:
    """The steps of the recipe, parents first, and whether each is done already. Runs none."""
    from . import pipeline

    return {one.step.id: one.state == "done" for one in pipeline.plan(parsed(recipe), _opened(store))}


def load_run(name: str | None = None, *, store: str | os.PathLike[str] | None = None) -> Run:
    """A run by the beginning of its id or by its file; the newest by default."""
    opened = Store.to_read(_root(store), name)
    return Run(opened.load_run(name), opened.root)


def compare(*runs: Run) -> dict[str, Any]:
    """Two runs or more, each held against the first: what `edgeresnet compare --format json` prints."""
    from . import report

    if len(runs) < 2:
        raise EdgeresnetError("one run has nothing to be held against", hint="compare(before, after)")
    return report.compared.of([run.document for run in runs])


def parsed(recipe: AnyRecipe) -> Recipe:
    """Every wrong key is told at once, as `RecipeError.problems`."""
    from . import recipe as recipes

    if isinstance(recipe, recipes.Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return recipes.parse(dict(recipe))
    return recipes.load(os.fspath(recipe))


def _opened(store: str | os.PathLike[str] | None) -> Store:
    return Store.open(_root(store))


def _root(store: str | os.PathLike[str] | None) -> Path:
    return Path(store or os.environ.get("EDGERESNET_STORE") or "artifacts")


def _folder(steps: Iterable[Mapping[str, Any]], step: str, whose: str) -> Path:
    known = {one["id"]: one for one in steps}
    if step not in known:
        raise ArtifactError(f"{whose} has no step {step!r}", hint=f"it has {', '.join(known)}")
    if known[step]["path"] is None:
        raise ArtifactError(f"{step} made nothing: {known[step]['reason']}", hint=known[step]["hint"] or "run it again")
    return Path(known[step]["path"])
