"""What goes to the device: a bundle, a folder with all that is needed to build, check and measure a network there.

The code in it is the portable floor, file for file as it stands here. The same parents give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__, targets
from ...context import Context
from ...errors import ImagesError, ModelError
from ...images import Samples, decode
from ...portable import evaluation, manifest, yardstick
from ...portable.preprocessing import Preprocessing
from ...portable.session import Target
from ...store import Artifact, Given, Parent, file_of
from . import contents

FOLDER = "bundle"
_ROOT = Path(__file__).parents[2]  # the package: what is carried keeps its place in it
_CARRIED = Path(__file__).with_name("carried")
_PHOTOGRAPHS, _JPEG = 16, b"\xff\xd8\xff"
_EXAMPLES = ("example.py", "bundle.hpp")
_CPP = {"tensorrt_rtx": "tensorrt"}  # whose C++ interface it has
_WHAT = {
    "fp32": "the network as it was, FP32",
    "pruned": "the pruned network, FP32",
    "half": "its half-precision twin, which INT8 must beat",
    "int8": "the INT8 network that would ship",
    "candidate": "the network that would ship, made elsewhere",
}


_TWIN = "the same file, built in half precision where this device has it: INT8 must beat that"


def export(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: a network per variant, the `evaluation` images, and the `reference` that answered them.

    spec: the target and its options, which variant would ship, how latency is measured, what the network is called.
    """
    folder, target = out / FOLDER, targets.get(spec["on"])
    (folder / contents.NETWORKS).mkdir(parents=True)
    samples = _samples(parents["evaluation"])
    variants = _networks(parents, spec, target, folder / contents.NETWORKS, ctx)
    skipped = _evaluation(samples, parents["reference"], spec["judged"], folder / contents.EVALUATION, ctx)
    readable = [index for index in range(len(samples)) if samples.name(index) not in set(skipped)]
    _photographs(samples.subset(readable), folder / contents.SAMPLES)
    _floor(target, folder)
    preprocessing = samples.preprocessing
    outputs = np.load(folder / contents.EVALUATION / "expected.npy").shape[1]
    classes = list(samples.classes) or [str(number) for number in range(outputs)]  # nobody said what they are called
    about = {
        "made_by": __version__,
        "target": target.name,
        "network": spec["network"],
        "candidate": spec["candidate"],
        "classes": classes,
        "skipped": skipped,
        "images": samples.identity,
        "preprocessing": preprocessing.to_json(),
        "input": "uint8" if "preprocessing" in spec else "float32",
        "variants": variants,
        "verify": dict(spec["verify"]),
        "rebuilds": spec["rebuilds"],
    }
    (folder / contents.ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    (folder / "normalize.txt").write_text(_arithmetic(preprocessing), encoding="utf-8")
    (folder / "README.md").write_text(_readme(about, target), encoding="utf-8")
    written = manifest.write(folder, format=contents.FORMAT)
    size_mb = sum(file["size"] for file in written["files"]) / 1e6
    return {"bundle": written["digest"], "files": len(written["files"]), "size_mb": round(size_mb, 3)}


def archive(folder: Path, name: str, out: Path) -> None:
    """As .tar.gz, `name` its only folder: equal folders give equal bytes. Written aside, and renamed last."""
    aside = out.with_name(f"{out.name}.part")
    with (
        open(aside, "wb") as packed,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                about = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                about.size, about.mode = path.stat().st_size, 0o644
                with open(path, "rb") as file:
                    tar.addfile(about, file)
    aside.replace(out)


def _networks(
    parents: Mapping[str, Parent], spec: Mapping[str, Any], target: Target, folder: Path, ctx: Context
) -> dict[str, dict[str, Any]]:
    """The files, and what each variant is built from with which options.

    A `twin` has no file of its own: the device builds FP32's with the half precision that it has.
    """
    from ...graph import deliver  # brings onnx along: planning reads this file, too

    options = target.options(**spec["options"])
    pixels = Preprocessing.from_json(spec["preprocessing"]) if "preprocessing" in spec else None
    full, half = target.full(options), target.half(options)
    choices = {"fp32": full, "pruned": full, "half": half, "int8": options, "candidate": full}
    whole = "pruned" if "pruned" in parents else "fp32"  # what the twin is a twin of
    in_file = half is not None and target.half_in_file(half)
    found: dict[str, dict[str, Any]] = {}
    for name in evaluation.VARIANTS:
        source = parents.get(whole if name == "half" else name)
        if source is None or (in_file and name in ("fp32", "pruned") and name not in spec["float32"]):
            continue
        if name == "half" and not in_file:
            found[name] = {**found[whole], "twin": True}
            continue
        halved = target.half_in_file(choices[name])
        try:
            made = deliver.delivered(
                file_of(source, "model.onnx"), folder / f"{name}.onnx", halved=halved, pixels=pixels
            )
        except ModelError as problem:
            if name != "half" or spec["candidate"] == name:
                raise
            ctx.warn("no-half", f"{target.title} gets no half-precision twin: {problem.message}")
            continue
        if made != folder / f"{name}.onnx":
            deliver.copied(made, folder / f"{name}.onnx")
        found[name] = {"file": f"{name}.onnx", "options": asdict(choices[name])}
    return found


def _evaluation(samples: Samples, reference: Parent, judged: bool, folder: Path, ctx: Context) -> list[str]:
    """Pixels as they come out of decoding, labels, and the FP32 network's answers; gives the images left out."""
    folder.mkdir()
    with np.load(_path(reference) / evaluation.LOGITS) as stored:
        indices, expected = stored["indices"], stored["fp32"]
    side, channels = samples.preprocessing.size, samples.preprocessing.channels
    shape = (len(indices), side, side, channels)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=samples.preprocessing.pixel, shape=shape)
    done = 0
    for batch in samples.batches(64):
        if not np.array_equal(batch.indices, indices[done : done + len(batch.indices)]):
            raise ImagesError("the evaluation images changed during the run", hint="run it again")
        pixels[done : done + len(batch.indices)] = batch.pixels
        done += len(batch.indices)
        ctx.progress(done, len(indices), "images")
    pixels.flush()
    if judged:
        np.save(folder / "labels.npy", samples.labels[indices])
    np.save(folder / "expected.npy", expected)
    return [samples.name(index) for index in sorted(set(range(len(samples))) - set(indices.tolist()))]


def _photographs(samples: Samples, folder: Path) -> None:
    """Some images as JPEG files, the user's own where they are such, and the pixels that become of them here.

    Of 16 bits: as PNG files, for JPEG has eight.
    """
    folder.mkdir()
    pixels, (kind, ending) = [], ("PNG", "png") if samples.preprocessing.bits == 16 else ("JPEG", "jpg")
    for number, index in enumerate(np.linspace(0, len(samples) - 1, min(_PHOTOGRAPHS, len(samples))).astype(int)):
        path = folder / f"{number:02}.{ending}"
        own = samples.path(int(index))
        data = Path(own).read_bytes() if own else b""
        if data.startswith(_JPEG):
            path.write_bytes(data)
        else:
            samples.open(int(index)).save(path, kind, quality=95)
        pixels.append(decode.read(str(path), samples.preprocessing))
    np.save(folder / "pixels.npy", np.stack(pixels))


def carried_digest(target: str) -> str:
    """Of all that is carried as it stands here: another text of it is another bundle."""
    files = [*_carried(target).values(), _CARRIED / "README.md", Path(__file__)]
    return manifest.digest_of([manifest.sha256_of(path) for path in files])


def _carried(target: str) -> dict[str, Path]:
    """What runs on the device, and is read there: its place in a bundle → where it stands here."""
    shared = sorted(path.name for path in (_ROOT / "targets").glob("_*.py"))
    names = [
        "__init__.py",
        "errors.py",
        "stages/__init__.py",
        *(f"targets/{name}" for name in (*shared, f"{target}.py")),
    ]
    names += sorted(path.relative_to(_ROOT).as_posix() for path in (_ROOT / "portable").glob("*.py"))
    names += [f"stages/export/{name}.py" for name in ("__init__", "contents", "on_device")]
    names.append(yardstick.file().relative_to(_ROOT).as_posix())
    examples = [*_EXAMPLES, f"{_CPP.get(target, target)}.cpp"]
    return {
        **{f"edgeresnet/{name}": _ROOT / name for name in names},
        **{f"examples/{name}": _CARRIED / "examples" / name for name in examples},
        "deploy.py": _CARRIED / "deploy.py",
    }


def _floor(target: Target, folder: Path) -> None:
    for name, path in _carried(target.name).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def _arithmetic(preprocessing: Preprocessing) -> str:
    """For programs in other languages: a line for each of the network's channels."""
    channels = range(preprocessing.channels)
    order = reversed(channels) if preprocessing.order == "bgr" else channels
    numbers = zip(order, *preprocessing.scale_and_shift(), strict=True)
    return "".join(f"{channel} {scale:.9g} {shift:.9g}\n" for channel, scale, shift in numbers)


def _readme(about: Mapping[str, Any], target: Target) -> str:
    preprocessing = about["preprocessing"]
    channels, size = len(preprocessing["mean"]), preprocessing["size"]
    rows = [
        f"| `networks/{one['file']}` | {_TWIN if one.get('twin') else _WHAT[name]} |"
        for name, one in about["variants"].items()
    ]
    rows += [
        "| `evaluation/` | images, their labels where they are known, and what the FP32 network answered at home |",
        "| `samples/` | sixteen of them as JPEG files (PNG, of 16 bits), and the pixels that became of them at home |",
        "| `labels.txt` | the classes, in the order of the answers |",
        "| `examples/` | how a program calls what was built, in Python and C++; `normalize.txt` is for them |",
        "| `edgeresnet/` | the code that builds and measures, as it runs at home |",
        "| `manifest.json` | size and SHA-256 of every file |",
    ]
    text = (_CARRIED / "README.md").read_text(encoding="utf-8")
    mean, std = (", ".join(f"{value:g}" for value in preprocessing[name]) for name in ("mean", "std"))
    takes = f"float32 images, 1×{channels}×{size}×{size}, normalised by mean {mean} and std {std}"
    if "bits" in preprocessing:
        takes += f", of pixels divided by {2 ** preprocessing['bits'] - 1}"
    if about["input"] == "uint8":
        takes = f"pixels as they are decoded, uint8, 1×{size}×{size}×{channels}: preprocessing is inside"
    answers = f"it answers {len(about['classes'])} logits, in the order of `labels.txt`"
    return text.format(
        network=about["network"],
        title=target.title,
        version=about["made_by"],
        install=target.install,
        runtime=target.title,
        rows="\n".join(rows),
        input=textwrap.fill(f"The network takes {takes}; {answers}.", 120),
    )


def _path(parent: Parent) -> Path:
    assert isinstance(parent, Artifact)
    return parent.path


def _samples(parent: Parent) -> Samples:
    assert isinstance(parent, Given)
    return parent.value
