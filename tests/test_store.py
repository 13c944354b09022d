from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from edgeresnet import store as stores
from edgeresnet.errors import ArtifactError, EdgeresnetError, MachineError
from edgeresnet.notes import ExportNotes, TraceNotes, TrainNotes
from edgeresnet.portable import codec, manifest
from edgeresnet.portable.result import Deferred, Measured, NotMeasured, Promise, RunWarning
from edgeresnet.runs import Problem, Run, StepId
from edgeresnet.store import FORMAT, UNSEALED_FORMAT, Artifact, Origin, Store

pytestmark = pytest.mark.unit

KEY = "ab" * 32
NOTES, ORIGIN = ExportNotes("b", 1, 0.5), Origin(4, {"on": "tensorrt"}, {"fp32": "d"}, {"numpy": "2.0"})
FORMAT_2 = Path(__file__).parent / "pipeline" / "run-format-2.json"


def make(store: Store, key: str = KEY, text: str = "content") -> Artifact:
    with store.making("export", key) as making:
        (making.out / "file.txt").write_text(text)
        return making.commit(NOTES, ORIGIN, seconds=1.5, warnings=[RunWarning("a", "b", "c")])


def run(**changes: object) -> Run:
    """Return a small run, as JSON has it."""
    machine = {key: None for key in ("memory_gb", "load", "board", "l4t", "power_mode")}
    cpu = {"model": "CPU", "instructions": [], "cores": 2, "quota": None, "governor": None}
    about = {"id": "20260101-1", "recipe": {"model": {"arch": "resnet18"}}, "recipe_digest": "r", "seconds": 1}
    about |= {"steps": [], "results": {}}
    about |= {"verdicts": [], "verdict": "KEPT", "undecided": "warn", "problem": None}
    about |= {"machine": {**machine, "cpu": cpu, "gpus": [], "system": "Linux", "python": "3.10"}, "format": 3}
    return codec.decode(Run, {**about, **changes})


def rewritten(path: Path, **changes: object) -> None:
    """Change keys of a run's file, and give it the digest that fits."""
    document = {key: value for key, value in json.loads(path.read_text()).items() if key != "digest"} | changes
    path.write_text(json.dumps({**document, "digest": manifest.digest_of(document)}))


def test_what_was_made_is_found_and_its_digest_is_of_the_content_and_its_key_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = make(store)
    found, problem = store.find("export", KEY)
    assert found == one
    assert problem == ""
    assert not list((tmp_path / "work").iterdir())
    other, third = make(store, "cd" * 32), make(store, "ef" * 32, "else")
    assert one.digest == other.digest != third.digest
    assert one.key != other.key


@pytest.mark.parametrize("damage", ["byte", "manifest", "missing", "extra", "format", "notes", "unsealed"])
def test_a_damaged_artifact_is_a_miss_that_says_why(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    folder = make(store).path
    if damage == "byte":
        (folder / "file.txt").write_text("Content")
    elif damage == "manifest":
        (folder / "manifest.json").unlink()
    elif damage == "missing":
        (folder / "file.txt").unlink()
    elif damage == "extra":
        (folder / "new").touch()
    else:
        changed = {
            "format": (f'"format": {FORMAT}', '"format": 99'),
            "notes": ('"bundle"', '"parcel"'),
            "unsealed": ('"seal"', '"sea1"'),
        }
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace(*changed[damage]))
    found, problem = store.find("export", KEY)
    assert found is None
    assert str(folder) in problem
    make(store)
    assert store.find("export", KEY)[0] is not None


def test_a_manifest_holds_what_enters_the_key_and_what_was_reported(tmp_path: Path) -> None:
    made = make(Store(tmp_path)).manifest
    assert (made.stage, made.stage_version, made.notes, made.seconds) == ("export", 4, NOTES, 1.5)
    assert (made.spec, made.parents, made.libraries) == (ORIGIN.spec, ORIGIN.parents, ORIGIN.libraries)
    assert made.warnings == (RunWarning("a", "b", "c"),)
    assert [file.name for file in made.files] == ["file.txt"]


def test_a_manifest_whose_warnings_are_text_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = make(store).path / "manifest.json"
    older = {key: value for key, value in json.loads(path.read_text()).items() if key != "seal"}
    path.write_text(json.dumps({**older, "format": UNSEALED_FORMAT, "warnings": ["a sentence: with a colon"]}))
    found, problem = store.find("export", KEY)
    assert found is not None, problem
    assert found.manifest.warnings == (RunWarning("", "a sentence: with a colon"),)
    assert str(found.manifest.warnings[0]) == "a sentence: with a colon"


def test_an_artifact_whose_manifest_does_not_fit_is_not_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, other = make(store), make(store, "cd" * 32)
    (one.path / "manifest.json").write_text('{"files": [], "key": "ab"}')
    assert list(store.artifacts()) == [other]


def test_a_failed_making_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.making("export", KEY) as making:
        (making.out / "half").touch()
        raise RuntimeError
    assert store.find("export", KEY) == (None, "")
    assert not list((tmp_path / "work").iterdir())


def test_scratch_survives_an_interruption_and_goes_with_success(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.making("export", KEY) as making:
        (making.scratch / "state").write_text("epoch 3")
        raise KeyboardInterrupt
    with store.making("export", KEY) as making:
        assert (making.scratch / "state").read_text() == "epoch 3"
        making.commit(NOTES, ORIGIN)
    assert not making.scratch.exists()


def test_what_a_kill_after_the_last_rename_left_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    left = tmp_path / "work" / f"export-{KEY[:24]}"
    (left / "scratch").mkdir(parents=True)
    store.tidy("export", KEY)
    assert not left.exists()
    with store.making("export", KEY) as making:
        store.tidy("export", KEY)  # it is being made: hands off
        assert making.scratch.exists()
        making.commit(NOTES, ORIGIN)


def test_two_makers_of_one_key_take_turns(tmp_path: Path) -> None:
    order: list[str] = []

    def work(name: str) -> None:
        with Store(tmp_path).making("export", KEY) as making:
            order.append(f"{name} in")
            time.sleep(0.05)
            (making.out / "file").write_text(name)
            making.commit(NOTES, ORIGIN)
            order.append(f"{name} out")

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [step.split()[1] for step in order] == ["in", "out", "in", "out"]


def test_a_prefix_finds_one_artifact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = make(store)
    make(store, "cd" * 32, "else")
    assert store.by_prefix(made.digest[:10]).digest == made.digest
    with pytest.raises(ArtifactError, match="does not match any artifact"):
        store.by_prefix("zz")
    with pytest.raises(ArtifactError, match="2 artifacts"):
        store.by_prefix("")


def test_runs_are_read_newest_first_and_refused_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ArtifactError, match="holds no run yet"):
        store.load_run()
    for name in ("20260101-1", "20260102-1"):
        store.save_run(run(id=name))
    assert store.load_run().id == "20260102-1"
    assert store.load_run("20260101-1") == run()
    assert store.load_run(str(tmp_path / "runs" / "20260101-1.json")).id == "20260101-1"
    with pytest.raises(ArtifactError, match="'other' does not match any run"):
        store.load_run("other")
    rewritten(store.save_run(run(id="20260103-1")), format=7)
    with pytest.raises(ArtifactError, match="format 7, but this version reads 2 and 3"):
        store.load_run()
    (tmp_path / "runs" / "20260104-1.json").write_text("{")
    with pytest.raises(ArtifactError, match="it is not JSON: line 1, column 2"):
        store.load_run()
    assert store.load_run("20260102").id == "20260102-1"
    with pytest.raises(ArtifactError, match="matches 4 runs"):
        store.load_run("2026")


def test_a_run_that_does_not_fit_is_refused_with_the_place_and_a_way_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.save_run(run())
    machine = json.loads(path.read_text())["machine"]
    rewritten(path, machine={**machine, "cpu": {**machine["cpu"], "cores": "two"}})
    with pytest.raises(ArtifactError, match=r"machine\.cpu\.cores: is a string, not an integer") as caught:
        store.load_run()
    assert str(path) in caught.value.message
    assert "run the recipe again" in caught.value.hint


def test_a_run_of_format_2_is_upgraded_when_it_is_read(tmp_path: Path) -> None:
    """By hand after a real one: every kind of result, of step id and of promise, and warnings as text."""
    store, path = Store(tmp_path), tmp_path / "old.json"
    path.write_text(FORMAT_2.read_text())
    with pytest.raises(ArtifactError, match="a report of a run"):
        store.load_run(str(path))
    rewritten(path)
    found = store.load_run(str(path))
    assert found.format == 3
    measured, deferred, absent = (found.results[name] for name in ("onnxruntime", "tensorrt", "openvino"))
    assert isinstance(measured, Measured)
    assert measured.ships == "int8"
    assert measured.shipped.accuracy.images == 4
    assert measured.shipped.latency is not None
    assert measured.shipped.latency.p50 is not None
    assert isinstance(deferred, Deferred)
    assert absent == NotMeasured("openvino", "is not here: no module", "pip install openvino")
    steps = {step.id: step for step in found.steps}
    ids = [StepId("trace", variant="dense"), StepId("compile", "reference", "pruned"), StepId("verify", "openvino")]
    assert [steps[str(each)].step for each in ids] == ids
    assert isinstance(steps["train"].notes, TrainNotes)
    assert isinstance(steps["trace:dense"].notes, TraceNotes)
    assert steps["train"].warnings == (RunWarning("", "3 unreadable training images were left out: a.png"),)
    assert [verdict.promise for verdict in found.verdicts] == [
        Promise("max_drop_pp", 3.5),
        Promise("min_recall_pct", 90.0, "3"),
    ]
    assert found.problem == Problem("interrupted", "run it again: finished stages are kept", "verify:openvino")
    assert store.load_run(str(store.save_run(found))) == found


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"steps": [{"id": "train"}]}, r"steps\[0\]"),
        ({"steps": 3}, "is an integer, not a list"),
        ({"results": {"openvino": []}}, "is a list, not an object"),
        ({"verdicts": [{"promise": "max_drop_pp"}]}, r"verdicts\[0\]"),
    ],
)
def test_a_run_of_format_2_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], place: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(FORMAT_2.read_text())
    rewritten(path, **changes)
    with pytest.raises(ArtifactError, match=place):
        Store(tmp_path).load_run(str(path))


def test_a_runs_artifact_is_its_own_and_no_later_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = make(store)
    step: dict[str, object] = {
        "step": {"stage": "export", "target": "a", "variant": ""},
        "id": "export:a",
        "state": "made",
    }
    step |= {"seconds": 0.1, "key": made.key, "digest": made.digest, "path": "p", "notes": codec.encode(NOTES)}
    of_it = run(steps=[step])
    assert store.artifact_of(of_it, made.digest) == made
    make(store, text="another")
    with pytest.raises(ArtifactError, match=r"the export artifact of run 20260101-1 is missing or damaged"):
        store.artifact_of(of_it, made.digest)


def test_cleaning_by_age_and_by_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = make(store, "aa" * 32, "x" * 1000), make(store, "bb" * 32, "y" * 1000)
    hours_ago = time.time() - 7200
    for file in old.path.rglob("*"):
        os.utime(file, (hours_ago, hours_ago))
    assert store.clean(older_than_s=3600)[0] == 1
    assert (old.path.exists(), new.path.exists()) == (False, True)
    assert store.clean(float("inf"), larger_than_mb=1)[0] == 0
    assert store.clean(float("inf"), larger_than_mb=0.0001)[0] == 1


def test_cleaning_needs_the_store_alone(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with store.used(), store.used(), pytest.raises(ArtifactError, match="is in use by a run"), store.used(alone=True):
        raise AssertionError
    with store.used(alone=True), pytest.raises(ArtifactError, match="is in use by `edgeresnet clean`"), store.used():
        raise AssertionError


def test_a_folder_with_other_files_is_not_a_store_and_never_becomes_one(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="is not a store"):
        Store.open(tmp_path)
    assert Store.open(Store.open(tmp_path / "new").root)


def test_cleaning_removes_what_is_ours_and_nothing_else(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    made = make(store)
    store.save_run(run())
    mine = ["train/cat/1.jpg", "cache/a.txt", "runs/notes.txt", "work/a.tex", "data/x/y", f"trace/{'z' * 24}/f"]
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("precious")
    assert store.clean(older_than_s=0)[0] == 2
    assert not made.path.exists()
    assert all((tmp_path / name).read_text() == "precious" for name in mine)


def test_the_second_maker_is_notified_that_it_waits(tmp_path: Path) -> None:
    heard: list[str] = []
    store = Store(tmp_path)

    def second() -> None:
        with store.making("export", KEY, lambda: heard.append("waits")):
            heard.append("in")

    with store.making("export", KEY):
        thread = threading.Thread(target=second)
        thread.start()
        while not heard:
            time.sleep(0.01)
    thread.join()
    assert heard == ["waits", "in"]


@pytest.mark.parametrize("sealed", ["by its bytes", "by its values, as at first"])
def test_a_run_that_was_edited_is_not_evidence(tmp_path: Path, sealed: str) -> None:
    store, broken = Store(tmp_path), run(verdict="BROKEN", recipe={"model": {"arch": "µ\udcff"}})
    path = store.save_run(broken)
    if sealed != "by its bytes":
        raw = codec.encode(broken)
        stores.write_text(path, json.dumps({**raw, "digest": manifest.digest_of(raw)}, indent=1, ensure_ascii=False))
    assert store.load_run() == broken
    path.write_bytes(path.read_bytes().replace(b"BROKEN", b"KEPT"))
    with pytest.raises(ArtifactError, match="changed after it was written"):
        store.load_run()


def test_a_report_is_not_a_runs_file_and_a_newline_that_an_editor_added_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(codec.encode(run())))
    with pytest.raises(ArtifactError, match="a report of a run, not its file"):
        store.load_run(str(tmp_path / "a.json"))
    path = store.save_run(run())
    path.write_bytes(path.read_bytes() + b"\n")
    assert store.load_run() == run()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    stores.write_text(path, "old")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match="disk is full"):
        stores.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        stores.write_text(tmp_path / "file" / "below", "x")


def test_ages_and_what_is_not_one() -> None:
    assert [stores.seconds_of(text) for text in ("90s", "15m", "1.5h", "7d")] == [90, 900, 5400, 604800]
    with pytest.raises(EdgeresnetError, match="not an age"):
        stores.seconds_of("soon")


@pytest.mark.parametrize("what", ["locks", "work", "export", ".edgeresnet-store"])
@pytest.mark.parametrize("form", ["a file", "a pipe"])
def test_what_lies_where_a_folder_of_the_store_should_be_is_named(tmp_path: Path, what: str, form: str) -> None:
    store = Store(tmp_path)
    if (what, form) == (".edgeresnet-store", "a file"):
        return  # as it should be
    (tmp_path / what).touch() if form == "a file" else os.mkfifo(tmp_path / what)
    with pytest.raises(ArtifactError, match=re.escape(str(tmp_path / what))), store.used():
        make(store)


@pytest.mark.parametrize("name", ["/etc/hostname", "../x", "n" * 5000, "a\0b"])
def test_a_manifest_names_files_of_its_folder_alone(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    path = make(store).path / "manifest.json"
    older = {key: value for key, value in json.loads(path.read_text()).items() if key != "seal"}
    files = [{"name": name, "size": 1, "sha256": "0" * 64}]
    path.write_text(json.dumps({**older, "format": UNSEALED_FORMAT, "files": files}))
    found, problem = store.find("export", KEY)
    assert found is None
    assert "cannot be a file of it" in problem
    path.write_text(json.dumps({**older, "files": []}))
    assert list(store.artifacts()) == [], "a manifest of today without its seal"
