"""What goes to the device: a bundle, a folder with all that is needed to build, check and measure a network there.

The code in it is the portable floor without what judges, file for file as it is here. The same inputs give the same
bytes.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ... import targets
from ..._version import __version__
from ...context import Context
from ...errors import ImagesError, ModelError
from ...images import Samples, decode
from ...notes import ExportNotes, QuantizeNotes
from ...portable import evaluation, manifest, yardstick
from ...portable.preprocessing import Preprocessing
from ...portable.result import PLAIN, SAFE
from ...portable.session import Target
from ...portable.tasks import two_stage
from ...portable.tasks.task import Outputs, task_of
from ...portable.tasks.two_stage import AnyDetector, TwoStage
from ...store import Artifact, file_of
from ..specs import ExportInputs, ExportSpec
from . import contents, serving
from .contents import BundleAbout, BundleVariant

FOLDER = "bundle"
_ROOT = Path(__file__).parents[2]  # the package: carried files keep their place in it
_CARRIED = Path(__file__).with_name("carried")
_PHOTOGRAPHS, _JPEG = 16, b"\xff\xd8\xff"
_HEADER = "bundle.hpp"  # of the examples in C++
_CPP = {"tensorrt_rtx": "tensorrt"}  # whose C++ interface it has
_JUDGES = (
    "judging.py",
    "readings.py",
    "confidence.py",
    "amounts.py",
)  # they judge, here; another wording of a verdict is the same bundle
_WHAT = {
    "fp32": "the original network, FP32",
    "pruned": "the pruned network, FP32",
    "half": "the half-precision variant: INT8 must be faster than this",
    "int8": "the INT8 network that would ship",
    "candidate": "the network that would ship; another tool made it",
}
_OTHERS = {
    PLAIN: "another one, with all layers in INT8; `edgeresnet collect` chooses by what is measured here",
    SAFE: "another one, with more layers in float; `edgeresnet collect` chooses by what is measured here",
}
_HALF = "the same file, built in half precision if the device has it: INT8 must be faster than this"


def export(inputs: ExportInputs, spec: ExportSpec, out: Path, ctx: Context) -> ExportNotes:
    """Write a bundle: a network per variant, the evaluation images, the reference's answers, and the portable code."""
    folder, target, samples = out / FOLDER, targets.get(spec.target), inputs.evaluation.value
    (folder / contents.NETWORKS).mkdir(parents=True)
    for sentence in target.remarks(spec.options) if spec.ships == "int8" else ():
        ctx.warn("device", sentence, subject=target.title)
    variants = _networks(inputs, spec, target, folder / contents.NETWORKS, ctx)
    alternatives = _alternatives(inputs, spec, target, folder / contents.NETWORKS)
    if isinstance(spec.detector, TwoStage):
        shutil.copyfile(_second_stage(inputs), folder / contents.NETWORKS / two_stage.FILE)
    skipped, outputs = _evaluation(samples, inputs.reference, spec, folder / contents.EVALUATION, ctx)
    readable = [index for index in range(len(samples)) if samples.name(index) not in set(skipped)]
    _photographs(samples.subset(readable), folder / contents.SAMPLES)
    _floor(target, folder)
    about = BundleAbout(
        made_by=__version__,
        target=target.name,
        network=spec.network,
        ships=spec.ships,
        classes=tuple(samples.classes) or tuple(map(str, range(outputs.classes))),  # their names are not known
        skipped=tuple(skipped),
        images=samples.identity,
        preprocessing=samples.preprocessing.to_json(),
        input="uint8" if spec.preprocessing else "float32",
        variants=variants,
        timing=spec.timing,
        rebuilds=spec.rebuilds,
        alternatives=alternatives,
        task=spec.task,
        detector=spec.detector,
    )
    contents.write_about(folder, about)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in about.classes), encoding="utf-8")
    (folder / "normalize.txt").write_text(_arithmetic(samples.preprocessing), encoding="utf-8")
    served = serving.write(folder, about, folder / contents.NETWORKS / variants[spec.ships].file, outputs.classes)
    (folder / "README.md").write_text(_readme(about, samples.preprocessing, target, served), encoding="utf-8")
    files = manifest.files_in(folder)
    manifest.write(folder, files, format=contents.FORMAT)
    size_mb = sum(file.size for file in files) / 1e6
    return ExportNotes(manifest.content_digest(files), len(files), round(size_mb, 3))


def _second_stage(inputs: ExportInputs) -> Path:
    """Return the file with the weights of a detector's second stage, which no variant changes."""
    traced = inputs.variants["fp32"]
    assert isinstance(traced, Artifact), traced
    return traced.path / two_stage.FILE


def archive(folder: Path, name: str, out: Path) -> None:
    """Pack a folder as .tar.gz, `name` its only folder: equal folders give equal bytes. Renamed when it is complete."""
    part = out.with_name(f"{out.name}.part")
    with (
        open(part, "wb") as packed,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                about = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
                about.size, about.mode = path.stat().st_size, 0o644
                with open(path, "rb") as file:
                    tar.addfile(about, file)
    part.replace(out)


def _networks(
    inputs: ExportInputs, spec: ExportSpec, target: Target, folder: Path, ctx: Context
) -> dict[str, BundleVariant]:
    """Write the files, and return what each variant is built from with which options.

    A `half` that has no file of its own is FP32's, which the device builds with the half precision that it has.
    """
    full, half = target.full(spec.options), target.half(spec.options)
    choices = {"fp32": full, "pruned": full, "half": half, "int8": spec.options, "candidate": full}
    base = "pruned" if "pruned" in inputs.variants else "fp32"  # what `half` is the half-precision variant of
    in_file = half is not None and target.half_in_file(half)
    found: dict[str, BundleVariant] = {}
    for name in evaluation.VARIANTS:
        source = inputs.variants.get(base if name == "half" else name)
        if source is None or (in_file and name in ("fp32", "pruned") and name not in spec.float32):
            continue
        if name == "half" and not in_file:
            found[name] = replace(found[base], half=True)
            continue
        path = folder / f"{name}.onnx"
        try:
            made, joins = file_of(source, "model.onnx"), spec.detector if name == "candidate" else None
            _write_file(made, path, halved=target.half_in_file(choices[name]), pixels=spec.preprocessing, joins=joins)
        except ModelError as problem:
            if name != "half" or spec.ships == name:
                raise
            ctx.warn("no-half", f"{target.title} gets no half-precision variant: {problem.message}")
            continue
        found[name] = BundleVariant(path.name, asdict(choices[name]))
    return found


def _alternatives(inputs: ExportInputs, spec: ExportSpec, target: Target, folder: Path) -> dict[str, BundleVariant]:
    """Write the other INT8 networks of a search, from which the device's result chooses."""
    source = inputs.variants.get("int8")
    notes = source.notes if isinstance(source, Artifact) else None
    control = notes.control if isinstance(notes, QuantizeNotes) else None
    found = {}
    for name in control.others if control and spec.ships == "int8" else ():
        assert isinstance(source, Artifact)
        path, halved = folder / f"{name}.onnx", target.half_in_file(spec.options)
        _write_file(source.path / path.name, path, halved=halved, pixels=spec.preprocessing)
        found[name] = BundleVariant(path.name, asdict(spec.options))
    return found


def _write_file(
    source: Path, path: Path, *, halved: bool, pixels: Preprocessing | None, joins: AnyDetector | None = None
) -> None:
    from ...graph import deliver  # brings onnx along: planning reads this file, too

    made = deliver.delivered(source, path, halved=halved, pixels=pixels, detector=joins)
    if made != path:
        deliver.copied(made, path)


def _evaluation(
    samples: Samples, reference: Artifact, spec: ExportSpec, folder: Path, ctx: Context
) -> tuple[list[str], Outputs]:
    """Write decoded pixels, labels, and the FP32 network's answers. Return the images that are left out, and what
    answers mean.
    """
    folder.mkdir()
    task = task_of(spec.task)
    with np.load(reference.path / evaluation.LOGITS) as stored:
        classes = len(samples.classes) or (spec.detector.classes if spec.detector else 0)
        outputs = Outputs(spec.task, classes, samples.preprocessing.size, spec.detector)
        indices, expected = stored["indices"], outputs.restored(stored, "fp32")
    side, channels = samples.preprocessing.size, samples.preprocessing.channels
    shape = (len(indices), side, side, channels)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=samples.preprocessing.pixel, shape=shape)
    done = 0
    for batch in samples.batches(64):
        if not np.array_equal(batch.indices, indices[done : done + len(batch.indices)]):
            raise ImagesError("the evaluation images", "changed during the run", hint="run it again")
        pixels[done : done + len(batch.indices)] = batch.pixels
        done += len(batch.indices)
        ctx.progress(done, len(indices), "images")
    pixels.flush()
    if spec.judged:
        task.write_labels(task.labels(samples, indices), folder)
    task.write_expected(expected, folder)
    left_out = [samples.name(index) for index in sorted(set(range(len(samples))) - set(indices.tolist()))]
    return left_out, replace(outputs, classes=outputs.classes or task.classes_of(expected))


def _photographs(samples: Samples, folder: Path) -> None:
    """Write some images as JPEG files, the user's own where possible, and the pixels that become of them here.

    Images of 16 bits are written as PNG files: JPEG has eight bits.
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
    """Return the digest of all carried code: other code is another bundle."""
    files = [*carried_files(target).values(), _CARRIED / "README.md", Path(__file__), Path(serving.__file__)]
    return manifest.digest_of([manifest.sha256_of(path) for path in files])


def carried_files(target: str) -> dict[str, Path]:
    """Return what runs on the device, and is read there: its place in a bundle → where it is here."""
    shared = sorted(path.name for path in (_ROOT / "targets").glob("_*.py"))
    names = [
        "__init__.py",
        "errors.py",
        "stages/__init__.py",
        *(f"targets/{name}" for name in (*shared, f"{target}.py")),
    ]
    portable = (path for path in (_ROOT / "portable").rglob("*.py") if path.name not in _JUDGES)
    names += sorted(path.relative_to(_ROOT).as_posix() for path in portable)
    names += [f"stages/export/{name}.py" for name in ("__init__", "contents", "on_device")]
    names.append(yardstick.file().relative_to(_ROOT).as_posix())
    return {
        **{f"edgeresnet/{name}": _ROOT / name for name in names},
        **{f"examples/{name}": _CARRIED / "examples" / name for name in ("example.py", *_cpp_of(target))},
        "deploy.py": _CARRIED / "deploy.py",
    }


def _cpp_of(target: str) -> tuple[str, ...]:
    """Return the files of the example in C++; a target may have none."""
    name = f"{_CPP.get(target, target)}.cpp"
    return (_HEADER, name) if (_CARRIED / "examples" / name).is_file() else ()


def _floor(target: Target, folder: Path) -> None:
    for name, path in carried_files(target.name).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def _arithmetic(preprocessing: Preprocessing) -> str:
    """Return a line for each of the network's channels, for programs in other languages."""
    channels = range(preprocessing.channels)
    order = reversed(channels) if preprocessing.order == "bgr" else channels
    numbers = zip(order, *preprocessing.scale_and_shift(), strict=True)
    return "".join(f"{channel} {scale:.9g} {shift:.9g}\n" for channel, scale, shift in numbers)


def _readme(about: BundleAbout, preprocessing: Preprocessing, target: Target, serving_section: str) -> str:
    size, languages = preprocessing.size, "Python and C++" if _cpp_of(target.name) else "Python"
    rows = [f"| `networks/{one.file}` | {_HALF if one.half else _WHAT[name]} |" for name, one in about.variants.items()]
    rows += [f"| `networks/{one.file}` | {_OTHERS[name]} |" for name, one in about.alternatives.items()]
    if isinstance(about.detector, TwoStage):
        rows.append(f"| `networks/{two_stage.FILE}` | the weights of the second stage, which no network has inside |")
    rows += [
        "| `evaluation/` | images, their labels if known, and the FP32 network's answers on the host |",
        "| `samples/` | up to 16 of them as JPEG files (PNG for 16 bits), and their pixels as the host decodes them |",
        "| `labels.txt` | the classes, in the order of the network's answers |",
        f"| `examples/` | how a program calls what was built, in {languages}; they read `normalize.txt` |",
        "| `edgeresnet/` | the code that builds and measures, as it runs on the host |",
        *(["| `serve/` | what a model server needs to know of the network; see below |"] if serving_section else []),
        "| `manifest.json` | size and SHA-256 of every file |",
    ]
    text = (_CARRIED / "README.md").read_text(encoding="utf-8")
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    takes = f"float32 images, 1×{preprocessing.channels}×{size}×{size}, normalised by mean {mean} and std {std}"
    if preprocessing.bits != 8:
        takes += f", of pixels divided by {2**preprocessing.bits - 1}"
    if about.input == "uint8":
        takes = f"decoded pixels, uint8, 1×{size}×{size}×{preprocessing.channels}: its first layers preprocess them"
    answers = about.outputs.of_task.answers_in_words(about.outputs)
    return (
        text.format(
            network=about.network,
            title=target.title,
            version=about.made_by,
            install=target.install,
            runtime=target.title,
            rows="\n".join(rows),
            input=textwrap.fill(f"The network takes {takes}. {answers}.", 120),
            serving=serving_section,
        ).rstrip("\n")
        + "\n"
    )
