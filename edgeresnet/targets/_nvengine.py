"""What the targets of NVIDIA's libraries share: options, engines with a sidecar, and the checks before one is loaded.

TensorRT itself offers no check before it deserialises, and its message about another machine's engine does not help: a
sidecar records which release built it, for which GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError, TargetError
from ..portable import machine, manifest, onnx_file
from ..portable.session import Availability, Compiled, CompileNotes, Dialect, Session, Signature
from . import _compiled, _cuda, _nvinfer
from ._nvsession import EngineSession

ENGINE = "model.engine"
FLOAT_PARTS = ("f16", "f32")


@dataclass(frozen=True)
class EngineSidecar(_compiled.Sidecar):
    """An engine: its digest, and what it was built on and for."""

    engine_sha256: str
    gpu: _cuda.Device | None  # None: built without a GPU
    driver: str | None
    signature: Signature
    plan: _nvinfer.Plan


def check_options(
    float_parts: str, batch: int | Sequence[int] | None, workspace_mb: int | None
) -> tuple[int, ...] | None:
    """Check the options; return the batches, one for all or least, best and most."""
    if float_parts not in FLOAT_PARTS:
        raise ValueError(f"float_parts must be one of {', '.join(FLOAT_PARTS)}, not {float_parts!r}")
    if workspace_mb is not None and workspace_mb < 1:
        raise ValueError(f"workspace_mb must be at least 1, not {workspace_mb}")
    if batch is None:
        return None
    batches = (batch,) if isinstance(batch, int) else tuple(batch)
    if len(batches) not in (1, 3) or min(batches) < 1 or list(batches) != sorted(batches):
        raise ValueError(f"batch must be one number, or minimum, optimum and maximum like [1, 8, 64], not {batch!r}")
    return batches


class NvTarget:
    """A target of the library that `module` names."""

    name: str
    title: str
    libraries: tuple[str, ...]
    oldest: str
    install: str
    dialect: Dialect
    options: type
    module: str
    on_card = True
    needs_gpu = True  # to build; loading an engine always needs one

    def available(self, options: Any = None) -> Availability:
        found = _compiled.availability(self.module, self)
        if not found.ok:
            return found
        problem, versions = _cuda.problem(), self._versions()
        if not problem:
            return Availability(True, versions=versions)
        return Availability(False, problem, versions, hint=self._without_gpu(), builds=not self.needs_gpu)

    def speaks(self, options: Any) -> Dialect:
        return self.dialect

    def remarks(self, options: Any) -> tuple[str, ...]:
        return ()

    def full(self, options: Any) -> Any:
        return replace(options, float_parts="f32")

    def half(self, options: Any) -> Any:
        return replace(options, float_parts="f16")

    def half_in_file(self, options: Any) -> bool:
        """Return whether float16 must stand in the graph: networks are strongly typed."""
        return bool(options.float_parts == "f16")

    def compile(self, onnx: Path, options: Any, out: Path, cache: Path | None = None) -> Compiled:
        """Build an engine, and record what it was built on and for."""
        signature, batches = _signature(self.module, onnx, options.batch)
        gpu = None if _cuda.problem() and not self.needs_gpu else _cuda.device()
        versions = self._versions()
        plan = replace(self._plan(options), batches=batches)
        if cache is not None and self.needs_gpu and gpu:
            words = "-".join([self.name, *versions.values(), gpu.capability])
            cache.mkdir(parents=True, exist_ok=True)
            plan = replace(plan, timing_cache=str(cache / f"{words}.timing"))
        reading = _nvinfer.build(self.module, onnx, out / ENGINE, plan)
        sidecar = EngineSidecar(
            target=self.name,
            options=options,
            versions=versions,
            source_sha256=manifest.sha256_of(onnx),
            engine_sha256=manifest.sha256_of(out / ENGINE),
            gpu=gpu,
            driver=machine.conditions().gpu_driver,
            signature=signature,
            plan=plan,
        )
        _compiled.write(out, sidecar)
        warnings = [f"{each.said}{f' ({each.times} times)' if each.times > 1 else ''}" for each in reading.complaints]
        return Compiled(CompileNotes(signature, options.float_parts), tuple(warnings))

    def load(self, compiled: Path) -> Session:
        sidecar = self.checked(compiled)
        portable = "VERSION_COMPATIBLE" in sidecar.plan.flags
        return EngineSession(self.module, compiled / ENGINE, sidecar.signature, portable)

    def checked(self, compiled: Path) -> EngineSidecar:
        """Return an engine's sidecar; refuse an engine that this machine may not load, before it is read."""
        sidecar = _compiled.read(compiled, self, EngineSidecar)
        engine = compiled / ENGINE
        if not engine.is_file() or manifest.sha256_of(engine) != sidecar.engine_sha256:
            raise TargetError(
                str(engine), "differs from the engine that its sidecar describes", hint=_nvinfer.BUILD_HERE
            )
        if not self._may_load(sidecar.versions, self._versions(), sidecar.plan):
            raise TargetError(
                str(compiled),
                f"was built by {_compiled.words(sidecar.versions)}, but {_compiled.words(self._versions())} is "
                "installed, which cannot load it",
                hint=_nvinfer.BUILD_HERE,
            )
        here = _cuda.device()
        if not self._may_run(sidecar, here):
            raise TargetError(
                str(compiled),
                f"was built for {_built_for(sidecar)}, but this machine has {_described(here)}",
                hint=_nvinfer.BUILD_HERE,
            )
        return sidecar

    def _plan(self, options: Any) -> _nvinfer.Plan:
        raise NotImplementedError

    def _may_load(self, built: Mapping[str, str], here: Mapping[str, str], plan: _nvinfer.Plan) -> bool:
        return built == here

    def _may_run(self, sidecar: EngineSidecar, here: _cuda.Device) -> bool:
        raise NotImplementedError

    def _without_gpu(self) -> str:
        return "build on the device instead, from a bundle: `where: bundle`"

    def _versions(self) -> dict[str, str]:
        """Return the module's own version: pip has several names for TensorRT, and none for JetPack's."""
        return {self.libraries[0]: _compiled.version_of(self.module)}


def _built_for(sidecar: EngineSidecar) -> str:
    """Return the GPU that it was built on, or those that it was built for."""
    if sidecar.gpu:
        return _described(sidecar.gpu)
    return f"GPUs of compute capability {', '.join(sidecar.plan.capabilities)}"


def _described(gpu: _cuda.Device) -> str:
    return f"{gpu.name} of compute capability {gpu.capability} and {gpu.processors} multiprocessors"


def _signature(module: str, onnx: Path, batch: tuple[int, ...] | None) -> tuple[Signature, tuple[int, int, int]]:
    """Return the engine's signature, and its least, best and most images at once.

    The file holds most of it; where it leaves the shape of its answer open, the parser infers that.
    """
    try:
        file = onnx_file.read(onnx)
    except ModelError as problem:
        raise TargetError(problem.subject, problem.problem, hint=problem.hint) from problem
    pixels = [value.kind for value in file.inputs] == [onnx_file.UINT8]
    inputs, outputs = _sides(file.inputs), _sides(file.outputs)
    if any(sides is None or None in sides[1:] for _, sides in outputs):
        reading = _nvinfer.read(module, onnx)
        inputs, outputs = (reading.inputs, reading.outputs) if reading.accepted else (inputs, outputs)
    found = _compiled.signature(inputs, outputs, pixels=pixels)
    odd = [value for value in file.outputs if value.kind not in (onnx_file.FLOAT, 0)]
    if odd:
        raise TargetError(
            "the network",
            f"returns {onnx_file.KINDS.get(odd[0].kind, 'another type')}, but answers are read as float32",
            hint="end the network with a Cast to float32",
        )
    if found.batch is not None:
        if batch not in (None, (found.batch,)):
            raise TargetError(
                "the network",
                f"has a fixed batch of {found.batch} and cannot take batches of {', '.join(map(str, batch))}",
                hint="leave `batch` out, or trace with `trace.batch: dynamic`",
            )
        return found, (found.batch,) * 3
    batches = batch or (1,)
    least, best, most = batches[0], batches[len(batches) // 2], batches[-1]
    if least == most:
        return replace(found, batch=least), (least, best, most)
    return replace(found, least=least, most=most), (least, best, most)


def _sides(values: tuple[onnx_file.Value, ...]) -> Sequence[tuple[str, _compiled.Sides]]:
    return [(value.name, value.shape) for value in values]
