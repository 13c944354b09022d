"""`edgeresnet verify`: options become a recipe, the recipe is run, and it can be saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper
from safetensors.torch import load_file

from edgeresnet import recipe
from edgeresnet.portable import machine
from edgeresnet.runs import Run
from edgeresnet.store import Store

from ..conftest import folder_of, result_of, tiny, write_recipe
from .conftest import Command, err_of, expect, out_of

DIGITS = ("--evaluation", "digits", "--target", "onnxruntime")


@pytest.fixture
def broken(net: Path) -> Path:
    """The network with its logits in another order."""
    model = onnx.load(net)
    for tensor in model.graph.initializer:
        if tensor.dims[:1] == [10]:
            shuffled = np.roll(numpy_helper.to_array(tensor), 1, axis=0)
            tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
    onnx.save(model, net.with_name("broken.onnx"))
    return net.with_name("broken.onnx")


def _digests(store: Store) -> dict[str, str | None]:
    return {step.id: step.digest for step in store.load_run().steps}


def test_a_file_of_our_own_has_its_preprocessing_in_it(command: Command, own_store: Store, net: Path) -> None:
    out, err = expect(0, command("verify", "net.onnx", *DIGITS, "--store", own_store.root))
    assert out.startswith("net.onnx · 10 classes · ")
    assert "KEPT: nothing was promised" in out
    assert "report: " in out
    assert "taken from net.onnx itself: size 8, mean [0.305], std [0.376]" in err.splitlines()
    _, err = expect(
        0, command("verify", "net.onnx", *DIGITS, "--store", own_store.root, "--std", "0.4", "--mean", "0.3")
    )
    assert "taken from net.onnx itself: size 8" in err.splitlines()
    _, _, err = command(
        "verify", "net.onnx", *DIGITS, "--store", own_store.root, "--size", 8, "--mean", 0.3, "--std", 0.4
    )
    assert "taken from" not in err


def test_the_second_call_finds_everything_done_and_json_is_one_document(
    command: Command, own_store: Store, net: Path
) -> None:
    words = ("verify", "net.onnx", *DIGITS, "--store", own_store.root, "--max-drop-pp", 2)
    assert command(*words)[0] == 0
    out, err = expect(0, command(*words, "--json"))
    assert json.loads(out)["verdict"] == "KEPT"
    assert "nothing to do: all 5 stages are done already" in err
    assert command(*words, "--json", "-q")[2] == ""


def test_a_candidate_against_its_original(command: Command, own_store: Store, net: Path, broken: Path) -> None:
    to = (*DIGITS, "--store", own_store.root, "--max-drop-pp", 2)
    assert "\n  candidate " in out_of(0, command("verify", "net.onnx", "--reference", "net.onnx", *to))
    out, _ = expect(3, command("verify", "broken.onnx", "--reference", "net.onnx", *to))
    assert out.startswith("broken.onnx against net.onnx · 10 classes · ")
    assert "BROKEN: a promise is broken" in out


@pytest.mark.slow
def test_a_checkpoint_and_a_candidate_made_from_it(
    command: Command, own_store: Store, trained: tuple[Store, Run], net: Path
) -> None:
    weights = folder_of(trained[1], "train") / "weights.safetensors"
    words: tuple[object, ...] = ("--arch", "cifar_resnet8", *DIGITS, "--store", own_store.root, "--max-drop-pp", 2)
    words += ("--count", 200, "--seed", 3)
    torch.save(load_file(weights), bare := Path("bare.pth"))  # as another tool writes them: without preprocessing
    assert f"{bare} needs --size, --mean, --std too" in err_of(2, command("verify", bare, *words))
    out, err = expect(0, command("verify", "net.onnx", "--reference", bare, *words))
    assert "taken from net.onnx itself" in err
    assert out.startswith("net.onnx against cifar_resnet8 · 10 classes · ")
    run = own_store.load_run()
    assert result_of(run, "onnxruntime").variants["candidate"].accuracy.images == 200
    assert run.recipe["seed"] == 3


def test_the_saved_recipe_does_the_same(command: Command, own_store: Store, net: Path) -> None:
    words = ("verify", "./net.onnx", *DIGITS, "--store", own_store.root, "--max-drop-pp", 2, "--save-recipe", "r.yaml")
    assert command(*words, "--set", "promises.min_top1_pct=50")[0] == 0
    raw = yaml.safe_load(Path("r.yaml").read_text())
    assert raw["model"] == {"checkpoint": "./net.onnx"}, "as the user wrote it"
    assert raw["promises"] == {"max_drop_pp": 2.0, "min_top1_pct": 50}
    first = _digests(own_store)
    assert "nothing to do" in err_of(0, command("run", "r.yaml", "--store", own_store.root))
    assert _digests(own_store) == first
    assert command(*words, "--set", "promises.min_top1_pct=50")[0] == 0, "the same again may be written again"
    assert "r.yaml exists already" in err_of(2, command(*words))


def test_the_recipe_is_written_before_it_runs(command: Command, own_store: Store, net: Path) -> None:
    words = ("verify", "net.onnx", "--evaluation", "nowhere", "--store", own_store.root, "--save-recipe", "r.yaml")
    assert command(*words)[0] == 2
    assert list(recipe.load("r.yaml").targets) == ["onnxruntime", "openvino"]


def test_without_a_network_the_newest_runs_are_measured_again(
    command: Command, own_store: Store, tmp_path: Path
) -> None:
    assert command("run", write_recipe(tmp_path, tiny()), "--store", own_store.root)[0] == 0
    before = _digests(own_store)
    code, out, err = command(
        *("verify", "--store", own_store.root, "--threshold", 0.75),
        *("--set", "promises.min_top1_pct=100", "--max-drop-pp", 3),
    )
    assert code == 3
    assert "Threshold 0.75, onnxruntime fp32: 0 of 450 images cross it (0 down, 0 up" in out
    assert "max_drop_pp 3: " in out
    assert "min_top1_pct 100: " in out
    after = _digests(own_store)
    assert {step for step in after if after[step] != before[step]} >= {"verify:onnxruntime"}
    assert after["trace"] == before["trace"]
    assert "verify:onnxruntime" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "the store artifacts holds no run yet"),
        (["--size", 8, "--target", "openvino", "--count", 3], "--size, --target, --count cannot be given"),
        (["--reference", "net.onnx"], "--reference cannot be given without a MODEL"),
        (["net.onnx"], "net.onnx needs --evaluation too"),
        (["weights.pth"], "the checkpoint weights.pth does not exist"),
        (["nowhere.onnx"], "nowhere.onnx does not exist"),
        (["text.onnx"], "text.onnx is not an ONNX file"),
        (["net.onnx", "--evaluation", "digits", "--mean", "a"], "--mean 'a' must be numbers with commas between them"),
        (["net.onnx", "--evaluation", "digits", "--size", 16], "takes 1×8×8 images, but preprocessing makes 1×16×16"),
        (["net.onnx", "--evaluation", "digits", "--count", 0], "--count"),
        (
            ["net.onnx", "--evaluation", "digits", "--count", 451],
            "451 evaluation images are requested, but there are only 450",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_a_hint(command: Command, net: Path, arguments: list[Any], words: str) -> None:
    Path("text.onnx").write_text("this is not a network")
    code, out, err = command("verify", *arguments)
    lines = [line for line in err.splitlines() if not line.startswith("taken from")]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert lines[0].startswith("error: ")
    assert words in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--arch", "resnet18"], "model.arch: remove it: an ONNX file holds its own architecture"),
        (["--set", "targets.openvno={}"], "the target 'openvno' does not exist (did you mean openvino?)"),
        (["--set", "promisse.x=1"], "promisse: unknown key, did you mean promises?"),
    ],
)
def test_options_follow_the_rules_of_a_recipe(command: Command, net: Path, arguments: list[str], words: str) -> None:
    _, err = expect(2, command("verify", "net.onnx", "--evaluation", "digits", *arguments))
    assert words in err
    assert "the recipe of these options has one problem" in err


def test_a_candidate_that_is_not_an_onnx_file(command: Command, net: Path) -> None:
    code, _, err = command("verify", "weights.pth", "--reference", "net.onnx", *DIGITS)
    assert (code, "model.candidate: must be an .onnx file" in err) == (2, True)


def test_unreadable_words_of_a_file_are_ignored(command: Command, net: Path) -> None:
    model = onnx.load(net)
    for entry in model.metadata_props:
        if entry.key == "edgeresnet.preprocessing":
            entry.value = "{no json"
    onnx.save(model, net)
    assert "net.onnx needs --size, --mean, --std too" in err_of(2, command("verify", "net.onnx", *DIGITS))


def test_init_accepts_an_onnx_file_without_arch_and_classes(command: Command, net: Path) -> None:
    assert "needs --evaluation too" in err_of(2, command("init", "mine.yaml", "--checkpoint", "net.onnx"))
    code, _, err = command("init", "mine.yaml", "--checkpoint", "net.onnx", "--evaluation", "digits")
    assert (code, "taken from net.onnx itself: size 8, mean [0.305]" in err) == (0, True)
    assert recipe.load("mine.yaml").model.arch is None
    out, _ = expect(0, command("check", "mine.yaml"))
    stages = 8 + machine.has_bf16()  # BF16 for comparison where the CPU has it
    assert f"mine.yaml: {stages} stages, net.onnx, 10 classes" in out


@pytest.mark.slow
def test_an_onnx_file_needs_no_torch_and_looking_ahead_no_onnx(net: Path, own_store: Store, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump(tiny(model={"checkpoint": "net.onnx"}, train=None, images={"evaluation": "digits"}))
    )
    never = {"verify": {"torch", "torchvision"}, "plan": {"torch", "onnx", "onnxscript", "onnxruntime", "openvino"}}
    for arguments in (
        ["plan", "r.yaml"],
        ["verify", "net.onnx", *DIGITS, "--set", "verify={processes: 1, seconds: 1}"],
    ):
        script = (
            f"import sys\nsys.argv = ['edgeresnet', *{arguments!r}]\nfrom edgeresnet.cli import main\n"
            "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code\n"
            "print('modules', *sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False,
            env={**os.environ, "EDGERESNET_STORE": str(own_store.root)},
        )  # fmt: skip
        modules = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
        assert "yaml" in modules, done.stderr
        assert not modules & never[arguments[0]]
