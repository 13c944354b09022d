"""A job on a device, over a real sshd on loopback: sent once, followed, fetched; lines cut, processes killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from edgeresnet.devices import looking, measuring
from edgeresnet.devices.agent import work
from edgeresnet.errors import ArtifactError, TargetError

from . import bundle
from .conftest import Loopback

COUNTS = bundle.COUNTING.format(pause=0.03)
LONG = bundle.COUNTING.format(pause=60)


def failure(loopback: Loopback, order: measuring.Order[bytes]) -> str:
    with pytest.raises(TargetError) as caught:
        loopback.measure(order)
    assert caught.value.hint
    return f"{caught.value.message} ({caught.value.hint})"


def test_a_bundle_is_sent_once_measured_and_fetched(loopback: Loopback) -> None:
    order = loopback.order(COUNTS)
    assert json.loads(loopback.measure(order))["measured"]
    assert loopback.watched.lines == ["bundle: complete", *(f"timed: {each} of 5 processes" for each in range(1, 6))]
    assert (5, 5, "processes timed") in loopback.watched.counts
    assert any(word == "kB sent" for _, _, word in loopback.watched.counts)
    assert not list((loopback.there / "jobs").iterdir()), "a result that was accepted is removed there"
    loopback.watched.counts.clear()
    loopback.measure(order)
    assert not any(word == "kB sent" for _, _, word in loopback.watched.counts)
    assert loopback.starts == 2
    (order.bundle / "manifest.json").unlink()
    loopback.measure(loopback.order(COUNTS, bundle=bundle.made(order.bundle, COUNTS, more=b"more")))
    sent = [total for _, total, word in loopback.watched.counts if word == "kB sent"]
    assert sent[0] < 10, "only what is new is sent"


def test_names_with_spaces_quotes_and_dollars_reach_no_shell(loopback: Loopback) -> None:
    odd = loopback.folder / "a b'\"$(touch stolen)`touch stolen`;#\\é"
    odd.mkdir()
    python = odd / "py'thon $(touch stolen)"
    python.symlink_to(os.path.realpath(loopback.order().device.python))
    device = loopback.server.device(python=str(python), folder=f"{odd}/edge resnet $(touch stolen)")
    made = bundle.made(odd / "bundle", "", **{"it's $(touch stolen).txt": b"1"})
    assert loopback.measure(loopback.order(device=device, bundle=made))
    assert list(odd.glob("edge resnet*/bundles/*/it's*"))
    assert not list(loopback.folder.rglob("stolen"))
    assert not Path("~/stolen").expanduser().exists()


def test_cut_lines_cost_no_work(loopback: Loopback) -> None:
    lines_cut = {}

    def cut(line: str) -> None:
        if line in {f"timed: {number} of 5 processes" for number in (1, 3, 5)}:
            lines_cut[line] = loopback.server.cut()

    loopback.watched.on_line = cut
    assert loopback.measure(loopback.order(bundle.COUNTING.format(pause=0.3)))
    assert len(lines_cut) == 3
    # the job may have ended when its last line is shown, and its connection too: there is then nothing to cut
    assert lines_cut["timed: 1 of 5 processes"]
    assert loopback.starts == 1
    assert len(loopback.watched.lines) == 6, "each line is shown once"
    assert any("the line dropped" in each for each in loopback.watched.remarks)
    assert "the line is up again" in loopback.watched.remarks


@pytest.mark.slow
def test_a_job_that_was_killed_there_starts_again_and_one_that_always_is_ends(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(line: str) -> None:
        if always or loopback.starts < 2:
            (pid,) = (loopback.there / "jobs").glob("*/pid.json")
            os.kill(json.loads(pid.read_text())["pid"], signal.SIGKILL)
        else:
            go.touch()

    go, always = loopback.server.folder / "go", False
    waits = f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)"
    loopback.watched.on_line = kill
    assert loopback.measure(loopback.order(waits))
    assert loopback.starts == 2
    go.unlink()
    always = True
    monkeypatch.setattr(measuring, "RESTARTS", 1)
    assert "lost the measurement 2 times" in failure(loopback, loopback.order(waits, job="aaaaaaaaaaaa"))


def test_a_host_that_was_killed_finds_its_job(loopback: Loopback) -> None:
    """A run that ends without a word is one that stops asking: the next one follows the same job."""

    class Killed(BaseException):
        pass

    def kill(line: str) -> None:
        if line == "timed: 2 of 5 processes":
            loopback.watched.on_line = lambda line: None
            raise Killed

    loopback.watched.on_line = kill
    order = loopback.order(COUNTS)
    with pytest.raises(Killed):
        loopback.measure(order)
    assert loopback.measure(order)
    assert loopback.starts == 1


def test_ctrl_c_stops_the_device(loopback: Loopback) -> None:
    loopback.watched.on_line = lambda line: loopback.stopping.set()
    with pytest.raises(measuring.Stopped):
        loopback.measure(loopback.order(LONG))
    assert loopback.watched.remarks == ["stopped"]
    (pid,) = map(int, (loopback.server.folder / "starts").read_text().split())
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()
    assert not list((loopback.there / "jobs").iterdir())


@pytest.mark.slow
def test_one_measurement_at_a_time_and_a_dead_holder_is_none(loopback: Loopback) -> None:
    """The lock's file names a process that is dead; then this test holds it, as another user would."""
    path = loopback.server.folder / work.LOCK_NAME
    path.write_text(json.dumps({"who": "a dead process", "job": "x", "since": 0}))
    is_locked = f"""
    import fcntl
    try:
        fcntl.flock(os.open({str(path)!r}, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("locked", file=sys.stderr)
    """
    with open(path, "r+") as lock:
        loopback.measure(loopback.order(is_locked))
        assert loopback.watched.lines == ["bundle: complete", "locked"]
        assert loopback.watched.remarks == []
        assert json.loads(path.read_text())["who"] == measuring.who()
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.write_text(json.dumps({"who": "bob@pc", "job": "y", "since": 0}))
        assert looking.look("orin", loopback.order().device).notes == ("bob@pc measures there now",)
        loopback.watched.on_remark = lambda sentence: fcntl.flock(lock, fcntl.LOCK_UN)
        loopback.measure(loopback.order(is_locked))
    assert loopback.watched.remarks == ["waits: bob@pc measures there now"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            'print("error: the disk is full\\n  free some", file=sys.stderr)\nsys.exit(5)',
            "could not measure: the disk is full (free some space there, for example in ",
        ),
        ("os.kill(os.getpid(), 9)", "deploy.py ended with -9"),
        ("sys.exit(0)", "the result is missing"),
    ],
)
def test_a_measurement_that_fails_is_one_line(loopback: Loopback, steps: str, words: str) -> None:
    assert words in failure(loopback, loopback.order(steps))
    assert not list((loopback.there / "jobs").iterdir()), "the next run starts it again"


def test_a_damaged_result_is_fetched_again_and_then_refused(loopback: Loopback) -> None:
    seen = []

    def accept(data: bytes, about: object) -> bytes:
        seen.append(data)
        if len(seen) < 3:
            raise ArtifactError("result.json", "has changed", hint="copy it again")
        return data

    assert loopback.measure(loopback.order(accept=accept))
    assert len(seen) == 3
    seen[:] = [b""] * -10
    words = failure(loopback, loopback.order(accept=lambda data, about: accept(seen.clear() or data, about)))  # type: ignore[func-returns-value]
    assert "sent a result that is not used: result.json has changed" in words


@pytest.mark.slow
def test_a_bundle_that_was_damaged_there_is_mended(loopback: Loopback) -> None:
    check = """
    data = (pathlib.Path(sys.argv[0]).parent / "data.bin").read_bytes()
    if data != b"x" * 3_000_000:
        print("error: the bundle has changed since it was made: data.bin has changed", file=sys.stderr)
        sys.exit(2)
    """
    order = loopback.order(check)
    loopback.measure(order)
    (stored,) = (path for path in (loopback.there / "objects").iterdir() if path.stat().st_size == 3_000_000)
    with open(stored, "r+b") as file:
        file.write(b"y")
    assert loopback.measure(order)
    assert "the bundle was damaged there: sending it again" in loopback.watched.remarks


def test_another_device_under_the_same_name_is_refused(loopback: Loopback) -> None:
    words = failure(loopback, loopback.order(known="0" * 16))
    assert "is another device than last time under this name" in words
    assert "`id: " in words
    assert loopback.starts == 0


@pytest.mark.slow
def test_a_device_that_stays_away_is_given_up(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(line: str) -> None:
        monkeypatch.setattr(measuring._Work, "_patience", 0.3)
        if stops:
            loopback.server.stop()

    stops = True
    loopback.watched.on_line = leave
    assert "did not come back within 30 minutes" in failure(loopback, loopback.order(LONG))
    monkeypatch.setattr(measuring, "FIRST_S", 0.1)
    assert "cannot be reached" in failure(loopback, loopback.order(LONG))
    monkeypatch.undo()
    loopback.server.start()
    stops = False
    assert "showed no progress for 30 minutes" in failure(loopback, loopback.order(LONG))
