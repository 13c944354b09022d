"""Runs side by side, on a terminal, as Markdown and as JSON. Computes nothing: `compared` has the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..text import in_json
from . import changes, markdown, terminal, view

_MEASURED = ("target", "as", "run", "top-1", "SQNR", "p50 ms", "p99", "× fp32", "× half", "MB")
_ACCURACY = ("target", "as", "run", "drop pp (95 %)", "agree", "lost/won", "dB")
_LATENCY = ("target", "as", "run", "times as fast (95 %)", "its gain, times (95 %)", "MB")
_SHOWN = 8  # artifacts by name; the JSON document has all


@dataclass(frozen=True)
class _Part:
    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    sentences: Sequence[str] = ()


def terminal_text(found: Mapping[str, Any]) -> str:
    told = []
    for part in _parts(found):
        lines = [terminal.wrapped(part.title)] if part.title else []
        lines += [terminal.columns(*view.filled(part.columns, part.rows))] if part.rows else []
        lines += [terminal.wrapped(sentence) for sentence in part.sentences]
        told.append("\n".join(lines))
    return "\n\n".join(told) + "\n"


def markdown_text(found: Mapping[str, Any]) -> str:
    told = [f"# {len(found['runs'])} runs, held against {markdown.cell(found['runs'][0]['id'])}"]
    for part in _parts(found):
        told += [f"## {markdown.cell(part.title)}"] if part.title else []
        told += [markdown.table(*view.filled(part.columns, part.rows))] if part.rows else []
        told += ["\n".join(f"- {markdown.cell(sentence)}" for sentence in part.sentences)] if part.sentences else []
    return "\n\n".join(told) + "\n"


def json_text(found: Mapping[str, Any]) -> str:
    return in_json(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


FORMATS = {"terminal": terminal_text, "md": markdown_text, "json": json_text}


def _parts(found: Mapping[str, Any]) -> Iterator[_Part]:
    yield _Part("", sentences=[_run(run) for run in found["runs"]])
    absent = [f"{one['run']} {one['target']}: {one['reason']}" for one in found["absent"]]
    if found["measured"] or absent:
        yield _Part("What was measured", _MEASURED, [_measured(row) for row in found["measured"]], absent)
    anew = [one for one in found["differences"] if not one["same_measurement"]]
    rows, apart = [row for one in anew if (row := _accuracy(one))], _why_apart(anew)
    if rows or apart:
        yield _Part("Accuracy against A", _ACCURACY, rows, apart)
    timed = [one for one in anew if not one["latency"]["why_not"]]
    sentences = [*_untold(anew), *([_APART] if timed else [])]
    if timed or sentences:
        yield _Part("Latency and size against A", _LATENCY, [_latency(one) for one in anew], sentences)
    for changed in found["changed"]:
        yield _Part(f"What changed from A to {changed['run']}", sentences=_changed(changed, found))


_APART = (
    "times as fast: the runs were not timed in turn, and the interval knows only how processes of one run differ; the "
    "gain is against a rival that was timed in turn with it, in each run, and counts what moves from hour to hour"
)


def _run(run: Mapping[str, Any]) -> str:
    ended = f"; it {run['ended_early']}" if run["ended_early"] else ""
    return f"{run['name']}  {run['id']}  {run['title']}: {run['verdict']}{ended}"


def _measured(row: Mapping[str, Any]) -> tuple[str, ...]:
    top1 = "not known" if row["top1_pct"] is None else f"{row['top1_pct']:.2f} %"
    gains = (row["times_fp32"], row["times_half"])
    return (
        row["target"],
        row["variant"],
        row["run"],
        top1,
        "" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f} dB",
        view.ms(row["p50_ms"]),
        view.ms(row["p99_ms"]),
        *("" if gain is None else f"{gain['value']:.3f}" for gain in gains),
        f"{row['size_mb']:.2f}",
    )


def _accuracy(one: Mapping[str, Any]) -> tuple[str, ...]:
    """Empty where nothing can be said of it."""
    about = one["accuracy"]
    if "drop_pp" not in about and "agree" not in about:
        return ()
    drop, low, high = (view.signed(about[key]) if key in about else "" for key in ("drop_pp", "low_pp", "high_pp"))
    images = about.get("images")
    return (
        one["target"],
        one["variant"],
        one["run"],
        f"{drop} ({low} to {high})" if drop else "not known",
        f"{100 * about['agree'] / images:.2f} %" if images else "",
        f"{about['flips_lost']}/{about['flips_won']}" if "flips_lost" in about else "",
        "" if about["db_more"] is None else f"{about['db_more']:+.1f}",
    )


def _latency(one: Mapping[str, Any]) -> tuple[str, ...]:
    about = one["latency"]
    gain = about.get("rival_ratio")
    size = view.signed(one["mb_more"])
    if about["why_not"]:
        return (one["target"], one["variant"], one["run"], "not comparable", "", size)
    return (one["target"], one["variant"], one["run"], _span(about["than_first"]), _span(gain) if gain else "", size)


def _span(ratio: Mapping[str, Any]) -> str:
    value, low, high = (None if ratio[key] is None else view.ms(ratio[key]) for key in ("value", "low", "high"))
    return f"{value}, no interval" if high is None else f"{value} ({low} to {high})"


def _why_apart(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    def why(one: Mapping[str, Any]) -> str:
        said, is_told = one["accuracy"]["why_not_paired"], "drop_pp" in one["accuracy"]
        return said and f"{said}: " + ("its interval takes them for independent" if is_told else "not held against A's")

    return [f"{who}: {words}" for who, words in _together((one, why(one)) for one in differences)]


def _untold(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    told = _together((one, one["latency"]["why_not"]) for one in differences)
    return [f"{who}: times are not held against A's: {why}" for who, why in told]


def _together(found: Any) -> list[tuple[str, str]]:
    """What is said of several in the same words is said once: (who, words)."""
    alike: dict[tuple[str, str], dict[str, None]] = {}
    for one, words in found:
        if words:
            alike.setdefault((one["run"], words), {}).update({one["target"]: None})
    return [(f"{run} {', '.join(targets)}", words) for (run, words), targets in alike.items()]


def _changed(changed: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    told = [f"recipe, {_change(one)}" for one in changed["recipe"]] or ["the recipe is the same"]
    told += [f"promise, {_change(one)}" for one in changed["verdicts"]]
    told += _artifacts(changed["artifacts"])
    same = [one["target"] for one in found["differences"] if one["run"] == changed["run"] and one["same_measurement"]]
    if same:
        told.append(
            f"{', '.join(dict.fromkeys(same))}: one and the same measurement in both: nothing was measured anew"
        )
    told += [f"machine, {_change(one)}" for one in changed["machine"]] or ["the machine is the same"]
    return told + [f"version, {_change(one)}" for one in changed["versions"]]


def _change(one: Sequence[Any]) -> str:
    path, before, after = one
    return f"{path}: {changes.shown(before)} → {changes.shown(after)}"


def _artifacts(about: Mapping[str, Any]) -> list[str]:
    if not about["differ"]:
        return ["every artifact is the same"]
    first, *others = about["differ"]
    told = [f"artifacts: {about['same']} are the same; the first that differs is {_step(first)}"]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        told.append(f"after it: {', '.join(one['step'] for one in others[:_SHOWN])}{more}")
    again = [one["step"] for one in about["differ"] if one["same_key"]]
    if again:
        told.append(f"asked for the same, and came out otherwise when it was made anew: {', '.join(again)}")
    return told


def _step(one: Mapping[str, Any]) -> str:
    digests = (each[:12] if each else "not made" for each in (one["before"], one["after"]))
    return f"{one['step']} ({' → '.join(digests)})"
