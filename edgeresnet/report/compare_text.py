"""A comparison of runs on a terminal, as Markdown and as JSON. `compared` has the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..json_diff import Change, shown
from ..portable import codec
from ..portable.amounts import Amounts
from ..portable.frozen import dataclass
from ..text import in_json, wrapped
from . import markdown, summary, tables
from .changes import ArtifactChange, ArtifactChanges
from .compared import ChangedRun, ComparedRun, Comparison, Difference, MeasuredVariant
from .factors import AmountDifference, Factor

_NAMES = ("target", "as", "run")
_MEASURED = (*_NAMES, "{score}", "SQNR", "p50 ms", "p99", "× fp32", "× half", "MB")
_ACCURACY = (*_NAMES, "drop pp (95 %)", "agree", "lost/won", "dB")
_LATENCY = (*_NAMES, "times as fast (95 %)", "its gain, times (95 %)", "MB")
_PROBABILITIES = (*_NAMES, "mean change (95 %)", "p99", "cross", "ECE")
_AMOUNTS = (*_NAMES, "times A's (95 %)", "against its baseline (95 %)")
_SHOWN = 8  # artifacts by name; the JSON document has all
_NOT_IN_TURN = (
    "times as fast: the runs were not timed in turn, so this interval knows only how processes of one run differ",
    "its gain: each run compares with a baseline that was timed in turn with it; this interval includes the drift "
    "between hours",
)
_AMOUNTS_NOT_IN_TURN = (
    "times A's: the runs were not measured in turn, so this interval knows only how processes of one run differ",
    "against its baseline: each run's ratio to a network that was measured in turn with it; this interval includes "
    "the drift between hours",
)
_NO_INTERVAL = (
    "no interval: the processes are too few for such noisy times. Measure both runs in 3 or more (`verify.processes`)"
)


@dataclass(frozen=True)
class _Section:
    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    sentences: Sequence[str] = ()


def terminal_text(comparison: Comparison) -> str:
    """Return the comparison as plain text that fits 80 columns."""
    parts = []
    for section in _sections(comparison):
        lines = [wrapped(section.title)] if section.title else []
        lines += [tables.columns(*summary.table(section.columns, section.rows))] if section.rows else []
        lines += [wrapped(sentence) for sentence in section.sentences]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def markdown_text(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    parts = [f"# {len(comparison.runs)} runs, compared with {markdown.cell(comparison.runs[0].id)}"]
    for section in _sections(comparison):
        parts += [f"## {markdown.cell(section.title)}"] if section.title else []
        parts += [markdown.table(*summary.table(section.columns, section.rows))] if section.rows else []
        items = [f"- {markdown.cell(sentence)}" for sentence in section.sentences]
        parts += ["\n".join(items)] if items else []
    return "\n\n".join(parts) + "\n"


def json_text(comparison: Comparison) -> str:
    """Return the comparison as JSON."""
    text = json.dumps(codec.encode(comparison), indent=1, ensure_ascii=False, allow_nan=False)
    return in_json(text) + "\n"


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "terminal": terminal_text,
    "md": markdown_text,
    "json": json_text,
}


def _sections(comparison: Comparison) -> Iterator[_Section]:
    yield _Section("", sentences=[_run_sentence(run) for run in comparison.runs])
    absent = [f"{one.run} {one.target}: {one.reason}" for one in comparison.absent]
    if comparison.measured or absent:
        energy, rate = _measured_amounts(comparison.measured)
        absent += [sentence for each in (energy, rate) if not each.rows for sentence in each.sentences]
        score = " or ".join(dict.fromkeys(row.metric for row in comparison.measured))
        heads = tuple(each.format(score=score) for each in _MEASURED)
        yield _Section("What was measured", heads, [_measured_row(row) for row in comparison.measured], absent)
        yield from (each for each in (energy, rate) if each.rows)
    probable = [row for each in comparison.measured if (row := _probable_row(each))]
    if probable:
        yield _Section("Top probability against FP32", _PROBABILITIES, probable, _crossed(comparison.measured))
    remeasured = [one for one in comparison.differences if not one.same_measurement]
    rows, unpaired = [row for one in remeasured if (row := _accuracy_row(one))], _why_not_paired(remeasured)
    if rows or unpaired:
        yield _Section("Accuracy against A", _ACCURACY, rows, unpaired)
    timed = [one for one in remeasured if one.latency and not one.latency.why_not]
    factors = [each for one in timed if one.latency for each in (one.latency.than_first, one.latency.gain) if each]
    open_ended = [_NO_INTERVAL] if any(factor.high is None for factor in factors) else []
    sentences = [*_why_not_timed(remeasured), *open_ended, *(_NOT_IN_TURN if timed else ())]
    if timed or sentences:
        yield _Section("Latency and size against A", _LATENCY, [_latency_row(one) for one in remeasured], sentences)
    yield from _amount_differences(remeasured)
    for changed in comparison.changed:
        yield _Section(f"What changed from A to {changed.run}", sentences=_changed_sentences(changed, comparison))


def _run_sentence(run: ComparedRun) -> str:
    ended = f"; it {run.ended_early}" if run.ended_early else ""
    return f"{run.name}  {run.id}  {run.title}: {run.verdict}{ended}"


def _measured_row(row: MeasuredVariant) -> tuple[str, ...]:
    return (
        row.target,
        row.variant,
        row.run,
        "not known" if row.score_pct is None else summary.percent(row.score_pct),
        "" if row.sqnr_db is None else summary.sqnr(row.sqnr_db),
        summary.ms(row.p50_ms),
        summary.ms(row.p99_ms),
        *("" if factor is None else f"{factor.value:.3f}" for factor in (row.times_fp32, row.times_half)),
        f"{row.size_mb:.2f}",
    )


def _measured_amounts(rows: Sequence[MeasuredVariant]) -> tuple[_Section, _Section]:
    """Return what inferences take, and how many images a second are answered, each with what explains empty cells."""
    known = [(row, Amounts(row.energy, row.throughput)) for row in rows if row.p50_ms is not None]
    named = [((row.target, row.variant, row.run), found) for row, found in known]
    labelled = [((f"{row.run} {row.target}", row.variant), found) for row, found in known]
    energy, rate = summary.energy_table(_NAMES, named), summary.rate_table(_NAMES, named)
    return (
        _Section("Energy of an inference", *energy, summary.energy_sentences(labelled)),
        _Section("Throughput", *rate, summary.rate_sentences(labelled)),
    )


def _amount_differences(differences: Sequence[Difference]) -> Iterator[_Section]:
    """Yield how many times as much energy and throughput there is; once what that knows of noise."""
    energy = _amount_section("Energy", [(one, one.energy) for one in differences])
    rate = _amount_section("Throughput", [(one, one.throughput) for one in differences])
    found = [each for each in (energy, rate) if each.rows or each.sentences]
    explained = next((each for each in reversed(found) if each.rows), None)
    has_ratio = any(row[-1] for each in found for row in each.rows)
    for each in found:
        more = _AMOUNTS_NOT_IN_TURN[: 2 if has_ratio else 1] if each is explained else ()
        yield replace(each, sentences=[*each.sentences, *more])


def _amount_section(title: str, differences: Sequence[tuple[Difference, AmountDifference | None]]) -> _Section:
    """Return how many times as much there is of an amount that one of two runs measured; why, where it is unknown."""
    known = [(one, about) for one, about in differences if about]
    found = [(one, about) for one, about in known if not about.why_not]
    reasons = _grouped((one, about.why_not) for one, about in known)
    sentences = [f"{names}: {title.lower()} is not compared with A's: {why_not}" for names, why_not in reasons]
    factors = [each for _, about in found for each in (about.than_first, about.ratio) if each]
    sentences += [_NO_INTERVAL] if any(factor.high is None for factor in factors) else []
    return _Section(f"{title} against A", _AMOUNTS, [_amount_row(*each) for each in found], sentences)


def _amount_row(one: Difference, about: AmountDifference) -> tuple[str, ...]:
    cells = ("" if each is None else _factor_cell(each) for each in (about.than_first, about.ratio))
    return (one.target, one.variant, one.run, *cells)


def _probable_row(row: MeasuredVariant) -> tuple[str, ...]:
    """Return a row under _PROBABILITIES; empty where nothing is known."""
    if row.mean_change is None:
        return ()
    return (
        row.target,
        row.variant,
        row.run,
        summary.estimate_cell(row.mean_change),
        f"{row.p99_change.value:.4f}" if row.p99_change else "",
        "" if row.crossed is None else str(row.crossed),
        "" if row.calibration_error is None else f"{row.calibration_error:.4f}",
    )


def _crossed(rows: Sequence[MeasuredVariant]) -> list[str]:
    """Return which threshold the images of each run cross."""
    found = {row.run: row.threshold for row in rows if row.threshold is not None}
    if not found:
        return []
    shown = ", ".join(f"{threshold:g} in run {run}" for run, threshold in found.items())
    return [f"cross: images on the other side of the threshold than in FP32 ({shown})"]


def _accuracy_row(one: Difference) -> tuple[str, ...]:
    """Return a row under _ACCURACY; empty where nothing is known."""
    about = one.accuracy
    if about is None or (about.drop_pp is None and about.agree is None):
        return ()
    drop = "not known"
    if about.drop_pp is not None and about.low_pp is not None and about.high_pp is not None:
        drop = f"{summary.signed(about.drop_pp)} ({summary.signed(about.low_pp)} to {summary.signed(about.high_pp)})"
    return (
        one.target,
        one.variant,
        one.run,
        drop,
        summary.percent(100 * about.agree / about.images) if about.agree is not None and about.images else "",
        "" if about.lost is None else f"{about.lost}/{about.won}",
        "" if about.db_more is None else f"{about.db_more:+.1f}",
    )


def _latency_row(one: Difference) -> tuple[str, ...]:
    names, size, about = (one.target, one.variant, one.run), summary.signed(one.mb_more), one.latency
    if about is None or about.than_first is None:
        return (*names, "not comparable", "", size)
    return (*names, _factor_cell(about.than_first), _factor_cell(about.gain) if about.gain else "", size)


def _factor_cell(factor: Factor) -> str:
    value, low = summary.ms(factor.value), summary.ms(factor.low)
    return f"{value}, no interval" if factor.high is None else f"{value} ({low} to {summary.ms(factor.high)})"


def _why_not_paired(differences: Sequence[Difference]) -> list[str]:
    def reason(one: Difference) -> str:
        if one.accuracy is None or not one.accuracy.why_not_paired:
            return ""
        consequence = "it is not compared with A's"
        if one.accuracy.drop_pp is not None:
            consequence = "its interval treats them as independent"
        return f"{one.accuracy.why_not_paired}: {consequence}"

    return [f"{names}: {words}" for names, words in _grouped((one, reason(one)) for one in differences)]


def _why_not_timed(differences: Sequence[Difference]) -> list[str]:
    reasons = _grouped((one, one.latency.why_not if one.latency else "") for one in differences)
    return [f"{names}: times are not compared with A's: {why_not}" for names, why_not in reasons]


def _grouped(reasons: Iterable[tuple[Difference, str]]) -> list[tuple[str, str]]:
    """Return each sentence once, with the run and all targets that it is about."""
    alike: dict[tuple[str, str], dict[str, None]] = {}
    for one, words in reasons:
        if words:
            alike.setdefault((one.run, words), {}).update({one.target: None})
    return [(f"{run} {', '.join(targets)}", words) for (run, words), targets in alike.items()]


def _changed_sentences(changed: ChangedRun, comparison: Comparison) -> list[str]:
    sentences = [f"recipe, {_change(one)}" for one in changed.recipe] or ["the recipe is the same"]
    sentences += [f"promise, {_change(one)}" for one in changed.verdicts]
    sentences += _artifact_sentences(changed.artifacts)
    same = [one.target for one in comparison.differences if one.run == changed.run and one.same_measurement]
    if same:
        targets = ", ".join(dict.fromkeys(same))
        sentences.append(f"{targets}: both runs share one measurement: nothing was measured again")
    sentences += [f"machine, {_change(one)}" for one in changed.machine] or ["the machine is the same"]
    return sentences + [f"version, {_change(one)}" for one in changed.versions]


def _change(one: Change) -> str:
    return f"{one.path}: {shown(one.before)} → {shown(one.after)}"


def _artifact_sentences(about: ArtifactChanges) -> list[str]:
    if not about.differ:
        return ["every artifact is the same"]
    first, *others = about.differ
    sentences = [f"artifacts: {about.same} are the same; the first that differs is {_artifact(first)}"]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        sentences.append(f"after it: {', '.join(one.step for one in others[:_SHOWN])}{more}")
    again = [one.step for one in about.differ if one.same_key]
    if again:
        sentences.append(f"same inputs, different result: {', '.join(again)}")
    return sentences


def _artifact(one: ArtifactChange) -> str:
    digests = (each[:12] if each else "not made" for each in (one.before, one.after))
    return f"{one.step} ({' → '.join(digests)})"
