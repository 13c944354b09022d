"""What is seen first: the verdict in words, and for each target what ships, what it costs and what it brings."""

from __future__ import annotations

from ...portable.result import Measured
from ...runs import Run
from ...text import as_sentence
from ..summary import Metric, Summary, TargetSummary
from .element import Child, Markup, el, name


def head(seen: Summary) -> Markup:
    return el(
        "header",
        el("p", el("span", "edgeresnet", class_="brand"), el("span", _when(seen.run), class_="when"), class_="top"),
        el("h1", name(seen.title)),
        el("p", verdict(seen.verdict), " ", as_sentence(seen.meaning), class_="meaning"),
        _ended_early(seen.run),
    )


def cards(seen: Summary) -> Markup | None:
    return el("div", [_card(each) for each in seen.targets], class_="cards") if seen.targets else None


def verdict(word: str) -> Markup:
    return el("strong", word, class_=f"verdict {word}")


def _when(run: Run) -> str:
    """Return the moment that an id begins with, in UTC."""
    day, moment = run.id[:8], run.id[9:15]
    if not (day.isdigit() and moment.isdigit() and len(moment) == 6):
        return run.id
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {moment[:2]}:{moment[2:4]} UTC"


def _ended_early(run: Run) -> Markup | None:
    problem = run.problem
    if not problem:
        return None
    done = [step.id for step in run.steps if step.state in ("made", "done")]
    where = problem.place or (f" after step {done[-1]}" if done else " before its first step")
    return el(
        "div",
        el("p", el("b", f"The run ended early{where}.")),
        el("p", name(problem.message)),
        el("p", name(problem.hint), class_="quiet") if problem.hint else None,
        el("p", f"Done before: {', '.join(done) or 'nothing'}.", class_="quiet"),
        class_="alert",
        role="note",
    )


def _card(target: TargetSummary) -> Markup:
    ships = el("span", target.ships, class_="as") if target.ships else None
    return el(
        "section",
        el("div", el("h2", name(target.target), ships), verdict(target.verdict), class_="cardhead"),
        el("p", as_sentence(target.meaning), class_="inwords"),
        _metrics(target),
        el("p", target.advice, class_="advice"),
        class_=f"card {target.verdict}",
    )


def _metrics(target: TargetSummary) -> Child:
    metrics = [_metric(each) for each in target.metrics]
    if isinstance(target.result, Measured):
        return el("div", metrics, class_="metrics")
    why = el("p", name(as_sentence(target.result.reason)), class_="why")
    return [el("div", metrics, class_="metrics none"), why]


def _metric(metric: Metric) -> Markup:
    shown = el("p", metric.value, class_="big" if metric.value[:1].isdigit() else "big none")
    lines = el("div", [el("p", line) for line in metric.lines])
    return el("div", el("div", el("p", metric.label, class_="what"), shown), lines)
