"""Kinds of files for `recognition.py`: ResNets as many people write them; the libraries' own follow in another.

Each kind says how its network is made and saved, and which images its answers are compared on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from _recognition_styles import ALWAYS, APPENDED, AVERAGED, PADDED, Build, Names, Network
from torch import nn

RIGHT, REFUSED = "right", "refused"


@dataclass(frozen=True)
class Kind:
    """A file: who names its tensors so, its network, its form, and what should become of it."""

    family: str
    name: str
    make: Callable[[], nn.Module]
    size: int = 32
    channels: int = 3
    form: str = "pth"
    expected: str = RIGHT  # REFUSED: what no tensor shows decides


# What is computed.
_FOUR = Build(blocks=(2, 2, 2, 2), widths=(8, 16, 32, 64), stem=(8,))  # ResNet-18 for small images, narrow
_FIFTY = replace(_FOUR, blocks=(3, 4, 6, 3), expansion=4)
_PRE = replace(_FOUR, preactivation=True, stem_norm=False, shortcut_norm=False)
_PRE56 = Build(
    blocks=(9, 9, 9), preactivation=True, stem_norm=False, last_norm=True, shortcut_norm=False, raw=True
)  # fmt: skip
_RES20, _RES56 = Build(), Build(blocks=(9, 9, 9))

# How parts are called.
_KUANGLIU = Names()
_TORCHVISION = Names(shortcut="downsample.0", shortcut_norm="downsample.1", head="fc")
_WEIAICUNZAI = Names(
    stem="conv1.0", stem_norm="conv1.1", block="conv{t}_x.{b}.", conv="residual_function.{p}",
    norm="residual_function.{q}", head="fc",
)  # fmt: skip
_BEARPAW = Names(shortcut="downsample.0", last_norm="bn", head="fc", order="reversed")
_PREACT = Names(order="reversed")
_DETECTRON = Names(
    stem="stem.conv1", stem_norm="stem.conv1.norm", block="res{t}.{b}.", norm="conv{n}.norm", shortcut="shortcut",
    shortcut_norm="shortcut.norm", shortcut_first=True,
)  # fmt: skip
_UNDERSCORES = Names(
    stem="conv_1", stem_norm="bn_1", block="stage{s}.block{b}.", conv="c{n}", norm="n{n}", shortcut="skip.conv",
    shortcut_norm="skip.norm", head="classifier",
)  # fmt: skip
_FLAT = Names(
    stem="stem.conv", stem_norm="stem.norm", block="blocks.{g}.", conv="conv_{m}", norm="norm_{m}",
    shortcut="proj.0", shortcut_norm="proj.1", head="head.linear",
)  # fmt: skip
_ONE_SEQUENCE = Names(
    stem="net.0.0", stem_norm="net.0.1", block="net.{s}.{b}.", conv="f.{p}", norm="f.{q}", shortcut="g.0",
    shortcut_norm="g.1", head="out",
)  # fmt: skip
_SHORTCUT_FIRST = Names(
    stem="prep.conv", stem_norm="prep.bn", block="group{s}_{c}.", conv="body.{m}.conv", norm="body.{m}.bn",
    shortcut="identity.conv", shortcut_norm="identity.bn", head="logits", shortcut_first=True,
)  # fmt: skip
_APART = Names(block="unit_{s}_{c}.", stem="first", stem_norm="first_norm", order="apart", head="last")
_NORMS_FIRST = Names(block="layers.{s}.{b}.", order="norms", head="dense")
_NAMED_ALIKE = Names(
    stem="input.0", stem_norm="input.1", block="tower.{g}.", conv="path.{p}", norm="path.{q}", shortcut="shortcut_conv",
    shortcut_norm="shortcut_bn", head="fc.1",
)  # fmt: skip
_HEAD_FIRST = Names(stem="c0", stem_norm="b0", block="s{s}.{b}.", conv="c{n}", norm="b{n}", head_first=True)
_SHORTCUTS_APART = Names(
    block="stage_{s}.{b}.", shortcut="skips.{s}.conv", shortcut_norm="skips.{s}.bn", shortcuts_apart=True, head="fc",
)  # fmt: skip

# For random networks: each in an order of its own. Names of weiaicunzai and detectron2 stand for one build each.
NAMINGS = (
    _KUANGLIU, _TORCHVISION, _UNDERSCORES, _FLAT, _ONE_SEQUENCE, _SHORTCUT_FIRST, _APART, _NORMS_FIRST,
    _NAMED_ALIKE, _HEAD_FIRST, _SHORTCUTS_APART,
)  # fmt: skip


def _of(build: Build, names: Names) -> Callable[[], nn.Module]:
    return lambda: Network(build, names)


def _wide(build: Build, times: int) -> Build:
    return replace(
        build, widths=tuple(times * each for each in build.widths), stem=tuple(times * each for each in build.stem)
    )


def _large(build: Build) -> Build:
    """Return the same network with the stem for large images."""
    return replace(build, kernel=7, stem_stride=2, pooled=True)


_PUBLISHED = (
    Kind("kuangliu-like", "ResNet-18", _of(_FOUR, _KUANGLIU)),
    Kind("kuangliu-like", "ResNet-18, real widths", _of(_wide(_FOUR, 8), _KUANGLIU)),
    Kind("kuangliu-like", "ResNet-50", _of(replace(_FIFTY, shortcut=ALWAYS), _KUANGLIU)),
    Kind("kuangliu-like", "PreActResNet-18", _of(_PRE, _PREACT)),
    Kind("kuangliu-like", "PreActResNet-18, real widths", _of(_wide(_PRE, 8), _PREACT)),
    Kind("kuangliu-like", "PreActResNet-50", _of(replace(_PRE, blocks=(3, 4, 6, 3), expansion=4), _PREACT)),
    Kind("kuangliu-like", "SENet-18", _of(replace(_FOUR, attention=4), _KUANGLIU)),
    Kind("kuangliu-like", "ResNeXt-29, 2x8d", _of(
        Build(widths=(16, 32, 64), expansion=2, groups=2, stem=(16,)), _KUANGLIU
    )),
    Kind("weiaicunzai-like", "ResNet-18", _of(_FOUR, _WEIAICUNZAI)),
    Kind("weiaicunzai-like", "ResNet-50", _of(_FIFTY, _WEIAICUNZAI)),
    Kind("weiaicunzai-like", "ResNet-18, safetensors", _of(_FOUR, _WEIAICUNZAI), form="safetensors"),
    Kind("weiaicunzai-like", "ResNet-50, safetensors", _of(_FIFTY, _WEIAICUNZAI), form="safetensors"),
    Kind("akamaster-like", "ResNet-20, option A", _of(replace(_RES20, shortcut=PADDED), _KUANGLIU), form="ddp"),
    Kind("akamaster-like", "ResNet-56, option A", _of(replace(_RES56, shortcut=PADDED), _KUANGLIU)),
    Kind("akamaster-like", "ResNet-56, option B", _of(_RES56, _KUANGLIU), form="safetensors"),
    Kind("preresnet", "pre-activation ResNet-56", _of(_PRE56, _BEARPAW)),
    Kind("preresnet", "pre-activation ResNet-29, bottleneck", _of(
        replace(_PRE56, blocks=(3, 3, 3), expansion=4), _BEARPAW
    )),
    Kind("preresnet", "pre-activation, stem normalised, no last norm", _of(
        replace(_PRE, blocks=(3, 3, 3), widths=(16, 32, 64), stem=(16,), stem_norm=True), _PREACT
    )),
    Kind("preresnet", "pre-activation, option A", _of(replace(_PRE56, blocks=(3, 3, 3), shortcut=PADDED), _BEARPAW)),
    Kind("preresnet", "pre-activation, other names", _of(
        replace(_PRE56, blocks=(3, 3, 3), raw=False),
        Names(stem="init", block="group{s}.{b}.", conv="res.{r}", norm="res.{p}", shortcut="match", last_norm="end.0",
              head="end.1", order="reversed"),
    )),
    Kind("detectron2-like", "backbone and head, version 1.5", _of(
        _large(_FIFTY), _DETECTRON
    ), size=64, form="no counters"),
    Kind("detectron2-like", "backbone and head, version 1", _of(
        _large(replace(_FIFTY, blocks=(1, 2, 2, 1), first_strided=True)), _DETECTRON
    ), size=64, form="no counters"),
)  # fmt: skip

_INDEPENDENT = (
    Kind("independent", "conv_1, stage1.block0.c1", _of(_RES20, _UNDERSCORES)),
    Kind("independent", "biases on convolutions", _of(replace(_RES20, biased=True), _UNDERSCORES)),
    Kind("independent", "ResNet-56b, biases on convolutions", _of(replace(_RES56, biased=True), _UNDERSCORES)),
    Kind("independent", "biases, kuangliu's names", _of(replace(_RES20, biased=True), _KUANGLIU)),
    Kind("independent", "flat list of blocks", _of(_RES20, _FLAT)),
    Kind("independent", "flat list of blocks, safetensors", _of(
        replace(_RES20, blocks=(4, 4, 4)), _FLAT
    ), form="safetensors"),
    Kind("independent", "one Sequential", _of(_RES20, _ONE_SEQUENCE)),
    Kind("independent", "one Sequential, Lightning", _of(_RES20, _ONE_SEQUENCE), form="lightning"),
    Kind("independent", "shortcut defined first", _of(_RES20, _SHORTCUT_FIRST)),
    Kind("independent", "shortcut defined first, safetensors", _of(_FOUR, _SHORTCUT_FIRST), form="safetensors"),
    Kind("independent", "convolutions, then normalisations", _of(_RES20, _APART)),
    Kind("independent", "normalisations, then convolutions", _of(_RES20, _NORMS_FIRST)),
    Kind("independent", "normalisation before its convolution", _of(_RES20, replace(_FLAT, order="reversed"))),
    Kind("independent", "head defined first", _of(_RES20, _HEAD_FIRST)),
    Kind("independent", "shortcuts in a list after the blocks", _of(_RES20, _SHORTCUTS_APART)),
    Kind("independent", "path.0, shortcut_conv, fc.1", _of(_FOUR, _NAMED_ALIKE)),
    Kind("independent", "one channel", _of(replace(_RES20, channels=1), _UNDERSCORES), channels=1, size=28),
    Kind("independent", "five channels", _of(replace(_RES20, channels=5), _FLAT), channels=5),
    Kind("independent", "widths 24, 40, 72", _of(replace(_RES20, widths=(24, 40, 72), stem=(24,)), _UNDERSCORES)),
    Kind("independent", "stem narrower than the first stage", _of(replace(_RES20, stem=(8,)), _FLAT)),
    Kind("independent", "five stages", _of(
        replace(_RES20, blocks=(1, 1, 2, 1, 1), widths=(8, 16, 24, 32, 48), stem=(8,)), _FLAT
    ), size=64),
    Kind("independent", "two stages", _of(replace(_RES20, blocks=(2, 3), widths=(16, 32)), _UNDERSCORES)),
    Kind("independent", "same width in two stages", _of(replace(_RES20, widths=(16, 32, 32)), _UNDERSCORES)),
    Kind("independent", "ResNet-9 depth: one block each", _of(replace(_RES20, blocks=(1, 1, 1)), _ONE_SEQUENCE)),
    Kind("independent", "5x5 stem of stride 2", _of(replace(_RES20, kernel=5, stem_stride=2), _UNDERSCORES), size=64),
    Kind("independent", "7x7 stem, no max-pool", _of(replace(_FOUR, kernel=7, stem_stride=2), _FLAT), size=64),
    Kind("independent", "3x3 stem with max-pool", _of(replace(_FOUR, pooled=True), _NAMED_ALIKE), size=64),
    Kind("independent", "7x7 stem with max-pool", _of(_large(_FOUR), _UNDERSCORES), size=64),
    Kind("independent", "stem of three convolutions", _of(
        replace(_FOUR, stem=(8, 8, 16), stem_stride=2, pooled=True),
        replace(_WEIAICUNZAI, stem="stem.{p}", stem_norm="stem.{q}"),
    ), size=64),
    Kind("independent", "squeeze and excite, Linear", _of(replace(_RES20, attention=4), _UNDERSCORES)),
    Kind("independent", "squeeze and excite, convolutions", _of(
        replace(_RES20, attention=4, attention_linear=False), replace(_FLAT, excite=("attn.squeeze", "attn.excite"))
    )),
    Kind("independent", "groups, other names", _of(replace(_FIFTY, groups=4), _UNDERSCORES)),
    Kind("independent", "appended zeros in shortcuts", _of(replace(_RES20, shortcut=APPENDED), _UNDERSCORES)),
    Kind("independent", "averaged, then appended zeros", _of(replace(_RES20, shortcut=AVERAGED), _FLAT)),
    Kind("independent", "bottlenecks of expansion 2", _of(replace(_FIFTY, expansion=2), _UNDERSCORES)),
    Kind("independent", "projections in every stage", _of(replace(_RES20, shortcut=ALWAYS), _FLAT)),
    Kind("independent", "shortcuts without normalisation", _of(replace(_RES20, shortcut_norm=False), _UNDERSCORES)),
    Kind("independent", "head without bias", _of(replace(_RES20, head_bias=False), _UNDERSCORES)),
    Kind("independent", "two classes", _of(replace(_RES20, classes=2), _UNDERSCORES)),
    Kind("independent", "64 classes, as many as features", _of(replace(_RES20, classes=64), _FLAT)),
    Kind("independent", "half precision", _of(_RES20, _UNDERSCORES), form="half"),
    Kind("independent", "torch.compile", _of(_RES20, _UNDERSCORES), form="compiled"),
    Kind("independent", "weights and their average", _of(_RES20, _UNDERSCORES), form="ema"),
    Kind("independent", "AveragedModel", _of(_RES20, _UNDERSCORES), form="averaged"),
    Kind("independent", "without counters", _of(_RES20, _UNDERSCORES), form="no counters"),
)  # fmt: skip

# What no tensor's name shows, and forms of files.
_OTHER_BUILDS = tuple(
    Kind("other builds", name, _of(build, names), size=size, form=form)
    for name, build, names, size, form in (
        ("squeeze without biases", replace(_RES20, attention=4, attention_biased=False), _UNDERSCORES, 32, "pth"),
        ("squeeze without biases, convolutions", replace(
            _FIFTY, attention=4, attention_linear=False, attention_biased=False
        ), _FLAT, 32, "pth"),
        ("squeeze without biases, renamed", replace(_FOUR, attention=4, attention_biased=False), _KUANGLIU,
         32, "renamed flat"),
        ("GELU", replace(_RES20, activation="gelu"), _UNDERSCORES, 32, "pth"),
        ("GELU, 7x7 stem", _large(replace(_FOUR, activation="gelu")), _FLAT, 64, "pth"),
        ("SiLU", replace(_RES20, activation="silu"), _UNDERSCORES, 32, "pth"),
        ("LeakyReLU", replace(_RES20, activation="leaky"), _FLAT, 32, "pth"),
        ("LeakyReLU of 0.1", replace(_FOUR, activation="leaky10"), _ONE_SEQUENCE, 32, "safetensors"),
        ("first stage of stride 2, bottlenecks", replace(_FIFTY, halved=True), _UNDERSCORES, 64, "pth"),
        ("first stage of stride 2", replace(_RES20, widths=(24, 32, 64), halved=True), _FLAT, 64, "pth"),
        ("first stage of stride 2, same width", replace(_RES20, shortcut=ALWAYS, halved=True), _UNDERSCORES, 64, "pth"),
        ("shortcuts in a list, safetensors", _RES20, _SHORTCUTS_APART, 32, "safetensors"),
        ("shortcuts in a list, bottlenecks", _FIFTY, _SHORTCUTS_APART, 32, "pth"),
        ("shortcuts in a list, renamed all", _RES20, _SHORTCUTS_APART, 32, "renamed all"),
        ("sharded safetensors", _RES20, _UNDERSCORES, 32, "sharded"),
        ("sharded safetensors, torchvision's names", _large(_FIFTY), _TORCHVISION, 64, "sharded"),
        ("torch.export", _RES20, _UNDERSCORES, 64, "pt2"),
        ("torch.export, torchvision's names", _large(_FOUR), _TORCHVISION, 64, "pt2"),
        ("under a word of its maker, with an optimizer", _RES20, _UNDERSCORES, 32, "a word"),
        ("double precision", _RES20, _UNDERSCORES, 32, "double"),
        ("100 classes", replace(_RES20, classes=100), _UNDERSCORES, 32, "pth"),
    )
)  # fmt: skip
_REFUSED = tuple(
    Kind("other builds", name, _of(_RES20, _UNDERSCORES), form=form, expected=REFUSED)
    for name, form in (("kernels in TensorFlow's order", "channels last"), ("weight normalisation", "weight norm"))
)  # fmt: skip

_REORDERED = tuple(
    Kind(family, f"{title}, {form}", _of(build, names), size=size, form=form)
    for family, form in (
        ("renamed", "renamed"), ("renamed", "renamed flat"), ("renamed", "renamed all"), ("shuffled", "shuffled")
    )
    for title, build, names, size in (
        ("ResNet-20", replace(_RES20, shortcut=PADDED), _KUANGLIU, 32),
        ("ResNet-56b", _RES56, _KUANGLIU, 32),
        ("ResNet-18", _large(_FOUR), _TORCHVISION, 64),
        ("ResNet-50", _large(_FIFTY), _TORCHVISION, 64),
        ("PreActResNet-18", _PRE, _PREACT, 32),
    )
)  # fmt: skip
_SHUFFLED_OTHERS = tuple(
    Kind("shuffled", f"{title}, shuffled", _of(build, names), form="shuffled")
    for title, build, names in (
        ("weiaicunzai-like ResNet-18", _FOUR, _WEIAICUNZAI), ("stage1.block0.c1", _RES20, _UNDERSCORES),
        ("pre-activation ResNet-56", _PRE56, _BEARPAW),
    )
)  # fmt: skip

# Orders of definition that names would show, under names that do not.
_AMBIGUOUS = tuple(
    Kind("renamed", f"{title}, renamed flat", _of(build, names), size=size, form="renamed flat")
    for title, build, names, size in (
        ("shortcut first, ResNet-20", _RES20, _SHORTCUT_FIRST, 32),
        ("shortcut first, ResNet-50", _large(_FIFTY), _DETECTRON, 64),
        ("normalisation first, ResNet-20", _RES20, replace(_FLAT, order="reversed"), 32),
        ("biases on convolutions", replace(_RES20, biased=True), _FLAT, 32),
        ("pre-activation ResNet-56", _PRE56, _BEARPAW, 32),
    )
)  # fmt: skip

KINDS = (*_PUBLISHED, *_INDEPENDENT, *_OTHER_BUILDS, *_REFUSED, *_REORDERED, *_AMBIGUOUS, *_SHUFFLED_OTHERS)

# For the random renamings: narrow ones, and now and then the real one.
FAMILIES = {
    "ResNet-20": (replace(_RES20, shortcut=PADDED), replace(_RES20, shortcut=PADDED), _KUANGLIU),
    "ResNet-56b": (_RES56, _RES56, _KUANGLIU),
    "ResNet-18": (_large(_FOUR), _large(_wide(_FOUR, 8)), _TORCHVISION),
    "ResNet-50": (_large(_FIFTY), _large(_wide(_FIFTY, 8)), _TORCHVISION),
}
