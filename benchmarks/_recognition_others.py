"""Files for `recognition.py` that must not be taken for a classifying ResNet: names and shapes of 200 other networks.

They are built on torch's meta device: no weights, no memory. Some come close on purpose: chains of convolutions in
stages, ResNets with something in them that no tensor of a plain one shows, networks around a ResNet, damaged files.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from _recognition_files import without_initialising
from _recognition_kinds import _FIFTY, _FOUR, _RES20
from _recognition_styles import Names, Network
from torch import nn

Shapes = dict[str, tuple[int, ...]]

_TORCHVISION = (
    *(f"vgg{depth}{kind}" for depth in (11, 13, 16, 19) for kind in ("", "_bn")),
    *("alexnet", "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "densenet121", "densenet161", "densenet169", "densenet201"),
    *("efficientnet_b0", "efficientnet_b3", "efficientnet_b7", "efficientnet_v2_s", "efficientnet_v2_l"),
    *("vit_b_16", "vit_b_32", "vit_l_16", "swin_t", "swin_b", "swin_v2_t", "maxvit_t"),
    *("convnext_tiny", "convnext_base", "convnext_large", "regnet_y_400mf", "regnet_y_8gf", "regnet_x_400mf"),
    *("regnet_x_8gf", "regnet_y_16gf"),
    *("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "swin3d_t", "raft_small"),
)
_AROUND = (  # a ResNet inside of another task's network
    *("fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"),
    *("lraspp_mobilenet_v3_large", "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn"),
    *("fcos_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "ssd300_vgg16"),
)
_TIMM = (
    *("resnest14d", "resnest50d", "res2net50_26w_4s", "res2next50", "skresnet18", "skresnext50_32x4d"),
    *("resnet50_clip", "resnetv2_50x1_bit", "nf_resnet50", "bat_resnext26ts", "botnet26t_256", "halonet26t"),
    *("lambda_resnet26t", "gcresnet33ts", "hrnet_w18_small", "dla34", "dla60_res2net", "dpn68", "cspresnet50"),
    *("cspdarknet53", "darknet53", "ese_vovnet19b_dw", "xception41", "repvgg_a0", "ghostnet_100", "tresnet_m"),
    *("selecsls42b", "rexnet_100", "mixer_s32_224", "deit_tiny_patch16_224", "convmixer_768_32", "levit_128"),
    *("poolformer_s12", "edgenext_xx_small", "mobileone_s0", "fbnetc_100", "hardcorenas_a", "inception_v4"),
    *("inception_resnet_v2", "nasnetalarge", "pnasnet5large", "vgg16_bn", "densenet121", "regnety_002", "nf_regnet_b1"),
    *("resmlp_12_224", "gmixer_24_224", "coat_tiny", "pvt_v2_b0", "crossvit_tiny_240", "gernet_s"),
)


class Other(NamedTuple):
    """A file by its name, and what is in it."""

    name: str
    make: Callable[[], Shapes]


def others(count: int) -> Iterator[Other]:
    """Yield about this many networks that are not classifying ResNets; the random ones fill what is left."""
    fixed = [*_of_libraries(), *_close(), *_damaged()]
    yield from fixed
    draw = random.Random(24)
    makers: tuple[Callable[[random.Random], nn.Module], ...] = (
        _mlp, _chain, _unet, _generator, _discriminator, _autoencoder, _recurrent, _transformer, _vgg_small,
    )  # fmt: skip
    for number in range(count - len(fixed)):
        maker = makers[number % len(makers)]
        seed = draw.random()
        yield Other(f"{maker.__name__.strip('_')} {number}", lambda maker=maker, seed=seed: _built(maker, seed))  # type: ignore[misc]


def _built(maker: Callable[[random.Random], nn.Module], seed: float) -> Shapes:
    with torch.device("meta"):
        return _shapes(maker(random.Random(seed)))


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(each.shape) for name, each in network.state_dict().items()}


def _of_libraries() -> list[Other]:
    return [
        *(Other(f"torchvision {name}", lambda name=name: _torchvision(name)) for name in (*_TORCHVISION, *_AROUND)),  # type: ignore[misc]
        *(Other(f"timm {name}", lambda name=name: _timm(name)) for name in _TIMM),  # type: ignore[misc]
    ]


def _torchvision(name: str) -> Shapes:
    from torchvision import models

    options = {"weights_backbone": None} if name in _AROUND else {}
    device = "cpu" if name.startswith("regnet") else "meta"  # its initialisation reads what it wrote
    with torch.device(device), without_initialising(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _shapes(models.get_model(name, weights=None, **options))


def _timm(name: str) -> Shapes:
    import timm

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _shapes(timm.create_model(name))


def _close() -> list[Other]:
    """Return files that hold most of a ResNet, or are cut like one."""
    small = _shapes(Network(_RES20))
    four, fifty = _shapes(Network(_FOUR, Names(head="fc"))), _shapes(Network(_FIFTY, Names(head="fc")))
    body = {name: shape for name, shape in fifty.items() if not name.startswith("fc.")}
    projector = {
        "head.0.weight": (256, 256), "head.0.bias": (256,), "head.2.weight": (128, 256), "head.2.bias": (128,),
    }  # fmt: skip
    decoder = {"up.0.weight": (256, 64, 2, 2), "up.0.bias": (64,), "out.weight": (21, 64, 1, 1), "out.bias": (21,)}
    queue = {"queue": (128, 65536), "queue_ptr": (1,)}
    two = {**_under("encoder_q.", fifty), **_under("encoder_k.", fifty)}
    teacher = {**_under("student.", {**body, **projector}), **_under("teacher.", {**body, **projector})}
    detector = {**_under("backbone.", body), "rpn.conv.weight": (256, 256, 3, 3), "rpn.conv.bias": (256,)}
    text = {"text.weight": (49408, 512), "text.position": (77, 512), "text.proj.weight": (256, 512)}
    found: dict[str, Shapes] = {
        "a ResNet without its head": body,
        "a ResNet with a projector of two Linear": {**body, **projector},
        "MoCo: two encoders and a queue": {**two, **queue},
        "DINO: student and teacher": teacher,
        "two classifiers: siamese": {**_under("left.", four), **_under("right.", four)},
        "a segmentation decoder": {**_under("encoder.", body), **decoder},
        "a detector": detector,
        "CLIP-like: images and words": {**_under("visual.", fifty), **text},
        "two heads": {**body, "age.weight": (1, 256), "age.bias": (1,), "sex.weight": (2, 256), "sex.bias": (2,)},
        "an ensemble of three": {**_under("0.", small), **_under("1.", small), **_under("2.", small)},
        "an optimizer's state": {
            f"{number}.{moment}": shape
            for number, (name, shape) in enumerate(small.items())
            for moment in ("exp_avg", "exp_avg_sq")
            if name.endswith(("weight", "bias"))
        },
        "a ResNet's heads of 4 scales": {**body, **{f"heads.{i}.weight": (10, 32 * 2**i) for i in range(4)}},
    }
    return [Other(name, lambda shapes=shapes: shapes) for name, shapes in found.items()]  # type: ignore[misc]


def _damaged() -> list[Other]:
    """Return ResNets that lack tensors, or have others, as a network of another kind would."""
    whole = _shapes(Network(_RES20, Names(stem="first", block="part{s}.{b}.", head="end")))
    middle = next(name for name in whole if name.startswith("part2.1.conv2"))
    norm = middle.replace("conv2.weight", "bn2.")
    items = list(whole.items())
    place = next(number for number, (name, _) in enumerate(items) if name == middle)
    inserted = [*items[:place], ("part2.1.extra.weight", (32, 32, 3, 3)), *items[place:]]
    found: dict[str, Shapes] = {
        "without one convolution": {name: shape for name, shape in whole.items() if name != middle},
        "without one normalisation": {name: shape for name, shape in whole.items() if not name.startswith(norm)},
        "without one running mean": {name: shape for name, shape in whole.items() if name != f"{norm}running_mean"},
        "without its stem": {name: shape for name, shape in whole.items() if not name.startswith("first.")},
        "cut in the middle": dict(items[:place]),
        "one convolution more in a block": dict(inserted),
        "one convolution more at the end": {**whole, "after.weight": (64, 64, 1, 1)},
        "one kernel of another size": {**whole, middle: (32, 32, 5, 5)},
        "one width that does not follow": {**whole, middle: (32, 31, 3, 3)},
        "a scale for each block": {**whole, **{f"part{s}.{b}.scale": (1,) for s in (1, 2, 3) for b in range(3)}},
        "a slope of PReLU": {**whole, **{f"part{s}.0.act.weight": (8 * 2**s,) for s in (1, 2, 3)}},
        "a mask over the images": {**whole, "mask": (3, 32, 32)},
        "two Linear at the end": {**whole, "end2.weight": (10, 10), "end2.bias": (10,)},
    }  # fmt: skip
    return [Other(f"a ResNet {name}", lambda shapes=shapes: shapes) for name, shapes in found.items()]  # type: ignore[misc]


def _under(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


# Networks of random widths and depths.


def _mlp(draw: random.Random) -> nn.Module:
    widths = [draw.choice((32, 784, 3072)), *(draw.choice((64, 128, 256, 512)) for _ in range(draw.randint(1, 6))), 10]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs)]
        if draw.random() < 0.5 and outputs != 10:
            layers += [nn.BatchNorm1d(outputs)]
    return nn.Sequential(*layers)


def _chain(draw: random.Random) -> nn.Module:
    """Make convolutions in a row, in stages whose widths double, and one Linear."""
    kernel, norm, bias = draw.choice((3, 5)), draw.random() < 0.7, draw.random() < 0.5
    width, layers, inputs = draw.choice((8, 16, 32, 64)), [], draw.choice((1, 3))
    for stage in range(draw.randint(1, 5)):
        for _ in range(draw.randint(1, 3)):
            outputs = width * 2**stage
            layers += _unit(inputs, outputs, kernel, norm, bias)
            inputs = outputs
    shape = draw.choice((1, 1, 4, 7))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * shape * shape, 10))


def _vgg_small(draw: random.Random) -> nn.Module:
    """Make a VGG for small images: one Linear at its end, and real normalisations."""
    repeats = draw.choice(((1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)))
    layers, inputs, bias = [], 3, draw.random() < 0.5
    for repeat, outputs in zip(repeats, (64, 128, 256, 512, 512), strict=True):
        for _ in range(repeat):
            layers += _unit(inputs, outputs, 3, True, bias)
            inputs = outputs
    return nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Linear(512, 10)})


def _unit(inputs: int, outputs: int, kernel: int, norm: bool, bias: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias or not norm)
    return [convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU()]


def _unet(draw: random.Random) -> nn.Module:
    width, depth, norm = draw.choice((16, 32, 64)), draw.randint(2, 4), draw.random() < 0.7
    parts, inputs = nn.ModuleDict(), 3
    for level in range(depth + 1):
        outputs = width * 2**level
        both = [*_unit(inputs, outputs, 3, norm, False), *_unit(outputs, outputs, 3, norm, False)]
        parts[f"down{level}"] = nn.Sequential(*both)
        inputs = outputs
    for level in reversed(range(depth)):
        outputs = width * 2**level
        parts[f"up{level}"] = nn.ConvTranspose2d(2 * outputs, outputs, 2, 2)
        both = [*_unit(2 * outputs, outputs, 3, norm, False), *_unit(outputs, outputs, 3, norm, False)]
        parts[f"join{level}"] = nn.Sequential(*both)
    parts["out"] = nn.Conv2d(width, draw.choice((1, 2, 21)), 1)
    return parts


def _generator(draw: random.Random) -> nn.Module:
    widths = [draw.choice((64, 100)), *(64 * 2**level for level in reversed(range(draw.randint(2, 4))))]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False))


def _discriminator(draw: random.Random) -> nn.Module:
    layers, inputs = [], draw.choice((1, 3))
    for level in range(draw.randint(3, 5)):
        outputs = draw.choice((32, 64)) * 2**level
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, bias=False))


def _autoencoder(draw: random.Random) -> nn.Module:
    return nn.ModuleDict({"encoder": _chain(draw), "decoder": _generator(draw)})


def _recurrent(draw: random.Random) -> nn.Module:
    kind, width = draw.choice((nn.LSTM, nn.GRU)), draw.choice((64, 128, 256))
    inside = {"words": nn.Embedding(draw.randint(50, 5000), width), "rnn": kind(width, width, draw.randint(1, 3))}
    return nn.ModuleDict({**inside, "out": nn.Linear(width, 10)})


def _transformer(draw: random.Random) -> nn.Module:
    width = draw.choice((64, 128, 256))
    layer: Any = nn.TransformerEncoderLayer(width, 4, 4 * width)
    inside = {"patches": nn.Conv2d(3, width, 16, 16), "encoder": nn.TransformerEncoder(layer, draw.randint(1, 6))}
    return nn.ModuleDict({**inside, "head": nn.Linear(width, 10)})
