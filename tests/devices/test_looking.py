"""What a look at a device says of it, without a device."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgeresnet import targets
from edgeresnet.devices import looking
from edgeresnet.devices.book import Device

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
FACTS = looking.Facts(
    identity="id",
    host="orin",
    system="Linux",
    board="",
    python="3.10.12",
    versions={"numpy": "1.26"},
    free_mb=1e4,
    writable=True,
    clock=0.0,
    logins=(),
    load=0.0,
    temperature_c=None,
    cpu_mhz=None,
    sensors=(),
    power_mode="",
    governor="",
    holder=None,
)


@pytest.mark.parametrize(
    ("library", "version", "old"),
    [
        ("onnxruntime", "1.16.3", True),
        ("onnxruntime", "1.23.0", False),
        ("onnxruntime", "1.100.0", False),
        ("openvino", "2026.4.1-22982-e213a147257-releases/2026/4", False),
        ("openvino", "2025.4.0-20398-8fdad55727d", True),
        ("tensorrt", "8.5.2.2", True),
        ("tensorrt", "10.3.0", False),
    ],
)
def test_a_runtime_older_than_the_tested_ones_is_noted(library: str, version: str, old: bool) -> None:
    facts = replace(FACTS, versions={**FACTS.versions, library: version})
    seen = looking.judged("orin", Device(ssh="nvidia@orin"), facts, (library,), now=0.0)
    oldest = targets.get(library).oldest
    words = (
        f"its {targets.get(library).title} {version} is older than {oldest}, the oldest that bundles are tested with"
    )
    assert seen.notes == ((words,) if old else ())
    assert seen.ready, "it may run all the same"


@pytest.mark.parametrize("name", targets.names())
def test_the_oldest_runtime_is_that_of_the_project(name: str) -> None:
    target = targets.get(name)
    pins = re.findall(r'"([a-z0-9-]+)>=([0-9.]+)', PROJECT.read_text(encoding="utf-8"))
    assert target.oldest in {version for library, version in pins if library in target.libraries}
