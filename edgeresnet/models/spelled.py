"""Networks that have no name of their own: their build, written out as the name of an architecture.

`general_basic_3-3-3_out16-32-64_stem16k3s1_appended` has three stages of three basic blocks, a 3×3 stem of stride 1,
and zeros after the channels in its shortcuts. The name says what tensors show, and what they do not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from . import plans
from .plans import BLOCKS, STEM, Plan, Shape

PREFIX = "general_"
# Shortcuts without a tensor, where a stage's width changes: zeros on both sides of every second pixel (the paper's
# option A), after its channels, after the mean of each four pixels; and no shortcut at all.
PADDED, APPENDED, AVERAGED, NONE = "padded", "appended", "averaged", "plain"
_WITHOUT_TENSORS = (PADDED, APPENDED, AVERAGED, NONE)
# Of all blocks, and of the stem; empty: ReLU. LeakyReLU's slope is torch's own, or a tenth.
SILU, GELU, LEAKY, LEAKY_TENTH = "silu", "gelu", "leaky", "leaky10"
ACTIVATIONS = {SILU: "SiLU", GELU: "GELU", LEAKY: "LeakyReLU of 0.01", LEAKY_TENTH: "LeakyReLU of 0.1"}
_LONGEST = 400  # a name; of six stages
_NUMBERS = r"\d{1,5}(?:-\d{1,5}){0,7}"
_NAME = re.compile(
    rf"{PREFIX}(?P<preact>preact_)?(?P<kind>basic|bottleneck)_(?P<blocks>{_NUMBERS})_out(?P<out>{_NUMBERS})"
    rf"(?:_mid(?P<mid>{_NUMBERS}))?(?:_groups(?P<groups>\d{{1,4}}))?(?:_(?P<attention>se\d{{1,3}})(?P<sebias>_nosebias)?)?"
    rf"_stem(?P<stem>{_NUMBERS})k(?P<kernel>\d{{1,2}})s(?P<stride>[124])(?P<pool>_pool)?(?P<stemnorm>_nostemnorm)?"
    rf"(?P<lastnorm>_lastnorm)?(?:_bias(?P<bias>(?:-(?:stem|blocks|shortcuts))+))?"
    rf"(?P<shortcut>_projected|_allprojected|_{'|_'.join(_WITHOUT_TENSORS)})(?P<shortcutnorm>_noshortcutnorm)?"
    rf"(?P<raw>_raw)?(?P<averaged>_meanshortcut)?(?P<v1>_v1)?(?P<halved>_stage1s2)?(?:_(?P<act>{'|'.join(ACTIVATIONS)}))?"
)


@dataclass(frozen=True)
class Spelled:
    """A network's plan, and what its tensors do not show."""

    plan: Plan
    stem_stride: int
    pooled: bool  # a max-pool after the stem
    shortcut: str = ""  # without tensors: one of the four; empty: projected
    first_strided: bool = False  # version 1 of a bottleneck: its first convolution has the stride, not its second
    raw: bool = False  # pre-activation: a projection reads what comes before the normalisation
    averaged: bool = False  # a projection of stride 2 reads the mean of each four pixels
    halved: bool = False  # the first stage has stride 2, as the others have
    activation: str = ""  # one of ACTIVATIONS; empty: ReLU

    @property
    def name(self) -> str:
        """Return the architecture's name."""
        plan = self.plan
        stages = range(len(plan.blocks))
        projected = "allprojected" if plan.always_projected else "projected"
        parts = {
            "preact": plan.preactivation,
            "bottleneck" if plan.bottleneck else "basic": True,
            _row(plan.blocks): True,
            f"out{_row(tuple(map(plan.gives, stages)))}": True,
            f"mid{_row(tuple(map(plan.middle, stages)))}": plan.bottleneck,
            f"groups{plan.groups}": plan.groups > 1,
            plan.attention: bool(plan.attention),
            "nosebias": bool(plan.attention) and not plan.attention_biased,
            f"stem{_row(plan.stem)}k{plan.kernel}s{self.stem_stride}": True,
            "pool": self.pooled,
            "nostemnorm": not plan.stem_norm,
            "lastnorm": plan.last_norm,
            "bias-" + "-".join(plan.biased): bool(plan.biased),
            self.shortcut or projected: True,
            "noshortcutnorm": not plan.shortcut_norm and plan.projected,
            "raw": self.raw,
            "meanshortcut": self.averaged,
            "v1": self.first_strided,
            "stage1s2": self.halved,
            self.activation: bool(self.activation),
        }
        return PREFIX + "_".join(part for part, holds in parts.items() if holds)


IN_WORDS = {
    PADDED: "zeros on both sides of the channels in shortcuts",
    APPENDED: "zeros after the channels in shortcuts",
    AVERAGED: "means, and zeros after the channels, in shortcuts",
    NONE: "no shortcuts",
}


def unlike(one: Spelled, other: Spelled) -> str:
    """Return in words what the other network has, of what tensors do not show."""
    words = {
        "a max-pool" if other.pooled else "no max-pool": one.pooled != other.pooled,
        f"a stem of stride {other.stem_stride}": one.stem_stride != other.stem_stride,
        IN_WORDS.get(other.shortcut, "projections"): one.shortcut != other.shortcut,
        "strides in convolutions of 1×1": other.first_strided,
        "shortcuts that read before the normalisation": other.raw,
        "means before the shortcuts' convolutions": other.averaged,
        f"a first stage of stride {2 if other.halved else 1}": one.halved != other.halved,
        ACTIVATIONS.get(other.activation, "ReLU"): one.activation != other.activation,
    }
    return " and ".join(part for part, holds in words.items() if holds)


def parsed(arch: str) -> Spelled | None:
    """Return the network of a name; None for a name of another kind."""
    found = _NAME.fullmatch(arch) if arch.startswith(PREFIX) and len(arch) <= _LONGEST else None
    if found is None:
        return None
    blocks, outputs, stem = (_numbers(found[part]) for part in ("blocks", "out", "stem"))
    middles = _numbers(found["mid"]) if found["mid"] else ()
    groups, bottleneck = int(found["groups"] or 1), found["kind"] == "bottleneck"
    lengths = {len(blocks), len(outputs), len(middles) or len(blocks)}
    shortcut = found["shortcut"].removeprefix("_")
    without = shortcut in _WITHOUT_TENSORS
    narrowed = int((found["attention"] or "se1").removeprefix("se"))
    positive = 0 not in (*blocks, *outputs, *middles, *stem, groups, int(found["kernel"]), narrowed)
    positive = positive and (not found["attention"] or min(outputs) >= narrowed)
    fits = positive and bottleneck == bool(middles) and not (bottleneck and without) and len(lengths) == 1
    if not fits or len(stem) > 3 or any(middle % groups for middle in middles or outputs):
        return None
    plan = Plan(
        blocks,
        bottleneck,
        groups=groups,
        stem=stem,
        kernel=int(found["kernel"]),
        projected=not without,
        attention=found["attention"] or "",
        attention_biased=not found["sebias"],
        outputs=outputs,
        middles=middles,
        biased=tuple(part for part in (STEM, BLOCKS, plans.SHORTCUTS) if part in (found["bias"] or "").split("-")),
        preactivation=bool(found["preact"]),
        stem_norm=not found["stemnorm"],
        last_norm=bool(found["lastnorm"]),
        shortcut_norm=not found["shortcutnorm"],
        always_projected=shortcut == "allprojected",
    )
    spelled = Spelled(
        plan,
        int(found["stride"]),
        bool(found["pool"]),
        shortcut if without else "",
        bool(found["v1"]),
        bool(found["raw"]),
        bool(found["averaged"]),
        bool(found["halved"]),
        found["act"] or "",
    )
    possible = not spelled.halved or _may_halve(plan)
    return spelled if possible and spelled.name == arch else None  # one name for one network


def of(held: Mapping[str, Shape], blocks: tuple[int, ...], preactivation: bool) -> tuple[Spelled, ...]:
    """Return the networks that have exactly these tensors, in torchvision's words: the usual one first."""
    plan = _plan(held, blocks, preactivation)
    if plan is None:
        return ()
    channels = plans.stem(held)[1]
    if plans.tensors(plan, held["fc.weight"][0], channels) != dict(held):
        return ()
    return tuple(each for each in _candidates(plan) if parsed(each.name) == each)


def _plan(held: Mapping[str, Shape], blocks: tuple[int, ...], preactivation: bool) -> Plan | None:
    single = "conv1.weight" in held
    stem = [held.get(name, ()) for name in (("conv1.weight",) if single else [f"conv1.{i}.weight" for i in (0, 3, 6)])]
    stem = [shape for shape in stem if shape]
    bottleneck = "layer1.0.conv3.weight" in held
    last = "conv3" if bottleneck else "conv2"
    firsts = [f"layer{stage + 1}.0" for stage in range(len(blocks))]
    outputs = [held.get(f"{first}.{last}.weight", (0,))[0] for first in firsts]
    second = held.get("layer1.0.conv2.weight", (0, 1))
    groups = held["layer1.0.conv1.weight"][0] // second[1] if bottleneck and second[1] else 1
    names = list(held)
    projected = any(".downsample." in name for name in names)
    here = {part: any(re.fullmatch(pattern, name) for name in names) for part, pattern in _BIASES.items()}
    middles = [held.get(f"{first}.conv2.weight", (0,))[0] for first in firsts]
    if not stem or not groups or 0 in (*outputs, *middles):
        return None
    return Plan(
        blocks,
        bottleneck,
        groups=groups,
        stem=tuple(shape[0] for shape in stem),
        kernel=stem[0][2],
        projected=projected,
        attention=_attention(held, outputs[0]),
        attention_biased="layer1.0.se.fc1.weight" not in held or "layer1.0.se.fc1.bias" in held,
        outputs=tuple(outputs),
        middles=tuple(middles) if bottleneck else (),
        biased=tuple(part for part in (STEM, BLOCKS, plans.SHORTCUTS) if here[part]),
        preactivation=preactivation,
        stem_norm="bn1.weight" in held,
        last_norm="norm.weight" in held,
        shortcut_norm="layer2.0.downsample.1.weight" in held or not projected,
        always_projected="layer1.0.downsample.0.weight" in held and outputs[0] == stem[-1][0],
    )


_BIASES = {
    STEM: r"conv1\.(?:[036]\.)?bias",
    BLOCKS: r"layer\d+\.\d+\.conv\d\.bias",
    plans.SHORTCUTS: r".+\.downsample\.0\.bias",
}


def _attention(held: Mapping[str, Shape], outputs: int) -> str:
    narrow = held.get("layer1.0.se.fc1.weight", (0,))[0]
    return f"se{outputs // narrow}" if narrow else ""


def neighbours(of: Spelled) -> Iterator[Spelled]:
    """Yield the networks with the same tensors that differ in one thing that these do not show."""
    plan = of.plan
    stems = ((stride, pooled) for stride in (1, 2) for pooled in (False, True))
    found = [replace(of, stem_stride=stride, pooled=pooled) for stride, pooled in stems]
    found += [] if plan.projected else [replace(of, shortcut=each) for each in _WITHOUT_TENSORS]
    found += [replace(of, averaged=not of.averaged)] if plan.projected else []
    found += [replace(of, raw=not of.raw)] if plan.preactivation and plan.projected else []
    found += [replace(of, first_strided=not of.first_strided)] if plan.bottleneck else []
    found += [replace(of, halved=not of.halved)] if _may_halve(plan) else []
    found += [replace(of, activation=each) for each in ("", *ACTIVATIONS)]
    return (each for each in found if each != of)


def _candidates(plan: Plan) -> Iterator[Spelled]:
    """Yield what the tensors leave open, the usual first: a large kernel or a deep stem is for large images."""
    large = plan.kernel > 3 or len(plan.stem) > 1
    stems = ((2, True), (2, False), (1, True), (1, False))
    stems = stems if large else (stems[3], stems[2], stems[0], stems[1])
    usual = Spelled(plan, *stems[0], "" if plan.projected else PADDED)
    yield usual
    for shortcut in () if plan.projected else _WITHOUT_TENSORS[1:]:
        yield replace(usual, shortcut=shortcut)
    if plan.preactivation and plan.projected:
        yield replace(usual, raw=True)
    if plan.bottleneck:
        yield replace(usual, first_strided=True)
    for stride, pooled in stems[1:]:
        yield replace(usual, stem_stride=stride, pooled=pooled)
    if plan.projected:
        yield replace(usual, averaged=True)
    if _may_halve(plan):
        yield replace(usual, halved=True)
    yield from (replace(usual, activation=each) for each in ACTIVATIONS)


def _may_halve(plan: Plan) -> bool:
    """Return whether the first stage may have stride 2: its shortcut can change the size."""
    return not plan.projected or plan.always_projected or plan.gives(0) != plan.stem[-1]


def _row(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def _numbers(row: str) -> tuple[int, ...]:
    return tuple(int(number) for number in row.split("-"))
