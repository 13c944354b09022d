"""Networks from user code as people have them: what their signatures want, files with helpers, and what goes wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeresnet import models
from edgeresnet.errors import ModelError

LINEAR = "nn.Sequential(nn.Flatten(), nn.Linear({}, {}))"
HEAD = "import torch\nfrom torch import nn\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of the user's, and leave nothing of theirs loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def written(text: str, path: str = "net.py") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + text)
    return file


def shape_of(arch: str, classes: int = 4, channels: int = 3, **arguments: Any) -> tuple[int, ...]:
    """Return what the network answers to one image of 2×2."""
    network = models.build(arch, classes, channels, arguments)
    return tuple(network(torch.zeros(1, channels, 2, 2)).shape)


def refused(arch: str, arguments: Mapping[str, Any] | None = None) -> ModelError:
    """Return the error, as one line of a length that a person reads."""
    with pytest.raises(ModelError) as caught:
        models.build(arch, 4, 3, arguments)
    assert "\n" not in caught.value.message + caught.value.hint
    assert len(caught.value.message) + len(caught.value.hint) < 500
    return caught.value


@pytest.mark.parametrize(
    "word",
    ["classes", "num_classes", "n_classes", "num_class", "n_class", "nb_classes", "class_num", "nClasses", "n_cls"],
)
@pytest.mark.parametrize("default", ["", "=10", "=None"])
def test_the_number_of_classes_is_given_whatever_it_is_called(word: str, default: str) -> None:
    written(f"def make({word}{default}):\n    return {LINEAR.format(12, word)}\n")
    assert shape_of("net.py:make", 7) == (1, 7)


@pytest.mark.parametrize("word", ["channels", "in_channels", "in_chans", "in_ch", "num_channels", "input_channels"])
@pytest.mark.parametrize("default", ["", "=3"])
def test_the_channels_are_given_whatever_they_are_called(word: str, default: str) -> None:
    written(f"def make(num_classes, {word}{default}):\n    return {LINEAR.format(f'4 * {word}', 'num_classes')}\n")
    assert shape_of("net.py:make", 4, 1) == (1, 4)


def test_a_width_called_in_channels_stays_a_width() -> None:
    written(
        "def make(num_classes, in_channels=64):\n    assert in_channels == 64\n"
        f"    return {LINEAR.format(12, 'num_classes')}\n"
    )
    assert shape_of("net.py:make") == (1, 4)


@pytest.mark.parametrize(
    ("signature", "check"),
    [
        ("pretrained=True, num_classes=9", "pretrained is False"),
        ("pretrained, num_classes=9", "pretrained is False"),
        ("num_classes=9, pretrained='imagenet'", "pretrained is None"),
        ("num_classes=9, pretrained=''", "pretrained == ''"),
        ("*, weights='DEFAULT', num_classes=9", "weights is None"),
        ("weights=None, progress=True, *, num_classes", "progress"),
        ("num_classes, /, channels=3", "channels == 3"),
        ("depth=20, num_classes=9, /", "depth == 20"),
        ("num_classes, *rest, channels", "rest == () and channels == 3"),
        ("classes=('a', 'b'), num_classes=9", "classes == ('a', 'b')"),
    ],
)
def test_no_weights_are_fetched_and_every_kind_of_parameter_is_served(signature: str, check: str) -> None:
    written(f"def make({signature}):\n    assert {check}\n    return {LINEAR.format(12, 'num_classes')}\n")
    assert shape_of("net.py:make") == (1, 4)


@pytest.mark.parametrize("inner", ["classes", "num_classes", "n_classes", "num_class", "num_classes, in_chans"])
def test_keywords_that_are_passed_on_reach_the_class(inner: str) -> None:
    """As torchvision's and timm's functions do: `def resnet20(pretrained=False, **kwargs)`."""
    word = inner.split(",")[0]
    written(
        f"class Net(nn.Linear):\n    def __init__(self, {inner}):\n        super().__init__(12, {word})\n"
        "    def forward(self, x):\n        return super().forward(x.flatten(1))\n"
        "def make(pretrained=False, **kwargs):\n    return Net(**kwargs)\n"
    )
    assert shape_of("net.py:make") == (1, 4)


@pytest.mark.parametrize(
    ("inner", "first"),
    [
        ("num_classes, pretrained=True", "assert pretrained is False"),
        ("num_classes", "pass"),
        ("num_classes, **options", "assert options == {'pretrained': False, 'channels': 3}"),
        ("num_classes, **options", "if 'pretrained' in options: raise ValueError('unknown: pretrained')"),
    ],
)
def test_weights_behind_passed_on_keywords_are_not_fetched(inner: str, first: str) -> None:
    """Where the class inside does not know `pretrained`, it is left out."""
    written(
        f"class Net(nn.Linear):\n    def __init__(self, {inner}):\n        {first}\n"
        "        super().__init__(12, num_classes)\n"
        "    def forward(self, x):\n        return super().forward(x.flatten(1))\n"
        "def make(**kwargs):\n    return Net(**kwargs)\n"
    )
    assert shape_of("net.py:make") == (1, 4)


def test_what_is_missing_behind_passed_on_keywords_is_named_too() -> None:
    written(
        "class Net(nn.Linear):\n    def __init__(self, depth, num_classes=10):\n"
        "        super().__init__(depth, num_classes)\n"
        "def resnet(**kwargs):\n    return Net(**kwargs)\n"
    )
    found = refused("net.py:resnet")
    assert found.message == "the factory net.py:resnet needs depth: its signature is resnet(**kwargs)"
    assert "add `--arch-arg depth=20`" in found.hint
    assert models.build("net.py:resnet", 4, 3, {"depth": 20}).out_features == 4


def test_a_type_error_of_theirs_is_not_taken_for_a_refused_keyword() -> None:
    written("def make(**kwargs):\n    return dict(kwargs)['x'].y(z=1)\n")
    assert "KeyError" in refused("net.py:make").message
    written("def inner():\n    pass\ndef make(**kwargs):\n    inner(speed=1)\n")
    assert "unexpected keyword argument 'speed'" in refused("net.py:make").message


def test_a_class_is_a_factory() -> None:
    written(
        "class Net(nn.Module):\n    def __init__(self, num_classes=10, in_channels=3):\n        super().__init__()\n"
        f"        self.body = {LINEAR.format('4 * in_channels', 'num_classes')}\n"
        "    def forward(self, x):\n        return self.body(x)\n",
        "my_nets.py",
    )
    assert shape_of("my_nets:Net", 6, 1) == shape_of("my_nets.py:Net", 6, 1) == (1, 6)


@pytest.mark.parametrize("arch", ["models/net.py:make", "{}/models/net.py:make", "./models/../models/net.py:make"])
def test_a_file_with_helpers_next_to_it(tmp_path: Path, arch: str) -> None:
    written(
        "from layers import head\nimport ops.flat\ndef make(num_classes):\n    return head(num_classes)\n",
        "models/net.py",
    )
    written(
        f"from utils.sizes import SIZE\ndef head(classes):\n    return {LINEAR.format('SIZE', 'classes')}\n",
        "models/layers.py",
    )
    written("", "models/ops/flat.py")
    written("SIZE = 12\n", "utils/sizes.py")
    written("", "models/other.py")
    path, arguments = list(sys.path), dict.fromkeys(sys.modules)
    arch = arch.format(tmp_path)
    assert shape_of(arch) == (1, 4)
    found = [file.relative_to(tmp_path).as_posix() for file in models.sources_of(arch)]
    assert found == ["models/layers.py", "models/net.py", "models/ops/flat.py", "utils/sizes.py"]
    assert sys.path == path
    assert arguments.keys() <= sys.modules.keys()
    assert not list(tmp_path.rglob("__pycache__")), "nothing is left in their folder"


def test_a_file_with_relative_imports_is_part_of_its_package(tmp_path: Path) -> None:
    for levels, folder in (("", "alone"), (".", "pack/nets")):
        written("from .layers import head\ndef make(num_classes):\n    return head(num_classes)\n", f"{folder}/net.py")
        text = "from {}.sizes import SIZE\ndef head(classes):\n    return {}\n"
        written(text.format(levels, LINEAR.format("SIZE", "classes")), f"{folder}/layers.py")
        written("SIZE = 12\n", "alone/sizes.py" if not levels else "pack/sizes.py")
    for package in ("pack", "pack/nets"):
        (tmp_path / package / "__init__.py").touch()
    assert shape_of("alone/net.py:make") == shape_of("pack/nets/net.py:make") == (1, 4)
    names = [file.name for file in models.sources_of("pack/nets/net.py:make")]
    assert names == ["layers.py", "net.py", "sizes.py"]


def test_helpers_of_the_same_name_in_two_folders_are_told_apart() -> None:
    for folder, size in (("one", 5), ("two", 6)):
        written(
            "from layers import SIZE\nfrom torch import nn\ndef make():\n    return nn.Linear(12, SIZE)\n",
            f"{folder}/net.py",
        )
        written(f"SIZE = {size}\n", f"{folder}/layers.py")
    sizes = [models.build(f"{folder}/net.py:make", 4, 3).out_features for folder in ("one", "two", "one")]
    assert sizes == [5, 6, 5]


def test_a_module_with_the_name_of_a_file_is_found_afterwards() -> None:
    written("def make():\n    return nn.Linear(1, 5)\n", "nets/net.py")
    written("from layers import SIZE\ndef make():\n    return nn.Linear(1, SIZE)\n")
    written("SIZE = 7\n", "nets/layers.py")
    written("SIZE = 6\n", "layers.py")
    sizes = [models.build(f"{module}:make", 4, 3).out_features for module in ("nets/net.py", "net")]
    assert sizes == [5, 6]


def test_a_changed_file_is_read_again() -> None:
    written("from layers import SIZE\ndef make():\n    return nn.Linear(1, SIZE)\n")
    for size in (5, 6):
        written(f"SIZE = {size}\n", "layers.py")
        assert models.build("net.py:make", 4, 3).out_features == size


@pytest.mark.parametrize("name", ["my-net.v2.py", "time.py", "sys.py", "two words.py"])
def test_a_file_may_have_any_name(name: str) -> None:
    written(f"import time\ndef make(classes):\n    time.time()\n    return {LINEAR.format(12, 'classes')}\n", name)
    before = sys.modules["time"], sys.modules["sys"]
    assert shape_of(f"{name}:make") == (1, 4)
    assert (sys.modules["time"], sys.modules["sys"]) == before


def test_a_module_that_others_loaded_stays_theirs() -> None:
    """A helper may have the name of a module of Python, as it may next to any program."""
    import wave

    written("from wave import SIZE\ndef make(classes):\n    return nn.Linear(SIZE, classes)\n")
    written("SIZE = 12\n", "wave.py")
    assert models.build("net.py:make", 4, 3).in_features == 12
    assert sys.modules["wave"] is wave


def test_what_a_factory_prints_is_not_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    written(f"print('hello')\ndef make(classes):\n    print('building')\n    return {LINEAR.format(12, 'classes')}\n")
    assert shape_of("net.py:make") == (1, 4)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\nbuilding\n")


@pytest.mark.parametrize("value", [20, 0.5, True, "wide"])
def test_arguments_reach_the_factory(value: Any) -> None:
    written(
        f"def make(num_classes, depth):\n    assert depth == {value!r}\n    return {LINEAR.format(12, 'num_classes')}\n"
    )
    assert shape_of("net.py:make", depth=value) == (1, 4)
    written(
        f"def make(depth, /, **more):\n    assert (depth, more['x']) == ({value!r}, 1)\n    return nn.Linear(1, 1)\n"
    )
    models.build("net.py:make", 4, 3, {"depth": value, "x": 1})


def test_an_argument_may_be_what_the_recipe_knows() -> None:
    """Their own value comes first: a network with a background class has one more."""
    written(f"def make(num_classes):\n    return {LINEAR.format(12, 'num_classes')}\n")
    assert shape_of("net.py:make", 4, num_classes=5) == (1, 5)


@pytest.mark.parametrize(
    ("signature", "arguments", "message", "hint"),
    [
        (
            "num_classes, depth",
            {},
            "needs depth: its signature is make(num_classes, depth)",
            "add `--arch-arg depth=20`; in a recipe, `model.arch_args: {depth: 20}`",
        ),
        ("wide: int, drop: float", {}, "needs wide, drop", "`--arch-arg wide=1 --arch-arg drop=0.5`"),
        ("name", {}, "needs name", "`--arch-arg name=VALUE`"),
        (
            "block, num_blocks, num_classes=10",
            {},
            "needs block, num_blocks: its signature is make(block, num_blocks, num_classes=10)",
            "as in `def make(classes): return make(…, classes)`",
        ),
        (
            "depth=20",
            {"dept": 3},
            "does not take dept: its signature is make(depth=20)",
            "did you mean `--arch-arg depth=…`?",
        ),
        ("depth=20", {"zoom": 3}, "does not take zoom", "remove `--arch-arg zoom=…`"),
        ("depth=20, **more", {"zoom": 3}, "does not take zoom", "remove `--arch-arg zoom=…`"),
        (", ".join(f"{'x' * 100}{i}=1" for i in range(50)), {"y": 1}, "does not take y", "remove"),
        ("x=torch.zeros(99, 99)", {"y": 1}, "does not take y", "remove"),
    ],
)
def test_an_argument_that_is_missing_or_unknown_shows_the_signature(
    signature: str, arguments: Mapping[str, Any], message: str, hint: str
) -> None:
    taken = "classes, **more" if "**" in signature else ""
    passed = "**more" if taken else ""
    written(
        f"def net({taken.replace('**more', 'channels')}):\n    return nn.Linear(1, 1)\n"
        f"def make({signature}):\n    return net({passed})\n"
    )
    found = refused("net.py:make", arguments)
    assert found.message.startswith("the factory net.py:make ")
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("arch", "message", "hint"),
    [
        ("absent/net.py:make", "the file absent/net.py of the factory make does not exist", "current folder"),
        ("net.py:resnet22", "net.py has no attribute resnet22", "did you mean resnet32 or resnet20?"),
        ("net.py:vgg", "net.py has no attribute vgg", "it has resnet20, resnet32"),
        ("net:vgg", "net has no attribute vgg", "it has resnet20, resnet32"),
        ("net.py", "'net.py' is not a known architecture", "as in net.py:resnet20"),
        ("net.py:trained", "net.py:trained is a network, not a function", "returns a new network"),
        ("net.py:SIZE", "net.py:SIZE is of the type int, not a function", "returns a new network"),
    ],
)
def test_a_factory_that_is_not_there(arch: str, message: str, hint: str) -> None:
    functions = "".join(f"def {name}():\n    pass\n" for name in ("resnet20", "resnet32", "_own"))
    written(f"SIZE = 3\ntrained = nn.Linear(1, 1)\n{functions}")
    found = refused(arch)
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("def make(:", r"SyntaxError: .* \(\S+net\.py, line 3\)", "call it in Python"),
        (
            "import no_such_module\ndef make(): 0",
            r"No module named 'no_such_module' \(\S+net\.py, line 3\)",
            "install no_such_module",
        ),
        ("raise SystemExit(2)\ndef make(): 0", r"SystemExit: 2 \(\S+net\.py, line 3\)", "under `if __name__"),
        ("def make():\n    return torch.zeros(-1)", r"RuntimeError: .* \(\S+net\.py, line 4\)", "call it in Python"),
        ("def make():\n    return 3", "returned int", "return a torch.nn.Module"),
    ],
)
def test_what_fails_in_user_code_names_their_line(text: str, message: str, hint: str) -> None:
    written(text)
    found = refused("net.py:make")
    assert re.search(message, found.message), found.message
    assert hint in found.hint


def test_planning_runs_no_user_code() -> None:
    """`check` and `plan` see that the file has the name, also where it comes by an import."""
    written("raise RuntimeError\ndef make():\n    pass\n")
    models.check_arch("net.py:make")
    written("from layers import *\n", "starred.py")
    models.check_arch("starred.py:anything")
    with pytest.raises(ModelError, match="has no attribute mak"):
        models.check_arch("net.py:mak")


def test_an_architecture_of_ours_stays_as_it_is() -> None:
    assert isinstance(models.build("cifar_resnet8", 4, 3), nn.Module)
    assert models.sources_of("cifar_resnet8") == []
