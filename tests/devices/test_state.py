"""What changes on a device, or is odd there: its clock, its power mode, its other users."""

from __future__ import annotations

import json
import threading
import time

import pytest

from edgeresnet.devices import looking, measuring

from . import bundle, sshd
from .conftest import Loopback, Watched

pytestmark = pytest.mark.slow

YEAR_S = 365.25 * 86400


@pytest.mark.parametrize("ahead_s", [YEAR_S, -YEAR_S])
def test_a_clock_that_is_a_year_off_changes_nothing(loopback: Loopback, ahead_s: float) -> None:
    """Files there have the kernel's time: to a clock a year ahead all of them are old, as after a jump."""
    sources: list[measuring.Source] = []

    def accept(data: bytes, source: measuring.Source) -> bytes:
        sources.append(source)
        return data

    sshd.set_clock(loopback.server, ahead_s)
    before = time.time()
    order = loopback.order(bundle.COUNTING.format(pause=0.02), accept=accept)
    measured = [json.loads(loopback.measure(order))["clock"]]
    assert any(word == "kB sent" for *_, word in loopback.watched.counts)
    loopback.watched.counts.clear()
    measured.append(json.loads(loopback.measure(order))["clock"])
    assert not any(word == "kB sent" for *_, word in loopback.watched.counts), "nothing was removed"
    for source, clock in zip(sources, measured, strict=True):
        assert source.age_s is not None
        assert before + ahead_s < clock < time.time() + ahead_s
        assert 0 <= source.age_s < time.time() - before
    seen = looking.look("orin", order.device)
    assert seen.ready
    assert seen.notes == (f"its clock is 365 days {'ahead' if ahead_s > 0 else 'behind'}: times are corrected",)


def test_a_power_mode_that_changes_meanwhile_comes_with_the_result(loopback: Loopback) -> None:
    programs = loopback.server.folder / "bin"
    programs.mkdir()
    mode = loopback.server.folder / "mode"
    mode.write_text("NV Power Mode: MAXN\n0\n")
    (programs / "nvpmodel").write_text(f"#!/bin/sh\ncat {mode}\n")
    (programs / "nvpmodel").chmod(0o755)
    loopback.server.environment["PATH"] = f"{programs}:/usr/bin:/bin"
    loopback.server.restart()
    order = loopback.order(
        f"pathlib.Path({str(mode)!r}).write_text('NV Power Mode: 15W\\n2\\n')",
        accept=lambda data, source: source.changed.encode(),
    )
    assert loopback.measure(order) == b"power mode MAXN became 15W"
    assert loopback.watched.remarks == ["changed while it was measured: power mode MAXN became 15W"]
    assert loopback.measure(order) == b""


def test_two_users_of_one_folder_take_turns(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob comes while alice measures, and waits. To the clock there all of her files are a year old."""
    sshd.set_clock(loopback.server, YEAR_S)
    monkeypatch.setattr(measuring, "who", lambda: f"{threading.current_thread().name}@pc")
    go, stopping = loopback.server.folder / "go", threading.Event()
    waits = f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)"
    alice, bob, both = Watched(), Watched(), list[str]()
    ended: list[bytes] = []

    def work(name: str, watched: Watched, job: str) -> None:
        made = bundle.made(loopback.folder / name, waits, own=name.encode())
        try:
            ended.append(measuring.measure(loopback.order(job=job, bundle=made), watched, stopping))
        except BaseException:
            stopping.set()  # or the other one waits for ever
            raise

    def bob_waits(sentence: str) -> None:
        both.extend(path.name for path in loopback.there.glob("bundles/*"))
        go.touch()

    users = [
        threading.Thread(target=work, args=("alice", alice, "a" * 12), name="alice"),
        threading.Thread(target=work, args=("bob", bob, "b" * 12), name="bob"),
    ]
    alice.on_line = lambda line: users[1].start()
    bob.on_remark = bob_waits
    users[0].start()
    for user in users:
        user.join()
    assert len(ended) == loopback.starts == 2
    assert (alice.remarks, bob.remarks) == ([], ["waits: alice@pc measures there now"])
    assert len(both) == 2, "what alice uses stays"
