"""An inspected file in 80 columns: one paragraph for each kind of finding, with the places where it was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import listed, shortened
from ..text import wrapped

if TYPE_CHECKING:
    from ..graph.accepts import Finding
    from ..images.survey import Split
    from ..inspect import CheckpointReport, GraphValue, ImagesReport, OnnxReport, ParserReport
    from ..models.hub import Labels

_SHOWN = 3  # places by name; `--json` has all


def onnx_text(about: OnnxReport) -> str:
    """Return an ONNX file as text: what it is, then what each target has against it."""
    lines = [*_head(about), ""]
    for target, findings in about.targets.items():
        lines += _findings(target, findings, about)
    if about.tensorrt_rtx_parser:
        lines += ["", *_parser(about.tensorrt_rtx_parser)]
    return "\n".join(lines) + "\n"


def checkpoint_text(about: CheckpointReport) -> str:
    """Return a checkpoint as text: its tensors, its network, and how its images are prepared."""
    found = about.recognised
    kinds = ", ".join(f"{count} {kind}" for kind, count in about.kinds.items())
    size = f"{about.tensors} tensors ({kinds}), {about.parameters / 1e6:.2f} M numbers"
    sentences = [f"{about.file}: a checkpoint, {size}"]
    if found is None:
        sentences.append(f"not recognised: no known ResNet has tensors named {listed(about.first)}, …")
        sentences.append("give a function of your own code, `--arch my.module:make`, or an ONNX file")
    else:
        sentences += [found.words, *filter(None, [found.around]), _archs(found.archs, about)]
    if about.average:
        sentences.append("it also has an average of its weights (EMA), which `model.weights: ema` uses instead")
    sentences += [_preprocessing(about), *_labels(about.labels)]
    return "\n".join(wrapped(sentence) for sentence in sentences) + "\n"


def images_text(about: ImagesReport) -> str:
    """Return images as text, split by split. Errors are what ends a run."""
    lines = []
    for name, split in about.splits.items():
        lines += _split(name, split)
    lines += [*_masks(about), *_boxes(about)]
    lines += [f"{name} is {what} of edgeresnet, and is left out" for name, what in about.ours.items()]
    for one, other, names in about.shared:
        many = "1 image" if len(names) == 1 else f"{len(names)} images"
        also = "is" if len(names) == 1 else "are"
        lines.append(f"error: {many} of {one} {also} in {other} too: {_named(names)}")
    named = {name: set(split.classes) for name, split in about.splits.items() if split.classes}
    for name, classes in named.items():
        absent = sorted(set().union(*named.values()) - classes)
        if absent:
            lines.append(f"{name} has no {_named(absent)}, but sets that are used together need the same classes")
    return "\n".join(wrapped(line, 4) for line in lines) + "\n"


def _archs(archs: Sequence[str], about: CheckpointReport) -> str:
    if not archs and about.recognised and about.recognised.hint:
        return about.recognised.hint
    if not archs:
        return "no known --arch builds it: write a function that returns the network, `--arch my.module:make`"
    others = f"; {', '.join(archs[1:])} {'fits' if len(archs) == 2 else 'fit'} as well" if len(archs) > 1 else ""
    named = " (the file names it itself)" if archs[0] == about.named else ""
    library = about.missing_library
    needs = f"; needs {library}: pip install 'edgeresnet[{library}]'" if library else ""
    return f"--arch {archs[0]}{named}{others}{needs}"


def _preprocessing(about: CheckpointReport) -> str:
    record = about.record
    if record and record.why_not:
        return f"its preprocessing is not taken from {record.source}: {record.why_not}"
    if record:
        wants = ", ".join(f"{key} {value}" for key, value in record.preprocessing.items())
        arch = f", arch {record.arch}" if record.arch else ""
        return f"wants {wants} ({record.source}{arch})"
    why = about.doubt or "there is no record of this file"
    return f"its preprocessing is not known ({why}): give what it was trained with"


def _labels(labels: Labels | None) -> Iterator[str]:
    if labels and labels.why_not:
        yield f"its class names are not taken from {labels.file}: {labels.why_not}"
    elif labels:
        yield f"its {len(labels.names)} classes are {listed(labels.names, 80)} (`images.names: {labels.file}`)"


def _split(name: str, split: Split) -> list[str]:
    counts = split.classes
    kinds = f"{len(counts)} classes" if counts else "not sorted into classes"
    lines = [
        f"{name}: {split.images} images, {kinds}" + _balance(counts),
        f"  sizes: {_sizes(split.sizes)}; modes: {_counted(split.modes)}",
    ]
    if split.turned:
        lines.append(
            f"  {split.turned} are rotated by EXIF, but are read as they are stored: `preprocessing: {{exif: true}}` "
            "turns them"
        )
    if split.deep:
        lines.append(
            f"  {split.deep} have one channel of 16 bits: `preprocessing: {{bits: 16}}`, --bits 16, reads them"
        )
    if split.too_deep:
        lines.append(
            f"  error: {split.too_deep} cannot be read: their colours have 16 bits, or their values have 32 bits or "
            "a sign. Convert them to 8 bits, or to one channel of 16"
        )
    if split.unreadable:
        named = _named([f"{path} ({why})" for path, why in split.unreadable])
        lines.append(f"  error: {len(split.unreadable)} cannot be read: {named}")
    for alike, words in (
        (split.duplicates, "are there more than once"),
        (split.contradictions, "are in more than one class"),
    ):
        if alike:
            lines.append(f"  {len(alike)} {words}: {_named([' = '.join(names[:2]) for names in alike], '; ')}")
    return lines


def _masks(about: ImagesReport) -> Iterator[str]:
    if about.masks is None:
        return
    yield f"  masks: {about.masks.words}"
    if about.masks.doubt and not about.wrong_masks:
        yield f"  {about.masks.doubt}"
    if about.wrong_masks:
        named = _named([f"{name} {why}" for name, why in about.wrong_masks], "; ")
        yield f"  error: {len(about.wrong_masks)} of the masks cannot be used: {named}"


def _boxes(about: ImagesReport) -> Iterator[str]:
    if about.boxes is None:
        return
    yield f"  boxes: {about.boxes.words}"
    yield from (f"  {doubt}" for doubt in about.boxes.doubts)
    if about.wrong_boxes:
        named = _named([f"{name} {why}" for name, why in about.wrong_boxes], "; ")
        count = len(about.wrong_boxes)
        yield f"  error: the boxes of {count} image{'' if count == 1 else 's'} cannot be used: {named}"


def _named(words: Sequence[str], between: str = ", ") -> str:
    return between.join(words[:_SHOWN]) + _more(words)


def _more(words: Sequence[str]) -> str:
    return f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""


def _balance(counts: Mapping[str, int]) -> str:
    if len(counts) < 2:
        return ""
    ranked = sorted(counts.items(), key=lambda each: each[1])
    (least, few), (most, many) = ranked[0], ranked[-1]
    if few == many:
        return f" of {few} each"
    small = "; a class with so few images decides little" if 10 * few < many else ""
    return f", from {few} ({least}) to {many} ({most}){small}"


def _sizes(sizes: Sequence[tuple[tuple[int, int], int]]) -> str:
    if not sizes:
        return "none"
    ((width, height), count), *others = sizes
    known = [size for size, _ in sizes]
    span = f"; {len(known)} sizes from {'×'.join(map(str, min(known)))} to {'×'.join(map(str, max(known)))}"
    return f"{width}×{height} ({count})" + (span if others else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _head(about: OnnxReport) -> list[str]:
    by = f" by {about.producer}" if about.producer else ""
    counted = sorted(about.operators.items(), key=lambda each: (-each[1], each[0]))
    values = [*(f"{_value(each)} in" for each in about.inputs), *(f"{_value(each)} out" for each in about.outputs)]
    kind = "not quantized: every operator computes in float"
    if about.quantized:
        kind = f"quantized: {about.int8} of {about.weighted} convolutions and Gemms have INT8 data and weights"
        if not about.weighted:
            kind = "quantized: its operators compute on integers themselves"
    sentences = [
        f"{about.file}: ONNX opset {about.opset}{by}, {', '.join(values)}",
        f"operators: {', '.join(f'{count} {name}' for name, count in counted)}",
        kind,
        *about.differences,
    ]
    return [wrapped(sentence) for sentence in sentences]


def _value(value: GraphValue) -> str:
    shape = "of unknown shape" if value.shape is None else "×".join(str(side or "?") for side in value.shape)
    return f"{shortened(value.name, 80)} {shape}"


def _findings(target: str, findings: Sequence[Finding], about: OnnxReport) -> list[str]:
    if not findings:
        return [f"{target}: no problem found" + ("" if about.quantized else "; it would run in float")]
    kinds = defaultdict(list)
    for each in findings:
        kinds[each.severity, each.rule].append(each)
    lines = []
    for (severity, _), alike in kinds.items():
        one, places = alike[0], list(dict.fromkeys(each.place for each in alike))
        sentence = f"{target}: {severity}: {one.what}: {one.why}; {one.remedy} ({_named(places)})"
        lines.append(wrapped(sentence, 4))
    return lines


def _parser(parser: ParserReport) -> list[str]:
    if parser.accepted is None:
        return [wrapped(f"TensorRT-RTX's parser did not read it: {parser.reason} ({parser.hint})", 4)]
    name = f"TensorRT-RTX {parser.version}'s parser".replace("  ", " ")
    lines = [f"{name} {'accepts the file' if parser.accepted else 'refuses the file'}"]
    for each in parser.complaints:
        where = f" at {each.node}" if each.node else ""
        times = f", {each.times} times" if each.times > 1 else ""
        lines.append(wrapped(f"  {each.severity}{where}{times}: {each.said}", 4))
    return lines
