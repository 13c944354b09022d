"""`edgeresnet devices`: what is known of each device, an entry for a new one, and why one cannot measure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from ..devices import sshd
from .conftest import Command, err_of, expect, out_of, refused


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_a_device_is_added_after_a_look_and_shown(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = sshd.made(folder)
    server.start()
    try:
        entry = server.device(python=sys.executable).model_dump(mode="json", exclude_unset=True)
        Path("devices.yaml").write_text(yaml.safe_dump({"orin": entry, "away": {**entry, "ssh": "ssh://loopback:1"}}))
        out, _ = expect(4, command("devices", "--target", "onnxruntime"))
        assert "orin  ready: " in out
        assert f"Python {sys.version.split()[0]}, numpy " in " ".join(out.split())
        assert "away  not ready: ssh://loopback:1" in out
        found = json.loads(out_of(0, command("devices", "orin", "--json")))["devices"]
        assert (found[0]["name"], found[0]["ready"], found[0]["facts"]["python"]) == (
            "orin",
            True,
            sys.version.split()[0],
        )
        (client,) = (line for line in (server.config,))
        monkeypatch.setenv("PATH", f"{_ssh_with(tmp_path, client)}:{Path('/usr/bin')}:/bin")
        err = err_of(
            0, command("devices", "add", "nano", "me@loopback", "--python", sys.executable, "--file", "d.yaml")
        )
        assert "wrote nano into d.yaml" in err
        assert yaml.safe_load(Path("d.yaml").read_text())["nano"]["id"] == found[0]["facts"]["identity"]
    finally:
        server.stop()


def _ssh_with(folder: Path, config: Path) -> Path:
    """Make an ssh that reads this configuration, as the user's own would be read."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "ssh"
    user = next(line for line in config.read_text().splitlines() if line.startswith("User "))
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} -o "{user}" "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.mark.unit
@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "devices.yaml does not exist here, nor as "),
        (["add", "orin"], "add takes a name and an address, not 1 words"),
        (["add", "orin", "a b"], "the device orin has one problem"),
        (["--python", "x"], "--python can be given with `add` only"),
        (["--file", "none.yaml"], "none.yaml does not exist"),
    ],
)
def test_a_wrong_use_is_one_line(command: Command, words: list[str], named: str) -> None:
    err = err_of(2, command("devices", *words)).splitlines()[-1]
    assert err.startswith(f"error: {named}")


@pytest.mark.unit
def test_a_name_that_is_not_known_is_refused(command: Command) -> None:
    Path("devices.yaml").write_text("orin: {ssh: a@b}\n")
    assert "the device 'nano' is not in devices.yaml (known devices: orin)" in refused(command("devices", "nano"))
