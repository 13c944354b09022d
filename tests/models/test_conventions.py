"""What a `config.json` says decides between networks that have the same tensors; a network that none of ours is, is
refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeresnet.models import conventions, hub, openmmlab
from edgeresnet.models.hub import Convention
from edgeresnet.models.recognised import Recognised

from ..hostile import tensors

pytestmark = pytest.mark.unit

V1 = "general_bottleneck_3-4-6-3_out256-512-1024-2048_mid64-128-256-512_stem64k7s2_pool_projected_v1"
NARROW = "general_bottleneck_1-1-1-1_out16-32-64-128_mid4-8-16-32_stem8k7s2"
FOUND = Recognised(("resnet50", "resnetaa50", "resnetblur50", V1), 10, 3, "ResNet-50", "around it")
USUAL = Convention("transformers", hub.V15, "relu", first_stage_strided=False, bottleneck=True, max_pool=True)
SAYS = "config.json says what tensors do not show"


def test_transformers_has_neither_blurs_nor_averages() -> None:
    assert conventions.decided(FOUND, USUAL) == replace(FOUND, archs=("resnet50",), words=f"ResNet-50 ({SAYS})")


def test_the_stride_is_in_the_first_convolution() -> None:
    found = conventions.decided(FOUND, replace(USUAL, stride=hub.V1))
    assert found is not None
    assert found.archs == (V1,)
    assert found.words == f"ResNet-50, strides in each block's first convolution ({SAYS})"


def test_version_1_has_a_short_name_too() -> None:
    found = conventions.decided(replace(FOUND, archs=("resnet50", "resnet50_v1")), replace(USUAL, stride=hub.V1))
    assert found is not None
    assert found.archs == ("resnet50_v1",)


def test_transformers_always_has_a_pool() -> None:
    archs = (f"{NARROW}_projected", f"{NARROW}_pool_projected", f"{NARROW}_pool_projected_v1")
    found = conventions.decided(replace(FOUND, archs=archs), USUAL)
    assert found is not None
    assert found.archs == (f"{NARROW}_pool_projected",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "gelu"}, "ResNet-50, but its activation is gelu (config.json)"),
        ({"first_stage_strided": True}, "ResNet-50, but its first stage has stride 2 (config.json)"),
    ],
)
def test_what_none_of_our_networks_has_is_no_architecture(change: dict[str, object], words: str) -> None:
    found = conventions.decided(FOUND, replace(USUAL, **change))  # type: ignore[arg-type]
    assert found is not None
    assert (found.archs, found.words, found.classes) == ((), words, 10)


def test_the_first_stage_may_halve_the_size() -> None:
    halved = f"{NARROW}_pool_projected_stage1s2"
    found = replace(FOUND, archs=(f"{NARROW}_pool_projected", halved))
    strided = replace(USUAL, first_stage_strided=True)
    decided = conventions.decided(found, strided)
    assert decided is not None
    assert decided.archs == (halved,)
    usual = conventions.decided(found, USUAL)
    assert usual is not None
    assert usual.archs == (f"{NARROW}_pool_projected",)
    first = conventions.decided(found, replace(strided, stride=hub.V1))
    assert first is not None
    assert first.archs == (f"{NARROW}_pool_projected_v1_stage1s2",)


def test_timm_names_the_architecture() -> None:
    found = conventions.decided(FOUND, Convention("timm", arch="resnetaa50"))
    assert found is not None
    assert found.archs == ("resnetaa50",)
    other = conventions.decided(FOUND, Convention("timm", arch="resnetaa50", arguments="act_layer silu"))
    assert other is not None
    assert other.archs == ()
    assert other.words == "ResNet-50, but it was built with other arguments (act_layer silu) (config.json)"


def test_a_configuration_of_another_network_decides_nothing() -> None:
    assert conventions.decided(FOUND, Convention("timm", arch="resnet18")) is FOUND
    basic = replace(FOUND, archs=(f"{NARROW}_pool_projected",))
    assert conventions.decided(basic, replace(USUAL, bottleneck=False)) is basic


def test_nothing_is_decided_without_a_configuration_or_a_network() -> None:
    assert conventions.decided(FOUND, None) is FOUND
    assert conventions.decided(None, USUAL) is None
    unknown = replace(FOUND, archs=())
    assert conventions.decided(unknown, USUAL) is unknown


def test_arguments_of_timm_that_change_the_network(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(tensors.whole({"a": (1,)}))
    for arguments, words in (
        ({"num_classes": 3, "drop_rate": 0.1, "global_pool": "avg"}, ""),
        ({"act_layer": "silu", "num_classes": 3}, "act_layer silu"),
        ({"global_pool": "max"}, "global_pool max"),
        ([1, 2], "[1, 2]"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "model_args": arguments}))
        assert hub.convention_of(tmp_path) == Convention("timm", arch="resnet18", arguments=words)


def config(style: str) -> dict[str, object]:
    """Return what mmengine saves next to weights."""
    backbone = f"backbone=dict(depth=50, num_stages=4, {style}type='ResNet')"
    return {"meta": {"cfg": f"model = dict({backbone}, type='ImageClassifier')", "epoch": 100}, "state_dict": {}}


@pytest.mark.parametrize(
    ("style", "archs"),
    [
        ("style='caffe', ", ("resnet50_v1",)),
        ("style='pytorch', ", ("resnet50", "resnetaa50")),
        ("", ("resnet50", "resnetaa50")),
    ],
)
def test_mmpretrains_style_says_where_strides_are(style: str, archs: tuple[str, ...]) -> None:
    convention = openmmlab.convention_of(config(style))
    found = conventions.decided(replace(FOUND, archs=("resnet50", "resnetaa50", "resnet50_v1")), convention)
    assert found is not None
    assert found.archs == archs
    assert found.words == "ResNet-50 (its configuration says where strides are)"
    basic = replace(FOUND, archs=("resnet18", "resnetblur18"))
    assert conventions.decided(basic, convention) is basic


def test_two_backbones_or_another_network_say_nothing_of_strides() -> None:
    both = config("style='caffe', ")["meta"]["cfg"] + config("style='pytorch', ")["meta"]["cfg"]  # type: ignore[index]
    cases: list[object] = [
        {"meta": {"cfg": both}},
        {"meta": {"cfg": "type='VGG'"}},
        {"meta": {}},
        {"meta": [1]},
        {},
        [1],
    ]
    for held in cases:
        assert openmmlab.convention_of(held) is None
