"""A bundle with several INT8 networks: made, measured on its device, and chosen from when the result is collected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeresnet import targets
from edgeresnet.errors import TargetError
from edgeresnet.notes import QuantizeNotes
from edgeresnet.portable.result import SAFE, Measured
from edgeresnet.runs import Run
from edgeresnet.stages.export import contents
from edgeresnet.stages.export.contents import Bundle
from edgeresnet.store import Store

from ..conftest import result_of, step_of, traced
from .conftest import Command, err_of, expect, out_of, silently
from .deployed import ASKED, SHORT, deployed_here

LIMIT = 1.8
SENT = ("int8", SAFE)  # INT8 in all layers is hopeless here
WORDS = (*ASKED, "--target", "onnxruntime", "--output", "out", "--set", "quantize.exclude=auto")


def with_a_hard_layer(path: Path) -> None:
    """Add one vector to the weights of each class: every logit moves alike, but INT8 rounds these weights coarsely."""
    model = onnx.load(path)
    constants = {each.name: each for each in model.graph.initializer}
    last = next(node for node in reversed(model.graph.node) if node.op_type in ("Gemm", "MatMul"))
    weights = constants[last.input[1]]
    values = numpy_helper.to_array(weights)
    axis = 0 if values.shape[0] == 10 else 1
    much = np.random.default_rng(0).choice([-1.0, 1.0], values.shape[1 - axis]) * 300 * np.abs(values).max()
    weights.CopyFrom(numpy_helper.from_array((values + np.expand_dims(much, axis)).astype(np.float32), weights.name))
    onnx.save(model, path)


@pytest.fixture(scope="session")
def made(once: Any, trained: tuple[Store, Run]) -> Path:
    """The folder of an export of a network with a hard layer, and its store."""

    def export(folder: Path) -> None:
        shutil.copytree(trained[0].root, folder / "store")
        with_a_hard_layer(Path(shutil.copy(traced(trained[1]), folder / "net.onnx")))
        silently(folder, "export", "net.onnx", *WORDS, "--store", "store", "--max-drop-pp", LIMIT)

    return Path(once("several", export))


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "made")
    return Store(tmp_path / "made" / "store")


@pytest.fixture
def bundle(store: Store) -> Path:
    return store.root.parent / "out" / "net-onnxruntime"


def layers_of(run: Run) -> dict[str, tuple[str, ...]]:
    notes = step_of(run, "quantize:onnxruntime").notes
    assert isinstance(notes, QuantizeNotes)
    assert notes.control is not None
    return {"int8": notes.control.chosen.layers, **{name: each.layers for name, each in notes.control.others.items()}}


def taken(run: Run) -> tuple[str, Measured]:
    result = result_of(run, "onnxruntime")
    assert result.choice is not None
    return result.choice.taken, result


def test_a_device_measures_all_and_what_comes_back_chooses(
    bundle: Path, command: Command, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = layers_of(store.load_run())
    assert tuple(layers) == SENT
    assert 0 < len(layers["int8"]) < len(layers[SAFE])
    about = contents.read_about(bundle)
    assert about.choices == SENT
    files = {each["name"]: each["sha256"] for each in json.loads((bundle / "manifest.json").read_text())["files"]}
    assert len({files[f"networks/{name}.onnx"] for name in SENT}) == 2
    assert "`networks/int8-safe.onnx`" in (bundle / "README.md").read_text()

    out, err = expect(0, deployed_here(capsys, bundle, *SHORT, "--processes", "2"))
    assert all(f"{name}: built in " in err for name in SENT)
    assert all(f"\n{name:9} top-1 " in f"\n{out}" for name in SENT)
    assert "one of int8, int8-safe ships: the host chooses" in out
    document = json.loads((bundle / "result.json").read_text())
    assert set(document["result"]["choice"]["others"]) == {SAFE}

    collect = ("collect", bundle / "result.json", "--store", store.root)
    shown = out_of(0, command(*collect))
    run = store.load_run()
    name, result = taken(run)
    assert result.choice is not None
    assert {result.choice.judged[each].verdict for each in SENT} == {"KEPT"}
    assert name not in result.choice.others
    assert run.verdict == "KEPT"
    assert "of 2 INT8 networks that are judged together" in run.verdicts[0].reason
    assert "of 2 INT8 networks" in shown
    assert SAFE in shown
    markdown = out_of(0, command("report", "--format", "md", "--store", store.root))
    assert all(f"| {each} |" in markdown for each in SENT)

    strict = out_of(4, command(*collect, "--max-drop-pp", 0.5, "--set", "promises.undecided=fail"))
    assert "int8 is the closest: none of 2 INT8 networks keeps every promise" in strict
    relaxed = out_of(0, command(*collect, "--max-drop-pp", 100))
    assert "KEPT" in relaxed
    assert set(taken(store.load_run())[1].choice.judged) == set(SENT)  # type: ignore[union-attr]


def test_a_network_that_the_device_cannot_build_is_passed_over_and_named(
    bundle: Path,
    command: Command,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = targets.get("onnxruntime")
    build = type(target).compile

    def fails(self: Any, network: Path, *rest: Any) -> Any:
        if network.name in failing:
            raise TargetError(network.name, "cannot be built: no kernel", hint="x")
        return build(self, network, *rest)

    monkeypatch.setattr(type(target), "compile", fails)
    failing = {"int8.onnx"}
    _, err = expect(0, deployed_here(capsys, bundle, *SHORT))
    assert "int8: left out: int8.onnx cannot be built: no kernel" in err
    shown = out_of(0, command("collect", bundle / "result.json", "--store", store.root))
    name, result = taken(store.load_run())
    assert name == SAFE
    assert result.choice is not None
    assert result.choice.left_out == {"int8": "int8.onnx cannot be built: no kernel"}
    assert "int8.onnx cannot be built" in shown
    failing |= {f"{each}.onnx" for each in SENT}
    assert "int8.onnx cannot be built: no kernel" in err_of(4, deployed_here(capsys, bundle, *SHORT))


def test_a_result_that_lacks_a_network_is_refused(
    bundle: Path, command: Command, store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    expect(0, deployed_here(capsys, bundle, *SHORT))
    found = json.loads((bundle / "result.json").read_text())
    found.pop("digest")

    def refusal(change: Any) -> str:
        copy = json.loads(json.dumps(found))
        change(copy["result"])
        (tmp_path / "r.json").write_text(json.dumps(contents.sealed(copy)))
        return err_of(2, command("collect", "r.json", "--store", store.root))

    assert "its networks are not the bundle's" in refusal(lambda result: result["choice"]["others"].pop(SAFE))
    assert "its networks are not the bundle's" in refusal(lambda result: result.pop("choice"))
    assert "int8-safe's counts do not follow from its answers" in refusal(
        lambda result: result["choice"]["others"][SAFE]["variant"]["accuracy"].update(top1=1)
    )


def test_int8_that_is_good_enough_by_forecast_goes_alone(command: Command, own_store: Store, net: Path) -> None:
    expect(0, command("export", "net.onnx", *WORDS, "--store", own_store.root, "--max-drop-pp", 20))
    assert Bundle.open(Path("out/net-onnxruntime")).about.choices == ("int8",)
    assert layers_of(own_store.load_run()) == {"int8": ()}
    notes = " ".join(out_of(0, command("report", "--notes", "--store", own_store.root)).split())
    assert "the search kept no layer in float" in notes
