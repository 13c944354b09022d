"""Every command of the tutorial runs, in order, on a small trained checkpoint, and prints what the page shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from edgeresnet import models, recipe
from edgeresnet.portable import intervals

from ..cli.conftest import call_main

PAGE = (Path(__file__).parents[2] / "docs" / "get-started.md").read_text(encoding="utf-8")
NOT_RUN = ("pip install ", "make demo")  # they install: `make demo` itself is run by others
MEAN, STD, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 32
COLOURS = {"amber": (200, 130, 30), "brown": (110, 70, 20), "green": (40, 170, 60), "rust": (180, 50, 20)}


class Block(NamedTuple):
    kind: str
    title: str
    text: str

    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.split("  #")[0].strip() for line in lines if line.strip()]


def blocks() -> Iterator[Block]:
    for kind, title, text in re.findall(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', PAGE, re.M | re.S):
        yield Block(kind, title, text)


def has(printed: str, shown: str) -> bool:
    """Return whether a line of the page was printed: numbers may be others, `…` stands for anything."""
    patterns = {"…": ".*?", " ": r"\s+"}
    parts = re.split(r"(…| +|[-+]?\d[\d.,]*)", shown.strip())
    words = [patterns.get(part[:1], r"[-+]?\d[\d.,]*") if at % 2 else re.escape(part) for at, part in enumerate(parts)]
    return re.search("".join(words), printed, re.S) is not None


def write_images(folder: Path, count: int, seed: int) -> None:
    """Write class folders of pictures of a bar; its colour and its width are the class."""
    rng = np.random.default_rng(seed)
    for colour, level in COLOURS.items():
        for width in (4, 8):
            label = folder / f"{colour}{width}"
            label.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(60, 110, (SIZE, SIZE, 3))
                left = int(rng.integers(4, SIZE - 12))
                pixels[:, left : left + width] = np.asarray(level) + rng.integers(-12, 13, (SIZE, width, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(label / f"{number:03}.png")


def train(folder: Path) -> torch.nn.Module:
    """Train a small network on class folders, as a user's own script does."""
    torch.manual_seed(0)
    paths = sorted(folder.glob("*/*.png"))
    names = sorted({path.parent.name for path in paths})
    labels = torch.tensor([names.index(path.parent.name) for path in paths])
    pixels = torch.stack([torch.tensor(np.asarray(Image.open(path))) for path in paths])
    inputs = ((pixels / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    network = models.build("cifar_resnet8", len(names), 3).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(8):
        for batch in torch.randperm(len(labels)).split(32):
            loss = torch.nn.functional.cross_entropy(network(inputs[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a checkpoint, training images, evaluation images."""
    write_images(tmp_path / "data" / "train", 24, 1)
    write_images(tmp_path / "data" / "val", 50, 2)
    torch.save(train(tmp_path / "data" / "train").state_dict(), tmp_path / "model.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_this_test(text: str) -> str:
    """Return the page's recipe for the test's network, measured for a moment: no test judges real time."""
    raw = yaml.safe_load(text)
    recipe.parse(raw)
    raw["model"]["arch"] = "cifar_resnet8"
    raw["images"]["calibration"]["count"] = 128
    raw["promises"]["min_speedup_fp32"] = 0.0001  # so few processes leave a wide interval on a busy machine
    raw["verify"] = {"processes": 3, "seconds": 0.2}
    return yaml.safe_dump(raw)


@pytest.mark.slow
def test_every_command_runs_and_prints_what_the_page_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Windows of milliseconds on a busy machine: what the page shows has an interval, however wide it is here.
    monkeypatch.setattr(intervals, "_FURTHEST", float("inf"))
    printed = ""
    for block in blocks():
        if block.kind == "yaml" and block.title:
            (folder / block.title).write_text(of_this_test(block.text))
        elif block.kind == "text":
            for shown in block.text.splitlines():
                assert has(printed, shown), f"the page shows {shown!r}; printed was\n{printed}"
        elif block.kind == "sh" and not block.text.startswith(NOT_RUN):
            printed = ""
            for command in block.commands():
                capsys.readouterr()
                code = call_main(monkeypatch, tuple(shlex.split(command)[1:]))
                out, err = capsys.readouterr()
                assert code == 0, f"{command}\n{out}{err}"
                printed += out + err
    assert (folder / "gate.json").is_file()
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_has_no_other_commands() -> None:
    lines = [command for block in blocks() if block.kind == "sh" for command in block.commands()]
    assert len(lines) > 10
    for line in lines:
        assert line.startswith(("edgeresnet ", *NOT_RUN)), line
    assert all(block.kind in {"sh", "text", "yaml"} for block in blocks())


@pytest.mark.parametrize(
    ("shown", "is_there"),
    [
        ("gate KEPT", True),
        ("val: 5000 images", True),
        ("+0.08 (-0.19 to …", True),
        ("gate BROKEN", False),
        ("5 x", False),
    ],
)
def test_what_is_shown_is_found_with_other_numbers(shown: str, is_there: bool) -> None:
    assert has("val: 17\n  images\ngate KEPT: -1.5 (+2 to 3)", shown) == is_there
