"""`edgeresnet collect`: a device's result is judged where its bundle was made, or refused where it does not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgeresnet.portable import machine
from edgeresnet.portable.result import Measured, NotMeasured
from edgeresnet.runs import StepId
from edgeresnet.stages.export import contents
from edgeresnet.store import Store

from ..conftest import step_of
from .conftest import Command, Exported, err_of, expect, out_of, refused


def test_a_result_that_is_not_the_bundles_is_refused(measured: Exported, command: Command, tmp_path: Path) -> None:
    own_store, found = measured.store, json.loads(measured.result.read_text())

    def refusal(document: dict[str, object]) -> str:
        (tmp_path / "r.json").write_text(json.dumps(document))
        return err_of(2, command("collect", "r.json", "--store", own_store.root))

    assert "has changed since deploy.py wrote it" in refusal({**found, "measured": 0.0})
    del found["digest"]
    result = found["result"]

    def changed(change: Any) -> str:
        copy = json.loads(json.dumps(found))
        change(copy["result"])
        return refusal(contents.sealed(copy))

    def hide_the_flips(result: dict[str, Any]) -> None:
        """Make all answers incorrect, counted honestly but for what a promise of the drop is judged by."""
        int8 = result["variants"]["int8"]
        int8["predicted"] = [(label + 1) % 10 for label in result["labels"]]
        agree = sum(a == b for a, b in zip(int8["predicted"], result["reference_predicted"], strict=True))
        int8["accuracy"] |= {"top1": 0, "agree": agree}
        int8["probabilities"]["reference"] = [0.1] * (len(int8["predicted"]) - agree)

    def one_more(result: dict[str, Any]) -> None:
        result["variants"]["int8"]["accuracy"]["top1"] += 1

    assert "does not match its bundle: its images" in changed(lambda result: result["labels"].reverse())
    for change in (one_more, hide_the_flips):
        assert "int8's counts do not follow from its answers" in changed(change)
    assert "its target or the network that would ship is not the bundle's" in changed(
        lambda result: result.update(candidate="fp32")
    )
    assert "its images are not the bundle's" in changed(lambda result: result["classes"].reverse())
    assert "int8 was not timed" in changed(lambda result: result["variants"]["int8"].update(latency=None))
    assert "its networks are not the bundle's" in changed(lambda r: r["variants"].update(more=r["variants"]["int8"]))
    assert "result.variants.int8.predicted: is missing" in changed(
        lambda result: result["variants"]["int8"].pop("predicted")
    )
    assert "variants.int8.predicted: has 449 entries for 450 images" in changed(
        lambda result: result["variants"]["int8"]["predicted"].pop()
    )
    sealed = json.dumps(contents.sealed(found))
    (tmp_path / "r.json").write_text(sealed.replace('"measured": 1', '"measured": NaN, "x": 1', 1))
    assert "it holds NaN, which is not a number" in command("collect", "r.json", "--store", own_store.root)[2]
    for run in own_store.runs():
        shutil.copy(run, run.with_name(f"9{run.name}"))
        run.with_name(f"9{run.name}").write_text("{}")  # a damaged run, the newest, changes nothing
    (tmp_path / "r.json").write_text(sealed)
    assert command("collect", "r.json", "--store", own_store.root)[0] == 0
    for run in own_store.runs():
        run.unlink() if run.name.startswith("9") else None
    assert "which is not in the store" in refusal(contents.sealed({**found, "bundle": "0" * 64}))
    assert "its target or the network that would ship is not the bundle's" in refusal(
        contents.sealed({**found, "result": {**result, "target": "openvino"}})
    )
    assert "none.json does not exist" in command("collect", "none.json", "--store", own_store.root)[2]


def test_what_was_collected_is_judged_though_the_host_has_changed(
    measured: Exported, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judge the bundle that was measured, though another release of a library here would make another bundle."""
    own_store = measured.store
    monkeypatch.setattr(machine, "versions", lambda *names: dict.fromkeys(names, "9.9"))
    again = ("collect", measured.result, "--store", own_store.root)
    sure = ("--set", "promises.undecided=fail", "--set", "promises.max_confidence_change=0.5")
    out, _ = expect(0, command(*again, "--max-drop-pp", 40, *sure))
    assert "✓ max_drop_pp 40: " in out
    assert "✓ max_confidence_change 0.5: 0." in out
    assert "compilation " in out_of(0, command("report", "--notes", "--store", own_store.root))
    run = own_store.load_run()
    assert {step.state for step in run.steps if step.id.startswith("verify:onnxruntime")} == {"done"}
    _, err = expect(2, command("collect", measured.result, "--store", own_store.root, "--set", "seed=1"))
    assert "--set seed=1" in err


def waits_for(store: Store, *devices: str) -> None:
    """Store the newest run as one whose devices did not answer."""
    run = store.load_run()
    raw = json.loads(json.dumps(dict(run.recipe)))
    raw["targets"]["onnxruntime"]["where"] = devices
    absent = {f"onnxruntime@{each}": NotMeasured(f"onnxruntime@{each}", f"{each} is away") for each in devices}
    (own,) = (step for step in run.steps if str(step.step) == "verify:onnxruntime")
    away = [
        replace(own, step=step, id=str(step), state="failed", key=None, digest=None, path=None, notes=None)
        for step in (StepId("verify", name) for name in absent)
    ]
    others = tuple(step for step in run.steps if step is not own)
    store.save_run(replace(run, id=f"9{run.id[1:]}", recipe=raw, results=absent, steps=(*others, *away)))


def test_a_result_lands_in_the_part_of_its_device(measured: Exported, command: Command) -> None:
    again = ("collect", measured.result, "--store", measured.store.root, "--max-drop-pp", 40)
    waits_for(measured.store, "orin")
    assert "onnxruntime@orin" in out_of(0, command(*again))
    newest = measured.store.runs()[-1]  # the run that waits has an id of the future
    newest.unlink()
    run = measured.store.load_run()
    assert list(run.results) == ["onnxruntime@orin"]
    result = run.results["onnxruntime@orin"]
    assert isinstance(result, Measured)
    assert result.target == "onnxruntime@orin"
    assert {one.target for one in run.verdicts} == {"onnxruntime@orin"}
    step = step_of(run, "verify:onnxruntime@orin")
    assert (step.state, step.reason) == ("done", "")
    assert step.key
    assert measured.store.find("verify", step.key)[0], "a run of the same recipe finds it done"
    Image.new("L", (8, 8)).save("black.png")
    for words in (("predict", "black.png"), ("bench",)):
        for name in ([], ["--target", "onnxruntime"], ["--target", "onnxruntime@orin"]):
            err = refused(command(*words, "--store", measured.store.root, *name))
            assert "onnxruntime@orin was compiled on its device, so it cannot run here (measure it here: " in err
        err = refused(command(*words, "--store", measured.store.root, "--target", "openvino@orin"))
        assert "has no measurement on openvino@orin (it measured onnxruntime@orin)" in err
    err = refused(command("bench", measured.bundle / "networks" / "fp32.onnx", "--target", "onnxruntime@orin"))
    assert "--target onnxruntime@orin is a part of a run" in err


def test_of_several_devices_the_one_that_waits_or_is_named_gets_the_result(
    measured: Exported, command: Command
) -> None:
    again = ("collect", measured.result, "--store", measured.store.root)
    waits_for(measured.store, "orin", "nano")
    err = err_of(2, command(*again))
    assert "result.json may be of any of onnxruntime@orin, onnxruntime@nano" in err
    assert "(name the device that measured it: `--as orin` or `--as nano`)" in err
    assert "--as xavier is not a device of run 9" in err_of(2, command(*again, "--as", "xavier"))

    def measured_by(*words: str) -> list[str]:
        expect(4, command(*again, *words))
        run = max(map(measured.store.load_run, map(str, measured.store.runs())), key=lambda each: each.id[1:])
        measured.store.runs()[-1].unlink()
        measured.store.save_run(replace(run, id=f"9{run.id[1:]}"))
        return [result.target for result in run.measured]

    assert measured_by("--as", "nano") == ["onnxruntime@nano"]
    assert measured_by() == ["onnxruntime@nano"], "it is the same measurement"
    code, _, err = command(*again, "--as", "onnxruntime@orin")
    assert code == 0, err


def test_verify_from_still_works_and_names_the_command(measured: Exported, command: Command) -> None:
    words = (measured.result, "--store", measured.store.root, "--max-drop-pp", 40)
    out, err = expect(0, command("verify", "--from", *words))
    assert err == f"`edgeresnet collect {measured.result}` is the command for this\n"
    assert "✓ max_drop_pp 40: " in out
    shown = out_of(0, command("collect", *words))
    assert "✓ max_drop_pp 40: " in shown
    assert (Path(shown.split(" bundle: ")[1].splitlines()[0]) / "deploy.py").is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["net.onnx"], "MODEL"),
        (["--size", 8, "--target", "openvino", "--count", 3], "--size, --target, --count"),
        (["--reference", "net.onnx", "--save-recipe", "r.yaml"], "--reference, --save-recipe"),
    ],
)
def test_verify_from_refuses_what_has_no_effect(command: Command, words: list[object], named: str) -> None:
    err = err_of(2, command("verify", *words, "--from", "r.json"))
    assert err.splitlines()[-1].startswith(f"error: {named} cannot be combined with --from (")
