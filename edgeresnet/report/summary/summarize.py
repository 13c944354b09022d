"""The summary of a run: every number and sentence that a report shows, typed, computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from ...notes import PruneNotes, QuantizeNotes, RecoverNotes, TrainNotes
from ...portable import advice, amounts, timing_warnings
from ...portable.amounts import Amounts
from ...portable.frozen import dataclass
from ...portable.result import AnyAccuracy, Measured, RunWarning, Verdict, Word
from ...portable.times import Latency
from ...runs import Run, StepRecord, model_of, task_in
from .. import verdicts
from .amounts import energy_sentences, energy_table, rate_sentences, rate_table
from .cells import LATENCY_COLUMNS, Table, accuracy_cells, accuracy_columns, latency_cells, score_name, table
from .choosing import CHOICE_COLUMNS, choice_rows, choice_sentences
from .classes import ClassChange, class_columns
from .conditions import conditions
from .controlling import control_sentences
from .learning import epoch_columns, epoch_rows, recovery_sentence, training_sentence
from .matrix import Matrix, device_matrix
from .pruning import Pruning, pruning, slower_sentences
from .remarks import builds_sentence, int8_loss_sentence, notes, reason
from .speedups import Speedup, speedups_of
from .sureness import SurenessTable, sureness_tables
from .targets import TargetSummary, meaning, target_summary

_NAMES = ("target", "as")
STEP_COLUMNS = ("step", "state", "time", "digest")


class AccuracyRow(NamedTuple):
    """How one variant answers on one target, and how large it is."""

    target: str
    variant: str
    accuracy: AnyAccuracy
    size_mb: float


class AmountRow(NamedTuple):
    """What an inference of one variant takes on one target, and how many images a second are answered."""

    target: str
    variant: str
    amounts: Amounts


class LatencyRow(NamedTuple):
    """How long one variant takes on one target."""

    target: str
    variant: str
    latency: Latency


@dataclass(frozen=True)
class Learning:
    """A training or a recovery: one sentence, and its epochs."""

    sentence: str
    epochs: Table


@dataclass(frozen=True)
class Summary:
    """What every format shows of a run. `run` has its steps, its recipe and its ids."""

    run: Run
    title: str
    verdict: Word
    meaning: str
    targets: tuple[TargetSummary, ...]
    trainings: tuple[Learning, ...]
    pruning: Pruning | None
    recoveries: tuple[Learning, ...]
    accuracies: tuple[AccuracyRow, ...]
    latencies: tuple[LatencyRow, ...]
    amounts: tuple[AmountRow, ...]  # of every variant that was timed
    matrix: Matrix
    losses: tuple[str, ...]  # whose an INT8 network's loss is: quantization's or the compiler's
    searches: tuple[tuple[str, str], ...]  # target, and a sentence on its search for layers that stay in float
    choices: tuple[tuple[str, ...], ...]  # the INT8 networks of which one ships: the cells under CHOICE_COLUMNS
    sureness: tuple[SurenessTable, ...]  # what changed of the probabilities
    speedups: tuple[Speedup, ...]
    advice: tuple[str, ...]  # which network to ship, where INT8 is not faster
    absent: tuple[tuple[str, str], ...]  # target, and why it has no numbers, or not yet
    notes: tuple[str, ...]
    timing: Mapping[str, Sequence[RunWarning]]  # by target: what makes its times doubtful
    conditions: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.run.verdicts

    @property
    def classes(self) -> list[ClassChange]:
        return [change for target in self.targets for change in target.classes]

    @property
    def accuracy_table(self) -> Table:
        rows = [(row.target, row.variant, *accuracy_cells(row.accuracy, row.size_mb)) for row in self.accuracies]
        return Table(("target", "as", *accuracy_columns(score_name(self.run.measured))), rows)

    @property
    def latency_table(self) -> Table:
        rows = [(row.target, row.variant, *latency_cells(row.latency)) for row in self.latencies]
        return table(("target", "as", *LATENCY_COLUMNS), rows)

    @property
    def energy_table(self) -> Table:
        return energy_table(_NAMES, [((row.target, row.variant), row.amounts) for row in self.amounts])

    @property
    def rate_table(self) -> Table:
        return rate_table(_NAMES, [((row.target, row.variant), row.amounts) for row in self.amounts])

    @property
    def amount_sentences(self) -> list[str]:
        """Which sensor measured energy, and why something was not measured; the matrix of devices says so itself."""
        if self.matrix.rows:
            return []
        labelled = [((row.target, row.variant), row.amounts) for row in self.amounts]
        return [*energy_sentences(labelled), *rate_sentences(labelled)]

    @property
    def choice_table(self) -> Table:
        return table(CHOICE_COLUMNS, self.choices)

    @property
    def promise_table(self) -> Table:
        return Table(verdicts.COLUMNS, verdicts.rows(self.verdicts))

    @property
    def class_table(self) -> Table:
        score = next((each.score for each in self.classes), "recall")
        return Table(class_columns(score), [each.cells for each in self.classes])

    @property
    def step_table(self) -> Table:
        return Table(STEP_COLUMNS, [_step_cells(step) for step in self.run.steps])


def of(run: Run) -> Summary:
    """Compute the summary of a run."""
    measured = run.measured
    targets = tuple(target_summary(run, target) for target in run.results)
    timing = {result.target: timing_warnings.of(result.timed()) for result in measured}
    pruned = next((pruning(found, measured) for found in run.notes_of(PruneNotes)), None)
    return Summary(
        run=run,
        title=title(run.recipe, measured),
        verdict=run.verdict,
        meaning=meaning(run.verdict, run.verdicts),
        targets=targets,
        trainings=tuple(
            Learning(sentence, Table(epoch_columns(found), epoch_rows(found)))
            for found in run.notes_of(TrainNotes)
            if (sentence := training_sentence(found))
        ),
        pruning=pruned,
        recoveries=tuple(
            Learning(recovery_sentence(found), Table(epoch_columns(found), epoch_rows(found)))
            for found in run.notes_of(RecoverNotes)
        ),
        accuracies=tuple(
            AccuracyRow(result.target, name, each.accuracy, each.size_mb)
            for result in measured
            for name, each in result.variants.items()
        ),
        amounts=tuple(
            AmountRow(result.target, name, amounts.of(each))
            for result in measured
            for name, each in result.timed().items()
        ),
        matrix=device_matrix(run),
        latencies=tuple(LatencyRow(result.target, *each) for result in measured for each in result.timed().items()),
        losses=tuple(sentence for result in measured if (sentence := int8_loss_sentence(result))),
        searches=tuple(_searches(run)),
        choices=tuple(choice_rows(run)),
        sureness=tuple(sureness_tables(measured)),
        speedups=tuple(speedup for result in measured for speedup in speedups_of(result)),
        advice=tuple(_advice(measured, pruned)),
        absent=tuple((target, reason(each)) for target, each in run.results.items() if not isinstance(each, Measured)),
        notes=tuple(notes(run, [change for target in targets for change in target.classes], timing)),
        timing=timing,
        conditions=tuple(conditions(run)),
    )


def _searches(run: Run) -> Iterator[tuple[str, str]]:
    for step in run.steps:
        if isinstance(step.notes, QuantizeNotes) and step.notes.control:
            target = step.step.target
            found = (*control_sentences(step.notes, task_in(run.recipe).flipped), *choice_sentences(run, target))
            yield from ((target, each) for each in found)


def title(recipe: Mapping[str, object], measured: Sequence[Measured]) -> str:
    """Return the network and its classes."""
    return ", ".join(filter(None, title_parts(recipe, measured)))


def title_parts(recipe: Mapping[str, object], measured: Sequence[Measured]) -> tuple[str, str]:
    """Return the network, and its classes where they are known.

    An ONNX file stands for its architecture; images may know the classes.
    """
    model = model_of(recipe)
    name = model.arch or PurePath(model.checkpoint or "").name
    if model.candidate:
        name = f"{PurePath(model.candidate).name} against {name}"
    classes = len(measured[0].classes) if measured else model.classes
    return name, f"{classes} classes" if classes else ""


def _advice(measured: Sequence[Measured], pruned: Pruning | None) -> list[str]:
    builds = [sentence for result in measured if (sentence := builds_sentence(result))]
    advised = [f"{result.target}: {found.sentence}" for result in measured if (found := advice.advice(result))]
    others = {result.target for result in measured if result.ships != "pruned"}  # of pruned ones it is advised already
    remaining = [each for each in pruned.remaining if each.target in others] if pruned else []
    return [*builds, *advised, *slower_sentences(remaining)]


def _step_cells(step: StepRecord) -> tuple[str, ...]:
    seconds = f"{step.seconds:.1f} s" if step.state == "made" else ""
    return step.id, step.state, seconds, (step.digest or "")[:12]
