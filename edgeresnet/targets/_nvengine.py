"""What makes a target of NVIDIA's libraries: options, engines with a sidecar, and the checks before one is loaded.

TensorRT itself offers no check before it deserialises, and what it says of an engine from elsewhere helps nobody: here
a sidecar tells which release built it, for which GPU. The two targets differ by what is given to them.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError, TargetError
from ..portable import machine, manifest, onnx_file
from ..portable.session import Availability, Dialect, Session, Signature
from . import _compiled, _cuda, _nvinfer
from ._nvsession import EngineSession

ENGINE = "model.engine"
FLOAT_PARTS = ("f16", "f32")


def check_options(float_parts: str, batch: Any, workspace_mb: int | None) -> tuple[int, ...] | None:
    """Gives the batches, one for all or least, best and most."""
    if float_parts not in FLOAT_PARTS:
        raise ValueError(f"float_parts must be one of {', '.join(FLOAT_PARTS)}, not {float_parts!r}")
    if workspace_mb is not None and workspace_mb < 1:
        raise ValueError(f"workspace_mb must be at least 1, not {workspace_mb}")
    if batch is None:
        return None
    batches = (batch,) if isinstance(batch, int) else tuple(batch)
    if len(batches) not in (1, 3) or min(batches) < 1 or list(batches) != sorted(batches):
        raise ValueError(f"batch must be one number, or least, best and most: [1, 8, 64], not {batch!r}")
    return batches


class NvTarget:
    """A target by the name of its module. `needs_gpu`: whether its builder does; what loads an engine always does."""

    name: str
    title: str
    libraries: tuple[str, ...]
    install: str
    dialect: Dialect
    options: type
    module: str
    needs_gpu = True

    def available(self) -> Availability:
        found = _compiled.availability(self.module, self)
        if not found.ok:
            return found
        trouble, versions = _cuda.trouble(), self._versions()
        if not trouble:
            return Availability(True, versions=versions)
        return Availability(False, trouble, versions, hint=self._without_gpu(), builds=not self.needs_gpu)

    def speaks(self, options: Any) -> Dialect:
        return self.dialect

    def full(self, options: Any) -> Any:
        return replace(options, float_parts="f32")

    def half(self, options: Any) -> Any:
        return replace(options, float_parts="f16")

    def half_in_file(self, options: Any) -> bool:
        """Networks are strongly typed: a float16 engine wants float16 in the graph."""
        return bool(options.float_parts == "f16")

    def compile(self, onnx: Path, options: Any, out: Path, cache: Path | None = None) -> dict[str, Any]:
        signature, batches = _signature(self.module, onnx, options)
        gpu = None if _cuda.trouble() and not self.needs_gpu else _cuda.device()
        versions = self._versions()
        plan = replace(self._plan(options), batches=batches)
        if cache is not None and self.needs_gpu and gpu:
            words = "-".join([self.name, *versions.values(), gpu.capability])
            cache.mkdir(parents=True, exist_ok=True)
            plan = replace(plan, timing_cache=str(cache / f"{words}.timing"))
        reading = _nvinfer.build(self.module, onnx, out / ENGINE, plan)
        _compiled.write_sidecar(
            out,
            self,
            options,
            onnx,
            versions,
            engine_sha256=manifest.sha256_of(out / ENGINE),
            gpu=gpu._asdict() if gpu else None,
            driver=machine.conditions()["gpu_driver"],
            signature=asdict(signature),
            plan=asdict(plan),
        )
        said = [f"{each.said}{f' ({each.times} times)' if each.times > 1 else ''}" for each in reading.complaints]
        return {"signature": asdict(signature), "float_parts": options.float_parts, "warnings": said}

    def load(self, compiled: Path) -> Session:
        sidecar = self.checked(compiled)
        signature = Signature(**sidecar["signature"])
        portable = "VERSION_COMPATIBLE" in sidecar["plan"]["flags"]
        return EngineSession(self.module, compiled / ENGINE, signature, portable)

    def checked(self, compiled: Path) -> dict[str, Any]:
        """The sidecar of an engine that this machine may load; all that speaks against it is said before it is read."""
        sidecar = _compiled.read_sidecar(compiled, self)
        engine = compiled / ENGINE
        if not engine.is_file() or manifest.sha256_of(engine) != sidecar["engine_sha256"]:
            raise TargetError(f"{engine} is not the engine that its sidecar tells of", hint=_nvinfer.ANEW)
        if not self._may_load(sidecar["versions"], self._versions(), sidecar["plan"]):
            raise TargetError(
                f"{compiled} was built by {_compiled.words(sidecar['versions'])}, and "
                f"{_compiled.words(self._versions())} is here: engines do not pass from one to the other",
                hint=_nvinfer.ANEW,
            )
        here = _cuda.device()
        if not self._may_run(sidecar, here):
            asked = {"name": "GPUs", "capability": ", ".join(sidecar["plan"]["capabilities"]), "processors": None}
            raise TargetError(
                f"{compiled} was built for {_named(sidecar['gpu'] or asked)}, and here is {_named(here._asdict())}",
                hint=_nvinfer.ANEW,
            )
        return sidecar

    def _plan(self, options: Any) -> _nvinfer.Plan:
        raise NotImplementedError

    def _may_load(self, built: dict[str, str], here: dict[str, str], plan: dict[str, Any]) -> bool:
        return built == here

    def _may_run(self, sidecar: dict[str, Any], here: _cuda.Device) -> bool:
        raise NotImplementedError

    def _without_gpu(self) -> str:
        return "hand a bundle over to the device instead: `where: bundle`"

    def _versions(self) -> dict[str, str]:
        """By the module itself: pip knows TensorRT under several names, and JetPack's not at all."""
        return {self.libraries[0]: _compiled.version_of(self.module)}


def _named(gpu: dict[str, Any]) -> str:
    processors = f" and {gpu['processors']} multiprocessors" if gpu["processors"] else ""
    return f"{gpu['name']} of compute capability {gpu['capability']}{processors}"


def _signature(module: str, onnx: Path, options: Any) -> tuple[Signature, tuple[int, int, int]]:
    """As the engine will have it, and least, best and most images at once.

    The file tells most of it; where one leaves out what its answer looks like, the parser finds that out.
    """
    try:
        file = onnx_file.read(onnx)
    except ModelError as problem:
        raise TargetError(f"refuses {onnx.name}: {problem.message}", hint=problem.hint) from problem
    pixels = [value.kind for value in file.inputs] == [onnx_file.UINT8]
    inputs, outputs = _sides(file.inputs), _sides(file.outputs)
    if any(sides is None or None in sides[1:] for _, sides in outputs):
        reading = _nvinfer.read(module, onnx)
        inputs, outputs = (list(reading.inputs), list(reading.outputs)) if reading.accepted else (inputs, outputs)
    told = _compiled.signature(inputs, outputs, pixels=pixels)
    odd = [value for value in file.outputs if value.kind not in (onnx_file.FLOAT, 0)]
    if odd:
        raise TargetError(
            f"answers in {onnx_file.KINDS.get(odd[0].kind, 'another type')}, and logits are read as float32",
            hint="end the network with a Cast to float32",
        )
    asked = options.batch
    if told.batch is not None:
        if asked not in (None, (told.batch,)):
            raise TargetError(
                f"cannot take batches of {', '.join(map(str, asked))}: {onnx.name} is fixed to {told.batch}",
                hint="leave `batch` out, or trace with `trace.batch: dynamic`",
            )
        return told, (told.batch,) * 3
    batches = asked or (1,)
    least, best, most = batches[0], batches[len(batches) // 2], batches[-1]
    if least == most:
        return replace(told, batch=least), (least, best, most)
    return replace(told, least=least, most=most), (least, best, most)


def _sides(values: tuple[onnx_file.Value, ...]) -> list[tuple[str, Any]]:
    return [(value.name, value.shape) for value in values]
