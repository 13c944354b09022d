"""Files of networks as people save them: each form of a checkpoint, renamings and reorderings, lively weights."""

from __future__ import annotations

import contextlib
import json
import random
import re
import string
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

Tensors = dict[str, torch.Tensor]


def enliven(network: nn.Module, channels: int, size: int, seed: int) -> nn.Module:
    """Give every tensor an effect that is its own, so that two swapped ones change the answers.

    The statistics of normalisations come from random images, and are then disturbed: without that a deep network of
    random weights grows from block to block, and hides what its later biases are.
    """
    torch.manual_seed(seed)
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.3)
    usual = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 1.0
    with torch.no_grad():
        logits(network.train(), torch.randn(8, channels, size, size))
    for each, momentum in zip(norms, usual, strict=True):
        each.momentum = momentum
        assert each.running_mean is not None
        assert each.running_var is not None
        each.running_mean += 0.3 * torch.randn_like(each.running_mean) * each.running_var.sqrt()
        each.running_var *= torch.empty_like(each.running_var).uniform_(0.6, 1.8)
    return network.eval()


def logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return a network's answers, whichever library's it is."""
    mode = {"mode": "tensor"} if hasattr(network, "data_preprocessor") else {}  # mmpretrain's
    answer = network(images, **mode)
    found: torch.Tensor = getattr(answer, "logits", answer)
    return found


@contextlib.contextmanager
def without_initialising() -> Iterator[None]:
    """Let networks be built without random numbers, which take longer than all else; a file's weights replace them."""
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    usual = {name: getattr(nn.init, name) for name in names}
    try:
        for name in names:
            setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        yield
    finally:
        for name, function in usual.items():
            setattr(nn.init, name, function)


def save(network: nn.Module, form: str, folder: Path, seed: int) -> Path:
    """Write a network's file in one of the forms."""
    return _FORMS[form](network, folder, random.Random(seed))


def renamed(tensors: Mapping[str, Any], draw: random.Random, mode: str) -> dict[str, Any]:
    """Return the tensors in their order under random names.

    With "groups" each part of a name is replaced, and what stood under one prefix still does. With "modules" the last
    part is left, and before it each module has one random word. With "tensors" nothing of a name is left.
    """
    if mode == "tensors":
        return dict(zip(_words(draw, len(tensors)), tensors.values(), strict=True))
    paths = {name.rpartition(".")[0] for name in tensors}
    prefixes = {path[: match.start()] for path in paths for match in re.finditer(r"\.|$", path)}
    inner = sorted(prefixes if mode == "groups" else paths)
    word = dict(zip(inner, _words(draw, len(inner)), strict=True))

    def path_of(path: str) -> str:
        above = path.rpartition(".")[0]
        return f"{path_of(above)}.{word[path]}" if above and mode == "groups" else word[path]

    found = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        found[f"{path_of(path)}.{leaf}"] = tensor
    return found


def shuffled(tensors: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return the tensors in a random order."""
    order = list(tensors)
    draw.shuffle(order)
    return {name: tensors[name] for name in order}


def sparse(shapes: Mapping[str, tuple[int, ...]], path: Path) -> Path:
    """Write a safetensors file of zeros that takes no room: its header, and a hole."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(words)) + words)
        file.truncate(8 + len(words) + at)
    return path


def _words(draw: random.Random, count: int) -> list[str]:
    """Return random words, all different, with digits and underscores as names of modules have them."""
    found: dict[str, None] = {}
    while len(found) < count:
        letters = draw.choices(string.ascii_lowercase + "_" + string.digits, k=draw.randint(3, 10))
        found[draw.choice(string.ascii_letters) + "".join(letters)] = None
    return list(found)


def _pth(tensors: Any, folder: Path, name: str = "weights.pth") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


def _safetensors(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    path = folder / "weights.safetensors"
    save_file({name: each.contiguous() for name, each in network.state_dict().items()}, path, {"format": "pt"})
    return path


def _sharded(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    """Write the weights in three files with an index, as transformers writes large networks."""
    weights = {name: each.contiguous() for name, each in network.state_dict().items()}
    files = {name: f"model-{1 + 3 * at // len(weights):05}-of-00003.safetensors" for at, name in enumerate(weights)}
    for file in set(files.values()):
        save_file({name: weights[name] for name in weights if files[name] == file}, folder / file, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict(sorted(files.items()))}))
    return index


def _exported(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    """Write what torch.export makes of the network, for images of 64 pixels."""
    channels = next(each.in_channels for each in network.modules() if isinstance(each, nn.Conv2d))
    program = torch.export.export(network.eval(), (torch.zeros(2, channels, 64, 64),))
    torch.export.save(program, folder / "network.pt2")
    return folder / "network.pt2"


def _under_a_word(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    """Write weights and an optimizer's state under words of its maker."""
    moments = {number: {"exp_avg": each.detach()} for number, each in enumerate(network.parameters())}
    return _pth({"net_weights": network.state_dict(), "optim": {"state": moments}, "epoch": 7}, folder)


def _channels_last(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    weights = network.state_dict()
    return _pth({name: each.permute(2, 3, 1, 0) if each.ndim == 4 else each for name, each in weights.items()}, folder)


def _weight_norm(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            torch.nn.utils.parametrizations.weight_norm(module)
    return _pth(network.state_dict(), folder)


def _lightning(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    weights = {f"model.{name}": each for name, each in network.state_dict().items()}
    weights["criterion.weight"] = torch.ones(7)
    about = {"epoch": 3, "global_step": 700, "pytorch-lightning_version": "2.5.0", "hyper_parameters": {"lr": 0.1}}
    return _pth({**about, "state_dict": weights}, folder, "epoch=3-step=700.ckpt")


def _ddp(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    weights = {f"module.{name}": each for name, each in network.state_dict().items()}
    return _pth({"epoch": 90, "state_dict": weights, "best_acc1": torch.tensor(76.1)}, folder, "checkpoint.pth.tar")


def _ema(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    average = {name: each * 0.9 if each.is_floating_point() else each for name, each in network.state_dict().items()}
    return _pth({"epoch": 9, "state_dict": network.state_dict(), "state_dict_ema": average}, folder)


def _averaged(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    return _pth(torch.optim.swa_utils.AveragedModel(network).state_dict(), folder)


def _compiled(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    return _pth({"model": {f"_orig_mod.{name}": each for name, each in network.state_dict().items()}}, folder)


def _half(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    """Write a half-precision file; the network keeps what was rounded."""
    network.half().float()
    weights = {name: each.half() if each.is_floating_point() else each for name, each in network.state_dict().items()}
    return _pth(weights, folder)


def _without_counters(network: nn.Module, folder: Path, draw: random.Random) -> Path:
    weights = network.state_dict()
    return _pth({name: each for name, each in weights.items() if not name.endswith("num_batches_tracked")}, folder)


def _hub(network: Any, folder: Path, draw: random.Random) -> Path:
    network.save_pretrained(folder)
    return folder / "model.safetensors"


_FORMS: dict[str, Callable[[nn.Module, Path, random.Random], Path]] = {
    "pth": lambda network, folder, draw: _pth(network.state_dict(), folder),
    "safetensors": _safetensors,
    "lightning": _lightning,
    "ddp": _ddp,
    "ema": _ema,
    "averaged": _averaged,
    "compiled": _compiled,
    "half": _half,
    "no counters": _without_counters,
    "hub": _hub,
    "sharded": _sharded,
    "pt2": _exported,
    "a word": _under_a_word,
    "double": lambda network, folder, draw: _pth(
        {name: each.double() for name, each in network.state_dict().items()}, folder
    ),
    "channels last": _channels_last,
    "weight norm": _weight_norm,
    "renamed": lambda network, folder, draw: _pth(renamed(network.state_dict(), draw, "groups"), folder),
    "renamed flat": lambda network, folder, draw: _pth(renamed(network.state_dict(), draw, "modules"), folder),
    "renamed all": lambda network, folder, draw: _pth(renamed(network.state_dict(), draw, "tensors"), folder),
    "shuffled": lambda network, folder, draw: _pth(shuffled(network.state_dict(), draw), folder),
}
