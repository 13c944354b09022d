"""What a bundle carries for a model server: Triton's `config.pbtxt`, OpenVINO Model Server's `config.json`.

Both describe the network that would ship, and name the file that `deploy.py` builds. The network itself is not stored
twice: the bundle's README has the commands that put what was built in its place. Knows no server.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from ...portable import inference, onnx_file
from .contents import BUILT, BundleAbout

FOLDER, LABELS = "serve", "labels.txt"
TRITON, OVMS = "triton", "ovms"
_KINDS = {
    1: "TYPE_FP32", 2: "TYPE_UINT8", 3: "TYPE_INT8", 6: "TYPE_INT32", 7: "TYPE_INT64", 10: "TYPE_FP16", 11: "TYPE_FP64",
    16: "TYPE_BF16",
}  # fmt: skip
_PRECISIONS = {"f32": "f32", "bf16": "bf16", "f16": "f16"}  # as OpenVINO spells them; `auto` is its own choice


@dataclass(frozen=True)
class Backend:
    """How Triton runs what a target builds."""

    name: str
    platform: str  # empty: Triton has no platform's name for it
    file: str
    device: str = "KIND_CPU"


# Triton has no backend for TensorRT-RTX.
BACKENDS = {
    "tensorrt": Backend("tensorrt", "tensorrt_plan", "model.engine", "KIND_GPU"),
    "onnxruntime": Backend("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    "openvino": Backend("openvino", "", "model.xml"),
}


@dataclass(frozen=True)
class Batches:
    """How many images a request may hold. With `fixed`, each request holds that number, and Triton does not batch."""

    fixed: int | None
    least: int = 1
    best: int | None = None
    most: int = 1

    @property
    def vary(self) -> bool:
        return self.fixed is None and self.most > 1


def write(folder: Path, about: BundleAbout, network: Path, outputs: int) -> str:
    """Write the servers' files into a bundle, and return the README's section on them; empty without a server."""
    backend, options = BACKENDS.get(about.target), about.variants[about.ships].options
    if backend is None or options.get("device", "CPU") != "CPU":  # the servers' files are of OpenVINO's CPU alone
        return ""
    name, file = model_name(about.network), onnx_file.read(network)
    if len(file.inputs) != 1 or len(file.outputs) != 1 or not file.inputs[0].shape:
        return ""  # no target takes such a network
    place = folder / FOLDER / TRITON / name
    place.mkdir(parents=True)
    batches = batches_of(about.target, file.inputs[0].shape[0], options.get("batch"))
    lines = _config(name, backend, file, outputs, batches, _settings(about))
    (place / "config.pbtxt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (place / LABELS).write_text("".join(f"{label}\n" for label in about.classes), encoding="utf-8")
    if about.target == "openvino":
        (folder / FOLDER / OVMS).mkdir()
        text = json.dumps(_model_server(name, about), indent=1)
        (folder / FOLDER / OVMS / "config.json").write_text(text, encoding="utf-8")
    return _section(name, about, backend, batches)


def model_name(network: str) -> str:
    """Return the name that a server gives the network: letters that are safe in paths, URLs and shells."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePath(network).stem).strip("_-") or "network"


def batches_of(target: str, side: int | None, profile: object) -> Batches:
    """Return which batches a server may send: what the file and the engine's profile (least, best, most) allow."""
    if side is not None:
        return Batches(side)
    if target == "tensorrt":
        given = profile if isinstance(profile, (list, tuple)) else [profile]
        sizes = [size for size in given if isinstance(size, int)] or [1]  # None: the engine takes one image
        least, best, most = sizes[0], sizes[len(sizes) // 2], sizes[-1]
        return Batches(most) if least == most else Batches(None, least, best, most)
    if target == "openvino":  # Triton's backend compiles for its largest batch alone, and refuses or pads smaller ones
        return Batches(None)
    return Batches(None, most=inference.BATCH)


def _config(
    name: str, backend: Backend, file: onnx_file.OnnxFile, outputs: int, batches: Batches, settings: Iterable[str]
) -> Iterator[str]:
    """Yield the lines of Triton's config.pbtxt."""
    image, logits = file.inputs[0], file.outputs[0]
    first = [] if batches.fixed is None else [batches.fixed]
    yield f"name: {_quoted(name)}"
    if backend.platform:
        yield f"platform: {_quoted(backend.platform)}"
    yield f"backend: {_quoted(backend.name)}"
    yield f"default_model_filename: {_quoted(backend.file)}"
    if batches.fixed is not None:
        yield f"# The batch is fixed: each request holds {_images(batches.fixed)}."
    elif backend.name == "openvino":
        yield "# Triton's OpenVINO backend compiles for the largest batch alone: more than 1 would pad every request."
    elif batches.least > 1:
        yield f"# The engine takes {batches.least} to {batches.most} images: a request holds {batches.least} or more."
    yield f"max_batch_size: {0 if batches.fixed is not None else batches.most}"
    yield from _tensor("input", image, [*first, *(side or -1 for side in (image.shape or ())[1:])])
    sides = [side or -1 for side in (logits.shape or ())[1:]]
    one_each = len(sides) < 2  # a logit for each class: else there are several, of pixels or of anchors
    yield from _tensor("output", logits, [*first, *([outputs] if one_each else sides)], labels=one_each)
    yield f"instance_group [ {{ count: 1 kind: {backend.device} }} ]"
    if batches.vary:
        preferred = f" preferred_batch_size: [ {batches.best} ]" if batches.best and batches.best > 1 else ""
        yield f"dynamic_batching {{{preferred} }}"
    yield from settings


def _tensor(word: str, value: onnx_file.Value, dims: list[int], *, labels: bool = False) -> Iterator[str]:
    yield f"{word} ["
    yield "  {"
    yield f"    name: {_quoted(value.name)}"
    yield f"    data_type: {_KINDS.get(value.kind, 'TYPE_FP32')}"
    yield f"    dims: [ {', '.join(map(str, dims))} ]"
    if labels:
        yield f"    label_filename: {_quoted(LABELS)}"
    yield "  }"
    yield "]"


def _quoted(text: str) -> str:
    """Return a string as protobuf's text format has it."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\"}
    return (
        '"'
        + "".join(plain.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode())
        + '"'
    )


def _settings(about: BundleAbout) -> Iterator[str]:
    """Yield the lines that make Triton's backend compute as it was measured."""
    options = about.variants[about.ships].options
    threads = options.get("threads")
    if about.target == "onnxruntime":
        if threads:
            yield _parameter("intra_op_thread_count", str(threads))
        if options.get("fused") is False:
            yield "optimization { graph { level: 2 } }  # onnxruntime fuses nothing"
    if about.target == "openvino":
        yield _parameter("NUM_STREAMS", "1")
        if threads:
            yield _parameter("INFERENCE_NUM_THREADS", str(threads))
        if _precision(about) == "bf16":
            yield _parameter("HINT_BF16", "YES")


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"


def _precision(about: BundleAbout) -> str | None:
    """Return the precision of OpenVINO's float parts; None where OpenVINO chooses."""
    shipped = about.variants[about.ships]
    return "bf16" if shipped.half else _PRECISIONS.get(str(shipped.options.get("float_parts")))


def _model_server(name: str, about: BundleAbout) -> dict[str, object]:
    """Return OpenVINO Model Server's config.json."""
    settings: dict[str, str] = {"NUM_STREAMS": "1"}
    threads, precision = about.variants[about.ships].options.get("threads"), _precision(about)
    settings |= {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
    settings |= {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    config = {"name": name, "base_path": f"/models/{name}", "plugin_config": settings}
    return {"model_config_list": [{"config": config}]}


def _section(name: str, about: BundleAbout, backend: Backend, batches: Batches) -> str:
    """Return the README's section: how each server serves what `deploy.py` built."""
    parts = [
        "## Serve it",
        _wrapped(
            f"First run `python3 deploy.py`: it builds `{BUILT}/{about.ships}/{backend.file}`. The files in "
            f"`{FOLDER}/` fit Triton's own schema, but no server has run them: try them before you rely on them."
        ),
        _triton(name, about, backend),
        _takes(batches),
    ]
    if about.target == "openvino":
        parts.append(_ovms(name, about))
    if about.alternatives:
        parts.append(
            _wrapped(
                f"`edgeresnet collect` reports which INT8 network ships. If it is not `{about.ships}`, take the files "
                f"from `{BUILT}/` and its name."
            )
        )
    return "\n\n".join(parts)


def _triton(name: str, about: BundleAbout, backend: Backend) -> str:
    gpus = " --gpus all" if backend.device == "KIND_GPU" else ""
    lines = [*_placed(TRITON, name, about, backend), "docker run --rm" + gpus + " -p 8000:8000 -p 8001:8001 \\"]
    lines += [f'  -v "$PWD/{BUILT}/{TRITON}:/models" "$TRITON_IMAGE" tritonserver --model-repository=/models']
    notes = {
        "tensorrt": "Triton's TensorRT must be the version that built the engine. Run `deploy.py` in Triton's image, "
        "on a GPU of the same kind.",
        "openvino": "Triton's OpenVINO backend has no setting for f32. On a CPU with BF16 its answers may differ from "
        "those that were measured. OpenVINO Model Server has that setting.",
    }
    text = "Triton Inference Server (`TRITON_IMAGE` is a release of NVIDIA's `tritonserver` image):"
    return "\n\n".join([text, _shell(lines), *([_wrapped(notes[about.target])] if about.target in notes else [])])


def _ovms(name: str, about: BundleAbout) -> str:
    lines = [
        *_placed(OVMS, name, about, BACKENDS[about.target]),
        "docker run --rm -p 9000:9000 -p 8000:8000 \\",
        f'  -v "$PWD/{BUILT}/{OVMS}:/models:ro" openvino/model_server:latest \\',
        "  --config_path /models/config.json --port 9000 --rest_port 8000",
    ]
    return f"OpenVINO Model Server:\n\n{_shell(lines)}"


def _placed(server: str, name: str, about: BundleAbout, backend: Backend) -> list[str]:
    """Return the commands that lay out a server's folder: its files from the bundle, and what was built."""
    version = f"{BUILT}/{server}/{name}/1"
    files = f"{BUILT}/{about.ships}/{PurePath(backend.file).stem}.*"
    return [f"cp -r {FOLDER}/{server} {BUILT}/", f"mkdir -p {version}", f"cp {files} {version}/"]


def _shell(lines: list[str]) -> str:
    return "\n".join(["```sh", *lines, "```"])


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _takes(batches: Batches) -> str:
    if batches.fixed is not None:
        return f"A request holds exactly {_images(batches.fixed)}: the batch of this network is fixed."
    if not batches.vary:
        return "A request holds 1 image."
    return _wrapped(
        f"A request holds {batches.least} to {batches.most} images. Triton also joins requests that wait at the same "
        "time (`dynamic_batching`)."
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
