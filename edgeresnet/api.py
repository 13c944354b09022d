"""edgeresnet from Python: a recipe in, a run with its verdict out. The commands do the same, and print.

A recipe is a path, the same as a dict, or a `Recipe`; paths in it are relative to the current folder. Errors are
`EdgeresnetError`s, each with a hint. Nothing is printed: a `Listener` receives what happens.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from .errors import ArtifactError, EdgeresnetError, RecipeError

if TYPE_CHECKING:
    from .context import Workers
    from .devices.book import Device
    from .noise.diagnosis import NoiseDiagnosis
    from .notes import Notes
    from .pipeline import Listener
    from .portable.result import Result, Verdict, Word
    from .recipe import Recipe
    from .report.compared import Comparison
    from .runs import Part, StepRecord
    from .runs import Run as StoredRun
    from .store import Store
    from .sweeps.document import SweepReport
    from .sweeps.loop import Shown

    AnyRecipe = str | os.PathLike[str] | Mapping[str, object] | Recipe
    AnyDevices = str | os.PathLike[str] | Mapping[str, object]

StageName = Literal[
    "recognise", "train", "prune", "recover", "trace", "calibrate", "quantize", "compile", "verify", "export"
]
STAGES: tuple[str, ...] = get_args(StageName)

_FORMATS = {".txt": "terminal", ".md": "md", ".json": "json", ".xml": "junit", ".html": "html"}


@dataclass(frozen=True)
class Run:
    """A run with its store: `stored` is the run as its file holds it, `store` the folder of its artifacts."""

    stored: StoredRun
    store: Path

    @property
    def id(self) -> str:
        return self.stored.id

    @property
    def verdict(self) -> Word:
        """KEPT, DEFERRED, UNDECIDED, NOT_MEASURED or BROKEN: the worst of `verdicts` and of what was not done."""
        return self.stored.verdict

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One for each promise on each target, with its number, interval and reason."""
        return self.stored.verdicts

    @property
    def results(self) -> Mapping[str, Result]:
        """By target: `Measured` with every answer and every time, or `Deferred` or `NotMeasured` with the reason."""
        return self.stored.results

    def artifact(self, step: str) -> Path:
        """Return the folder that a step made, as `edgeresnet show` names them: `trace`, `quantize:openvino`."""
        return _folder(self.stored.steps, step, f"run {self.id}")

    def report(self, kind: str = "terminal") -> str:
        """Return the report in one of the formats of `edgeresnet report`."""
        from . import report
        from .store import Store

        if kind not in report.FORMATS:
            hint = f"formats are {', '.join(report.FORMATS)}"
            raise EdgeresnetError(f"the format {kind!r}", "does not exist", hint=hint)
        if kind == "html":
            return report.html.of_store(self.stored, Store(self.store))
        return report.FORMATS[kind](self.stored)

    def save_report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report to a file, in the format of its ending: .md, .json, .txt, …"""
        from .store import write_text

        path = Path(path)
        if path.suffix.lower() not in _FORMATS:
            raise EdgeresnetError(
                str(path), "does not end as a report does", hint=f"give it one of {', '.join(_FORMATS)}"
            )
        write_text(path, self.report(_FORMATS[path.suffix.lower()]))
        return path


@dataclass(frozen=True)
class Made:
    """What one stage made, and whatever it needed for that: `part` has the details."""

    part: Part
    steps: tuple[str, ...]  # of the stage itself: `quantize:openvino`, `quantize:tensorrt`

    @property
    def missing(self) -> dict[str, str]:
        """Steps of the stage that were not done, and why: an absent target leaves the others running."""
        steps = self.part.steps
        return {name: steps[name].reason for name in self.steps if steps[name].path is None}

    def artifact(self, step: str | None = None) -> Path:
        """Return the folder of a step; without a name, that of the stage's only step."""
        if step is None and len(self.steps) != 1:
            hint = f"name one of {', '.join(self.steps)}"
            raise ArtifactError("the artifact", f"is not clear: {len(self.steps)} steps were made", hint=hint)
        return _folder(self.part.steps.values(), step or self.steps[0], "what was made")

    def notes(self, step: str) -> Notes | None:
        """Return what a step reports about itself: a training its history, a quantization its layers."""
        return self.part.steps[step].notes


def run(
    recipe: AnyRecipe,
    *,
    store: str | os.PathLike[str] | None = None,
    again: Iterable[str] = (),
    listener: Listener | None = None,
    devices: AnyDevices | None = None,
    workers: Workers | None = None,
    shared: str | None = None,
) -> Run:
    """Run the recipe's stages that are not done yet, measure, judge: `edgeresnet run`.

    `store` is the folder of the artifacts: EDGERESNET_STORE, or `artifacts`, by default. `again` names stages to
    re-run: `["verify"]` measures once more. `devices` are those that the recipe may name: a file, or the same as a
    dict. By default devices.yaml next to the recipe's file, else the user's own. `workers` evaluate and calibrate:
    `edgeresnet.shards.processes.Processes(4)` or `edgeresnet.shards.on_ray.Ray.connected("auto")`. `shared` is where
    machines share artifacts: a folder, or s3://… or gs://….
    """
    from . import pipeline

    wanted, opened = parsed(recipe), _opened(store, shared)
    known = _devices(wanted, recipe, devices)
    with opened.used():
        done = pipeline.run(wanted, opened, again=frozenset(again), listener=listener, devices=known, workers=workers)
    return Run(done, opened.root)


def make(
    recipe: AnyRecipe,
    stage: StageName,
    *,
    store: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    workers: Workers | None = None,
    shared: str | None = None,
) -> Made:
    """Run one stage of the recipe and what leads to it, nothing else, without a verdict, as `edgeresnet quantize` does.

    The store shares what is equal: a run of the recipe finds it done. `workers` and `shared` are those of `run`.
    """
    from . import pipeline

    if stage not in STAGES:
        raise RecipeError(f"the stage {stage!r}", "does not exist", hint=f"stages are {', '.join(STAGES)}")
    wanted, opened = parsed(recipe), _opened(store, shared)
    with opened.used():
        done = pipeline.make(wanted, opened, stage, listener or pipeline.Listener(), workers=workers)
    return Made(done, tuple(name for name, record in done.steps.items() if record.step.stage == stage))


def sweep(
    path: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    listener: Listener | None = None,
    shown: Shown | None = None,
) -> SweepReport:
    """Run the trials that a sweep.yaml still needs: `edgeresnet sweep`. The report's `best` is the front.

    `listener` receives the steps of each run, `shown` each trial. `retry_failed` tries again what failed before.
    """
    from . import pipeline
    from .pipeline import trials
    from .sweeps import loading, loop

    wanted, opened = loading.load(Path(path)), _opened(store)
    with opened.used():
        return trials.sweep(
            wanted, opened, listener or pipeline.Listener(), shown or loop.Shown(), retry_failed=retry_failed
        )


def plan(
    recipe: AnyRecipe, *, store: str | os.PathLike[str] | None = None, devices: AnyDevices | None = None
) -> dict[str, bool]:
    """List the steps of the recipe, parents first, and whether each is done already. Run none, reach no device."""
    from . import pipeline

    wanted = parsed(recipe)
    _devices(wanted, recipe, devices)
    return {str(one.step.id): one.state == "done" for one in pipeline.preview(wanted, _opened(store))}


def load_run(name: str | None = None, *, store: str | os.PathLike[str] | None = None) -> Run:
    """Load a run by the beginning of its id or by its file; the newest by default."""
    from .store import Store

    opened = Store.to_read(_root(store), name)
    return Run(opened.load_run(name), opened.root)


def compare(*runs: Run) -> Comparison:
    """Compare runs with the first of them, as `edgeresnet compare` does."""
    from . import report

    if len(runs) < 2:
        raise EdgeresnetError("a single run", "cannot be compared", hint="compare(before, after)")
    return report.compared.of([run.stored for run in runs])


def diagnose_int8(
    subject: Run | AnyRecipe | None = None,
    *,
    int8: str | os.PathLike[str] | None = None,
    target: str | None = None,
    count: int | None = None,
    seed: int | None = None,
    store: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
) -> NoiseDiagnosis:
    """Find which layers of an INT8 network lose accuracy, and why: `edgeresnet diagnose --int8`.

    `subject` is a run or a recipe, by default the newest run. `int8` is a file of any quantizer that was made from its
    FP32 network. `target` chooses among several INT8 networks, and for a file the compiler to compare it with. `count`
    is the number of images. A `Run` knows its store; for all else `store` is as in `run`.
    """
    from . import pipeline
    from .pipeline import diagnosing

    diagnosing.check_count(count)
    done = load_run(store=store) if subject is None else subject if isinstance(subject, Run) else None
    wanted = parsed(dict(done.stored.recipe) if done else cast("AnyRecipe", subject))
    opened, listener = _opened(done.store if done else store), listener or pipeline.Listener()
    with opened.used():
        if int8 is not None:
            compiler = diagnosing.compiler_of(target, wanted) if target else None
            reference = diagnosing.without_candidate(wanted)
            networks = diagnosing.of_files(reference, Path(int8), opened, listener, compiler)
        elif done:
            networks = diagnosing.of_run(done.stored, wanted, opened, target, listener)
        else:
            networks = diagnosing.of_recipe(wanted, opened, target, listener, wanted.model.title)
        some, calibration = diagnosing.images_of(wanted, opened, count, wanted.seed if seed is None else seed)
        return diagnosing.diagnosed(networks, some, calibration, seed=seed or 0)


def parsed(recipe: AnyRecipe) -> Recipe:
    """Return a recipe of any form as `Recipe`. All wrong keys are in one error: `RecipeError.problems`."""
    from . import recipe as recipes

    if isinstance(recipe, recipes.Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return recipes.parse(dict(recipe))
    return recipes.load(os.fspath(recipe))


def _devices(wanted: Recipe, recipe: AnyRecipe, devices: AnyDevices | None) -> Mapping[str, Device]:
    """Return the devices that a recipe may name; refuse those that it names and that are not known."""
    from .pipeline import lookup

    if isinstance(devices, Mapping):
        return lookup.checked(wanted, devices)
    file = None if devices is None else Path(devices)
    folder = Path(recipe).parent if isinstance(recipe, str | os.PathLike) else Path()
    return lookup.found_for(wanted, folder, file=file)[1]


def _opened(store: str | os.PathLike[str] | None, shared: str | None = None) -> Store:
    from .store import Store

    return Store.open(_root(store), shared)


def _root(store: str | os.PathLike[str] | None) -> Path:
    return Path(store or os.environ.get("EDGERESNET_STORE") or "artifacts")


def _folder(steps: Iterable[StepRecord], step: str, whose: str) -> Path:
    known = {one.id: one for one in steps}
    if step not in known:
        raise ArtifactError(whose, f"has no step {step!r}", hint=f"it has {', '.join(known)}")
    found = known[step]
    if found.path is None:
        raise ArtifactError(f"the step {step}", f"made nothing: {found.reason}", hint=found.hint or "run it again")
    return Path(found.path)
