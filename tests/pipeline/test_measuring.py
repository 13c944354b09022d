"""How a stage times networks while it works: the real way to a compiled network, where only structure counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from edgeresnet import models, pipeline, recipe, targets
from edgeresnet.context import Context
from edgeresnet.errors import TargetError
from edgeresnet.pipeline import STAGES
from edgeresnet.pipeline.measuring import Measuring
from edgeresnet.portable import machine
from edgeresnet.quantization.net import unshare
from edgeresnet.runs import StepId
from edgeresnet.stages import quantize, trace
from edgeresnet.stages.specs import PruneSpec, TimedSearch
from edgeresnet.store import Store

from ..conftest import tiny

PRUNE = StepId("prune")


def prune_step(raw: dict[str, Any], store: Store) -> pipeline.Step:
    return next(step for step in pipeline.plan(pipeline.resolve(recipe.parse(raw), store)) if step.id == PRUNE)


def planned(store: Store, **changes: Any) -> pipeline.Step:
    """The step `prune` of a recipe with a speed-up as its goal."""
    raw = tiny(prune={"speedup": {"openvino": 1.3}}, targets={"openvino": {}, "onnxruntime": {}}, **changes)
    return prune_step(raw, store)


def measuring(step: pipeline.Step, folder: Path) -> tuple[Measuring, TimedSearch]:
    assert isinstance(step.spec, PruneSpec)
    assert step.spec.timed is not None
    return Measuring(step.spec.timed, Context(0, folder)), step.spec.timed


@pytest.fixture(scope="module", autouse=True)
def _traced_once() -> Iterator[None]:
    """Only structure counts here: networks of one structure share the file that the first of them was traced to."""
    real, known = trace.to_onnx, dict[tuple[Any, ...], bytes]()

    def to_onnx(network: torch.nn.Module, channels: int, size: int) -> onnx.ModelProto:
        key = (*((name, *value.shape) for name, value in network.state_dict().items()), channels, size)
        if key not in known:
            known[key] = real(network, channels, size).SerializeToString()
        return onnx.ModelProto.FromString(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "to_onnx", to_onnx)
        yield


@pytest.fixture
def tmp_store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


QUANTIZED = {"quantize": {}, "images__calibration": {"from": "training", "count": 40}}


@pytest.mark.parametrize(("arch", "name"), [("cifar_resnet8", "openvino"), ("cifar_resnet8b", "onnxruntime")])
def test_int8_with_made_up_scales_runs_the_very_layers_that_the_real_one_runs(
    arch: str, name: str, tmp_path: Path
) -> None:
    """So how long it takes is how long the real one takes."""
    from edgeresnet.quantization import engine, ranges

    torch.manual_seed(0)
    traced = trace.to_onnx(models.build(arch, 10, 1).eval(), 1, 8)
    wanted = recipe.parse(tiny())
    target = targets.get(name)
    dialect = target.speaks(target.options())

    real = onnx.ModelProto.FromString(traced.SerializeToString())
    unshare(real)
    images = torch.randn(8, 1, 8, 8).numpy()
    views = ranges.collect(real, [images], ranges.Views(ranges.Ranges(ranges.Origin())))
    choices = engine.Choices(dialect, preprocessing=wanted.preprocessing)
    found = engine.quantize(engine.Source(real, views.plain), None, choices, lambda **_: iter([images]), images[:0])
    layers, stand_in = {}, quantize.stand_in(traced, dialect, (), wanted.preprocessing)
    for title, model in (("real", found.model()), ("stand-in", stand_in)):
        onnx.checker.check_model(model)
        onnx.save(model, tmp_path / f"{title}.onnx")
        (tmp_path / title).mkdir()
        target.compile(tmp_path / f"{title}.onnx", target.options(), tmp_path / title)
        with target.load(tmp_path / title) as session:
            layers[title] = [(layer.operator, layer.precision) for layer in session.layers()]
    assert layers["stand-in"] == layers["real"]
    assert sum(precision in ("u8", "i8") for _, precision in layers["real"]) >= 8


def test_networks_are_timed_as_they_would_ship_and_compiled_once(tmp_path: Path, tmp_store: Store) -> None:
    step = planned(tmp_store, **QUANTIZED)
    timer, search = measuring(step, tmp_path)
    (about,) = search.targets.values()
    assert (about.target, about.ships) == ("openvino", "int8")
    assert about.int8 is not None
    assert about.int8.dialect == targets.get("openvino").speaks(targets.get("openvino").options())
    networks = {"whole": models.build("cifar_resnet8", 10, 1).eval(), "rung-1": models.build("cifar_plain8", 10, 1)}
    found = timer(networks, processes=2, seconds=0.2)
    assert list(found) == ["openvino"]
    assert list(found["openvino"]) == ["whole", "rung-1"]
    for latency in found["openvino"].values():
        assert len(latency.windows()) == 2
        assert latency.batch == 1
    folders = sorted(path.name for path in (tmp_path / "compiled").iterdir())
    assert folders == ["openvino-rung-1", "openvino-whole"]
    with targets.get("openvino").load(tmp_path / "compiled" / "openvino-whole") as session:
        assert {"i8", "u8"} & {layer.precision for layer in session.layers()}
    names: dict[str, Any] = dict.fromkeys(networks)
    assert timer(names, processes=1, seconds=0.1)["openvino"].keys() == names.keys()


def test_one_that_was_compiled_halfway_is_compiled_again(tmp_path: Path, tmp_store: Store) -> None:
    step = planned(tmp_store)
    networks = {"whole": models.build("cifar_resnet8", 10, 1).eval()}
    measuring(step, tmp_path)[0](networks, processes=1, seconds=0.1)
    folder = tmp_path / "compiled" / "openvino-whole"
    (folder / "manifest.json").unlink()
    (folder / "model.bin").unlink()
    measuring(step, tmp_path)[0](networks, processes=1, seconds=0.1)
    assert (folder / "model.bin").is_file()


def test_a_target_that_refuses_a_cut_is_named(tmp_path: Path, tmp_store: Store, monkeypatch: Any) -> None:
    def refuses(*_: object) -> None:
        raise TargetError("the network", "is refused", hint="another")

    step = planned(tmp_store)
    monkeypatch.setattr(type(targets.get("openvino")), "compile", refuses)
    networks = {"whole": models.build("cifar_resnet8", 10, 1).eval()}
    with pytest.raises(TargetError, match="OpenVINO: the network is refused"):
        measuring(step, tmp_path)[0](networks, processes=1, seconds=0.1)


@pytest.mark.parametrize(("input_", "batch"), [("uint8", "dynamic"), ("float32", 4)])
def test_inputs_and_batches_are_those_of_the_recipe(input_: str, batch: Any, tmp_path: Path, tmp_store: Store) -> None:
    raw = tiny(prune={"speedup": {"openvino": 1.3}}, targets={"openvino": {"input": input_}}, trace={"batch": batch})
    step = prune_step(raw, tmp_store)
    networks = {"whole": models.build("cifar_resnet8", 10, 1).eval()}
    measured = measuring(step, tmp_path)[0](networks, processes=1, seconds=0.1)
    assert measured["openvino"]["whole"].batch == (1 if batch == "dynamic" else batch)
    with targets.get("openvino").load(tmp_path / "compiled" / "openvino-whole") as session:
        assert session.signature.pixels == (input_ == "uint8")


def test_machine_and_runtime_belong_to_a_cut_that_was_timed_and_to_no_other(
    tmp_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> tuple[str, str]:
        return planned(tmp_store).key({}), prune_step(tiny(prune={"macs": 0.5}), tmp_store).key({})

    timed, untimed = keys()
    real, conditions = machine.versions, machine.conditions()

    def versions(*names: str) -> dict[str, str]:
        return real(*names) | ({"openvino": "1999.1"} if "openvino" in names else {})

    changed: dict[str, Any] = {"versions": versions, "conditions": lambda: replace(conditions, governor="another")}
    for name, other in changed.items():
        with monkeypatch.context() as patch:
            patch.setattr(machine, name, other)
            assert keys()[0] != timed
            assert keys()[1] == untimed
    assert keys() == (timed, untimed)
    assert planned(tmp_store).stage.version == STAGES["prune"].version


def test_how_long_is_measured_belongs_to_it_too(tmp_store: Store) -> None:
    one, other = (planned(tmp_store, verify={"processes": 3, "seconds": seconds}) for seconds in (1, 2))
    assert one.key({}) != other.key({})
