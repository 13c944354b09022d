"""What is seen first: the verdict in words, and for each target what ships, what it costs and what it brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...portable import judging, timings
from ...text import place
from .. import view
from . import facts
from .element import Child, Markup, el, name


def head(run: Mapping[str, Any], seen: view.View) -> Markup:
    return el(
        "header",
        el("p", el("span", "edgeresnet", class_="brand"), el("span", _when(run), class_="when"), class_="top"),
        el("h1", name(seen.title)),
        el("p", verdict(seen.verdict), " ", f"{seen.meaning[:1].upper()}{seen.meaning[1:]}.", class_="meaning"),
        _ended_early(run),
    )


def cards(run: Mapping[str, Any]) -> Markup | None:
    found = [_card(run, target, result) for target, result in run["results"].items()]
    return el("div", found, class_="cards") if found else None


def verdict(word: str) -> Markup:
    return el("strong", word, class_=f"verdict {word}")


def _when(run: Mapping[str, Any]) -> str:
    """An id begins with the moment, in UTC."""
    day, moment = run["id"][:8], run["id"][9:15]
    if not (day.isdigit() and moment.isdigit() and len(moment) == 6):
        return run["id"]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {moment[:2]}:{moment[2:4]} UTC"


def _ended_early(run: Mapping[str, Any]) -> Markup | None:
    problem = run["problem"]
    if not problem:
        return None
    done = [step["id"] for step in run["steps"] if step["state"] in ("made", "done")]
    where = place(problem) or (f" after step {done[-1]}" if done else " before its first step")
    return el(
        "div",
        el("p", el("b", f"The run ended early{where}.")),
        el("p", name(problem["message"])),
        el("p", name(problem["hint"]), class_="quiet") if problem["hint"] else None,
        el("p", f"Done before: {', '.join(done) or 'nothing'}.", class_="quiet"),
        class_="alert",
        role="note",
    )


def _card(run: Mapping[str, Any], target: str, result: Mapping[str, Any]) -> Markup:
    word = facts.verdict_of(run, target)
    there = "variants" in result
    return el(
        "section",
        el(
            "div",
            el("h2", name(target), el("span", result["candidate"], class_="as") if there else None),
            verdict(word),
            class_="cardhead",
        ),
        el("p", f"{facts.in_words(run, target)}.", class_="inwords"),
        el("div", _top1(result), _latency(result), _size(result), class_="metrics") if there else _absent(result),
        el("p", facts.advised(run, target), class_="advice"),
        class_=f"card {word}",
    )


def _absent(result: Mapping[str, Any]) -> Child:
    word = "not measured here" if result.get("deferred") else "not measured"
    why = el("p", name(f"{result['reason'][:1].upper()}{result['reason'][1:]}."), class_="why")
    return [el("div", [_metric(each, word, []) for each in ("Top-1", "Latency", "Size")], class_="metrics none"), why]


def _top1(result: Mapping[str, Any]) -> Markup:
    counts = judging.candidate(result)["accuracy"]
    images = counts["images"]
    if judging.unlabelled(result):
        agree = f"{100 * counts['agree'] / max(images, 1):.2f} % same answers as FP32"
        return _metric("Top-1", "not known", ["the images have no labels", agree])
    now, low, high = facts.top1(counts["top1"], images)
    before, *span = facts.top1(counts["top1"] + counts["flips_lost"] - counts["flips_won"], images)
    lost, least, most = facts.drop(result)
    return _metric(
        "Top-1",
        f"{before:.2f} → {now:.2f} %",
        [
            f"lost: {lost:.2f} points ({least:+.2f} to {most:+.2f})",
            f"95 % intervals: {span[0]:.2f} to {span[1]:.2f} before,",
            f"{low:.2f} to {high:.2f} now, of {images:,} images",
        ],
    )


def _latency(result: Mapping[str, Any]) -> Markup:
    p50 = facts.p50(judging.candidate(result))
    if p50 is None:
        return _metric("Latency", "not measured", [])
    times = timings.percentiles(judging.candidate(result)["latency"])
    lines = [f"p50 of batch {judging.candidate(result)['latency']['batch']}; p99 {view.ms(times['p99'])} ms"]
    for each in facts.against(result):
        rival = "FP32" if each.rival == "fp32" else "the half-precision twin"
        if each.times is None:
            lines.append(f"not held against {rival}: {each.trouble}")
            continue
        span = " (one process: no interval)"
        if each.low is not None and each.high is not None:
            span = f" ({each.low:.2f} to {each.high:.2f})"
            span += "" if facts.differs(each) else ": no difference is shown"
        lines.append(f"{each.times:.2f} × as fast as {rival}{span}")
    if "half" not in result["variants"]:
        lines.append("no half-precision twin here")
    return _metric("Latency", f"{view.ms(p50)} ms", lines)


def _size(result: Mapping[str, Any]) -> Markup:
    size, whole = judging.candidate(result)["size_mb"], result["variants"].get("fp32", {}).get("size_mb")
    if not whole or result["candidate"] == "fp32":
        return _metric("Size", f"{size:.2f} MB", [])
    return _metric("Size", f"{whole:.2f} → {size:.2f} MB", [f"{100 * size / whole:.0f} % of FP32's"])


def _metric(label: str, value: str, lines: list[str]) -> Markup:
    shown = el("p", value, class_="big" if value[:1].isdigit() else "big none")
    return el("div", el("div", el("p", label, class_="what"), shown), el("div", [el("p", line) for line in lines]))
