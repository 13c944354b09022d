"""Networks of a user's own code by the command line: a file next to its helpers, and arguments by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from .conftest import Command, expect

DIGITS = ("--training", "digits", "--size", 8, "--mean", 0.305, "--std", 0.376)
NET = """
from torch import nn
from parts import block

class Net(nn.Sequential):
    def __init__(self, num_classes, width, in_channels=3):
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)
        super().__init__(block(in_channels, width), *head)
"""
PARTS = """
from torch import nn

def block(channels, width):
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
"""


@pytest.fixture
def words(tmp_path: Path) -> tuple[object, ...]:
    """Return a training of a network in a file; the folder is the current one."""
    (tmp_path / "my nets").mkdir()
    (tmp_path / "my nets" / "net.py").write_text(NET)
    (tmp_path / "my nets" / "parts.py").write_text(PARTS)
    return (
        "train",
        "my nets/net.py:Net",
        *DIGITS,
        "--epochs",
        1,
        "--output",
        "w.safetensors",
        "--set",
        "images.training.count=100",
    )


def test_a_file_and_its_arguments_decide_what_is_made(command: Command, words: tuple[object, ...]) -> None:
    given = ("--arch-arg", "width=4", "--save-recipe", "r.yaml", "-q")
    out, _ = expect(0, command(*words, *given))
    assert out.startswith("my nets/net.py:Net, from random weights: ")
    model = yaml.safe_load(Path("r.yaml").read_text())["model"]
    assert model == {"arch": "my nets/net.py:Net", "arch_args": {"width": 4}}
    state = {"as before": "done", "another argument": "todo", "another helper": "todo"}
    for change, expected in state.items():
        if change == "another helper":
            Path("my nets/parts.py").write_text(PARTS.replace("ReLU", "ELU"))
        more = ("--set", "model.arch_args.width=5") if change == "another argument" else ()
        out, _ = expect(0, command("plan", "r.yaml", *more))
        assert f"train  {expected}" in out, (change, out)


def test_int8_of_it_is_written_under_a_name_of_a_file(command: Command, words: tuple[object, ...]) -> None:
    expect(0, command(*words, "--arch-arg", "width=8", "-q"))
    own = ("w.safetensors", "--arch", "my nets/net.py:Net", "--arch-arg", "width=8")
    images = ("--calibration", "digits", "--classes", 10, "--size", 8, "--mean", 0.305, "--std", 0.376)
    targets = ("--target", "onnxruntime", "--target", "openvino")
    Path("made").mkdir()
    expect(0, command("quantize", *own, *images, *targets, "--output", "made", "-q"))
    assert sorted(path.name for path in Path("made").iterdir()) == [
        "net.py-Net-onnxruntime-int8.onnx",
        "net.py-Net-openvino-int8.onnx",
    ]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ((), "needs width: its signature is Net(num_classes, width, in_channels=3) (add `--arch-arg width=VALUE`"),
        (("--arch-arg", "wide=4"), "does not take wide"),
        (("--arch-arg", "width"), "--arch-arg 'width' must be NAME=VALUE"),
        (("--arch", "cifar_resnet8", "--arch-arg", "width=4"), "only your own function takes arguments"),
    ],
)
def test_what_is_wrong_is_one_line_that_shows_what_to_write(
    command: Command, words: tuple[object, ...], more: tuple[str, ...], problem: str
) -> None:
    if "--arch" in more:
        words = tuple("cifar_resnet8" if word == "my nets/net.py:Net" else word for word in words)
        more = more[2:]
    _, err = expect(2, command(*words, *more))
    assert problem in err


def test_init_writes_the_arguments(command: Command, words: tuple[object, ...]) -> None:
    about = ("--classes", 10, "--size", 8, "--mean", 0.305, "--std", 0.376, "--training", "digits")
    given = (
        "--arch",
        "my nets/net.py:Net",
        "--arch-arg",
        "width=8",
        "--arch-arg",
        "name='a: b'",
        "--evaluation",
        "digits",
    )
    expect(0, command("init", "r.yaml", *about, *given))
    assert yaml.safe_load(Path("r.yaml").read_text())["model"]["arch_args"] == {"width": 8, "name": "a: b"}
