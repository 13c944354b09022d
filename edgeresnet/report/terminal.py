"""The last screen of a run: 40 lines of 80 columns at most. `notes_text` has all that it leaves out.

Each target has its variants, its promises, one line of advice and the folder of what to ship; the verdict stands last,
in a frame. Where that is too long, in this order: kept promises become one line, rows go but those of FP32, of the
baseline and of what ships, targets that are KEPT become one line, promises are counted by verdict, every target becomes
one line. The folder stays. No count of what is broken, undecided or not measured is ever left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field

from ..portable import amounts, judging
from ..portable.frozen import dataclass
from ..portable.result import AnyAccuracy, Measured, Variant, Verdict, Word
from ..runs import Run
from ..text import as_sentence, beginning, cut, on_one_line, visible, width, wrapped
from . import summary, tables
from .lines import Line, Look, joined, plain

LONGEST = 40
_NAME, _TARGET, _CLASS = 40, 22, 24  # columns of a network's name, of a target's in one line, and of a class'
_KEPT_COUNTED, _FEW_ROWS, _KEPT_SHORT, _COUNTED, _ALL_SHORT = range(1, 6)


@dataclass(frozen=True)
class Files:
    """Where the page and the report of a run lie, and by target what to ship; empty for what is not there."""

    page: str = ""
    report: str = ""
    shipped: Mapping[str, str] = field(default_factory=dict)


def render(run: Run) -> str:
    """Return the last screen of a run as text."""
    return joined(lines(run))


def lines(run: Run, look: Look | None = None, files: Files | None = None) -> list[Line]:
    """Return the last screen of a run, as short as it must be."""
    seen, look, files = summary.of(run), look or Look(), files or Files()
    head, tail = _head(seen, look), _tail(seen, look, files)
    found: list[Line] = []
    if seen.matrix.rows:  # devices next to one another, and a line for each
        shown = tables.first_that_fits(seen.matrix.tables, look.width)
        matrix = plain("", tables.columns(*shown, width=look.width, cut_mark=look.cut_mark))
        found = [*head, *matrix, *_targets(seen, look, files, _ALL_SHORT), *tail]
        if len(found) <= LONGEST:
            return found
    for level in range(_ALL_SHORT + 1):
        found = [*head, *_targets(seen, look, files, level), *tail]
        if len(found) <= LONGEST:
            break
    return found


def _head(seen: summary.Summary, look: Look) -> list[Line]:
    name, classes = summary.title_parts(seen.run.recipe, seen.run.measured)
    machine = summary.machine_name(seen.run.machine)
    parts = [cut(visible(name), _NAME, look.cut_mark), classes, summary.image_count(seen.run.measured), machine]
    found = wrapped(look.between.join(filter(None, parts)), width=look.width).split("\n")[:2]
    for sentence in summary.recognised(seen.run, lambda name: cut(visible(name), _NAME, look.cut_mark)):
        found += wrapped(f"recognised as {sentence}", width=look.width).split("\n")[:2]
    if not seen.targets:  # what learned is all that there is
        learned = [f"train: {each.sentence}" for each in seen.trainings]
        learned += [f"recover: {each.sentence}" for each in seen.recoveries]
        found += [line for each in learned for line in wrapped(each, width=look.width).split("\n")]
    return plain(*found)


def _targets(seen: summary.Summary, look: Look, files: Files, level: int) -> list[Line]:
    found: list[Line] = []
    was_short = False
    for target in seen.targets:
        is_short = level >= _ALL_SHORT or (level >= _KEPT_SHORT and target.verdict == "KEPT")
        found += [] if is_short and was_short else [Line("")]
        found += _short_target(seen, target, look) if is_short else _target(seen, target, look, level)
        found += _shipped(seen, target, files, "  " if is_short else "    ")
        was_short = is_short
    return found


def _shipped(seen: summary.Summary, target: summary.TargetSummary, files: Files, indent: str) -> list[Line]:
    """Return where the files of what to ship lie, never cut: to be copied. Nothing where nothing may ship."""
    path = files.shipped.get(target.target)
    if not path or not isinstance(target.result, Measured) or target.verdict in ("BROKEN", "NOT_MEASURED"):
        return []
    is_bundle = any(step.id == f"export:{target.target.partition('@')[0]}" for step in seen.run.steps)
    name = "bundle" if is_bundle else f"files of {summary.to_ship(target.result)}"
    return [Line(f"{indent}{visible(f'{name}: {path}')}")]


def _short_target(seen: summary.Summary, target: summary.TargetSummary, look: Look) -> list[Line]:
    judged, result = seen.run.verdicts_of(target.target), target.result
    name = cut(on_one_line(target.target), _TARGET, look.cut_mark)
    if isinstance(result, Measured):
        choices = summary.target_choices(result, judged)
    else:
        counted, state = summary.counts_by_verdict(judged), summary.state(judging.state_word(result))
        choices = (", ".join([state, *counted]), ", ".join(counted))
        if len(counted) < 2:  # all promises are as the target is: the reason says more
            choices = (f"{state}: {result.reason}",)
    return [_marked(target.verdict, [f"{name}: {each}" for each in choices], look, "")]


def _target(seen: summary.Summary, target: summary.TargetSummary, look: Look, level: int) -> list[Line]:
    judged, result = seen.run.verdicts_of(target.target), target.result
    if not isinstance(result, Measured):
        return _absent(target, judged, look, level)
    head = _name(target, look)
    if result.machine.cpu.model != seen.run.machine.cpu.model:
        head += f"{look.between}{summary.machine_name(result.machine)}"
    choices = [f"{look.arrow} {each}" for each in summary.advice_choices(seen.run, result)]
    return [
        Line(_first_that_fits([head], look.width, look)),
        *plain(_table(result, look, few=level >= _FEW_ROWS)),
        *_float_layers(seen, target, look, level),
        *_promises(judged, target, look, level),
        Line(f"  {_first_that_fits(choices, look.width - 2, look)}"),
    ]


def _float_layers(seen: summary.Summary, target: summary.TargetSummary, look: Look, level: int) -> list[Line]:
    """Return which layers a search left in float, in one line, and from which networks a device's result chose."""
    found = summary.float_layers(seen.run, target.target)
    lines = [Line(f"  {_first_that_fits([found], look.width - 2, look)}")] if found else []
    sentences = summary.choice_sentences(seen.run, target.target)
    for each in sentences[:1] if level >= _FEW_ROWS else sentences:
        lines += plain(*wrapped(f"  {each}", 4, look.width).split("\n"))
    rows = [row[1:] for row in seen.choices if row[0] == target.target]
    if rows and level < _FEW_ROWS:
        shown = summary.table(summary.CHOICE_COLUMNS[1:-1], [row[:-1] for row in rows])
        lines += plain(tables.columns(*shown, width=look.width, indent=4, cut_mark=look.cut_mark))
    return lines


def _name(target: summary.TargetSummary, look: Look) -> str:
    version = summary.version_of(target.result)
    return cut(visible(f"{target.target} {version}".strip()), _NAME, look.cut_mark)


def _absent(target: summary.TargetSummary, judged: Sequence[Verdict], look: Look, level: int) -> list[Line]:
    """Return why a target has no numbers, the command to do next, and how many promises wait for them.

    A promise has a line of its own where there is another reason for it, such as that no image has a label.
    """
    result = target.result
    assert not isinstance(result, Measured)
    word = judging.state_word(result)
    state = "" if look.mark(word) == word else f": {summary.state(word)}"
    reason = _first_that_fits([as_sentence(result.reason)], look.width - 2, look)
    now = wrapped(f"  {look.arrow} {target.advice}", 4, look.width).split("\n")
    alike = [each for each in judged if each.verdict == word and each.reason == result.reason]
    found = [_marked(word, [f"{_name(target, look)}{state}"], look, ""), *plain(f"  {reason}", *now)]
    found += [_counted(word, len(alike), look)] if alike else []
    return found + _promises([each for each in judged if each not in alike], target, look, level)


def _table(result: Measured, look: Look, *, few: bool) -> str:
    """Return the variants as a table: with fewer decimals, and without the last columns, where it is too wide."""
    names = [name for name in result.variants if not few or name in ("fp32", "half", result.ships)]
    names_of_times = ("p50 ms", f"{look.times} FP32 (95 %)", "mJ", "images/s")
    head = ("variant", result.shipped.accuracy.name.short, "drop, points (95 %)", "agree", *names_of_times, "MB")
    choices = ((2, None), (1, None), (1, -1), (1, -2), (1, -3))
    found = tables.first_that_fits(
        (
            summary.table(head[:until], [_row(result, name, places)[:until] for name in names])
            for places, until in choices
        ),
        look.width - 2,
    )
    return tables.columns(*found, width=look.width, indent=2, cut_mark=look.cut_mark)


def _row(result: Measured, name: str, places: int) -> tuple[str, ...]:
    variant = result.variants[name]
    accuracy, latency = variant.accuracy, variant.latency
    score, agree = "", summary.agree_cell(accuracy)
    if accuracy.has_labels:
        score, agree = summary.percent(accuracy.score_pct), ""
    times = _times_cell(result, name, variant, places)
    drop, p50 = _drop_cell(name, accuracy, places), summary.p50_cell(latency)
    energy, rate = summary.short_cells(amounts.of(latency))
    return name, score, drop, agree, p50, times, energy, rate, _size(variant)


def _size(variant: Variant) -> str:
    return f"{variant.size_mb:.1f}" if variant.size_mb >= 10 else f"{variant.size_mb:.2f}"


def _drop_cell(name: str, accuracy: AnyAccuracy, places: int) -> str:
    if not accuracy.has_labels or (name == "fp32" and accuracy.agree_pct == 100):
        return ""
    low, high = accuracy.drop_interval_pp()
    return "{} ({} to {})".format(*(summary.signed(value, places) for value in (accuracy.drop_pp, low, high)))


def _times_cell(result: Measured, name: str, variant: Variant, places: int) -> str:
    if name == "fp32" or variant.latency is None or result.latency_of("fp32") is None:
        return ""
    return summary.speedup(name, "fp32", result.latency_of("fp32"), variant.latency).cell(places)


def _promises(judged: Sequence[Verdict], target: summary.TargetSummary, look: Look, level: int) -> list[Line]:
    """Return a line for each promise, the worst last; and for those that have no line of their own, how many."""
    counts = Counter(each.verdict for each in judged)
    counted = {word for word in counts if level >= (_KEPT_COUNTED if word == "KEPT" else _COUNTED)}
    found = []
    for word in judging.WORST_LAST:
        those = [each for each in judged if each.verdict == word]
        if word in counted:
            found.append(_counted(word, counts[word], look))
        else:
            found += [_promise(each, target, look) for each in those]
    return found


def _counted(word: Word, count: int, look: Look) -> Line:
    state = "" if look.mark(word) == word else f" {summary.state(word)}"
    return _marked(word, [f"{summary.promises(count)}{state}"], look, "  ")


def _promise(verdict: Verdict, target: summary.TargetSummary, look: Look) -> Line:
    choices = summary.promise_choices(
        verdict, target.result, lambda name: cut(on_one_line(name), _CLASS, look.cut_mark)
    )
    return _marked(verdict.verdict, choices, look, "  ")


def _marked(word: Word, choices: Sequence[str], look: Look, indent: str) -> Line:
    """Return one line with a verdict's mark in front of it."""
    mark = look.mark(word)
    room = look.width - width(mark) - len(indent) - 1
    return Line(f"{indent}{mark} {_first_that_fits(choices, room, look)}", word, mark)


def _first_that_fits(choices: Sequence[str], room: int, look: Look) -> str:
    """Return the first text that fits; the last one, without its end, where none does."""
    shown = [visible(" ".join(each.split())) for each in choices]
    fitting = next((each for each in shown if width(each) <= room), None)
    if fitting is not None:
        return fitting
    return beginning(shown[-1], room - len(look.cut_mark)) + look.cut_mark


def _tail(seen: summary.Summary, look: Look, files: Files) -> list[Line]:
    """Return what is true of the whole run: noise, a threshold, notes, an early end, and the verdict in its frame."""
    found: list[Line] = [Line("")]
    measured = seen.run.measured
    doubts = (summary.chance_sentence(measured), summary.noise_sentence(measured, seen.timing))
    for sentence in (*doubts, summary.ended_early(seen.run)):
        found += plain(*wrapped(sentence, width=look.width).split("\n")[:3]) if sentence else []
    choices = summary.remarkable_choices(measured)
    found += plain(_first_that_fits(choices, look.width, look)) if choices else []
    count = len(seen.notes)
    if count:
        found.append(Line(f"{count} note{'' if count == 1 else 's'}: `edgeresnet report --notes` or the page"))
    return [*found, *_frame(seen, look, files)]


def _frame(seen: summary.Summary, look: Look, files: Files) -> list[Line]:
    """Return the verdict in a frame, with the files that fit into it: a longer path follows as it is, to be copied."""
    word, symbol = seen.verdict, look.mark(seen.verdict)
    verdict = f"{word}: {seen.meaning}" if symbol == word else f"{symbol} {word}: {seen.meaning}"
    named = {"page": files.page, "report": files.report}
    places = [visible(f"{name}: {path}") for name, path in named.items() if path]
    inside = [each for each in places if width(each) <= look.width - 4]
    first, *framed = tables.framed([verdict, *inside], width=look.width, ascii_only=look.ascii_only)
    top, *rest = framed
    marked = Line(top, word, verdict.partition(":")[0])
    return [Line(first), marked, *map(Line, rest), *(Line(each) for each in places if each not in inside)]
