"""Runs logged to MLflow: what is sent, what becomes of a failure, and a real server that has it all."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgeresnet import recipe, tracking
from edgeresnet.cli import _logging, _running
from edgeresnet.errors import EdgeresnetError, ModelError
from edgeresnet.portable.result import Measured
from edgeresnet.runs import Run
from edgeresnet.store import Store

from .cli.conftest import call_main
from .conftest import tiny, write_recipe
from .report import runs

HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None and importlib.util.find_spec("sqlalchemy") is not None


class Client:
    """A stand-in for mlflow's client: it records what it is given, and fails where it is told to."""

    fails = ""
    problem: Exception = ConnectionError("no server answers\nat that address")
    seen: dict[str, Any] = {}  # noqa: RUF012

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            print("mlflow prints to stdout")
            if name == Client.fails:
                raise Client.problem
            Client.seen.setdefault(name, []).append((given, named, dict(os.environ)))
            if name == "create_run":
                return _Made()
            return None if name == "get_experiment_by_name" else "7"

        return call


class _Made:
    class info:  # noqa: N801
        run_id = "abc"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    """Put a stand-in in the place of mlflow, and name a server."""
    module, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    module.__spec__ = importlib.machinery.ModuleSpec("mlflow", None)
    module.__dict__["MlflowClient"] = Client
    entities.__dict__.update(Metric=lambda *given: given, Param=lambda *given: given)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setenv(tracking.URI, "http://127.0.0.1:9")
    monkeypatch.setattr(Client, "fails", "")
    monkeypatch.setattr(Client, "seen", {})
    return Client


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.mark.unit
def test_the_metrics_are_the_runs_numbers_with_their_intervals() -> None:
    run = runs.run()
    found, shipped = tracking.metrics(run), run.measured[0].shipped
    accuracy, latency = shipped.accuracy, shipped.latency
    assert latency is not None
    ratio = latency.speedup_over(run.measured[0].timed()["fp32"])
    assert found["openvino/int8/top1_pct"] == accuracy.score_pct
    assert found["openvino/int8/drop_pp"] == accuracy.drop_pp
    ends = found["openvino/int8/drop_pp_low"], found["openvino/int8/drop_pp_high"]
    assert ends == tuple(accuracy.drop_interval_pp())
    assert found["openvino/int8/p50_ms"] == latency.p50
    assert [found[f"openvino/int8/speedup_fp32{end}"] for end in ("", "_low", "_high")] == list(ratio)
    assert found["openvino/int8/speedup_half"] > 1
    assert found["openvino/fp32/size_mb"] == 1.0
    assert "openvino/fp32/speedup_fp32" not in found


@pytest.mark.unit
def test_energy_and_throughput_are_metrics_where_they_were_measured() -> None:
    made = runs.with_amounts(runs.result(), runs.Amounts(9.0, rate=1000.0), half=runs.Amounts("no sensor"))
    run = runs.run(results={"openvino": made})
    found, latency = tracking.metrics(run), run.measured[0].shipped.latency
    assert latency is not None
    assert not isinstance(latency.energy, str)
    ends = found["openvino/int8/energy_mj_low"], found["openvino/int8/energy_mj_high"]
    assert ends == tuple(latency.energy.interval)
    assert found["openvino/int8/energy_mj"] == latency.energy.mj
    assert found["openvino/int8/idle_w"] == 4.1
    assert found["openvino/int8/images_per_s"] == pytest.approx(1000)
    assert found["openvino/int8/images_per_s_low"] < 1000 < found["openvino/int8/images_per_s_high"]
    assert not any("energy" in key or key.endswith("_w") for key in found if "/half/" in key)


@pytest.mark.unit
def test_what_is_not_known_is_not_a_metric() -> None:
    made = runs.result(labels=None)
    for variant in made["variants"].values():
        variant["accuracy"] = {key: variant["accuracy"][key] for key in ("images", "agree")} | {"sqnr_db": None}
    made["variants"]["int8"]["latency"] = runs.latency(1.0, processes=1)
    made["variants"]["fp32"]["latency"] = runs.latency(2.0, processes=1)
    made["variants"]["half"]["latency"] = None
    results = {"openvino": made, "tensorrt": runs.deferred("tensorrt", "waits")}
    found = tracking.metrics(runs.run(results=results))
    assert {key.split("/")[2] for key in found if "/half/" in key} == {"images", "agree_pct", "size_mb"}
    assert "openvino/int8/speedup_fp32" in found
    assert not any("tensorrt" in key or "top1" in key or "drop" in key or "sqnr" in key for key in found)
    assert not any(key.endswith("_high") for key in found), "one process has no interval"


@pytest.mark.unit
def test_two_processes_that_differ_widely_have_no_interval() -> None:
    made = runs.result()
    made["variants"]["int8"]["latency"] = runs.latency(1.0, processes=2)
    made["variants"]["fp32"]["latency"] = runs.latency(1.0, processes=2)
    made["variants"]["half"]["latency"] = None
    windows = made["variants"]["int8"]["latency"]["processes"][1]["host_ms"]
    made["variants"]["int8"]["latency"]["processes"][1]["host_ms"] = [[60 * ms for ms in each] for each in windows]
    found = tracking.metrics(runs.run(results={"openvino": made}))
    assert "openvino/int8/speedup_fp32" in found
    assert not {"openvino/int8/speedup_fp32_low", "openvino/int8/speedup_fp32_high"} & found.keys()


@pytest.mark.unit
def test_parameters_are_the_recipe_flattened_and_of_names_that_servers_take() -> None:
    document = runs.document()
    document["recipe"]["model"]["checkpoint"] = "x" * 900
    document["recipe"]["quantize"]["exclude"] = ["^fc$", "a:b"]
    document["recipe"]["extra"] = {"a:b ✓": 1, "none": None}
    run = runs.decoded(document)
    found = tracking.parameters(run)
    assert found["model.arch"] == "cifar_resnet8"
    assert found["promises.max_drop_pp"] == "2.0"
    assert json.loads(found["quantize.exclude"]) == ["^fc$", "a:b"]
    assert len(found["model.checkpoint"]) == 500
    assert found["extra.a_b _"] == "1"
    assert "extra.none" not in found
    assert (found["recipe_digest"], found["versions.openvino"]) == (run.recipe_digest, "1.2")
    assert found["machine.cpu"] == "Some CPU"


@pytest.mark.unit
def test_tags_name_the_verdict_of_each_target_and_what_would_ship() -> None:
    results = {"openvino": runs.result(), "tensorrt": runs.deferred("tensorrt", "waits")}
    run = runs.run(results=results, verdict="DEFERRED")
    found = tracking.tags(run)
    assert found["edgeresnet.verdict"] == "DEFERRED"
    assert (found["edgeresnet.verdict.openvino"], found["edgeresnet.verdict.tensorrt"]) == ("KEPT", "DEFERRED")
    assert found["edgeresnet.digest.openvino"] == run.measured[0].shipped.digest


@pytest.mark.unit
def test_a_long_run_is_sent_in_parts_and_nothing_reaches_stdout(
    client: type[Client], store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "_AT_ONCE", 7)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    run = runs.run()
    store.save_run(run)
    assert tracking.log(run, store) == "experiment edgeresnet, run abc"
    batches = [named for _, named, _ in client.seen["log_batch"]]
    assert {key: value for each in batches for key, value, *_ in each["metrics"]} == tracking.metrics(run)
    assert {key: value for each in batches for key, value in each["params"]} == tracking.parameters(run)
    assert max(len(each["metrics"]) for each in batches) == 7
    assert [Path(given[1]).suffix for given, _, _ in client.seen["log_artifact"]] == [".json"]
    (ended,) = client.seen["set_terminated"]
    assert ended[0] == ("abc", "FINISHED")
    asked = client.seen["get_experiment_by_name"][0][2]
    assert (asked["MLFLOW_HTTP_REQUEST_TIMEOUT"], asked["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) == ("10", "5")
    assert asked["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "MLFLOW_DISABLE_TELEMETRY" not in os.environ, "the environment is as it was"
    out, err = capsys.readouterr()
    assert (out, "mlflow prints" in err) == ("", True)


@pytest.mark.unit
@pytest.mark.parametrize("fails", ["get_experiment_by_name", "create_run", "log_batch", "set_terminated"])
@pytest.mark.parametrize("code", [0, 3, 4])
def test_a_failure_is_one_line_and_the_verdict_stays(
    client: type[Client],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: str,
    code: int,
) -> None:
    monkeypatch.setattr(client, "fails", fails)
    run = runs.run()
    store.save_run(run)
    assert _logging.log_run(run, store, "mlflow", code) == (code or 5)
    lines = [line for line in capsys.readouterr().err.splitlines() if "mlflow prints" not in line]
    (line,) = lines
    assert line.startswith(f"warning: the run {run.id} is not logged to http://127.0.0.1:9: no server answers (")
    assert store.load_run(run.id) == run
    if fails == "log_batch":
        (ended,) = client.seen["set_terminated"]
        assert ended[0] == ("abc", "FAILED"), "half a run is not taken for a complete one"


@pytest.mark.unit
def test_a_password_in_the_address_is_not_printed(
    client: type[Client], store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(tracking.URI, "https://me:secret@host:5000")
    monkeypatch.setattr(client, "fails", "create_run")
    monkeypatch.setattr(client, "problem", OSError("cannot reach https://me:secret@host:5000/api"))
    assert _logging.log_run(runs.run(), store, "mlflow", 0) == 5
    err = capsys.readouterr().err
    assert "secret" not in err
    assert "cannot reach https://host:5000/api" in err


@pytest.mark.unit
def test_without_the_option_nothing_is_looked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    _logging.check(None)
    assert _logging.log_run(runs.run(), store, None, 3) == 3


@pytest.mark.unit
def test_what_is_missing_is_reported_before_anything_is_computed(
    client: type[Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, tiny())
    monkeypatch.delenv(tracking.URI)
    assert call_main(monkeypatch, ("run", "recipe.yaml", "--log", "mlflow")) == 2
    assert capsys.readouterr().err.startswith("error: MLFLOW_TRACKING_URI is not set (name the server: ")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mlflow" else real(name, *rest)
    )
    assert call_main(monkeypatch, ("run", "recipe.yaml", "--log", "mlflow")) == 2
    assert capsys.readouterr().err == "error: mlflow is not installed (pip install 'edgeresnet[mlflow]')\n"
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize("problem", [ModelError("it", "has no end", hint="give another"), ValueError("a bug")])
def test_a_run_that_fails_halfway_is_logged_as_failed_with_its_parameters(
    client: type[Client],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    problem: Exception,
) -> None:
    halfway = runs.run(
        problem={"message": "it", "hint": "", "step": "trace"}, results={}, verdicts=[], verdict="NOT_MEASURED"
    )

    def run(*given: Any, on_failure: Callable[[Run], None], **named: Any) -> Run:
        store.save_run(halfway)
        on_failure(halfway)
        raise problem

    monkeypatch.setattr("edgeresnet.pipeline.run", run)
    with pytest.raises(type(problem)):
        _running.run_recipe(recipe.parse(tiny()), store, log="mlflow", quiet=True, verbose=False)
    (ended,) = client.seen["set_terminated"]
    assert ended[0] == ("abc", "FAILED")
    sent = {key: value for _, named, _ in client.seen["log_batch"] for key, value in named["params"]}
    assert sent == tracking.parameters(halfway)
    assert sent["model.arch"] == "cifar_resnet8"
    assert "logged: experiment edgeresnet, run abc" in capsys.readouterr().err
    monkeypatch.setattr(client, "fails", "create_run")
    with pytest.raises(type(problem)):
        _running.run_recipe(recipe.parse(tiny()), store, log="mlflow", quiet=True, verbose=False)
    assert "is not logged to" in capsys.readouterr().err, "and the run's own error is raised all the same"


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (("verify", "net.onnx"), "onnxruntime"),
        (("export", "net.onnx", "--target", "onnxruntime", "--precision", "fp32", "--output", "out"), "onnxruntime"),
    ],
)
def test_verify_and_export_log_the_run_that_they_make(
    client: type[Client], store: Store, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], target: str
) -> None:
    made = runs.run(results={target: runs.deferred(target, "waits")})
    store.save_run(made)
    monkeypatch.setattr("edgeresnet.cli._one_shot.recipe_of", lambda *given, **named: ({}, ""))
    wanted = SimpleNamespace(targets={target: None}, model=SimpleNamespace(title="net"))
    monkeypatch.setattr("edgeresnet.cli._one_shot.parsed", lambda *given: wanted)
    monkeypatch.setattr("edgeresnet.pipeline.run", lambda *given, **named: made)
    call_main(monkeypatch, (*words, "--store", store.root, "--log", "mlflow"))
    (created,) = client.seen["create_run"]
    assert created[1]["run_name"] == made.id
    (ended,) = client.seen["set_terminated"]
    assert ended[0] == ("abc", "FINISHED")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("export", "net.onnx", "--output", "net2.onnx"), "--log cannot be given without --target"),
        (("verify", "net.onnx", "--explain"), "--log cannot be combined with --explain"),
    ],
)
def test_what_makes_no_run_refuses_to_log_one(
    client: type[Client],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    problem: str,
) -> None:
    assert call_main(monkeypatch, (*words, "--log", "mlflow")) == 2
    assert problem in capsys.readouterr().err


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow server` with its SQLite store, on this machine alone."""
    if not HAS_MLFLOW:
        pytest.skip("mlflow with its server is not installed: `make test-slow` installs it")
    folder, port = tmp_path_factory.mktemp("mlflow"), _free_port()
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_a_real_server_has_the_whole_run(
    server: str, own_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(tracking.URI, server)
    monkeypatch.setenv(tracking.EXPERIMENT, "my networks")
    path = write_recipe(tmp_path, tiny())
    words = ("run", path, "--store", own_store.root, "--log", "mlflow", "--json")
    assert call_main(monkeypatch, words) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "KEPT", "stdout is the verdict's alone"
    assert "logged: experiment my networks, run " in err

    run: Run = own_store.load_run()
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("my networks")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id], "tags.`edgeresnet.verdict` = 'KEPT'")
    assert (found.info.run_name, found.info.status) == (run.id, "FINISHED")
    assert found.data.metrics == pytest.approx(tracking.metrics(run))
    assert found.data.params == tracking.parameters(run)
    assert found.data.params["model.arch"] == "cifar_resnet8"
    assert tracking.tags(run).items() <= found.data.tags.items()
    names = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert names == {"models", *(f"{run.id}.{ending}" for ending in ("html", "md", "json"))}
    assert not os.environ.get("MLFLOW_DISABLE_TELEMETRY")
    got = client.download_artifacts(found.info.run_id, f"{run.id}.json", str(tmp_path))
    assert Store.open(tmp_path / "other").load_run(got) == run, "the run can be read from what was logged"
    result = run.results["onnxruntime"]
    assert isinstance(result, Measured)
    shipped = own_store.artifact_of(run, result.shipped.digest).path / "model.onnx"
    network = client.download_artifacts(found.info.run_id, "models/onnxruntime/model.onnx", str(tmp_path))
    assert Path(network).read_bytes() == shipped.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MLFLOW, reason="mlflow is not installed: `make test-slow` installs it")
@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_a_server_that_does_not_answer_is_a_warning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.URI, f"http://127.0.0.1:{_free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = runs.run()
    store.save_run(run)
    with pytest.raises(EdgeresnetError, match=r"is not logged to http://127\.0\.0\.1"):
        tracking.log(run, store)
