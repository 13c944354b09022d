"""A network as one target runs it: the target's own compiler at work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import targets
from ..context import Context
from ..errors import ModelError, TargetError
from ..portable.preprocessing import Preprocessing
from ..store import Parent, file_of


def compile_network(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """The stage `compile`: a traced network, or an ONNX file that was given, in; what the target runs out."""
    target = targets.get(spec["target"])
    network, options = parents["network"], target.options(**spec["options"])
    file = file_of(network, "model.onnx")
    inside = spec.get("preprocessing")  # of a network that takes pixels
    halved = target.half_in_file(options)
    if inside or halved:
        from ..graph import deliver  # brings onnx along

        pixels = Preprocessing.from_json(inside) if inside else None
        try:
            file = deliver.delivered(file, ctx.scratch / "model.onnx", halved=halved, pixels=pixels)
        except ModelError as problem:  # as if the compiler had refused it: other targets, and other variants, go on
            raise TargetError(f"gets no {spec['target']} file: {problem.message}", hint=problem.hint) from problem
    # A second build is to show how builds differ: what was timed before would make it the first one's copy.
    notes = target.compile(file, options, out, None if "build" in spec else ctx.cache)
    for sentence in notes.pop("warnings", ()):
        ctx.warn("compiler", sentence, subject=target.title)
    return notes
