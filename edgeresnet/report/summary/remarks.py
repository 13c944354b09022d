"""What to know next to the numbers of a run: warnings of steps and of timing, gaps, and builds compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ...notes import RecogniseNotes, TraceNotes
from ...portable.result import AnyAccuracy, Deferred, Measured, NotMeasured, RunWarning
from ...portable.tasks.task import task_of
from ...portable.tasks.two_stage import TwoStage
from ...runs import Run, model_of
from .cells import percent, points, same_answers, sqnr_cell
from .classes import ClassChange, classes_without_images
from .short import chance_sentence

_MORE = 1.26  # times the noise, 1 dB: less lies within what rounding does by chance


def notes(run: Run, changes: list[ClassChange], timing: Mapping[str, Sequence[RunWarning]]) -> list[str]:
    """Return the notes of a run, in the order of its steps."""
    found = [f"the weights are recognised as {each}" for each in recognised(run)]
    found += [f"{step.id}: {warning}" for step in run.steps for warning in step.warnings]
    found += filter(None, [chance_sentence(run.measured)])
    shown = {result.target for result in run.measured}
    # a half-precision variant that could not be made: its target was measured without it
    found += [
        f"{step.id} failed: {step.reason}" for step in run.steps if step.state == "failed" and step.step.target in shown
    ]
    found += [sentence for result in run.measured[:1] for sentence in (*_gaps(result), *_outside(result))]
    found += [
        f"{each.target}: the {each.score} of {each.label} fell from {percent(each.before_pct)} to "
        f"{percent(each.now_pct)}: {each.drop_cell} points lost"
        for each in changes
        if each.word == "worse"
    ]
    for result in run.measured:
        found += _decoding(result)
        found += [f"{result.target}: {warning}" for warning in timing[result.target]]
    return found + ([f"the run {run.problem.ended_early}"] if run.problem else [])


def recognised(run: Run, shortened: Callable[[str], str] = str) -> list[str]:
    """Return what weights were recognised as, where the recipe does not name it."""
    found = [each.sentence(shortened) for each in run.notes_of(RecogniseNotes)]
    if found or model_of(run.recipe).arch:
        return found
    return list(dict.fromkeys(shortened(each.arch) for each in run.notes_of(TraceNotes) if each.arch))


def reason(result: Deferred | NotMeasured) -> str:
    """Return why a target has no numbers, or not yet, and what to do."""
    word = "deferred" if isinstance(result, Deferred) else "not measured"
    return f"{word}: {result.reason}" + (f" ({result.hint})" if result.hint else "")


def builds_sentence(result: Measured) -> str:
    """Return how far builds of one network are apart; empty for one build."""
    builds = [build.shipped for build in result.builds()]
    if len(builds) == 1:
        return ""
    parts = [f"{result.target} {result.ships}: built {len(builds)} times{task_of(result.task).builds_agree(builds)}"]
    if result.has_labels:
        scores = [build.accuracy.score_pct for build in builds]
        parts.append(f"{result.shipped.accuracy.name.short} {min(scores):.2f} to {max(scores):.2f} %")
    times = [build.latency.p50 for build in builds if build.latency]
    known = [time for time in times if time is not None]
    parts += [f"p50 {min(known):.3f} to {max(known):.3f} ms"] if known else []
    return f"{', '.join(parts)}; each promise is judged by its worst build"


def int8_loss_sentence(result: Measured) -> str:
    """Compare the INT8 file as it is written with what the compiler made of it; empty where either is not known."""
    if result.as_written is None or "int8" not in result.variants:
        return ""
    written, compiled = result.as_written, result.variants["int8"].quantization
    adds = _noise(compiled) > _MORE * _noise(written)
    word = "adds noise" if adds else "adds none"
    same = task_of(result.task).flipped
    before, after = (f"{sqnr_cell(each)}, {same_answers(each, same)}" for each in (written, compiled))
    loses = f"changes {same}"
    if written.has_labels:
        amount, how = points(written.drop_pp).rsplit(" ", 1)
        loses = f"{'gains' if how == 'gained' else 'loses'} {amount}"
    return f"{result.target} int8: quantization {loses} ({before}); compilation {word} ({after})"


def _noise(accuracy: AnyAccuracy) -> float:
    return 0.0 if accuracy.sqnr_db is None else 10 ** (-accuracy.sqnr_db / 10)


def _outside(result: Measured) -> Iterator[str]:
    """Yield what times do not include."""
    if isinstance(result.detector, TwoStage) and any(each.latency for each in result.variants.values()):
        yield (
            "times are of the first stage: the second one, which looks at each proposed box, runs after it in numpy "
            "and in float, the same for every variant"
        )


def _gaps(result: Measured) -> Iterator[str]:
    """Yield which images and classes are not evaluated. All targets evaluate the same ones."""
    if result.skipped:
        first = ", ".join(result.skipped[:3])
        yield f"{len(result.skipped)} unreadable evaluation images were left out: {first}"
    absent = classes_without_images(result) if result.has_labels else []
    if absent:
        shown = ", ".join(absent[:5])
        yield f"{len(absent)} classes have no evaluation image, so nothing is known of them: {shown}"


def _decoding(result: Measured) -> Iterator[str]:
    """Yield what a device's own decoding of files changes, compared with the host's."""
    for library, difference in result.decoding.items():
        if difference and difference.largest_levels:
            yield (
                f"{result.target}: decoded with {library} on the device, the {task_of(result.task).flipped} of "
                f"{difference.answers_changed} of {difference.images} images change "
                f"({difference.mean_levels:.2f} levels on average, {difference.largest_levels} at most)"
            )
