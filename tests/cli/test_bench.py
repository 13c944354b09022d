"""The command `bench`: networks timed in turn, what is printed and stored, and how it ends when it is interrupted."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgeresnet import pipeline, recipe, targets
from edgeresnet.bench import Absent, Bench, Subject, _meter
from edgeresnet.cli import _help
from edgeresnet.errors import TargetError
from edgeresnet.graph import canonical
from edgeresnet.portable import amounts, codec, energy, worker
from edgeresnet.portable.amounts import EnergyAmount
from edgeresnet.portable.energy import Meter
from edgeresnet.portable.sensors import Rail, Sensor
from edgeresnet.portable.session import Availability, Signature
from edgeresnet.portable.times import NO_RATE
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import result_of, step_of, tiny
from ..graph.classifier import classifier
from .conftest import Command, err_of, expect, out_of, refused

OnnxRuntime: Any = type(targets.get("onnxruntime"))


class Refuses(OnnxRuntime):
    name, title = "picky", "Picky"

    def compile(self, *arguments: Any) -> Any:
        raise TargetError("the network", "has no Conv", hint="another one")


class Remote(Refuses):
    name, title = "remote", "Remote"

    def available(self, options: Any = None) -> Availability:
        return Availability(False, "no device", hint="plug it in")


def _fixed(net: Path, batch: int, name: str) -> None:
    model = onnx.load(net)
    canonical.set_batch(model, batch)
    onnx.save(model, name)


def raw_values(out: str) -> Bench:
    return codec.decode(Bench, json.loads(Path(out.split("raw values: ")[1].strip()).read_text()))


def _two_inputs() -> onnx.ModelProto:
    model = classifier()
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 3, 8, 8)))
    return model


@pytest.mark.slow
def test_a_network_against_itself_in_real_processes(
    command: Command, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "start", worker.WorkerProcess)
    code, out, err = command(
        "bench", "net.onnx", "net.onnx", "--target", "onnxruntime", "--processes", 2, "--seconds", 1
    )
    assert code == 0
    head, *rest = out.splitlines()
    assert head.startswith("onnxruntime ")
    assert "batch 1, 2 fresh processes each, in turn" in head
    assert " cores" in rest[0], "the machine, so that a pasted bench says where it was measured"
    table = rest.index("") + 1
    assert rest[table].split() == ["network", "p50", "ms", "p90", "p99", "load", "first", "peak", "MB"]
    assert "net #2: " in out
    assert re.search(r"times as fast as net(, 95 % interval|; 2 processes are too few)", " ".join(out.split()))
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert "timing: 2 of 2 processes" in err
    stored = raw_values(out)
    assert stored.subjects == ("net", "net #2")
    assert (stored.absent, stored.notes, stored.problem) == ((), (), None)
    assert stored.machine.cpu
    for latency in stored.results.values():
        assert len(latency.processes) == 2
        assert all(process.load_ms > 0 and (process.peak_memory_mb or 0) > 20 for process in latency.processes)


def test_the_newest_run_is_the_default_and_every_target_is_named(
    command: Command, own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run(recipe.parse(tiny(targets={"onnxruntime": {}, "openvino": {}})), own_store)
    code, out, err = command("bench", "--store", own_store.root, "-q", "--processes", 1, "--seconds", 1)
    assert (code, err) == (0, "")
    assert "onnxruntime fp32" in out
    assert "openvino fp32: " in out
    assert "; one process gives no interval: use 3 or more" in " ".join(out.split())
    run = own_store.runs()[-1].stem
    out, _ = expect(0, command("bench", run, "--store", own_store.root, "--target", "openvino", "-q", "--seconds", 1))
    assert "onnxruntime" not in out

    gone = Availability(False, "cannot import openvino", hint="pip install openvino")
    monkeypatch.setattr(type(targets.get("openvino")), "available", lambda self, options=None: gone)
    out, _ = expect(4, command("bench", "--store", own_store.root, "-q", "--processes", 1, "--seconds", 1))
    assert "openvino fp32: not timed: OpenVINO is not available" in out
    assert "onnxruntime fp32" in out, "a target that is not here any more leaves the others timed"


class Steady(Meter):
    """Reports 10 W of every window, and 4 W idle: windows of tests are too short to be read."""

    def __init__(self) -> None:
        super().__init__(Sensor("a rail", (Rail("a rail", lambda: 10.0),), is_counter=False))

    def idle_watts(self, seconds: float) -> float:
        return 4.0

    def watts(self, span: object) -> float:
        return 10.0


def test_energy_is_measured_where_there_is_a_sensor(
    command: Command, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("bench", "net.onnx", "--target", "onnxruntime", "-q", "--processes", 1, "--seconds", 1)
    monkeypatch.setattr(energy, "meter", lambda on_card: Steady())
    out, _ = expect(0, command(*asked))
    assert "mJ (95 %)" in out
    assert "Energy by a rail" in out.splitlines()
    stored = raw_values(out)
    found = stored.amounts["net"].energy
    assert found == amounts.of(stored.results["net"]).energy
    assert isinstance(found, EnergyAmount)
    assert (found.watts, found.idle_w) == (pytest.approx(10), 4.0)
    monkeypatch.setattr(energy, "meter", lambda on_card: "this machine has no sensor")
    out, _ = expect(0, command(*asked, "--json"))
    assert json.loads(out)["amounts"]["net"] == {"energy": "this machine has no sensor", "throughput": NO_RATE}


def test_a_cpu_and_a_card_have_one_meter_only_if_a_board_covers_both(
    monkeypatch: pytest.MonkeyPatch, net: Path
) -> None:
    subjects = [
        Subject(name, name, net, Signature("x", 1, 3, 8, "y", 10)) for name in ("onnxruntime", "tensorrt", "openvino")
    ]
    board = Steady()
    for found, expected in (
        ({False: board, True: board}, board),
        ({False: board, True: "no card"}, "these networks run on a CPU and on a card, which have two sensors: "),
        ({False: "no counter", True: "no card"}, "no counter; no card"),
    ):
        monkeypatch.setattr(energy, "meter", lambda on_card, found=found: found[on_card])
        meter = _meter(subjects)
        assert meter is expected or str(meter).startswith(str(expected))
    assert _meter(subjects[:1]) == "no counter"


def test_throughput_of_every_batch_and_number_of_streams(command: Command, net: Path) -> None:
    asked = ("--target", "openvino", "--batch", "2,1", "--streams", "1,2", "--processes", 1, "--json", "-q")
    out, _ = expect(0, command("bench", "net.onnx", *asked))
    done = json.loads(out)
    assert done["results"]["net"]["batch"] == 2
    cells = done["results"]["net"]["processes"][0]["sweep"]
    assert [(cell["batch"], cell["streams"]) for cell in cells] == [(2, 1), (2, 2), (1, 1), (1, 2)]
    assert all(cell["images_per_s"] > 0 for cell in cells)
    assert re.search(r"batch +streams +images/s \(95 %\)", command("bench", "net.onnx", *asked[:-2], "-q")[1])


@pytest.fixture
def coloured(tmp_path: Path, colours: Any, once: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Run]:
    """A run whose recipe names its images from the current folder on, as image files."""
    shutil.copytree(once("coloured", lambda folder: _coloured(folder, colours)), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "own")
    return store, store.load_run()


def _coloured(folder: Path, colours: Any) -> None:
    for name, made in (("train", "b"), ("val", "a")):
        shutil.copytree(colours(made), folder / name)
    raw = tiny(
        model__classes=3,
        preprocessing={"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3},
        images={"training": "train", "evaluation": "val"},
        train__epochs=1,
        verify={"processes": 2, "seconds": 4},  # until windows agree: what is left is for those from the file on
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pipeline.run(recipe.parse(raw), Store.open(folder / "own"))


def test_latency_from_the_file_on_where_images_are_files(command: Command, coloured: Any) -> None:
    store, run = coloured
    latency = result_of(run, "onnxruntime").variants["fp32"].latency
    assert latency
    assert latency.processes[0].file_ms
    assert latency.processes[0].device_ms is None, "onnxruntime has no clock of its own"
    out, _ = expect(0, command("bench", "--store", store.root, "-q", "--processes", 1, "--seconds", 1))
    (table,) = (line for line in out.splitlines() if line.startswith("network"))
    assert table.split()[-5:] == ["file", "load", "first", "peak", "MB"]
    assert "latency with image decoding was not measured" not in out


def test_images_that_are_not_the_runs_are_not_timed_from_the_file_on(
    command: Command, coloured: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, run = coloured
    asked = ("bench", "--store", store.root, "-q", "--processes", 1)
    (tmp_path / "val" / "red" / "000.png").unlink()
    out, _ = expect(0, command(*asked))
    assert "decoding was not measured: the evaluation images have changed since the run" in " ".join(out.split())
    (table,) = (line for line in out.splitlines() if line.startswith("network"))
    assert "file" not in table
    older = {target: replace(result, images=None) for target, result in run.results.items()}
    store.save_run(replace(run, id="29990101-older", results=older))
    assert "the run does not name its evaluation images" in " ".join(command(*asked)[1].split())
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    words = " ".join(out_of(0, command(*asked)).split())
    assert "latency with image decoding was not measured: " in words
    assert "val" in words
    assert "(paths start at the current folder)" in words


def ends(monkeypatch: pytest.MonkeyPatch, number: int, method: str, problem: BaseException) -> None:
    """The process of that number raises this where it comes to that method."""
    started: list[worker.Job] = []
    real = getattr(worker.Worker, method)

    def until_then(self: worker.Worker, *asked: Any) -> Any:
        if len(started) == number:
            raise problem
        return real(self, *asked)

    def start(job: worker.Job) -> worker.Worker:
        started.append(job)
        return worker.Worker(job)

    monkeypatch.setattr(worker.Worker, method, until_then)
    monkeypatch.setattr(worker, "start", start)


def test_an_interruption_prints_and_stores_what_was_measured(
    command: Command, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, 3, "__init__", KeyboardInterrupt())
    out, _ = expect(130, command("bench", "net.onnx", "--target", "onnxruntime", "-q", "--seconds", 2))
    assert "note: interrupted in process 3 of 5\n" in out
    assert len(raw_values(out).results["net"].processes) == 2


def test_a_session_that_fails_later_leaves_what_was_measured(
    command: Command, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, 2, "load", TargetError("the network", "failed during timing: device lost", hint="again"))
    out, _ = expect(4, command("bench", "net.onnx", "--target", "onnxruntime", "-q", "--seconds", 2))
    sentence = "ended in process 2 of 5: net: the network failed during timing: device lost (again)"
    assert sentence in " ".join(out.split())
    problem = raw_values(out).problem
    assert problem
    assert (problem.hint, problem.exit_code) == ("again", 4)


def test_an_interrupted_round_is_stored_and_not_counted(
    command: Command, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, 3, "sweep", KeyboardInterrupt())
    out, err = expect(130, command("bench", "net.onnx", "--target", "onnxruntime", "--streams", "1,2"))
    assert "note: interrupted in process 3 of 5\n" in out
    assert [line for line in err.splitlines() if " of 5 " in line][-1].startswith("timing: 2 of 5 processes")
    processes = raw_values(out).results["net"].processes
    assert [process.cut for process in processes] == [False, False, True]
    assert len(processes[2].host_ms) >= 1
    assert re.search(r"batch +streams +images/s \(95 %\)", out), "of the processes that came so far"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "holds no run yet"),
        (["absent.onnx"], "absent.onnx does not exist"),
        (["net.onnx", "some-run"], "net.onnx, some-run are neither one run nor ONNX files"),
        (["net.onnx", "--batch", "two"], "--batch 'two' is not a list of counts"),
        (["net.onnx", "--batch", "0"], "is not a list of counts"),
        (["net.onnx", "--streams", "x"], "--streams 'x' is not a list of counts"),
        (["net.onnx", "--target", "opnvino"], "is not one of 'onnxruntime', 'openvino'"),
        (["text.onnx", "--target", "openvino"], "text.onnx is not an ONNX file"),
        (["net.onnx", "text.onnx"], "text.onnx is not an ONNX file"),
        (["net.onnx", "--processes", "0"], "--processes"),
        (["net.onnx", "--batch", ""], "--batch '' is not a list of counts"),
        (["net.onnx", "--seconds", "inf"], "--seconds inf is not a time"),
        (["net.onnx", "--seconds", "nan"], "--seconds nan is not a time"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(command: Command, net: Path, arguments: list[str], words: str) -> None:
    Path("text.onnx").write_text("some words")
    assert words in refused(command("bench", *arguments))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            classifier(image=("n", 3, "h", "w")),
            "takes ?×3×?×?, but latency is measured on square images of a fixed size",
        ),
        (classifier(image=("n", 3, 8, 16)), "takes ?×3×8×16, but latency is measured on square images"),
        (
            classifier(image=("n", 8, 8, 3)),
            "takes ?×8×8×3, but latency is measured on square images of a fixed size, channels first",
        ),
        (classifier(image=("n", 192)), "takes ?×192, which is not a batch of images"),
        (classifier(image=None), "takes an unknown shape, which is not a batch of images"),  # type: ignore[arg-type]
        (classifier(kinds=(TensorProto.UINT8, TensorProto.FLOAT)), "takes uint8, not float32"),
        (classifier(kinds=(TensorProto.FLOAT16, TensorProto.FLOAT)), "takes float16, not float32"),
        (_two_inputs(), "has 2 inputs and 1 outputs"),
    ],
)
def test_a_file_whose_images_cannot_be_made_up_is_refused_before_anything_is_compiled(
    command: Command, net: Path, model: onnx.ModelProto, words: str
) -> None:
    onnx.save(model, "odd.onnx")
    assert f"error: odd.onnx {words}" in refused(command("bench", "net.onnx", "odd.onnx"))


def test_a_file_that_leaves_its_answers_shape_out_is_timed(command: Command, net: Path) -> None:
    onnx.save(classifier(logits=None), "ODD.ONNX")
    out, _ = expect(0, command("bench", "ODD.ONNX", "net.onnx", "--processes", 1, "-q", "--seconds", 1))
    words = " ".join(out.split())
    assert "onnxruntime ODD" in words
    assert "note: onnxruntime net takes 1×8×8 images and onnxruntime ODD 3×8×8, so they do different work" in words
    assert "openvino ODD takes" not in words, "as the first one does"


def test_a_target_that_refuses_leaves_the_others_timed(
    command: Command, net: Path, add_target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_help.PART_NAMES, "choices", (*_help.PART_NAMES.choices, "picky", "remote"))
    add_target(Refuses())
    add_target(Remote())
    asked = ("--processes", 1, "--seconds", 1, "-q")
    wanted = ("--target", "remote", "--target", "picky", "--target", "onnxruntime")
    code, out, err = command("bench", "net.onnx", *wanted, *asked)
    assert (code, err) == (4, "")
    assert "picky net: not timed: Picky: the network has no Conv (another one)" in out.splitlines()
    assert "remote net: not timed: Remote is not available: no device (plug it in)" in out.splitlines()
    stored = raw_values(out)
    assert stored.subjects == ("onnxruntime net",)
    assert stored.absent[1] == Absent("picky net", "Picky: the network has no Conv", "another one")
    err = refused(command("bench", "net.onnx", *wanted[:4], *asked), code=4)
    assert "remote net: Remote is not available: no device; picky net: Picky: the network has no Conv" in err


def test_a_fixed_batch_is_timed_at_that_batch_or_refused(command: Command, net: Path) -> None:
    _fixed(net, 4, "fixed.onnx")
    _fixed(net, 2, "other.onnx")
    asked = ("--target", "openvino", "-q", "--processes", 1, "--seconds", 1)
    _, err = expect(2, command("bench", "fixed.onnx", *asked, "--batch", "1,4"))
    assert "fixed has the fixed batch size 4 and cannot be measured with 1" in err
    assert "(use `--batch 4`, or leave out --batch)" in err
    for given in ((), ("--batch", "4")):
        assert "batch 4, 1 fresh process" in out_of(0, command("bench", "net.onnx", "fixed.onnx", *asked, *given))
    err = refused(command("bench", "fixed.onnx", "other.onnx", *asked))
    assert "have different fixed batch sizes and cannot be measured together: fixed 4, other 2" in err


def test_a_network_that_is_gone_from_the_store_is_not_timed(command: Command, own_store: Store) -> None:
    step = step_of(own_store.load_run(), "compile:reference")
    assert step.key
    shutil.rmtree(own_store.path_of("compile", step.key))
    assert "is missing or damaged" in err_of(2, command("bench", "--store", own_store.root))


def test_the_display_of_a_run_hardly_disturbs_what_is_timed_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeresnet.cli import _progress

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with _progress.listener(quiet=False, verbose=False) as shown:
        assert shown.bars.live.refresh_per_second == 1  # type: ignore[attr-defined]


def test_bench_and_verify_measure_alike_by_default() -> None:
    from edgeresnet import cli

    command = cli.cli.get_command(None, "bench")  # type: ignore[arg-type]
    assert command
    defaults = {option.name: option.default for option in command.params}
    default = recipe.Verify()
    assert (defaults["processes"], defaults["seconds"]) == (default.processes, default.seconds)


def test_a_stored_bench_holds_every_raw_value(command: Command, net: Path) -> None:
    out, _ = expect(0, command("bench", "net.onnx", "--target", "onnxruntime", "--processes", 1, "--seconds", 1, "-q"))
    written = json.loads(Path(out.split("raw values: ")[1].strip()).read_text())
    assert codec.encode(codec.decode(Bench, written)) == written
