"""edgeresnet diagnose: why is the accuracy not what was expected?"""

from __future__ import annotations

from copy import deepcopy

import click

from . import _complete, _help, _options, _output

HINT = "MODEL is run in onnxruntime; preprocessing is that of the FP32 original: name that one"


@_help.command(
    "edgeresnet diagnose",
    "edgeresnet diagnose net.onnx --evaluation images/val --size 224",
)
@click.argument("model", required=False, shell_complete=_complete.files)
@_options.untargeted_options
@_help.option(
    "--count",
    type=click.IntRange(min=1),
    group=_help.IMAGES,
    show_default="100",
    help="Number of images to search on, the same from each class. Others confirm the result.",
)
@_options.seed("the choice of images")
@_options.unsaved_run_options
def diagnose(
    model: str | None,
    about: _options.ModelOptions,
    count: int | None,
    seed: int | None,
    how: _options.RunOptions,
) -> int:
    """Find the preprocessing mistake behind a low accuracy.

    MODEL is an ONNX file or a checkpoint, by default the network of the newest
    run. onnxruntime runs it with BGR instead of RGB, other means, pixels up to
    255, other resizing and another order of the classes. The best result is
    confirmed on other images. --mean and --std may be left out. Nothing is
    judged: the exit code is 0 whatever the result is.
    """
    return diagnose_network(model, about, count, seed, how)


def diagnose_network(
    model: str | None,
    about: _options.ModelOptions,
    count: int | None,
    seed: int | None,
    how: _options.RunOptions,
) -> int:
    """Explain the accuracy of a network, or of the newest run's; print the result, and return the exit code."""
    from . import _diagnose, _newest, _one_shot

    store = _options.open_store(how.store_root)
    if model is None:
        _newest.refuse_without_model(about.given())
        raw = _diagnose.recipe_of_run(_newest.recipe_of(store, "diagnosed", {}), how.changes)
        made = _one_shot.parsed(deepcopy(raw), (), None, "diagnose")
        evaluated = _one_shot.parsed(raw, how.changes, None, "diagnose")
        return _diagnose.diagnose_reference(made, evaluated, store, how, mean_given=True, count=count, seed=seed)
    raw, taken, mean_given = _diagnose.recipe_of_model(model, about, how.changes)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    made = _one_shot.parsed(raw, (), None, "diagnose")
    return _diagnose.diagnose_reference(made, made, store, how, mean_given=mean_given, count=count, seed=seed)
