"""The baseline: what a gate records of a run, as a small file that a person reads in a merge request.

Everything in it but the margins was measured, and its digest covers all of that: a file that was edited by hand is
refused. Margins are a person's decision: they may be edited, and stay when everything else is renewed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Literal, get_args

from .._version import __version__
from ..errors import EdgeresnetError, quoted
from ..notes import TraceNotes
from ..portable import codec, documents, judging, manifest, readings
from ..portable.codec import CodecError
from ..portable.documents import Missing, Unreadable, shown
from ..portable.frozen import dataclass
from ..portable.result import Promise
from ..portable.tasks import DEFAULT, TaskName
from ..portable.tasks.task import Task, task_of
from ..runs import Margins, Run, Undecided
from .record import CPU_SPEED, TargetRecord, target_record

FORMAT: Literal[3] = 3
_FORMAT_KEY = "edgeresnet_gate"
_RENEW = "write it from a finished run with `edgeresnet gate --update`, then review and commit it"
_REPAIR = f"repair or remove the file; {_RENEW}"
_WHAT_CHANGES = ("version", "verify", "promises")  # of a recipe: judged, or of no importance
_ENOUGH = 10  # processes; `benchmarks/gate_power.py` shows what five and ten of them can decide
_WHERE = ("from", "source", "masks", "boxes", "root", "download")  # images are stored; their content says what they are
_LARGEST = 16 * documents.SMALL  # bytes


@dataclass(frozen=True)
class ImagesRecord:
    """Which images were evaluated, and how many."""

    digest: str
    count: int


@dataclass(frozen=True)
class Baseline:
    """A run that a person reviewed, as later runs are compared with it. The order of the fields is the file's."""

    format: Literal[3] = field(metadata={"key": _FORMAT_KEY})
    margins: Margins
    made_by: str
    run: str
    images: ImagesRecord
    recipe: Mapping[str, object]  # its digest, and what identifies it
    verify: Mapping[str, object]
    promises: Mapping[str, object]
    undecided: Undecided
    networks: Mapping[str, str]  # step → digest
    measured: Mapping[str, str]  # target → digest
    targets: Mapping[str, TargetRecord]
    digest: str

    def __post_init__(self) -> None:
        if not isinstance(self.recipe.get("digest"), str):
            raise CodecError("recipe.digest", "is not a string")
        if not isinstance(self.recipe.get("model"), Mapping):
            raise CodecError("recipe.model", "is not an object")
        if not self.targets:
            raise CodecError("targets", "is empty")
        for name, record in self.targets.items():
            if record.images != self.images.count:
                problem = f"is {self.images.count}, but {name} was evaluated on {record.images} images"
                raise CodecError("images.count", problem)

    @property
    def recipe_digest(self) -> str:
        return str(self.recipe["digest"])

    @property
    def task(self) -> str:
        """What the network answers."""
        named = self.recipe.get("task")
        return str(named) if named in get_args(TaskName) else DEFAULT

    @property
    def identity(self) -> dict[str, object]:
        """What identifies the recipe."""
        return _anywhere({key: value for key, value in self.recipe.items() if key != "digest"})


def parse_margins(raw: object, path: Path | str) -> Margins:
    """Read margins that a person wrote: numbers from 0 on, or null."""
    hint = f"write a number from 0 on, or null, for each of {', '.join(each.name for each in fields(Margins))}"
    try:
        found = codec.decode(Margins, raw)
    except CodecError as error:
        raise EdgeresnetError(_at(path, "margins", error.path), error.problem, hint=hint) from error
    for each in fields(Margins):
        value = getattr(found, each.name)
        if value is not None and value < 0:
            raise EdgeresnetError(_at(path, "margins", each.name), f"is {value:g}, which is below 0", hint=hint)
    return found


def of(run: Run, margins: Margins) -> Baseline:
    """Make a baseline of a run that is complete: what is not in it would never be gated."""
    if run.problem:
        raise _unfit(run, f"it {run.problem.ended_early}")
    if not run.results:
        raise _unfit(run, "it has no target")
    try:
        found = _recorded(run, margins)
    except CodecError as error:
        raise _unfit(run, f"its {error.path} {error.problem}") from error
    return replace(found, digest=_digest(codec.encode(found)))


def _recorded(run: Run, margins: Margins) -> Baseline:
    targets = {}
    for name, result in run.results.items():
        record = target_record(result)
        if isinstance(record, str):
            raise _unfit(run, f"{name}: {record}")
        targets[name] = record
    if len({(result.images, result.count) for result in run.measured}) > 1:
        raise _unfit(run, "its targets were evaluated on different images")
    first = run.measured[0]
    return Baseline(
        format=FORMAT,
        margins=margins,
        made_by=f"edgeresnet {__version__}",
        run=run.id,
        images=ImagesRecord(first.images or "", first.count),
        recipe={"digest": run.recipe_digest, **identity(run)},
        verify=dict(section(run.recipe, "verify")),
        promises=promises(run.recipe),
        undecided=run.undecided,
        networks=networks(run),
        measured=measurements(run),
        targets=targets,
        digest="",
    )


def remarks(baseline: Baseline) -> list[str]:
    """Return what its reviewer should know: what is in it, and where it is too weak to decide anything."""
    task, found = task_of(baseline.task), list[str]()
    for name, record in baseline.targets.items():
        found.append(f"{name} {record.ships}: {_score(task, record)} on {record.images} images; times {_times(record)}")
        found += _remarks(name, record, baseline.margins)
    if baseline.margins.max_loss_pp is not None:
        loss = Promise("max_loss_pp", baseline.margins.max_loss_pp)
        too_fine = judging.too_fine(loss, readings.KINDS["max_drop_pp"], baseline.images.count, task)
        found += [too_fine] if too_fine else []
    return found


def _score(task: Task, record: TargetRecord) -> str:
    return f"{task.score_name.short} {record.score_pct:.2f} %"


def _times(record: TargetRecord) -> str:
    ratios = {("plain Python" if key == CPU_SPEED else key): each.ratio for key, each in record.times.items()}
    return ", ".join(f"{ratio:g} of {comparison}" for comparison, ratio in ratios.items())


def _remarks(name: str, record: TargetRecord, margins: Margins) -> list[str]:
    found = [f"{name}: {sentence}. So its times are noisy" for sentence in record.warnings]
    if record.disturbed and margins.max_runtime_slowdown_pct is not None:
        found.append(f"{name}: max_runtime_slowdown_pct can therefore never be BROKEN. Measure while nothing else runs")
    processes = min(len(each.processes) for each in record.times.values())
    if processes < 2:
        found.append(f"{name}: one process does not show how much processes differ. No slow-down can be decided")
    elif processes < _ENOUGH and margins.max_slowdown_pct is not None:
        found.append(
            f"{name}: where times are noisy, {processes} processes leave some slow-downs of twice the margin "
            f"UNDECIDED. `verify.processes: {_ENOUGH}` decides more of them"
        )
    return found


def networks(run: Run) -> dict[str, str]:
    """Return the digests of the traced and the quantized networks: other calibration images change the latter."""
    made = [step for step in run.steps if step.stage in ("trace", "quantize")]
    return {step.id: step.digest for step in made if step.digest}


def measurements(run: Run) -> dict[str, str]:
    """Return the digest of what was measured on each target."""
    made = {step.step.target: step.digest for step in run.steps if step.stage == "verify"}
    return {name: digest for name, digest in made.items() if digest and name in run.results}


def promises(recipe: Mapping[str, object]) -> dict[str, object]:
    """Return the recipe's own promises: a gate reports a change to them, since it changes what is judged."""
    return _filled(section(recipe, "promises"))


def identity(run: Run) -> dict[str, object]:
    """Return what makes a recipe this one. Weights are not in it: they are what is judged, whatever their files' names.

    Nor are the evaluation images, which their content identifies, nor devices: each has a record of its own.
    """
    recipe = run.recipe
    model = {key: value for key, value in section(recipe, "model").items() if key != "checkpoint"}
    model["candidate"] = "a file" if model.get("candidate") else None
    if model.get("arch") is None:
        model |= _as_traced(run)
    images: dict[str, object] = {
        slot: {key: value for key, value in given.items() if key not in _WHERE} if isinstance(given, Mapping) else given
        for slot, given in section(recipe, "images").items()
        if slot not in ("evaluation", "names")
    }
    rest = {key: value for key, value in recipe.items() if key not in _WHAT_CHANGES}
    return _anywhere(_filled({**rest, "model": model, "images": images}))


def _anywhere(identity: dict[str, object]) -> dict[str, object]:
    """Leave out on which devices targets are measured: results have their names. That it is a bundle stays."""
    targets = {
        name: {key: value for key, value in options.items() if key != "where" or value == "bundle"}
        if isinstance(options, Mapping)
        else options
        for name, options in section(identity, "targets").items()
    }
    return {**identity, "targets": targets} if targets else identity


def section(recipe: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a section of a recipe; empty where it has none."""
    found = recipe.get(name)
    return found if isinstance(found, Mapping) else {}


def _as_traced(run: Run) -> dict[str, object]:
    """Return what identifies an architecture without a name: its operators, and how many weights it has."""
    traced = run.notes_of(TraceNotes)
    return {"operators": traced[0].operators, "parameters": traced[0].parameters} if traced else {}


def text(baseline: Baseline) -> str:
    """Return the file: readable, a short list on one line; the same baseline gives the same bytes."""
    spread = json.dumps(codec.encode(baseline), indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[\n([^\[\]{}]*?)\n\s*\]", lambda found: f"[{_joined(found[1])}]", spread) + "\n"


def _joined(lines: str) -> str:
    """Join the lines of a list. Spaces inside a string stay."""
    return " ".join(line.strip(" ") for line in lines.split("\n"))


def read(path: Path) -> Baseline:
    """Read a baseline that is complete and unchanged; else raise an error that says what is wrong with it."""
    found = _opened(path)
    parse_margins(found.get("margins"), path)
    try:
        same = found.get("digest") == _digest(found)
    except ValueError:  # it has NaN or an infinite number
        same = False
    if not same:
        raise EdgeresnetError(
            str(path),
            "was changed after edgeresnet wrote it, so its values are not measurements",
            hint=f"edit only its margins by hand; {_RENEW}",
        )
    try:
        return codec.decode(Baseline, found)
    except CodecError as error:
        raise EdgeresnetError(_at(path, error.path), error.problem, hint=_REPAIR) from error


def margins_of(path: Path) -> Margins:
    """Read the margins of a baseline that will be renewed: nothing else in it matters, nor an older format."""
    return parse_margins(_opened(path, any_format=True).get("margins"), path)


def _opened(path: Path, *, any_format: bool = False) -> dict[str, object]:
    found = _parsed(path)
    number = found.get(_FORMAT_KEY) if isinstance(found, dict) else None
    if not isinstance(found, dict) or type(number) is not int:
        what = "it is empty" if found is None else f"the key {_FORMAT_KEY} is missing"
        raise EdgeresnetError(str(path), f"is not a baseline: {what}", hint=_REPAIR)
    if number > FORMAT or (number < FORMAT and not any_format):
        word = "a newer" if number > FORMAT else "an older"
        raise EdgeresnetError(
            str(path),
            f"was written by {word} edgeresnet: its format is {quoted(number)}, and this version reads {FORMAT}",
            hint="use the version that wrote it, or renew it with --update, which keeps the margins of an older file",
        )
    return found


def _parsed(path: Path) -> object:
    """Read JSON. None stands for an empty file."""
    try:
        written = documents.read_bytes(path, _LARGEST)
        return documents.parse_json(written) if written.strip() else None
    except Missing as problem:
        raise EdgeresnetError(f"the baseline {shown(path)}", "does not exist", hint=_RENEW) from problem
    except Unreadable as problem:
        raise EdgeresnetError(shown(path), f"is not a baseline: it {problem}", hint=_REPAIR) from problem


def _digest(document: Mapping[str, object]) -> str:
    """Return the digest of a file's content as it is written: without the margins, and without the digest itself."""
    return manifest.digest_of({key: value for key, value in document.items() if key not in ("margins", "digest")})


def _filled(values: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is not set, at every level."""
    found = {key: _filled(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key: value for key, value in found.items() if value is not None}


def _at(path: Path | str, *steps: str) -> str:
    """Return where in a file something is, as the subject of an error."""
    inside = ".".join(step for step in steps if step)
    return f"{path}: {inside}" if inside else str(path)


def _unfit(run: Run, why: str) -> EdgeresnetError:
    return EdgeresnetError(
        f"run {run.id}",
        f"cannot be a baseline: {why}",
        hint="a baseline needs a result of every target: finish the run, or remove that target from the recipe",
    )
