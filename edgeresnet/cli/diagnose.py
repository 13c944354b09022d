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
    help="Number of images to search on at most, balanced over classes. Others confirm the result.",
)
@_help.option(
    "--only",
    multiple=True,
    group=_help.IMAGES,
    metavar="NAME",
    help="Candidate to compare, by its name in the table. Without it, all are compared. Repeatable.",
)
@_options.seed("the choice of images")
@_options.unsaved_run_options
def diagnose(
    model: str | None,
    about: _options.ModelOptions,
    count: int | None,
    only: tuple[str, ...],
    seed: int | None,
    how: _options.RunOptions,
) -> int:
    """Find the preprocessing mistake behind a low accuracy.

    MODEL is an ONNX file or a checkpoint, by default the network of the newest
    run. onnxruntime runs it with BGR instead of RGB, other means, pixels up to
    255, other resizing and another order of the classes. All candidates see the
    first 100 images. Those that may be the best see more, up to --count. Other
    images confirm the result. --mean and --std may be left out. Nothing is
    judged: the exit code is 0 whatever the result is.
    """
    return diagnose_network(model, about, count, seed, how, only)


def diagnose_network(
    model: str | None,
    about: _options.ModelOptions,
    count: int | None,
    seed: int | None,
    how: _options.RunOptions,
    only: tuple[str, ...] = (),
) -> int:
    """Explain the accuracy of a network, or of the newest run's; print the result, and return the exit code."""
    from . import _diagnose, _newest, _one_shot

    store = _options.open_store(how.store_root)
    if model is None:
        _newest.refuse_without_model(about.given())
        raw = _diagnose.recipe_of_run(_newest.recipe_of(store, "diagnosed", {}), how.changes)
        made = _one_shot.parsed(deepcopy(raw), (), None, "diagnose")
        evaluated = _one_shot.parsed(raw, how.changes, None, "diagnose")
        return _diagnose.diagnose_reference(
            made, evaluated, store, how, mean_given=True, count=count, seed=seed, only=only
        )
    raw, taken, mean_given = _diagnose.recipe_of_model(model, about, how.changes)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    made = _one_shot.parsed(raw, (), None, "diagnose")
    return _diagnose.diagnose_reference(
        made, made, store, how, mean_given=mean_given, count=count, seed=seed, only=only
    )
