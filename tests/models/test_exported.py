"""Files of whole networks: torch.export's archives are read as data; what is code is refused with what to do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint, recognise, shapes

from . import networks

SCRIPTED = "is a TorchScript archive, which holds code"


class Odd(nn.Module):
    """Weights as few networks have them: tied, a view, transposed, of 16 bits, and buffers that are not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)
        self.two.weight = self.one.weight
        self.view = nn.Parameter(torch.arange(12.0).reshape(3, 4)[:, 1:3])
        self.short = nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))
        self.turned: torch.Tensor
        self.unsaved: torch.Tensor
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
        self.register_buffer("unsaved", torch.ones(3), persistent=False)
        self.constant = torch.tensor([1.0, 2.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums = (self.view, self.short.float(), self.turned, self.unsaved, self.constant)
        return self.one(x) + self.two(x) + torch.stack([each.sum() for each in sums]).sum()


def exported(network: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network.eval(), (torch.zeros(shape),)), path)
    return path


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an exported cifar_resnet8 whose every tensor matters."""
    network = networks.lively("cifar_resnet8", 7, 1)
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    torch.save(network.state_dict(), path.with_name("w.pth"))
    return exported(network, (2, 1, 8, 8), path)


def rewritten(path: Path, to: Path, changes: Mapping[str, bytes | None], kind: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive again, with other members at these names without the root; None leaves one out."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(to, "w", kind) as new:
        for name in archive.namelist():
            data = changes.get(name.partition("/")[2], archive.read(name))
            if data is not None:
                new.writestr(name, data)
    return to


def configured(path: Path, to: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write an archive again, with another description of its weights."""
    name = "data/weights/model_weights_config.json"
    with zipfile.ZipFile(path) as archive:
        held = json.loads(archive.read(f"{path.stem}/{name}"))
    change(held["config"])
    return rewritten(path, to, {name: json.dumps(held).encode()})


def refused(path: Path) -> ModelError:
    found = []
    for read in (shapes.read, checkpoint.read):
        with pytest.raises(ModelError) as caught:
            read(path)
        found.append(str(caught.value) + caught.value.hint)
        assert "\n" not in found[-1]
        assert len(found[-1]) - len(str(path)) < 300
    assert found[0] == found[1]
    return caught.value


def test_an_exported_network_is_read_as_its_state_dict(resnet: Path) -> None:
    wanted = torch.load(resnet.with_name("w.pth"))
    named = shapes.read(resnet)
    assert list(named) == list(wanted)
    assert {name: each.shape for name, each in named.items()} == {
        name: tuple(each.shape) for name, each in wanted.items()
    }
    torch.testing.assert_close(checkpoint.read(resnet), dict(wanted), rtol=0, atol=0)
    found = recognise.recognise(named)
    assert found is not None
    assert "cifar_resnet8" in found.archs
    network = models.build("cifar_resnet8", 7, 1)
    checkpoint.load_into(network, resnet, "cifar_resnet8")
    torch.testing.assert_close(dict(network.state_dict()), dict(wanted), rtol=0, atol=0)


def test_looking_at_one_loads_no_torch(resnet: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgeresnet.models import shapes; "
        f"print(len(shapes.read(Path({str(resnet)!r}))), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(torch.load(resnet.with_name('w.pth')))} False\n"


def test_views_tied_weights_and_every_type_are_as_torch_loads_them(tmp_path: Path) -> None:
    network = Odd()
    path = exported(network, (2, 3), tmp_path / "odd.pt2")
    found = checkpoint.read(path)
    torch.testing.assert_close(found, dict(network.state_dict()), rtol=0, atol=0)
    assert found.keys() == shapes.read(path).keys(), "what its state_dict leaves out is left out"
    assert shapes.read(path)["short"] == ((2, 2), "BFloat16")


def test_weights_that_are_no_parameters_are_found_among_the_constants(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.arange(6.0).reshape(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.t()

    path = exported(Plain(), (2, 3), tmp_path / "plain.pt2")
    assert checkpoint.read(path)["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "name", ["serialized_state_dict.pt", "serialized_state_dict.json", "net/data/weights/model.pt"]
)
def test_an_archive_of_older_torch_is_read(resnet: Path, tmp_path: Path, name: str) -> None:
    """Torch 2.1 to 2.8 put a file of torch.save into the archive."""
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr(name, resnet.with_name("w.pth").read_bytes())
        archive.writestr("net/models/model.json" if "/" in name else "serialized_exported_program.json", "{}")
    wanted = torch.load(resnet.with_name("w.pth"))
    assert list(shapes.read(tmp_path / "old.pt2")) == list(wanted)
    torch.testing.assert_close(checkpoint.read(tmp_path / "old.pt2"), dict(wanted), rtol=0, atol=0)


def test_code_in_an_archive_of_older_torch_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    held = io.BytesIO()
    torch.save({"a": Evil()}, held)
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("serialized_state_dict.pt", held.getvalue())
    assert "would run code" in refused(tmp_path / "old.pt2").message
    assert not (tmp_path / "ran").exists()


def _set(name: str, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config[name].update(changes)


def _meta(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["conv1.weight"]["tensor_meta"].update(changes)


SIZES = [{"as_int": side} for side in (16, 1, 3, 3)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("conv1.weight", path_name="weight_999"), "the numbers of the tensor conv1.weight are missing"),
        (_set("conv1.weight", path_name="../../models/model.json"), "are missing"),
        (_set("conv1.weight", path_name=7), "does not describe the tensor conv1.weight"),
        (_set("conv1.weight", use_pickle=True), "conv1.weight as a pickle of a class, and loading it would run code"),
        (_set("conv1.weight", tensor_meta=None), "conv1.weight is described in an unknown way"),
        (_meta(dtype=99), "described in an unknown way"),
        (_meta(dtype=[7]), "described in an unknown way"),
        (_meta(layout=1), "described in an unknown way"),
        (_meta(sizes=[{"as_expr": {"expr_str": "s0"}}] * 4), "described in an unknown way"),
        (_meta(sizes=[{"as_int": True}] * 4), "described in an unknown way"),
        (_meta(sizes=3), "described in an unknown way"),
        (_meta(strides=[{"as_int": -1}] * 4), "described in an unknown way"),
        (_meta(strides=[]), "described in an unknown way"),
        (_meta(storage_offset={"as_int": 1}), "does not have the bytes that its shape needs"),
        (_meta(sizes=[*SIZES[:3], {"as_int": 1 << 40}], strides=[{"as_int": 0}] * 4), "does not have the bytes"),
        (_meta(sizes=[{"as_int": 1 << 47}] * 4), "does not have the bytes"),
        (_meta(dtype=8), "does not have the bytes"),
        (lambda config: config.clear(), "holds no weights"),
        (lambda config: config.update(x=[]), "does not describe the tensor x"),
    ],
)
def test_a_description_that_lies_is_refused(
    resnet: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    assert words in refused(configured(resnet, tmp_path / "net.pt2", change)).message


@pytest.mark.parametrize(
    ("changes", "kind", "words", "hint"),
    [
        ({"data/weights/weight_0": b""}, zipfile.ZIP_STORED, "was exported without numbers", "with its weights loaded"),
        ({"data/weights/weight_0": None}, zipfile.ZIP_STORED, "are missing", "copy the file again"),
        ({"data/weights/weight_0": b"abc"}, zipfile.ZIP_STORED, "does not have the bytes", "copy"),
        ({"data/weights/model_weights_config.json": None}, zipfile.ZIP_STORED, "has no model_weights_config", "copy"),
        ({"data/weights/model_weights_config.json": b"[]"}, zipfile.ZIP_STORED, "does not describe tensors", "copy"),
        ({"data/weights/model_weights_config.json": b"{"}, zipfile.ZIP_STORED, "_config.json is not JSON", "copy"),
        ({"byteorder": b"big"}, zipfile.ZIP_STORED, "bytes in the order of other machines", "torch.export.load("),
        ({}, zipfile.ZIP_DEFLATED, "are missing", "copy"),
    ],
)
def test_an_archive_that_lacks_something_is_refused(
    resnet: Path, tmp_path: Path, changes: Mapping[str, bytes | None], kind: int, words: str, hint: str
) -> None:
    found = refused(rewritten(resnet, tmp_path / "net.pt2", changes, kind))
    assert words in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("members", "words", "hint"),
    [
        (["a/models/one.json", "a/models/two.json"], "holds 2 exported networks: one, two", "torch.export.save"),
        (["a/data/aotinductor/model/x.so"], "is a network that AOTInductor compiled", "the checkpoint"),
        (["a/models/one.json"], "it has no one_weights_config.json", "copy"),
    ],
)
def test_archives_that_hold_no_one_networks_weights(tmp_path: Path, members: list[str], words: str, hint: str) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        for name in members:
            archive.writestr(name, "{}")
    found = refused(tmp_path / "net.pt2")
    assert words in found.message
    assert hint in found.hint


def ran(hint: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Run the line of a hint, as a person does who trusts the file; return what it saved."""
    monkeypatch.chdir(folder)
    line = hint[hint.index("torch.save(") :]
    import pickle

    exec(line, {"torch": torch, "pickle": pickle})
    return checkpoint.read(folder / "weights.pth")


def test_torchscript_is_refused_with_the_line_that_saves_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Linear(2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(tmp_path / "w.pt"))
    found = refused(tmp_path / "w.pt")
    assert found.problem == SCRIPTED
    assert "torch.save(torch.jit.load('w.pt').state_dict(), 'weights.pth')" in found.hint
    torch.testing.assert_close(ran(found.hint, tmp_path, monkeypatch), dict(network.state_dict()))


def _network() -> nn.Module:
    return models.build("cifar_resnet8", 7, 1)


class Thing:
    """Stands for what a training script saves next to its weights."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("wrap", "line"),
    [
        (lambda network: network, ".state_dict()"),
        (lambda network: nn.DataParallel(network), ".state_dict()"),
        (lambda network: {"epoch": 3, "model": network}, "['model'].state_dict()"),
        (lambda network: {"ema": None, "best": {"student": network}}, "['best']['student'].state_dict()"),
        (lambda network: {"state_dict": network.state_dict(), "args": Thing()}, "['state_dict']"),
        (lambda network: {"args": Thing(), "model": {"net": network.state_dict()}}, "['model']['net']"),
        (lambda network: {**network.state_dict(), "about": Thing()}, ".items() if torch.is_tensor(v)}"),
        (lambda network: {"optimizer": {"state": network.state_dict()}, "model": network}, "['model'].state_dict()"),
    ],
)
def test_a_pickle_of_a_network_is_refused_with_the_line_that_fits_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: Callable[[nn.Module], object], line: str, zipped: bool
) -> None:
    network = _network()
    saved = wrap(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(saved, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = refused(tmp_path / "w.pth")
    bare = isinstance(saved, nn.Module)
    assert ("is a pickled network (" in found.message, "not its weights" in found.message) == (bare, bare)
    assert found.message.endswith("loading it would run code")
    assert line in found.hint
    torch.testing.assert_close(ran(found.hint, tmp_path, monkeypatch), dict(network.state_dict()))


@pytest.mark.parametrize("saved", [Thing(), [1, Thing()], {"a": Thing(), "b": [torch.ones(1)]}, {"a": Thing}])
def test_where_no_weights_are_seen_no_line_is_made_up(tmp_path: Path, saved: object) -> None:
    torch.save(saved, tmp_path / "w.pth")
    found = refused(tmp_path / "w.pth")
    assert "holds more than weights (" in found.message
    assert found.hint == "save `model.state_dict()` where it was trained"
