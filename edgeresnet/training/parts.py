"""The parts of a network as training sees them: its head, what is frozen, and how fast each part learns.

Parts are recognised by their parameters' names, so that a user's own network has them as ours do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import nn

from ..errors import ModelError
from ..recipe import Recover, Train

ALL_BUT_HEAD = "all-but-head"
LOGITS = "cls_logits"  # torchvision's word in detectors
_DEEPEST = 3  # how deep stages may lie in parts
_NORMS = (nn.modules.batchnorm._BatchNorm,)


def head_of(network: nn.Module) -> str:
    """Return the prefix of the classifier's parameters: of the last module that has any; in a detector, of that for
    logits.
    """
    modules = [name.rpartition(".")[0] for name in _names(network)]
    return next((name for name in modules if name.endswith(LOGITS)), modules[-1]) + "."


def freeze(network: nn.Module, wanted: Sequence[str]) -> None:
    """Exclude the parameters that the expressions match from learning. One that matches none is an error."""
    names, head = _names(network), head_of(network)
    frozen: set[str] = set()
    for expression in wanted:
        if expression == ALL_BUT_HEAD:
            found = {name for name in names if not name.startswith(head)}
        else:
            found = {name for name in names if re.search(expression, name)}
        if not found:
            tops = dict.fromkeys(name.split(".")[0] for name in names)
            raise ModelError(
                "freeze",
                f"has {expression!r}, which matches no parameter",
                hint=f"parameters begin with {', '.join(tops)}",
            )
        frozen |= found
    if len(frozen) == len(names):
        raise ModelError("freeze", "leaves nothing to train", hint="do not freeze the head")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)


def to_training(network: nn.Module) -> None:
    """Put the network in training mode, except for frozen normalisation: that keeps its statistics, too."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, _NORMS) and own and not any(each.requires_grad for each in own):
            module.eval()


def rates(network: nn.Module, decay: float) -> dict[str, float]:
    """Return for each parameter the part of the rate that it learns at: the head's is 1, and each stage before it has
    `decay` times that of the next stage.
    """
    stages = stages_of(_names(network), head_of(network))
    last = max(stages.values())
    return {name: decay ** (last - stage) for name, stage in stages.items()}


def stages_of(names: Sequence[str], head: str) -> dict[str, int]:
    """Return for each parameter its stage, from the image on: 0 is what lies before the first of several stages that
    are numbered alike (`layer1`, `layer2`), the last is the head. Stages may lie in one part of several, or deeper
    (`backbone`, `backbone.body`).
    """
    body = {name: name.split(".") for name in names if not name.startswith(head)}
    shared = next((depth for depth, words in enumerate(zip(*body.values(), strict=False)) if len(set(words)) > 1), 0)
    part = {name: ".".join(words[: shared + 1]) for name, words in body.items()}
    deeper = range(shared, shared + _DEEPEST)
    part |= next((found for depth in deeper for found in _inside(body, depth) if _numbered(found.values())), {})
    tops = list(dict.fromkeys(part.values()))
    first = next(iter(_numbered(tops)), 1)
    number = {top: max(0, index - first + 1) for index, top in enumerate(tops)}
    last = max(number.values(), default=-1) + 1
    return {name: last if name.startswith(head) else number[part[name]] for name in names}


def _inside(body: Mapping[str, Sequence[str]], depth: int) -> Iterator[dict[str, str]]:
    """Yield what each part at this depth holds: for each of its parameters the next smaller part."""
    for part in dict.fromkeys(tuple(words[:depth]) for words in body.values()):
        yield {name: ".".join(words[: depth + 1]) for name, words in body.items() if tuple(words[:depth]) == part}


def _numbered(parts: Iterable[str]) -> list[int]:
    """Return the places of those of at least three that are numbered alike."""
    tops = list(dict.fromkeys(parts))
    words = [re.sub(r"\d+$", "", top) for top in tops]
    return [index for index, word in enumerate(words) if word != tops[index] and words.count(word) >= 3]


def optimizer(network: nn.Module, plan: Train | Recover) -> torch.optim.Optimizer:
    """Build the optimizer. Only matrices have weight decay: it would shrink biases and normalisation, too."""
    part = rates(network, plan.layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = plan.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((plan.rate * part[name], decay), []).append(parameter)
    listed = [{"params": held, "lr": rate, "weight_decay": decay} for (rate, decay), held in groups.items()]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(listed, lr=plan.rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(listed, lr=plan.rate)


def scheduler(
    optimizer: torch.optim.Optimizer, plan: Train | Recover, total: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build the schedule of the rate over `total` steps."""
    if plan.schedule == "one-cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=highest, total_steps=total + 1)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)


def _names(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_parameters()]
