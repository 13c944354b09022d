"""A finished run, logged to an MLflow tracking server: parameters, metrics with their intervals, tags and files.

Computes nothing and judges nothing: each number is a method of the run's own types. mlflow is imported inside
functions.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import EdgeresnetError, MachineError, first_line
from .portable import amounts, timing_warnings
from .portable.intervals import Interval
from .portable.probabilities import Confidence, Estimate
from .portable.result import Measured, Variant
from .portable.times import Latency
from .runs import Run

if TYPE_CHECKING:
    from .store import Store

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_BASELINES = ("fp32", "half")
_LONGEST = 500  # letters of a parameter, on servers of all ages
_AT_ONCE = 100  # what a server takes in one request
# What mlflow reads from the environment. Nothing is sent to anybody but the server.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
# For the first question: mlflow's own settings ask a server that does not answer for ten minutes.
_FIRST = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_HINT = "check the server, and whether you may write to it; the run is stored: `edgeresnet run` again logs it"
_LOGIN = re.compile(r"//[^/@\s]*@")  # the name and password in an address
_FORBIDDEN = re.compile(r"[^\w\-. /]", re.ASCII)  # in the name of a parameter or metric


def check() -> None:
    """Refuse, before anything is computed, what would keep a run from being logged: no mlflow, or no server named."""
    if importlib.util.find_spec("mlflow") is None:
        raise EdgeresnetError("mlflow", "is not installed", hint="pip install 'edgeresnet[mlflow]'")
    if not os.environ.get(URI):
        hint = f"name the server: export {URI}=http://127.0.0.1:5000"
        raise EdgeresnetError(URI, "is not set", hint=hint)


def log(run: Run, store: Store) -> str:
    """Log a run, and return its place on the server: "experiment edgeresnet, run 1f3…". Raise where that fails.

    A run that ended early, or could be logged only in part, has the status FAILED on the server.
    """
    check()
    with _environment(_SETTINGS), contextlib.redirect_stdout(sys.stderr):  # stdout is for the verdict
        try:
            return _logged(run, store)
        except Exception as problem:  # mlflow, its plug-ins and their stores raise whatever they like
            message = f"is not logged to {os.environ[URI]}: {first_line(problem)}"
            raise MachineError(f"the run {run.id}", _LOGIN.sub("//", message), hint=_HINT) from problem


def _logged(run: Run, store: Store) -> str:
    from mlflow import MlflowClient

    client = MlflowClient()
    name = os.environ.get(EXPERIMENT) or "edgeresnet"
    with _environment(_FIRST):
        found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    made = client.create_run(experiment, run_name=run.id, tags=tags(run))
    here = made.info.run_id
    try:
        _send(client, here, run, store)
    except BaseException:
        with contextlib.suppress(Exception):  # the first failure is the one to report
            client.set_terminated(here, "FAILED")
        raise
    client.set_terminated(here, "FAILED" if run.problem else "FINISHED")
    return f"experiment {name}, run {here}"


def _send(client: Any, here: str, run: Run, store: Store) -> None:
    from mlflow.entities import Metric, Param

    moment = int(1000 * max([0.0, *(each.began for result in run.measured for each in _processes(result))]))
    measured = [Metric(key, value, moment, 0) for key, value in metrics(run).items()]
    given = [Param(key, value) for key, value in parameters(run).items()]
    for start in range(0, max(len(measured), len(given)), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        client.log_batch(here, metrics=measured[part], params=given[part])
    for file in reports(run, store):
        client.log_artifact(here, str(file))
    for target, folder in networks(run, store).items():
        client.log_artifacts(here, str(folder), artifact_path=f"models/{target}")


def _processes(result: Measured) -> list[Any]:
    return [process for latency in result.timed().values() for process in latency.processes]


def parameters(run: Run) -> dict[str, str]:
    """Return what a run was made with: its recipe, key by key, versions and the machine."""
    found = {_name(key): _shown(value) for key, value in _flat(run.recipe) if value is not None}
    found |= {"recipe_digest": run.recipe_digest, "versions.edgeresnet": __version__}
    for result in run.measured:
        found |= {_name(f"versions.{name}"): version for name, version in result.versions.items()}
    return found | {"machine.cpu": _shown(run.machine.cpu.model), "machine.system": _shown(run.machine.system)}


def metrics(run: Run) -> dict[str, float]:
    """Return every number of a run, by target and variant: `openvino/int8/drop_pp`, `…_low`, `…_high`."""
    found: dict[str, float] = {}
    for result in run.measured:
        for name, variant in result.variants.items():
            numbers = {**_accuracy(variant), **_confidence(result.confidence.get(name)), **_latency(result, name)}
            numbers["size_mb"] = variant.size_mb
            found |= {_name(f"{result.target}/{name}/{key}"): value for key, value in numbers.items()}
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}


def tags(run: Run) -> dict[str, str]:
    """Return what a run is searched by: the verdict of all, and of each target, with the digest of what would ship."""
    found = {"edgeresnet.run": run.id, "edgeresnet.verdict": run.verdict, "edgeresnet.recipe_digest": run.recipe_digest}
    for target in run.results:
        found[f"edgeresnet.verdict.{target}"] = run.verdict_of(target)
    for result in run.measured:
        found |= {f"edgeresnet.ships.{result.target}": result.ships}
        found |= {f"edgeresnet.digest.{result.target}": result.shipped.digest}
    return found


def reports(run: Run, store: Store) -> list[Path]:
    """Return the files of a run that the store has: the page, the report, the run itself."""
    every = (store.root / "runs" / f"{run.id}{ending}" for ending in (".html", ".md", ".json"))
    return [path for path in every if path.is_file()]


def networks(run: Run, store: Store) -> dict[str, Path]:
    """Return the folder of what would ship on each target. What a device built is not here."""
    digests = {step.digest for step in run.steps}
    shipped = {result.target: result.shipped.digest for result in run.measured}
    return {target: store.artifact_of(run, digest).path for target, digest in shipped.items() if digest in digests}


def _accuracy(variant: Variant) -> dict[str, float]:
    counts = variant.accuracy
    found: dict[str, float] = {"images": counts.images}
    if not counts.uncompared:
        found["agree_pct"] = counts.agree_pct
    if counts.sqnr_db is not None:
        found["sqnr_db"] = counts.sqnr_db
    if not counts.has_labels:
        return found
    score = f"{counts.name.key}_pct"
    intervals = {score: counts.score_interval_pct(), "drop_pp": counts.drop_interval_pp()}
    found |= {score: counts.score_pct, "drop_pp": counts.drop_pp}
    for key, (low, high) in intervals.items():
        found |= {f"{key}_low": low, f"{key}_high": high}
    return found


def _confidence(about: Confidence | None) -> dict[str, float]:
    """Return what changed of the probabilities."""
    if about is None:
        return {}
    found = {**_estimate("mean_change", about.mean_change), **_estimate("p99_change", about.p99_change)}
    if about.crossings:
        low, high = about.crossings.interval_pct()
        found |= {"fell_below_threshold": about.crossings.fell, "rose_above_threshold": about.crossings.rose}
        found |= {"crossed_pct": about.crossings.share_pct, "crossed_pct_low": low, "crossed_pct_high": high}
    if about.calibration:
        found |= {"calibration_error": about.calibration.now, "calibration_error_fp32": about.calibration.before}
        found |= _estimate("calibration_error_change", about.calibration.change)
    return found


def _estimate(name: str, found: Estimate) -> dict[str, float]:
    high = {} if found.high is None else {f"{name}_high": found.high}
    return {name: found.value, f"{name}_low": found.low, **high}


def _latency(result: Measured, name: str) -> dict[str, float]:
    """Return times, and how many times as fast it is as the baselines that were timed in turn with it."""
    latency = result.latency_of(name)
    host = latency.host if latency else None
    if host is None:
        return {}
    found = {"p50_ms": host.p50, "p90_ms": host.p90, "p99_ms": host.p99}
    for baseline in _BASELINES:
        if ratio := timing_warnings.ratio(result, baseline, name):
            found[f"speedup_{baseline}"] = ratio.value
            if ratio.has_interval:
                found |= {f"speedup_{baseline}_low": ratio.low, f"speedup_{baseline}_high": ratio.high}
    return found | (_amounts(latency) if latency else {})


def _amounts(latency: Latency) -> dict[str, float]:
    """Return energy and throughput with their intervals, where they were measured."""
    energy, rate = amounts.energy(latency), amounts.rate(latency)
    found: dict[str, float] = {}
    if not isinstance(energy, str):
        found |= {"energy_mj": energy.mj, "power_w": energy.watts, **_ends("energy_mj", energy.interval)}
        found |= {} if energy.idle_w is None else {"idle_w": energy.idle_w}
    if not isinstance(rate, str):
        found |= {"images_per_s": rate.images_per_s, **_ends("images_per_s", rate.interval)}
    return found


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {} if interval.is_open else {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the leaves of a recipe with their paths: `targets.openvino.where`."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _flat(each, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _name(key: str) -> str:
    """Return a name that servers take. A class or a layer may have any letters."""
    return _FORBIDDEN.sub("_", key)[:250]


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while; what the user set stays."""
    before = {key: os.environ.get(key) for key in settings}
    ours = [key for key, value in before.items() if value in (None, _SETTINGS.get(key))]
    os.environ.update({key: settings[key] for key in ours})
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)
        os.environ.update({key: value for key, value in before.items() if value is not None})
