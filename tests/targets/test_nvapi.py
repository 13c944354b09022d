"""Every name of TensorRT's that our code uses is there, in the oldest release that we serve and in the newest."""

from __future__ import annotations

import pytest

from . import nvapi

pytestmark = pytest.mark.unit

RELEASES = {"10.3": ("tensorrt-cu12-bindings", "10.3.*"), "11": ("tensorrt-cu13-bindings", "11.*")}


@pytest.fixture(scope="module", params=RELEASES)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> nvapi.Bindings:
    try:
        return nvapi.Bindings(*RELEASES[request.param], tmp_path_factory.mktemp("bindings"))
    except OSError as problem:
        pytest.skip(f"the bindings of TensorRT {request.param} cannot be fetched: {problem}")


@pytest.mark.slow
def test_every_name_is_there(bindings: nvapi.Bindings) -> None:
    names = nvapi.used()
    assert bindings.missing(names) == []
    assert all(any(name.startswith(f"{cls}.") for name in names) for cls in nvapi.CLASSES.values()), "each is looked at"


@pytest.mark.slow
def test_a_name_that_a_release_lacks_is_found(bindings: nvapi.Bindings) -> None:
    """Seen red on what 11 took away, and on what never was."""
    names = set(nvapi.used_in("config.set_flag(trt.BuilderFlag.INT8); self._engine.no_such_thing"))
    gone = ["BuilderFlag.INT8"] if bindings.release.startswith("11") else []
    assert bindings.missing(names) == [*gone, "ICudaEngine.no_such_thing"]


def test_what_is_used_is_read_out_of_the_code() -> None:
    names = nvapi.used()
    assert {
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "BuilderFlag.TF32",
        "IBuilderConfig.set_timing_cache",
        "IExecutionContext.execute_async_v3",
        "ICudaEngine.create_engine_inspector",
        "Runtime.deserialize_cuda_engine",
    } <= names
    assert not any("SPARSE" in name for name in names), "looked up by name: a release may lack it"
