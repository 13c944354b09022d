from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import checkpoint
from edgeresnet.stages.specs import Architecture


@pytest.mark.parametrize("arch", models.CIFAR)
def test_the_cifar_family(arch: str) -> None:
    network = models.build(arch, classes=7, channels=1).eval()
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    depth = int("".join(c for c in arch if c.isdigit()))
    weighted = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    projections = 2 if arch.endswith("b") else 0
    assert len(weighted) == depth + projections


@pytest.mark.parametrize(("arch", "parameters"), [("cifar_resnet20", 269_722), ("cifar_resnet56", 853_018)])
def test_the_papers_sizes(arch: str, parameters: int) -> None:
    """0.27 M and 0.85 M in the paper's table 6."""
    assert sum(p.numel() for p in models.build(arch, 10, 3).parameters()) == parameters


def test_plain_networks_have_the_same_weights_and_no_shortcut() -> None:
    plain, residual = models.build("cifar_plain20", 10, 3).eval(), models.build("cifar_resnet20", 10, 3).eval()
    plain.load_state_dict(residual.state_dict())
    x = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(plain(x), residual(x))


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_torchvisions_by_name(arch: str, channels: int) -> None:
    network = models.build(arch, classes=5, channels=channels).eval()
    assert network(torch.zeros(1, channels, 64, 64)).shape == (1, 5)


def test_torchvisions_own_weights_fit() -> None:
    from torchvision.models import resnet18

    theirs, ours = resnet18().eval(), models.build("resnet18", 1000, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_an_unknown_word_gets_the_nearest() -> None:
    with pytest.raises(ModelError) as caught:
        models.build("cifar_resnt20", 10, 3)
    assert "cifar_resnet20" in caught.value.hint
    with pytest.raises(ModelError, match="'vgg' is not a known architecture"):
        models.check_arch("vgg")


def _module(folder: Path, text: str) -> str:
    name = f"factory_{abs(hash(text)) % 10**8}"
    (folder / f"{name}.py").write_text(text)
    return name


def test_a_factory_in_user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = "from torch import nn\ndef make(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))\n"
    name = _module(tmp_path, text)
    network = models.build(f"{name}:make", classes=4, channels=3)
    assert network(torch.zeros(1, 3, 2, 2)).shape == (1, 4)
    assert models.sources_of(f"{name}:make") == [tmp_path / f"{name}.py"]


def test_what_a_factory_imports_from_its_folder_belongs_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "helped_net.py").write_text("import json, torch\nfrom helper_of_net import build\nmake = build\n")
    (tmp_path / "helper_of_net.py").write_text("import deeper_of_net\n")
    (tmp_path / "deeper_of_net.py").write_text("import helped_net\n")
    (tmp_path / "unrelated.py").write_text("")
    found = {path.name for path in models.sources_of("helped_net:make")}
    assert found == {"helped_net.py", "helper_of_net.py", "deeper_of_net.py"}
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "net.py").write_text("from . import parts\nfrom .more import x\n")
    for name in ("parts", "more"):
        (tmp_path / "pack" / f"{name}.py").touch()
    assert {"net.py", "parts.py", "more.py"} <= {path.name for path in models.sources_of("pack.net:make")}


@pytest.mark.parametrize(
    ("arch", "body", "words"),
    [
        ("no_such_module_here:make", "", "is not found"),
        ("sys:exit", "", "is not found"),
        ("{}:absent", "present = 3", "has no attribute"),
        ("{}:number", "def number():\n    return 3", "returned int"),
        ("{}:make", "def make(:", "SyntaxError"),
        ("{}:make", "def make():\n    raise RuntimeError('boom')", r"RuntimeError: boom \(.*line 2\)"),
        ("{}:make", "make = 3", "is of the type int, not a function"),
        ("{}:make", "import no_such_module_at_all\ndef make(): 0", "no_such_module_at_all"),
    ],
)
def test_a_factory_that_fails_is_reported_as_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, body: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ModelError, match=words):
        models.build(arch.format(_module(tmp_path, body)), 4, 3)


@pytest.mark.parametrize(
    ("network", "words"),
    [(nn.Flatten(), r"\(2, 192\) for two images instead of \(2, 10\)"), (nn.Linear(5, 10), "cannot take images")],
)
def test_an_answer_must_have_a_logit_per_class(network: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        models.check_answer(network, Architecture("x", classes=10, channels=3), 8)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    weights = _network().state_dict()
    weights["layer2.0.conv1.weight"][3, 0, 0, 0] = float("nan")
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"NaN or infinity in layer2\.0\.conv1\.weight"):
        checkpoint.load_into(_network(), tmp_path / "w.pth", "cifar_resnet8")


def test_another_number_of_classes_is_named_in_the_hint(tmp_path: Path) -> None:
    torch.save(models.build("cifar_resnet8", 7, 1).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError) as caught:
        checkpoint.load_into(_network(), tmp_path / "w.pth", "cifar_resnet8")
    assert "have 7 classes" in caught.value.hint


def _network() -> nn.Module:
    return models.build("cifar_resnet8", 10, 1)


def test_another_architecture_is_reported_key_by_key(tmp_path: Path) -> None:
    torch.save(models.build("cifar_resnet20b", 7, 3).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError) as caught:
        checkpoint.load_into(_network(), tmp_path / "w.pth", "cifar_resnet8")
    for words in ("unexpected: layer1.1", "and 82 more", "conv1.weight is (16, 3, 3, 3) and should be (16, 1, 3, 3)"):
        assert words in caught.value.message


def test_a_dictionary_without_weights(tmp_path: Path) -> None:
    torch.save({0: torch.zeros(1)}, tmp_path / "w.pth")
    assert list(checkpoint.read(tmp_path / "w.pth")) == ["0"]
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds no weights"):
        checkpoint.read(tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"the checkpoint .* does not exist"):
        checkpoint.read(tmp_path / "absent.pth")
