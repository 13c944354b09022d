"""What can go wrong between a host and a device, over a real sshd: each is one line with a hint."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeresnet.devices import book, looking, measuring, ssh
from edgeresnet.errors import RecipeError, TargetError

from . import bundle, sshd
from .conftest import Loopback

NO_NAME = "x" * 64 + ".example"  # longer than a name may be: no server of names is needed to refuse it


def failure(loopback: Loopback, order: measuring.Order[bytes]) -> str:
    with pytest.raises(TargetError) as caught:
        loopback.measure(order)
    assert caught.value.hint
    words = f"{caught.value.message} ({caught.value.hint})"
    assert "\n" not in words
    return words


def program(loopback: Loopback, text: str, name: str = "python3") -> Path:
    """Write a shell script onto the device."""
    path = loopback.server.folder / name
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(0o755)
    return path


def python_of(loopback: Loopback, *version: int) -> Path:
    """Write a Python that takes itself for another version."""
    code = f"import sys; sys.version_info = {(*version, 'final', 0)}"
    return program(loopback, f'exec {sys.executable} -c "{code}\n$2"\n')


def _changed(server: sshd.Server, old: str, new: str) -> None:
    server.config.write_text(server.config.read_text().replace(old, new))


def _lacks_the_server(server: sshd.Server) -> None:
    (server.folder / "known").write_text("")


def _knows_another_key(server: sshd.Server) -> None:
    key = " ".join((server.folder / "user.pub").read_text().split()[:2])
    (server.folder / "known").write_text(f"[127.0.0.1]:{server.port} {key}\n")


def _knows_no_user(server: sshd.Server) -> None:
    (server.folder / "authorized").write_text("")


def _has_no_such_host(server: sshd.Server) -> None:
    _changed(server, "HostName 127.0.0.1", f"HostName {NO_NAME}")


def _has_no_server_at_its_port(server: sshd.Server) -> None:
    server.stop()


def _has_a_bad_configuration(server: sshd.Server) -> None:
    _changed(server, "Host *", "Nonsense yes\nHost *")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "problem", "hint"),
    [
        (_lacks_the_server, "has a host key that ssh does not know", "the key: `ssh -F {folder}/client loopback`"),
        (
            _knows_another_key,
            "has another host key than the one that ssh knows",
            "`ssh-keygen -R '[127.0.0.1]:{port}' -f {folder}/known`, then `ssh -F {folder}/client loopback` once",
        ),
        (_knows_no_user, "refused your key", "`ssh-copy-id loopback`"),
        (_has_no_such_host, "cannot be reached: ssh: Could not resolve hostname xxx", "check `ssh:` in devices.yaml"),
        (_has_no_server_at_its_port, "port {port}: Connection refused", "check the port in `ssh:`"),
        (_has_a_bad_configuration, "cannot be reached: ssh refuses its configuration", "correct ssh's configuration"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_reached_says_why(
    loopback: Loopback, spoil: Callable[[sshd.Server], None], problem: str, hint: str
) -> None:
    spoil(loopback.server)
    seen = looking.look("orin", loopback.order().device)
    known = {"folder": loopback.server.folder, "port": loopback.server.port}
    assert not seen.reachable
    (found,) = seen.problems
    assert problem.format(**known) in found
    assert hint.format(**known) in seen.hint
    assert "\n" not in found + seen.hint


@pytest.mark.slow
def test_a_name_that_leads_nowhere_ends_the_first_try_and_no_later_one(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's own network is gone for a moment: its server of names is, too."""
    there, gone = "HostName 127.0.0.1", f"HostName {NO_NAME}"
    _changed(loopback.server, there, gone)
    assert "orin cannot be reached: ssh: Could not resolve hostname" in failure(loopback, loopback.order())
    _changed(loopback.server, gone, there)

    def unplug(line: str) -> None:
        if line == "timed: 1 of 5 processes":
            _changed(loopback.server, there, gone)
            loopback.server.cut()

    class NotFound(ssh.NotFound):
        def __init__(self, *words: str) -> None:
            super().__init__(*words)
            _changed(loopback.server, gone, there)
            seen.append(words[0])

    seen: list[str] = []
    monkeypatch.setattr(ssh, "NotFound", NotFound)
    loopback.watched.on_line = unplug
    assert loopback.measure(loopback.order(bundle.COUNTING.format(pause=0.1)))
    assert seen
    assert "the line is up again" in loopback.watched.remarks
    assert loopback.starts == 1


@pytest.mark.slow
def test_what_a_login_prints_changes_nothing(loopback: Loopback) -> None:
    """A banner of sshd that looks like a refusal, and a shell that prints to both outputs, for all it may look like."""
    greeting = loopback.server.folder / "greeting"
    greeting.write_text("Permission denied to all but staff.\nbash: python3: not found\n")
    shell = program(
        loopback,
        """
        printf 'Welcome!\\nedgeresnet-agent 0\\n{"size": 0}\\nno end of line'
        echo 'bash: fortune: command not found' >&2
        exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
        """,
        "shell",
    )
    loopback.server.restart(f"Banner {greeting}", f"ForceCommand {shell}")
    loopback.watched.on_line = lambda line: None if loopback.watched.remarks else loopback.server.cut()
    assert loopback.measure(loopback.order())
    dropped, _ = loopback.watched.remarks
    assert dropped.startswith("the line dropped (")
    assert "staff" not in dropped
    assert "not found" not in dropped
    odd = loopback.server.device(python="false")
    assert looking.look("orin", odd).problems[0].startswith("did not start Python: bash: fortune")


@pytest.mark.slow
def test_a_shell_that_never_stops_printing_is_reported(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "RESTARTS", 1)
    flood = program(loopback, f'(while kill -0 $$; do echo "# 2"; sleep 0.001; done) &\nexec {sys.executable} "$@"\n')
    words = failure(loopback, loopback.order(device=loopback.server.device(python=str(flood))))
    assert "orin was not understood 2 times: its answer was damaged on the way" in words
    assert "nothing there prints after the login" in words


@pytest.mark.slow
def test_a_login_that_allows_no_program_is_quoted(loopback: Loopback) -> None:
    loopback.server.restart("ForceCommand echo This account is not available.; exit 1")
    assert "orin did not start Python: This account is not available." in failure(loopback, loopback.order())


@pytest.mark.slow
def test_a_python_that_is_missing_or_too_old_is_named_before_anything_is_sent(loopback: Loopback) -> None:
    none = loopback.server.device(python="~/no such/python3")
    words = failure(loopback, loopback.order(device=none))
    assert words.startswith("orin has no program ~/no such/python3 (install Python 3.10 there, or name another")
    old = loopback.server.device(python=str(python_of(loopback, 3, 6, 9)))
    words = failure(loopback, loopback.order(device=old))
    assert words.startswith(f"orin has Python 3.6 as {old.python} (bundles need Python 3.10: ")
    python_of(loopback, 3, 9, 1)  # old enough for the agent
    words = failure(loopback, loopback.order(device=old))
    assert words == "orin has Python 3.9.1, and bundles need 3.10 (set `python:` to a newer one)"
    assert not loopback.there.exists()


ODD = "a b'\"$(touch stolen)`touch stolen`;#\\&|>stolen *?~é\u202e-"


@pytest.mark.unit
@pytest.mark.parametrize("key", ["ssh", "python", "folder", "config"])
def test_a_name_that_no_program_should_get_is_refused(key: str) -> None:
    odd = ["a\nb", "a\rb", "a\0b", "a\x1bb", "-c", ""]
    for name in [*odd, *([ODD, "$(touch x)@host", "-oProxyCommand=x"] if key == "ssh" else [])]:
        with pytest.raises(RecipeError) as caught:
            book.parse({"orin": {"ssh": "a@b", key: name}})
        (found,) = caught.value.problems
        assert found.startswith(f"orin.{key}: must be ")
        assert "\n" not in found


@pytest.mark.slow
def test_any_other_name_reaches_no_shell(loopback: Loopback) -> None:
    """It is a name like any other: of a folder, of a program or of a file that is not there."""
    folder, real = loopback.folder / "there", loopback.order().device
    for name in (ODD, "$(touch stolen)"):
        for key, words in (
            ("python", "has no program"),
            ("config", "cannot be reached: ssh refuses its configuration"),
        ):
            seen = looking.look(
                "orin", book.parse({"orin": {**real.model_dump(exclude_unset=True), key: name}})["orin"]
            )
            assert seen.problems[0].startswith(words)
        assert looking.look("orin", real.model_copy(update={"folder": str(folder / name)})).ready
    loopback.measure(loopback.order(device=real.model_copy(update={"folder": str(folder / ODD)})))
    assert [each.name for each in folder.iterdir()] == [ODD]
    assert not [*Path().glob("stolen"), *Path("~").expanduser().glob("stolen"), *loopback.folder.rglob("stolen")]


@pytest.mark.slow
def test_a_folder_without_a_root_lies_in_the_users_own(loopback: Loopback) -> None:
    """sshd starts a program in it; the job's own folder is another one."""
    own = loopback.server.folder / "own"
    own.mkdir()
    loopback.server.environment["HOME"] = str(own)
    loopback.server.restart()
    for folder in ("a/there", "~/there"):
        device = loopback.server.device(python=sys.executable, folder=folder)
        assert loopback.measure(loopback.order(device=device))
    assert sorted(path.name for path in own.glob("**/bundles")) == ["bundles", "bundles"]


@pytest.mark.slow
def test_one_connection_is_enough(loopback: Loopback) -> None:
    """Two jobs, one after the other."""
    with ssh.Line("orin", loopback.order().device) as line:
        for job in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            order = loopback.order(job=job)
            assert measuring.measure(order, loopback.watched, loopback.stopping, line)
    assert loopback.starts == 2
    assert loopback.server.logins() == 1
