"""A network as one target runs it, made by the target's own compiler."""

from __future__ import annotations

from pathlib import Path

from .. import targets
from ..context import Context
from ..errors import ModelError, TargetError
from ..portable.session import CompileNotes
from ..store import file_of
from .specs import CompileInputs, CompileSpec


def compile_network(inputs: CompileInputs, spec: CompileSpec, out: Path, ctx: Context) -> CompileNotes:
    """Compile a traced network, or a user's ONNX file, for one target."""
    target = targets.get(spec.target)
    file, halved = file_of(inputs.network, "model.onnx"), target.half_in_file(spec.options)
    if spec.preprocessing or halved or spec.joins:
        from ..graph import deliver  # brings onnx along

        try:
            file = deliver.delivered(
                file, ctx.scratch / "model.onnx", halved=halved, pixels=spec.preprocessing, detector=spec.joins
            )
        except ModelError as problem:  # as if the compiler had refused it: other targets, and other variants, go on
            reason = f"cannot be written for this target: {problem.message}"
            raise TargetError("the network", reason, hint=problem.hint) from problem
    # A rebuild must show how builds differ: a cache of timings would make it a copy of the first.
    compiled = target.compile(file, spec.options, out, None if spec.build else ctx.cache)
    for sentence in compiled.warnings:
        ctx.warn("compiler", sentence, subject=target.title)
    return compiled.notes
