"""OpenVINO's devices: what each accepts, its dialect and its refusals. No GPU and no NPU is here: fakes answer."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet import targets
from edgeresnet.errors import TargetError
from edgeresnet.portable import codec, machine, yardstick
from edgeresnet.stages.specs import CompileSpec
from edgeresnet.targets import _ovdevice
from edgeresnet.targets.openvino import Options

pytestmark = pytest.mark.unit

TARGET: Any = targets.get("openvino")


class Core:
    """OpenVINO's core on a machine with these devices, and what each computes with."""

    def __init__(self, **capabilities: list[str]):
        self.capabilities, self.available_devices = capabilities, list(capabilities)

    def get_property(self, device: str, name: str) -> Any:
        if name != "OPTIMIZATION_CAPABILITIES":
            raise RuntimeError(f"Unsupported configuration key: {name}")
        return self.capabilities[device]


class Network:
    """A compiled network by its properties."""

    def __init__(self, **properties: Any):
        self.properties = properties

    def get_property(self, name: str) -> Any:
        if name not in self.properties:
            raise RuntimeError(f"Unsupported configuration key: {name}")
        return self.properties[name]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "TPU"}, "device must be one of CPU, GPU, NPU, AUTO, not 'TPU'"),
        ({"device": "GPU", "float_parts": "bf16"}, "float_parts must be one of f32, f16, auto with device GPU"),
        ({"device": "NPU", "float_parts": "f32"}, "float_parts must be one of f16, auto with device NPU"),
        ({"device": "GPU", "threads": 2}, "threads can be set with device CPU only, not with GPU"),
        ({"device": "AUTO", "threads": 2}, "threads can be set with device CPU only, not with AUTO"),
        ({"device": "NPU", "cpu": "vnni"}, "cpu has no meaning with device NPU"),
        ({"float_parts": "f8"}, "float_parts must be one of f32, bf16, f16, auto, not 'f8'"),
    ],
)
def test_what_a_device_lacks_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Options(**options)


@pytest.mark.parametrize(("device", "precision"), [("CPU", "f32"), ("GPU", "f32"), ("NPU", "f16"), ("AUTO", "f32")])
def test_floats_are_f32_wherever_the_device_has_it(device: str, precision: str) -> None:
    """A GPU's own choice, f16, gave wrong answers of INT8 networks: openvino#37446, openvino#30507."""
    assert Options(device=device).float_parts == Options(device=device).precision == precision
    assert Options(device=device, float_parts="auto").float_parts == "auto"


def test_the_cpu_is_keyed_as_ever_and_every_other_device_as_another_target() -> None:
    """Another spelling would compile and time the networks of every user again."""
    usual = {"float_parts": "f32", "threads": None, "cpu": "this", "residual": None, "zero_points": "auto"}
    assert CompileSpec("openvino", Options()).to_json()["options"] == usual
    found = CompileSpec("openvino", Options(device="GPU")).to_json()["options"]
    assert found == {**usual, "device": "GPU"}
    assert codec.decode(Options, usual) == Options()
    assert codec.decode(Options, codec.encode(Options(device="NPU"))) == Options(device="NPU")


@pytest.mark.parametrize("has_int8", [True, False])
def test_only_the_cpu_decides_the_range_of_weights(has_int8: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_int8", lambda: has_int8)
    spoken = {device: TARGET.speaks(Options(device=device)) for device in _ovdevice.DEVICES}
    range_here = "full" if has_int8 else "half"
    assert {device: each.weights for device, each in spoken.items()} == {
        "CPU": range_here, "GPU": "full", "NPU": "full", "AUTO": range_here,
    }  # fmt: skip
    for device in ("GPU", "NPU", "AUTO"):
        assert spoken[device].activations == "u8-after-relu"
        assert spoken[device].zero_points == "never"
    assert spoken["GPU"] == spoken["NPU"], "equal dialects share one file"
    assert TARGET.speaks(Options(device="GPU", residual="shortcut")).residual == "shortcut"


def test_the_half_precision_of_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for bf16, arm, expected in ((True, False, "bf16"), (False, False, None), (False, True, "f16")):
        monkeypatch.setattr(machine, "has_bf16", lambda has=bf16: has)
        monkeypatch.setattr(machine, "is_arm", lambda arm=arm: arm)
        found = TARGET.half(Options())
        assert (found.float_parts if found else None) == expected
    assert TARGET.half(Options(device="GPU")) == Options(device="GPU", float_parts="f16")
    assert TARGET.half(Options(device="NPU")) is None, "its FP32 network computes in f16"
    assert TARGET.half(Options(device="AUTO")) is None


@pytest.mark.parametrize(
    ("device", "found", "reason"),
    [
        ("GPU", ["CPU"], "OpenVINO finds no GPU here, only CPU"),
        ("NPU", ["CPU", "GPU.0", "GPU.1"], "OpenVINO finds no NPU here, only CPU, GPU.0, GPU.1"),
        ("GPU", ["CPU", "GPU.0", "GPU.1"], ""),
        ("GPU", ["CPU", "GPU"], ""),
        ("AUTO", ["CPU"], ""),
        ("AUTO", [], "OpenVINO finds no AUTO here, no device at all"),
    ],
)
def test_what_is_not_here_is_refused_in_a_line_that_names_what_is(device: str, found: list[str], reason: str) -> None:
    assert _ovdevice.absent(device, found)[0] == reason
    core = Core(**{name: [] for name in found})
    if not reason:
        _ovdevice.refuse_absent(core, device)
        return
    with pytest.raises(TargetError, match=reason) as caught:
        _ovdevice.refuse_absent(core, device)
    assert "where: bundle" in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    core = Core(CPU=["FP32", "INT8"], GPU=["FP32", "FP16", "INT8"], NPU=["FP16", "INT8"])
    for device, precision in (("CPU", "f32"), ("GPU", "f16"), ("NPU", "f16"), ("AUTO", "bf16"), ("CPU", "auto")):
        _ovdevice.refuse_absent_precision(core, device, precision)
    with pytest.raises(TargetError, match="this CPU has no f16 instructions"):
        _ovdevice.refuse_absent_precision(core, "CPU", "f16")


def test_another_precision_than_was_wanted_is_refused() -> None:
    """Sabotage: a plug-in that accepts f32 and computes in f16 has the answers of openvino#37446."""
    for wanted, found in (("f32", "f32"), ("auto", "f16"), ("f32", "")):
        _ovdevice.check_precision(wanted, found, ["GPU.0"])
    with pytest.raises(TargetError, match=r"computes in f16 on GPU\.0, and not in f32") as caught:
        _ovdevice.check_precision("f32", "f16", ["GPU.0"])
    assert "float_parts: f16" in caught.value.hint


def test_what_a_compiled_network_reports_of_itself() -> None:
    assert _ovdevice.devices_of(Network(EXECUTION_DEVICES=["GPU.0"])) == ("GPU.0",)
    assert _ovdevice.devices_of(Network(EXECUTION_DEVICES="NPU")) == ("NPU",)
    assert _ovdevice.devices_of(Network()) == ()
    assert _ovdevice.precision_of(Network(INFERENCE_PRECISION_HINT="f16")) == "f16"
    assert _ovdevice.precision_of(Network()) == ""
    assert _ovdevice.called(Core(CPU=[]), ["CPU"]) == "CPU"


def test_each_device_is_set_by_properties_that_it_has() -> None:
    assert _ovdevice.settings("CPU", 2, 3) == {"NUM_STREAMS": 2, "INFERENCE_NUM_THREADS": 3}
    assert _ovdevice.settings("GPU", 1, None) == {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    assert _ovdevice.settings("NPU", 4, None) == {"PERFORMANCE_HINT": "THROUGHPUT"}
    assert _ovdevice.settings("AUTO", 1, None)["ENABLE_STARTUP_FALLBACK"] is False, "the CPU must not be timed for it"


def test_what_a_person_should_know_of_each() -> None:
    assert TARGET.remarks(Options()) == TARGET.remarks(Options(device="GPU")) == ()
    assert "openvino#37446" in " ".join(TARGET.remarks(Options(device="GPU", float_parts="auto")))
    assert "openvino#30507" in " ".join(TARGET.remarks(Options(device="GPU", float_parts="f16")))
    assert "f16" in " ".join(TARGET.remarks(Options(device="NPU")))
    assert "onnxruntime" in " ".join(TARGET.remarks(Options(cpu="arm")))
    arm: Any = targets.get("onnxruntime")
    assert "slower than FP32" in " ".join(arm.remarks(arm.options(cpu="arm")))
    assert arm.remarks(arm.options()) == arm.remarks(arm.options(cpu="arm-dotprod")) == ()


def test_the_yardstick_runs_on_the_same_device() -> None:
    assert yardstick.options_of(TARGET, Options(device="NPU", residual="both")) == Options(device="NPU")
    assert yardstick.options_of(TARGET, Options(threads=1)) == Options()
