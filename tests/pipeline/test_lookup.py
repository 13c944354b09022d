"""Devices that a recipe names: found next to it, refused where they are unknown, and never reached."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import api, pipeline
from edgeresnet.devices import book, ssh
from edgeresnet.devices.book import Device
from edgeresnet.errors import RecipeError

from ..cli.conftest import Command, command, expect  # noqa: F401 - a fixture
from ..conftest import tiny, write_recipe

pytestmark = pytest.mark.unit
DEVICES = {"orin": {"ssh": "nvidia@orin", "target": "onnxruntime"}, "nano": {"ssh": "nvidia@nano"}}


@pytest.fixture(autouse=True)
def _no_device_is_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: Any, **how: Any) -> None:
        raise AssertionError("a device was reached")

    monkeypatch.setattr(ssh, "Connection", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(book, "own", lambda: tmp_path / "config" / book.NAME)


def project(folder: Path, **where: object) -> Path:
    """Write a recipe, with devices.yaml next to it, into a folder of their own."""
    (folder / "project").mkdir()
    (folder / "project" / "devices.yaml").write_text(yaml.safe_dump(DEVICES))
    return write_recipe(folder / "project", tiny(targets={name: {"where": each} for name, each in where.items()}))


def test_looking_ahead_refuses_unknown_devices(tmp_path: Path, command: Command) -> None:  # noqa: F811
    path = project(tmp_path, onnxruntime=["orim", "nano"], openvino="tx2")
    for word in ("plan", "check"):
        out, err = expect(2, command(word, path))
        *problems, last = err.splitlines()
        assert out == ""
        assert "recipe.yaml has 2 problems (known devices: nano, orin; `edgeresnet devices add" in last
        assert "project/devices.yaml, did you mean orin?" in problems[0]
        assert problems[0].strip().startswith("targets.onnxruntime.where: 'orim' is not a device of ")
        assert problems[1].strip().startswith("targets.openvino.where: 'tx2' is not a device of ")
        err = expect(2, command(word, path, "--on", "nanno"))[1]
        assert "--on nanno is not a device of " in err
        assert ", did you mean nano?" in err
    (tmp_path / "project" / "devices.yaml").unlink()
    assert "there is no devices.yaml next to the recipe" in expect(2, command("plan", path))[1]


def test_looking_ahead_at_known_devices(tmp_path: Path, command: Command) -> None:  # noqa: F811
    path = project(tmp_path, onnxruntime=["orin", "nano"])
    assert "verify:onnxruntime@nano" in expect(0, command("plan", path))[0]
    assert "a bundle, built and measured on orin, nano" in expect(0, command("check", path))[0]
    out, _ = expect(0, command("plan", path, "--on", "orin"))
    assert "verify:onnxruntime@orin" in out
    assert "verify:onnxruntime@nano" not in out


def test_python_finds_devices_next_to_the_recipe_or_is_given_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(pipeline, "run", lambda *words, devices, **how: given.append(devices))
    monkeypatch.chdir(tmp_path)
    path = project(tmp_path, onnxruntime="orin")
    raw = yaml.safe_load(path.read_text())
    file = tmp_path / "mine.yaml"
    file.write_text("orin: {ssh: me@mine}")

    def known(recipe: Any, **how: Any) -> str:
        api.run(recipe, store=tmp_path / "store", **how)
        assert set(api.plan(recipe, store=tmp_path / "store", **how)) > {"verify:onnxruntime@orin"}
        return str(given.pop()["orin"].ssh)

    assert known(path) == known(str(path)) == "nvidia@orin"
    assert known(path, devices=file) == known(raw, devices=str(file)) == "me@mine"
    assert known(raw, devices={"orin": {"ssh": "a@b"}}) == "a@b"
    assert known(raw, devices={"orin": Device(ssh="c@d")}) == "c@d"
    (tmp_path / "devices.yaml").write_text("orin: {ssh: here@orin}")
    assert known(raw) == "here@orin"
    assert known(path) == "nvidia@orin", "the recipe's own folder comes first"
    for devices, words in (
        ({"orin": {"shh": "a@b"}}, "orin.shh: unknown key, did you mean ssh?"),
        ({"orim": {"ssh": "a@b"}}, "'orin' is not a device of `devices`, did you mean orim?"),
    ):
        with pytest.raises(RecipeError) as caught:
            api.run(raw, devices=devices)
        assert any(words in each for each in caught.value.problems), caught.value.problems
    book.own().parent.mkdir(parents=True)
    (tmp_path / "devices.yaml").rename(book.own())
    assert known(raw) == "here@orin", "the user's own come last"
