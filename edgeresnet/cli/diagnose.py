"""edgeresnet diagnose: why is the accuracy not what was expected? Preprocessing, or the layers of an INT8 network."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import click

from . import _complete, _help, _options, _output, _stage_options

HINT = "MODEL is run in onnxruntime; preprocessing is that of the FP32 original: name that one"


@_help.command(
    "edgeresnet diagnose",
    "edgeresnet diagnose net.onnx --evaluation images/val --size 224",
    "edgeresnet diagnose --int8",
    "edgeresnet diagnose int8.onnx --reference net.onnx --evaluation images/val --output noise.html",
)
@click.argument("model", required=False, shell_complete=_complete.files)
@_help.option(
    "--reference",
    group=_help.MODEL,
    shell_complete=_complete.files,
    help="FP32 network that MODEL was quantized from: an ONNX file or a checkpoint.",
)
@_options.untargeted_options
@_help.option(
    "--int8",
    is_flag=True,
    group=_help.QUANTIZATION,
    help="Diagnose the INT8 network of a run, layer by layer, and not the preprocessing.",
)
@_help.option(
    "--target",
    type=_help.TARGET_NAMES,
    group=_help.QUANTIZATION,
    show_default="of a run, the one with the most noise",
    help="Target whose INT8 network is diagnosed. Its compiler's answers are compared with the file's.",
)
@_stage_options.calibration
@_help.option(
    "--count",
    type=click.IntRange(min=1),
    group=_help.IMAGES,
    show_default="100, or 64 for INT8",
    help="Number of images to search on at most, balanced over classes. For preprocessing, others confirm the result.",
)
@_help.option(
    "--only",
    multiple=True,
    group=_help.IMAGES,
    metavar="NAME",
    help="Candidate to compare, by its name in the table. Without it, all are compared. Repeatable.",
)
@_options.seed("the choice of images")
@_help.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    help="Page to write for INT8, ending in .html.",
)
@_options.unsaved_run_options
def diagnose(
    model: str | None,
    about: _options.ModelOptions,
    reference: str | None,
    int8: bool,
    target: str | None,
    calibration: str | None,
    count: int | None,
    only: tuple[str, ...],
    seed: int | None,
    output: Path | None,
    how: _options.RunOptions,
) -> int:
    """Find what costs accuracy: preprocessing or INT8 layers.

    MODEL is an ONNX file or a checkpoint, by default the network of the newest
    run. onnxruntime runs it with BGR instead of RGB, other means, pixels up to
    255, other resizing and another order of the classes. All candidates see the
    first 100 images. Those that may be the best see more, up to --count. Other
    images confirm the result. --mean and --std may be left out.

    With --reference, MODEL is an INT8 file of any quantizer, and its images need
    no labels. With --int8, MODEL is a run or a recipe, by default the newest
    run. Each layer's noise is estimated, and the worst layers are measured.
    Then causes are named, each with its evidence and its remedy.

    Nothing is judged: the exit code is 0 whatever the result is.
    """
    from . import _noise

    noise = _noise.NoiseOptions(reference, int8, target, calibration, output)
    if noise.wanted:
        _refuse(["--only"] if only else [], "concerns preprocessing alone", "leave it out")
        return _noise.diagnose_int8(_noise.Asked(model, about, noise, count, seed, how))
    _refuse(noise.given(), "concerns INT8 alone", "add --int8, or --reference for a file")
    if model is not None:
        _noise.refuse_int8(model)
    return diagnose_network(model, about, count, seed, how, only)


def _refuse(options: list[str], problem: str, hint: str) -> None:
    """Refuse options that would have no effect."""
    from ..errors import EdgeresnetError

    if options:
        raise EdgeresnetError(", ".join(options), problem, hint=hint)


def diagnose_network(
    model: str | None,
    about: _options.ModelOptions,
    count: int | None,
    seed: int | None,
    how: _options.RunOptions,
    only: tuple[str, ...] = (),
) -> int:
    """Explain the accuracy of a network, or of the newest run's; print the result, and return the exit code."""
    from .. import report
    from . import _diagnose, _newest, _one_shot

    store = _options.open_store(how.store_root)
    if model is None:
        _newest.refuse_without_model(about.given())
        raw = _diagnose.recipe_of_run(_newest.recipe_of(store, "diagnosed", {}), how.changes)
        made = _one_shot.parsed(deepcopy(raw), (), None, "diagnose")
        evaluated = _one_shot.parsed(raw, how.changes, None, "diagnose")
        loss = report.noise_text.loss(store.load_run())
        return _diagnose.diagnose_reference(
            made, evaluated, store, how, mean_given=True, count=count, seed=seed, only=only, loss=loss
        )
    raw, taken, mean_given = _diagnose.recipe_of_model(model, about, how.changes)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    made = _one_shot.parsed(raw, (), None, "diagnose")
    return _diagnose.diagnose_reference(
        made, made, store, how, mean_given=mean_given, count=count, seed=seed, only=only
    )
