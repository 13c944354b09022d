"""Networks timed while a stage works: traced, written as they would ship, compiled, and measured in turn.

The runner hands it to the stage, so that no stage imports another. What is written here is timed and removed: the INT8
form has every Q/DQ where the real one has it, between scales that are made up. Knows no goal.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import targets
from ..context import Context
from ..errors import TargetError
from ..portable import codec, evaluation, manifest, measure
from ..portable.session import CompileNotes, Signature
from ..portable.times import Latency
from ..portable.worker import Job
from ..stages.compile import compile_network
from ..stages.specs import CompileInputs, TimedSearch, TimedTarget
from ..store import Given

if TYPE_CHECKING:
    from torch import nn

_SEED = 0


class Measuring:
    """Times networks on each target of a search."""

    def __init__(self, search: TimedSearch, ctx: Context):
        self.search, self.ctx = search, ctx

    def __call__(
        self, networks: Mapping[str, nn.Module | Path], *, processes: int, seconds: float, may_fail: bool = False
    ) -> dict[str, dict[str, Latency]]:
        """Return target → name → latency. One name is one network: it is compiled once.

        `may_fail`: a network that does not compile is left out with a warning, unless it is the first.
        """
        return {
            name: self._on(timed, networks, processes, seconds, may_fail) for name, timed in self.search.targets.items()
        }

    def _on(
        self,
        timed: TimedTarget,
        networks: Mapping[str, nn.Module | Path],
        processes: int,
        seconds: float,
        may_fail: bool,
    ) -> dict[str, Latency]:
        jobs: dict[str, Job] = {}
        try:
            for title, network in networks.items():
                try:
                    jobs[title] = self.job(timed, title, network)
                except TargetError as problem:
                    if not (may_fail and jobs):
                        raise
                    self.ctx.warn("passed-over", f"{title} is passed over: {problem.message}", subject=timed.target)
            with evaluation.as_failure():
                return measure.latency(jobs, processes=processes, seconds=seconds)
        except TargetError as problem:
            raise problem.within(targets.get(timed.target).title) from problem

    def job(self, timed: TimedTarget, title: str, network: nn.Module | Path) -> Job:
        """Compile one network for one target, unless `title` was compiled before."""
        folder = self.ctx.scratch / "compiled" / f"{timed.target}-{title}"
        notes = _compiled(folder)
        if notes is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            source = self._written(timed, network, folder.with_name(f"{folder.name}-work"))
            given = CompileInputs(Given(manifest.sha256_of(source), source))
            # Its warnings are reported where the network is compiled to ship.
            ctx = replace(self.ctx, scratch=source.parent, warnings=[])
            notes = compile_network(given, timed.compile_spec(), folder, ctx)
            shutil.rmtree(source.parent)
            manifest.write(folder, notes=codec.encode(notes))
        return Job(targets.get(timed.target), folder, _noise(notes.signature))

    def _written(self, timed: TimedTarget, network: nn.Module | Path, work: Path) -> Path:
        """Write a network as ONNX, in the target's dialect where INT8 would ship. A file is taken as it is."""
        import onnx

        from ..graph import canonical
        from ..stages import quantize, trace

        work.mkdir(parents=True, exist_ok=True)
        if isinstance(network, Path):
            return Path(shutil.copy(network, work / "network.onnx"))
        model = trace.to_onnx(network, self.search.preprocessing.channels, self.search.preprocessing.size)
        if self.search.batch != "dynamic":
            canonical.set_batch(model, self.search.batch)
        if timed.int8:
            model = quantize.stand_in(model, timed.int8.dialect, timed.int8.exclude, timed.int8.images)
        onnx.save(model, work / "network.onnx")
        return work / "network.onnx"


def _compiled(folder: Path) -> CompileNotes | None:
    """Return the notes of what was compiled here before, if it was completed."""
    try:
        return codec.decode(CompileNotes, manifest.read(folder).get("notes"))
    except ValueError:
        return None


def _noise(signature: Signature) -> np.ndarray:
    """Return a batch of noise: how long an inference takes does not depend on what it sees."""
    rng, shape = np.random.default_rng(_SEED), signature.shape(signature.batch or signature.least)
    if signature.pixels:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32)
