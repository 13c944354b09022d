"""The door `bench`: networks side by side, what is printed and kept, and how it ends when it is cut short."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import pipeline, recipe
from edgeresnet.artifact import Store
from edgeresnet.device import worker
from edgeresnet.errors import TargetError

from ..conftest import tiny
from .conftest import Door


def test_a_network_against_itself_in_real_processes(
    door: Door, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "start", worker.Apart)
    code, out, err = door("bench", "net.onnx", "net.onnx", "--target", "onnxruntime", "--processes", 2, "--seconds", 1)
    assert code == 0
    head, *rest = out.splitlines()
    assert head.startswith("onnxruntime ")
    assert "batch 1, 2 fresh processes each, in turn" in head
    assert rest[1].split() == ["network", "p50", "ms", "p90", "p99", "load", "first", "peak", "MB"]
    assert "net #2: " in out
    assert "times as fast as net, 95 % interval" in " ".join(out.split())
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert "timing: 2 of 2 processes" in err
    kept = json.loads(Path(out.split("raw values: ")[1].strip()).read_text())
    assert kept["subjects"] == ["net", "net #2"]
    for raw in kept["results"].values():
        assert len(raw["processes"]) == 2
        assert all(process["load_ms"] > 0 and process["peak_memory_mb"] > 20 for process in raw["processes"])
        assert raw["machine"]["cpu"]


def test_the_newest_run_is_the_default_and_every_target_is_named(door: Door, own_store: Store) -> None:
    pipeline.run(recipe.parse(tiny(targets={"onnxruntime": {}, "openvino": {}})), own_store)
    code, out, err = door("bench", "--store", own_store.root, "-q", "--processes", 1)
    assert (code, err) == (0, "")
    assert "onnxruntime fp32" in out
    assert "openvino fp32: " in out
    assert "in the one process there was: no interval" in " ".join(out.split())
    code, out, _ = door("bench", own_store.runs()[-1].stem, "--store", own_store.root, "--target", "openvino", "-q")
    assert code == 0
    assert "onnxruntime" not in out


def test_throughput_of_every_batch_and_number_of_streams(door: Door, net: Path) -> None:
    asked = ("--target", "openvino", "--batch", "2,1", "--streams", "1,2", "--processes", 1, "--json", "-q")
    code, out, _ = door("bench", "net.onnx", *asked)
    assert code == 0
    done = json.loads(out)
    assert done["results"]["net"]["batch"] == 2
    cells = done["results"]["net"]["processes"][0]["sweep"]
    assert [(cell["batch"], cell["streams"]) for cell in cells] == [(2, 1), (2, 2), (1, 1), (1, 2)]
    assert all(cell["images_per_s"] > 0 for cell in cells)
    code, out, _ = door("bench", "net.onnx", *asked[:-2], "-q")
    assert "batch  streams  images/s" in out


def test_latency_from_the_file_on_where_images_are_files(door: Door, tmp_path: Path, colours: Any) -> None:
    raw = tiny(
        model__classes=3,
        preprocessing={"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3},
        images={"training": str(colours("b")), "evaluation": str(colours("a"))},
        train__epochs=1,
    )
    store = Store.open(tmp_path / "own")
    run = pipeline.run(recipe.parse(raw), store)
    (process, *_) = run["results"]["onnxruntime"]["variants"]["fp32"]["latency"]["processes"]
    assert process["file_ms"]
    assert process["device_ms"] is None, "onnxruntime has no clock of its own"
    code, out, _ = door("bench", "--store", store.root, "-q", "--processes", 1)
    assert code == 0
    assert out.splitlines()[2].split()[-5:] == ["file", "load", "first", "peak", "MB"]


def test_an_interruption_prints_and_keeps_what_was_measured(
    door: Door, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def start(job: worker.Job) -> worker.Worker:
        started.append(1)
        if len(started) == 3:
            raise KeyboardInterrupt
        return worker.Worker(job)

    monkeypatch.setattr(worker, "start", start)
    code, out, _ = door("bench", "net.onnx", "--target", "onnxruntime", "-q")
    assert code == 130
    assert "note: interrupted, after 2 of 5 processes" in out
    kept = json.loads(Path(out.split("raw values: ")[1].strip()).read_text())
    assert len(kept["results"]["net"]["processes"]) == 2


def test_a_session_that_fails_later_leaves_what_was_measured(
    door: Door, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def start(job: worker.Job) -> worker.Worker:
        started.append(1)
        if len(started) == 2:
            raise TargetError("failed while it was timed: device lost", hint="again")
        return worker.Worker(job)

    monkeypatch.setattr(worker, "start", start)
    code, out, _ = door("bench", "net.onnx", "--target", "onnxruntime", "-q")
    assert code == 4
    assert "device lost, after 1 of 5 processes" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "there is no run"),
        (["absent.onnx"], 2, "there is no file absent.onnx"),
        (["net.onnx", "some-run"], 2, "neither one run nor ONNX files"),
        (["net.onnx", "--batch", "two"], 2, "--batch 'two' is not counts"),
        (["net.onnx", "--batch", "0"], 2, "is not counts"),
        (["net.onnx", "--streams", "x"], 2, "--streams 'x' is not counts"),
        (["net.onnx", "--target", "opnvino"], 2, "did you mean openvino?"),
        (["text.onnx", "--target", "openvino"], 4, "OpenVINO CPU refuses text.onnx"),
        (["net.onnx", "--processes", "0"], 2, "--processes"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(door: Door, net: Path, arguments: list[str], code: int, words: str) -> None:
    Path("text.onnx").write_text("this is no network")
    given, out, err = door("bench", *arguments)
    assert (given, out) == (code, "")
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert words in err


def test_a_fixed_batch_is_timed_at_that_batch_or_refused(door: Door, net: Path) -> None:
    import onnx

    from edgeresnet.graph import canonical

    model = onnx.load(net)
    canonical.set_batch(model, 4)
    onnx.save(model, "fixed.onnx")
    code, _, err = door("bench", "fixed.onnx", "--target", "openvino", "--batch", "1,4")
    assert code == 2
    assert "fixed is fixed to batch 4" in err
    code, out, _ = door("bench", "fixed.onnx", "--target", "openvino", "--batch", "4", "-q", "--processes", 1)
    assert code == 0
    assert "batch 4, 1 fresh process" in out


def test_a_network_that_is_gone_from_the_store_is_not_timed(door: Door, own_store: Store) -> None:
    run = own_store.load_run()
    step = next(step for step in run["steps"] if step["id"] == "compile:reference")
    shutil.rmtree(own_store.path_of("compile", step["key"]))
    code, _, err = door("bench", "--store", own_store.root)
    assert code == 2
    assert "no longer whole" in err
