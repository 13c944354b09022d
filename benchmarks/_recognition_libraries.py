"""Kinds of files for `recognition.py` that real libraries' own code makes. One that is not installed is skipped.

torchvision and timm are edgeresnet's own; transformers, mmpretrain (with mmengine, mmcv-lite and opencv), pytorchcv and
fastai may lie in any folder of PYTHONPATH.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from _recognition_kinds import REFUSED, Kind
from torch import nn


class Missing(Exception):
    """A library cannot be imported."""


def library(name: str) -> Any:
    """Import a library, or say in one line why it cannot be."""
    here = [each for each in sys.path if each == str(Path(__file__).parent)]  # pandas looks for a module `bottleneck`
    try:
        sys.path = [each for each in sys.path if each not in here]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except Exception as problem:
        raise Missing(f"{name} cannot be imported: {type(problem).__name__}: {str(problem)[:80]}") from problem
    finally:
        sys.path = [*here, *sys.path]


def _torchvision(block: str, layers: list[int], **options: Any) -> nn.Module:
    resnet = library("torchvision.models.resnet")
    channels, stem = options.pop("channels", 3), options.pop("stem", None)
    made: Any = resnet.ResNet(getattr(resnet, block), layers, num_classes=10, **options)
    if channels != 3 or stem:
        kernel, stride = stem or (7, 2)
        made.conv1 = nn.Conv2d(channels, 64, kernel, stride, kernel // 2, bias=False)
    if stem:
        made.maxpool = nn.Identity()
    found: nn.Module = made
    return found


def _timm(name: str, **options: Any) -> nn.Module:
    made: nn.Module = library("timm").create_model(name, num_classes=10, **options)
    return made


def _transformers(**options: Any) -> nn.Module:
    transformers = library("transformers")
    transformers.utils.logging.disable_progress_bar()
    usual = {"embedding_size": 16, "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2], "num_labels": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = transformers.ResNetForImageClassification(transformers.ResNetConfig(**{**usual, **options}))
    return made


def _mmpretrain(kind: str, features: int, **options: Any) -> nn.Module:
    """Build one of mmpretrain's classifiers. Its list of published models, which another library reads, is left out."""
    for name in ("modelindex", "modelindex.load_model_index", "modelindex.models", "modelindex.models.Model"):
        if name not in sys.modules:
            empty: Any = ModuleType(name)
            empty.load = empty.Model = None
            sys.modules[name] = empty
    mmcv = library("mmcv")
    mmcv.__version__ = "2.1.0"  # mmpretrain refuses newer ones
    models = library("mmpretrain.models")
    made: nn.Module = models.build_classifier(
        {
            "type": "ImageClassifier",
            "backbone": {"type": kind, "num_stages": 4, "out_indices": (3,), **options},
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "LinearClsHead", "num_classes": 10, "in_channels": features},
        }
    )
    return made


def _pytorchcv(module: str, kind: str, blocks: tuple[int, ...], widths: tuple[int, ...], **options: Any) -> nn.Module:
    found = library(f"pytorchcv.models.{module}")
    channels = [[width] * count for width, count in zip(widths, blocks, strict=True)]
    stem = options.pop("stem", widths[0])
    made: nn.Module = getattr(found, kind)(channels=channels, init_block_channels=stem, num_classes=10, **options)
    return made


def _fastai(head: str) -> nn.Module:
    library("fastai.vision.all")
    learner, resnet = library("fastai.vision.learner"), library("torchvision.models").resnet18
    if head == "own":
        body = learner.create_body(resnet(), pretrained=False)
        return nn.Sequential(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)))
    made: nn.Module = learner.create_vision_model(resnet, 10, pretrained=False)
    return made


def _xresnet() -> nn.Module:
    library("fastai.vision.all")
    xresnet = library("fastai.vision.models.xresnet")
    made: nn.Module = xresnet.XResNet(xresnet.ResBlock, 1, [2, 2, 2, 2], n_out=10)
    return made


def _kind(family: str, name: str, make: Callable[[], nn.Module], size: int = 64, **more: Any) -> Kind:
    return Kind(family, name, make, size, **more)


_TORCHVISION_KINDS = (
    _kind("torchvision", "resnet18", partial(_torchvision, "BasicBlock", [2, 2, 2, 2])),
    _kind("torchvision", "resnet50", partial(_torchvision, "Bottleneck", [3, 4, 6, 3])),
    _kind("torchvision", "resnet50, safetensors", partial(
        _torchvision, "Bottleneck", [3, 4, 6, 3]
    ), form="safetensors"),
    _kind("torchvision", "resnext50_32x4d", partial(
        _torchvision, "Bottleneck", [3, 4, 6, 3], groups=32, width_per_group=4
    )),
    _kind("torchvision", "resnet18, one channel", partial(
        _torchvision, "BasicBlock", [2, 2, 2, 2], channels=1
    ), channels=1),
    _kind("torchvision", "resnet18, 3x3 stem, no max-pool", partial(
        _torchvision, "BasicBlock", [2, 2, 2, 2], stem=(3, 1)
    ), size=32),
    _kind("torchvision", "blocks 1, 2, 3, 1", partial(_torchvision, "BasicBlock", [1, 2, 3, 1])),
)  # fmt: skip
_TIMM_KINDS = (
    _kind("timm", "resnet10t", partial(_timm, "resnet10t")),
    _kind("timm", "resnet18d", partial(_timm, "resnet18d")),
    _kind("timm", "resnet26d, safetensors", partial(_timm, "resnet26d"), form="safetensors"),
    _kind("timm", "seresnet18", partial(_timm, "seresnet18")),
    _kind("timm", "ecaresnet26t", partial(_timm, "ecaresnet26t")),
    _kind("timm", "resnetblur18", partial(_timm, "resnetblur18")),
    _kind("timm", "resnet18, one channel", partial(_timm, "resnet18", in_chans=1), channels=1),
    _kind("timm", "resnet18, four channels wide", partial(_timm, "resnet18", channels=(16, 32, 64, 128))),
    _kind("timm", "resnetv2_18", partial(_timm, "resnetv2_18")),
    _kind("timm", "resnetv2_50", partial(_timm, "resnetv2_50")),
    _kind("timm", "resnetv2_18d", partial(_timm, "resnetv2_18d")),
    _kind("timm", "legacy_seresnet18", partial(_timm, "legacy_seresnet18")),
    _kind("timm", "resnet32ts, whose SiLU no tensor shows", partial(_timm, "resnet32ts"), expected=REFUSED),
)
_REAL = {"embedding_size": 64, "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3]}
_TRANSFORMERS_KINDS = (
    _kind("transformers", "resnet-50", partial(_transformers, **_REAL), form="hub"),
    _kind("transformers", "resnet-50, pth", partial(_transformers, **_REAL)),
    _kind("transformers", "resnet-18", partial(
        _transformers, layer_type="basic", embedding_size=64, hidden_sizes=[64, 128, 256, 512]
    ), form="hub"),
    _kind("transformers", "bottleneck, narrow", partial(_transformers), form="hub"),
    _kind("transformers", "bottleneck, version 1", partial(_transformers, downsample_in_bottleneck=True), form="hub"),
    _kind("transformers", "first stage of stride 2", partial(
        _transformers, downsample_in_first_stage=True
    ), form="hub"),
    _kind("transformers", "basic, narrow, pth", partial(
        _transformers, layer_type="basic", hidden_sizes=[16, 32, 64, 128]
    )),
    _kind("transformers", "basic, shortcut in the first stage", partial(_transformers, layer_type="basic"), form="hub"),
    _kind("transformers", "one channel, Lightning", partial(
        _transformers, num_channels=1
    ), channels=1, form="lightning"),
)  # fmt: skip
_MMPRETRAIN_KINDS = (
    _kind("mmpretrain", "ResNet-18", partial(_mmpretrain, "ResNet", 512, depth=18), form="ddp"),
    _kind("mmpretrain", "ResNet-50, narrow", partial(
        _mmpretrain, "ResNet", 256, depth=50, stem_channels=8, base_channels=8
    )),
    _kind("mmpretrain", "ResNet-50, version 1", partial(
        _mmpretrain, "ResNet", 256, depth=50, stem_channels=8, base_channels=8, style="caffe"
    )),
    _kind("mmpretrain", "ResNet-18 for CIFAR", partial(_mmpretrain, "ResNet_CIFAR", 512, depth=18), size=32),
    _kind("mmpretrain", "ResNetV1c-18", partial(
        _mmpretrain, "ResNetV1c", 512, depth=18
    )),
    _kind("mmpretrain", "ResNetV1d-18", partial(_mmpretrain, "ResNetV1d", 512, depth=18)),
    _kind("mmpretrain", "SEResNet-50, narrow", partial(
        _mmpretrain, "SEResNet", 512, depth=50, stem_channels=16, base_channels=16
    )),
    _kind("mmpretrain", "ResNeXt-50", partial(_mmpretrain, "ResNeXt", 2048, depth=50, groups=32, width_per_group=4)),
)  # fmt: skip
_EIGHT, _CIFAR = (8, 16, 32, 64), (16, 32, 64)
_PYTORCHCV_KINDS = (
    _kind("pytorchcv", "ResNet-18", partial(
        _pytorchcv, "resnet", "ResNet", (2,) * 4, _EIGHT, bottleneck=False, conv1_stride=False
    ), size=224),
    _kind("pytorchcv", "ResNet-23b", partial(
        _pytorchcv, "resnet", "ResNet", (1, 2, 3, 1), (32, 64, 128, 256), bottleneck=True, conv1_stride=False, stem=16
    ), size=224),
    _kind("pytorchcv", "ResNet-23", partial(
        _pytorchcv, "resnet", "ResNet", (1, 2, 3, 1), (32, 64, 128, 256), bottleneck=True, conv1_stride=True, stem=16
    ), size=224),
    _kind("pytorchcv", "PreResNet-18", partial(
        _pytorchcv, "preresnet", "PreResNet", (2,) * 4, _EIGHT, bottleneck=False, conv1_stride=False
    ), size=224),
    _kind("pytorchcv", "PreResNet-23b, safetensors", partial(
        _pytorchcv, "preresnet", "PreResNet", (1, 2, 3, 1), (32, 64, 128, 256), bottleneck=True, conv1_stride=False,
        stem=16,
    ), size=224, form="safetensors"),
    _kind("pytorchcv", "SEResNet-18", partial(
        _pytorchcv, "seresnet", "SEResNet", (2,) * 4, (32, 64, 128, 256), bottleneck=False, conv1_stride=False
    ), size=224),
    _kind("pytorchcv", "ResNetA-10: deep stem, averaged shortcuts", partial(
        _pytorchcv, "resneta", "ResNetA", (1,) * 4, _EIGHT, bottleneck=False, conv1_stride=False, stem=8
    ), size=224),
    _kind("pytorchcv", "CIFAR ResNet-20", partial(
        _pytorchcv, "resnet_cifar", "CIFARResNet", (3,) * 3, _CIFAR, bottleneck=False
    ), size=32),
    _kind("pytorchcv", "CIFAR PreResNet-56", partial(
        _pytorchcv, "preresnet_cifar", "CIFARPreResNet", (9,) * 3, _CIFAR, bottleneck=False
    ), size=32),
    _kind("pytorchcv", "CIFAR ResNet-29, bottleneck", partial(
        _pytorchcv, "resnet_cifar", "CIFARResNet", (3,) * 3, (64, 128, 256), bottleneck=True, stem=16
    ), size=32),
)  # fmt: skip
_FASTAI_KINDS = (
    _kind("fastai", "create_body and one Linear", partial(_fastai, "own")),
    _kind("fastai", "create_body and create_head", partial(_fastai, "usual"), expected=REFUSED),
    _kind("fastai", "xresnet18", _xresnet),
)

KINDS = (
    *_TORCHVISION_KINDS, *_TIMM_KINDS, *_TRANSFORMERS_KINDS, *_MMPRETRAIN_KINDS, *_PYTORCHCV_KINDS, *_FASTAI_KINDS,
)  # fmt: skip
